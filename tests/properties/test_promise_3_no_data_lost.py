"""Promise 3: no data is lost; what is removed was ours, was due, and was needed by nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import Budget, VolumeDisk
from reconciler.model.mark import Phase
from reconciler.model.steps import (
    DeleteVolume,
    DiscardVolume,
    GrowVolume,
    RemoveSeed,
    UndefineGuest,
)
from tests.strategies.stories import events, stories, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.model.mark import Mark
    from reconciler.model.names import HostName, LibvirtPool, VolumeName
    from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedVolume
    from reconciler.model.steps import Step
    from tests.strategies.stories import Event
    from tests.strategies.worlds import Story

Place = tuple["HostName", "LibvirtPool", "VolumeName"]

KEEP = timedelta(days=2)

days = st.just(86400).map(waiting)


def happenings(*, doubts: bool) -> st.SearchStrategy[list[Event]]:
    """What happens, with many days in it."""
    return st.lists(st.one_of(events(doubts=doubts), days, days), max_size=14)


def _impatient(story: Story) -> None:
    """The trash is kept for two days, and much may be removed on one."""
    pools = {
        name: replace(
            one, trash_keep_s=int(KEEP.total_seconds()), budget=Budget(deletions=3, restarts=9)
        )
        for name, one in story.desired.pools.items()
    }
    story.desired = replace(story.desired, pools=pools)


def _volumes(story: Story) -> dict[Place, ObservedVolume]:
    return {
        (one.name, pool.name, volume.name): volume
        for one in story.hosts.values()
        for pool in one.observe().pools.values()
        for volume in pool.volumes.values()
    }


def _named_by(guest: ObservedGuest) -> set[tuple[LibvirtPool, VolumeName]]:
    return {
        (disk.source.pool, disk.source.volume)
        for definition in (guest.stored, guest.live)
        if definition is not None
        for disk in definition.disks
        if isinstance(disk.source, VolumeSource)
    }


def _is_over(story: Story, mark: Mark, what: str, since: datetime) -> bool:
    """Whether date and days have come, reckoned here from what this story has looked at."""
    seen = {
        day
        for thing, on in story.waited.items()
        if (thing.uuid, thing.what, thing.since) == (mark.uuid, what, since)
        for day in on
        if day > since.date()
    }
    return story.now >= since + KEEP and len(seen) >= KEEP.days


def _may_go(story: Story, step: DeleteVolume) -> Iterator[bool]:
    """Whether everything is so that lets the volume go."""
    place = (step.pool, step.volume)
    host = story.hosts[step.host].observe()
    guest = host.guests[step.uuid]
    mark = guest.mark
    assert mark is not None
    entries = [disk for disk in mark.disks if (disk.pool, disk.volume) == place]
    seed = mark.seed is not None and (mark.seed.pool, mark.seed.volume) == place
    yield seed or bool(entries)
    yield all(disk.ours and not disk.protected for disk in entries)
    if mark.phase is Phase.TRASH:
        assert mark.trash is not None
        yield mark.trash.emptying is not None
        yield not guest.active
        yield _is_over(story, mark, "", mark.trash.since) or mark.trash.until <= story.now
    else:
        yield place not in _named_by(guest)
        yield all(
            disk.expired is not None
            and disk.detached is not None
            and story.now >= disk.detached + KEEP
            for disk in entries
        )
    yield not any(place in _named_by(one) for uuid, one in host.guests.items() if uuid != step.uuid)
    yield not any(
        isinstance(disk, VolumeDisk)
        and disk.volume == step.volume
        and story.desired.storages[disk.storage].on(step.host) == step.pool
        for wish in story.desired.guests.values()
        if wish.name != step.guest
        for disk in wish.disks
    )


def _begins(story: Story, step: Step) -> Iterator[bool]:
    """What must be so when the mark first says that something is being removed."""
    mark = getattr(step, "mark", None)
    host = story.hosts[step.host].observe()
    before = host.guests[step.uuid].mark if step.uuid in host.guests else None
    if mark is None or before is None or isinstance(step, UndefineGuest):
        return
    if mark.trash is not None and mark.trash.emptying is not None:
        assert before.trash is not None
        if before.trash.emptying is None:
            since, until = before.trash.since, before.trash.until
            long = {
                day
                for thing, on in story.waited.items()
                if (thing.uuid, thing.what, thing.since) == (mark.uuid, "", since)
                for day in on
                if day > since.date()
            }
            yield story.now >= until
            yield len(long) >= (until - since).days
    for disk in mark.disks:
        old = before.disk(disk.name)
        if disk.expired is not None and old is not None and old.expired is None:
            assert old.detached is not None
            yield old.ours
            yield _is_over(story, before, f"disks[{disk.name}]", old.detached)


@given(story=stories(), happened=happenings(doubts=True))
def test_only_what_is_ours_due_and_needed_by_nobody_is_ever_removed(
    story: Story, happened: list[Event]
) -> None:
    """And nothing shrinks, whatever is committed, done by hand, or forgotten."""
    for event in happened:
        event(story)
        _impatient(story)
        outcome = story.plan()
        before = _volumes(story)
        gone: set[Place] = set()
        for planned in outcome.steps:
            step = planned.step
            assert all(_begins(story, step))
            if isinstance(step, DeleteVolume):
                assert all(_may_go(story, step))
            if isinstance(step, DeleteVolume | DiscardVolume | RemoveSeed):
                gone.add((step.host, step.pool, step.volume))
            if isinstance(step, GrowVolume):
                there = before.get((step.host, step.pool, step.volume))
                assert there is None or there.capacity_bytes <= step.capacity_bytes
        story.carry_out(outcome)
        after = _volumes(story)
        assert before.keys() - after.keys() <= gone
        for place, volume in before.items():
            assert place not in after or after[place].capacity_bytes >= volume.capacity_bytes


def _number(story: Story, last: int) -> int:
    """Give every new volume a number of its own, which it keeps; return the last one given."""

    def numbered(host: ObservedHost) -> ObservedHost:
        nonlocal last
        pools = {}
        for pool in host.pools.values():
            volumes = dict(pool.volumes)
            for volume in pool.volumes.values():
                if volume.allocation_bytes == 0:
                    last += 1
                    volumes[volume.name] = replace(volume, allocation_bytes=last)
            pools[pool.name] = replace(pool, volumes=volumes)
        return replace(host, pools=pools)

    for one in story.hosts.values():
        one.stage(numbered)
    return last


def _in_use(story: Story) -> Iterator[Place]:
    """Where the volumes of ours are that were ever whole."""
    for one in story.hosts.values():
        for guest in one.observe().guests.values():
            for disk in guest.mark.disks if guest.mark is not None else ():
                if disk.filled and disk.ours and disk.pool is not None and disk.volume is not None:
                    yield one.name, disk.pool, disk.volume


@given(story=stories(), happened=happenings(doubts=False))
def test_a_disk_that_was_in_use_is_never_made_anew(story: Story, happened: list[Event]) -> None:
    """Each volume bears a number of its own; what comes back bears the one that it had."""
    number = 0
    used: dict[Place, int] = {}
    for event in happened:
        event(story)
        _impatient(story)
        story.carry_out(story.plan())
        number = _number(story, number)
        there = _volumes(story)
        for place in _in_use(story):
            if place in there:
                bears = there[place].allocation_bytes
                assert used.setdefault(place, bears) == bears
