"""Promise 4: nothing foreign is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.definition import GuestDefinition, VolumeSource
from reconciler.model.names import Digest, LibvirtPool, SnapshotName, Target, VolumeName
from reconciler.model.steps import (
    CreateSnapshot,
    DefineGuest,
    DiscardVolume,
    GrowVolume,
    RemoveSeed,
    SetMark,
    Step,
)
from reconciler.planner.effects import OnVolume
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import (
    HOSTS,
    Story,
    desired,
    foreigner,
    guest,
    host,
    their_disk,
    their_nic,
    volume,
    volume_disk,
)

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.observed import ObservedGuest, ObservedSnapshot, ObservedVolume

Key = tuple[str, str]
Volume = tuple[str, LibvirtPool | None, VolumeName | None]


def _strangers(story: Story) -> dict[Key, ObservedGuest]:
    return {
        (each.name, str(one.uuid)): one
        for each in story.hosts.values()
        for one in each.observe().guests.values()
        if one.mark is None or one.mark.uuid != one.uuid
    }


def _everybody(story: Story) -> dict[Key, ObservedGuest]:
    return {
        (each.name, str(one.uuid)): one
        for each in story.hosts.values()
        for one in each.observe().guests.values()
    }


def _unmarked(one: ObservedGuest) -> ObservedGuest:
    """The guest without its mark, and without the digest of a text that has it."""
    return replace(
        one,
        mark=None,
        stored=one.stored and replace(one.stored, mark=None),
        live=one.live and replace(one.live, mark=None),
        stored_digest=Digest(""),
    )


def _volumes(story: Story) -> dict[tuple[str, LibvirtPool, VolumeName], ObservedVolume]:
    return {
        (each.name, pool.name, one.name): one
        for each in story.hosts.values()
        for pool in each.observe().pools.values()
        for one in pool.volumes.values()
    }


def _pass(story: Story) -> tuple[Step, ...]:
    outcome = story.plan()
    story.carry_out(outcome)
    return tuple(planned.step for planned in outcome.steps)


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_no_step_names_a_domain_without_our_valid_mark(
    story: Story, happenings: list[Event]
) -> None:
    """Nor does any step change it: foreigners, and copies of our mark, stay what they are.

    One that a manifest asks to adopt is given the mark, and nothing else.
    """
    for event in happenings:
        event(story)
        before = _strangers(story)
        steps = _pass(story)
        asked = set()
        for step in steps:
            key: Key = (step.host, str(step.uuid))
            if key in before:
                assert isinstance(step, SetMark)
                assert story.desired.guests[step.guest].adopt
                assert before[key].mark is None
                asked.add(key)
        after = _everybody(story)
        for where, one in before.items():
            if where in asked:
                assert _unmarked(after[where]) == _unmarked(one)
            else:
                # A copy of one of our guests has our guest's disks, and sees them grow.
                assert replace(after[where], disk_sizes=one.disk_sizes) == one
                shared = _shared_with_ours(story, one)
                for target, size in one.disk_sizes.items():
                    now = after[where].disk_sizes[target]
                    assert now == size or (target in shared and now > size)


def _shared_with_ours(story: Story, stranger: ObservedGuest) -> set[Target]:
    """The targets at which a stranger has a volume that a mark of ours names."""
    named = _named(story)
    return {
        disk.target
        for definition in (stranger.stored, stranger.live)
        if definition is not None
        for disk in definition.disks
        if isinstance(disk.source, VolumeSource)
        and any((pool, name) == (disk.source.pool, disk.source.volume) for _, pool, name in named)
    }


def _named(story: Story) -> set[Volume]:
    """Every volume that a mark of ours names, made by us or adopted."""
    return {
        (each.name, entry.pool, entry.volume)
        for each in story.hosts.values()
        for one in each.observe().guests.values()
        if one.mark is not None and one.mark.uuid == one.uuid
        for entry in one.mark.disks
    }


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_volumes_that_no_mark_of_ours_names_stay_as_they_are(
    story: Story, happenings: list[Event]
) -> None:
    """They are neither discarded, grown nor overwritten, images included; none of ours vanishes.

    One that was adopted may grow, as its manifest asks, and nothing else.
    """
    for event in happenings:
        event(story)
        before = _volumes(story)
        ours = {
            (each.name, entry.pool, entry.volume)
            for each in story.hosts.values()
            for one in each.observe().guests.values()
            if one.mark is not None and one.mark.uuid == one.uuid
            for entry in one.mark.disks
            if entry.ours
        }
        ours |= {
            (each.name, one.mark.seed.pool, one.mark.seed.volume)
            for each in story.hosts.values()
            for one in each.observe().guests.values()
            if one.mark is not None and one.mark.uuid == one.uuid and one.mark.seed is not None
        }
        full = {
            (each.name, disk.source.pool, disk.source.volume)
            for each in story.hosts.values()
            for one in each.observe().guests.values()
            for definition in (one.stored, one.live)
            if definition is not None
            for disk in definition.disks
            if isinstance(disk.source, VolumeSource)
        }
        named = _named(story)
        steps = _pass(story)
        for step in steps:
            if isinstance(step, GrowVolume):
                assert (step.host, step.pool, step.volume) in named
            elif isinstance(step, OnVolume):
                assert (step.host, step.pool, step.volume) in ours
            if isinstance(step, DiscardVolume | RemoveSeed):
                assert (step.host, step.pool, step.volume) not in full
        after = _volumes(story)
        for key, one in before.items():
            if key not in named | ours:
                assert after[key] == one
            elif key not in ours:
                assert replace(after[key], capacity_bytes=one.capacity_bytes) == one
                assert after[key].capacity_bytes >= one.capacity_bytes
            if key in full:
                assert after[key].capacity_bytes >= one.capacity_bytes


def _theirs(definition: GuestDefinition) -> tuple[object, ...]:
    """What of a definition no manifest of ours ever names."""
    return (
        [disk for disk in definition.disks if disk == their_disk()],
        [nic for nic in definition.nics if nic == their_nic()],
    )


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_definitions_keep_the_devices_that_are_not_in_the_manifest(
    story: Story, happenings: list[Event]
) -> None:
    """What the manifest does not mention inside an owned guest is kept as it is."""
    for event in happenings:
        event(story)
        outcome = story.plan()
        for planned in outcome.steps:
            step = planned.step
            if isinstance(step, DefineGuest) and step.replaces is not None:
                found = story.hosts[step.host].observe().guests[step.uuid]
                assert found.stored is not None
                assert _theirs(step.definition) == _theirs(found.stored)
        story.carry_out(outcome)


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_snapshots_are_only_ever_added_and_a_mark_lists_none_of_somebodys(
    story: Story, happenings: list[Event]
) -> None:
    """Ours stay as well: a name that is let go is dated, and none is taken where one is."""
    for event in happenings:
        event(story)
        before = _snapshots(story)
        steps = _pass(story)
        after = _snapshots(story)
        assert before.items() <= after.items()
        taken = {(step.uuid, step.name) for step in steps if isinstance(step, CreateSnapshot)}
        assert not taken & before.keys()
        assert after.keys() - before.keys() <= taken
        for step in steps:
            mark = step.mark if isinstance(step, SetMark) else None
            for entry in mark.snapshots if mark is not None else ():
                assert before[step.uuid, entry.name].signature is not None


def _snapshots(story: Story) -> dict[tuple[UUID, SnapshotName], ObservedSnapshot]:
    return {
        (found.uuid, one.name): one
        for each in story.hosts.values()
        for found in each.observe().guests.values()
        for one in found.snapshots
    }


def test_a_new_disk_never_takes_a_volume_that_is_there() -> None:
    """A mark that claimed it would give domops the right to remake it."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a")
    theirs = volume("a-data.raw", 7)
    home.stage(
        lambda seen: replace(
            seen,
            pools={
                name: replace(pool, volumes={**pool.volumes, theirs.name: theirs})
                for name, pool in seen.pools.items()
            },
        )
    )
    story.desired = desired(guest("a", disks=(volume_disk(), volume_disk("data", 9))))
    plans = story.passes()
    assert not story.refused
    change = next(one for one in plans[-1].statuses[guest("a").name].changes)
    assert "never takes" in change.message
    assert _volumes(story)[home.name, LibvirtPool("default"), theirs.name] == theirs


def test_a_disk_whose_volume_somebody_exchanged_is_not_grown() -> None:
    """What is at the target is not ours: its size is no business of domops."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    found = story.find("a")
    assert found.live is not None
    disk = found.live.disks[0]
    exchanged = VolumeSource(pool=LibvirtPool("default"), volume=VolumeName("theirs.raw"))
    live = replace(found.live, disks=(replace(disk, source=exchanged),))
    story.stage("a", live=live)
    story.desired = desired(guest("a", disks=(volume_disk(size_gib=5),)))
    before = _volumes(story)
    story.passes()
    after = _volumes(story)
    assert {key: one for key, one in after.items() if key[2] == exchanged.volume} == {
        key: one for key, one in before.items() if key[2] == exchanged.volume
    }


def test_a_first_run_among_foreigners_makes_no_writing_call() -> None:
    """A host full of guests that no manifest names is left alone."""
    story = Story.of(desired(), host(HOSTS[0], foreigner(), foreigner("more")), host(HOSTS[1]))
    story.passes()
    assert story.writes == 0
