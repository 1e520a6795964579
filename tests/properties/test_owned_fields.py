"""Note [Owned fields]: only what a manifest mentions is written, a revert takes it out again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import DesiredWorld, RestartWhen
from reconciler.model.names import FieldName
from reconciler.model.observed import Denial
from reconciler.model.options import BUS, FIELDS, NO_OPTIONS, READ_ONLY, Options, pins_of_present
from reconciler.model.steps import DefineGuest
from reconciler.planner.effects import digest_of
from reconciler.planner.options import Ownership, kept_options
from tests.strategies.stories import RNG, Event, events, stories
from tests.strategies.worlds import ABLE, HOSTS, MAIN, Story, desired, guest, host

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.mark import Mark
    from reconciler.model.names import Target
    from reconciler.model.observed import ObservedGuest


def _mentioned(world: DesiredWorld, found: ObservedGuest) -> set[FieldName]:
    wish = world.guests.get(found.mark.guest) if found.mark else None
    return set(wish.mentioned if wish else ())


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_what_neither_manifest_nor_mark_names_is_never_written(
    story: Story, happenings: list[Event]
) -> None:
    """Promise 4: an option that nobody of ours ever mentioned stays what somebody made it."""
    for event in happenings:
        event(story)
        outcome = story.plan()
        for planned in outcome.steps:
            step = planned.step
            if not isinstance(step, DefineGuest) or step.replaces is None:
                continue
            found = story.hosts[step.host].observe().guests[step.uuid]
            assert found.stored is not None
            assert found.mark is not None
            ours = _mentioned(story.desired, found) | set(found.mark.fields)
            for field, attribute in FIELDS.items():
                if field not in ours:
                    before = getattr(found.stored.options, attribute)
                    kept = [before]
                    if attribute == "pin":  # of vCPUs that are not there Xen keeps none
                        kept.append(pins_of_present(before, step.definition.vcpus.count))
                    assert getattr(step.definition.options, attribute) in kept
        story.carry_out(outcome)


def _ours_of(world: DesiredWorld, mark: Mark, target: Target) -> set[FieldName]:
    """The optional fields of a disk that the manifest mentions or the mark remembers."""
    wish = world.guests.get(mark.guest)
    entries = [entry for entry in mark.disks if entry.target == target]
    names = {entry.name for entry in entries}
    ours = {field for entry in entries for field in entry.fields}
    for disk in wish.disks if wish else ():
        if disk.name in names:
            ours |= set(disk.mentioned)
    return ours


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_what_nobody_of_ours_mentions_of_a_disk_is_never_written(
    story: Story, happenings: list[Event]
) -> None:
    """The same for disks that stay: their bus, whether they can be written to, their options."""
    for event in happenings:
        event(story)
        outcome = story.plan()
        for planned in outcome.steps:
            step = planned.step
            if not isinstance(step, DefineGuest) or step.replaces is None:
                continue
            found = story.hosts[step.host].observe().guests[step.uuid]
            assert found.stored is not None
            for before in found.stored.disks:
                after = step.definition.disk(before.target)
                if after is None or after.source != before.source or found.mark is None:
                    continue
                ours = _ours_of(story.desired, found.mark, before.target)
                assert BUS in ours or after.bus is before.bus
                assert READ_ONLY in ours or after.read_only is before.read_only
                kept = kept_options(after.options, before.options, ours)
                assert after.options == kept
        story.carry_out(outcome)


@given(story=stories(), happenings=st.lists(events(doubts=False), max_size=6))
def test_a_mark_never_loses_a_field_that_is_still_there(
    story: Story, happenings: list[Event]
) -> None:
    """A name leaves the mark only when both definitions are back at the default."""
    for event in happenings:
        event(story)
        marked = {
            found.uuid: set(found.mark.fields)
            for one in story.hosts.values()
            for found in one.observe().guests.values()
            if found.mark is not None
        }
        story.carry_out(story.plan())
        for one in story.hosts.values():
            for found in one.observe().guests.values():
                if found.mark is None or found.uuid not in marked:
                    continue
                for field in marked[found.uuid] - set(found.mark.fields):
                    for definition in (found.stored, found.live):
                        options = definition.options if definition else NO_OPTIONS
                        attribute = FIELDS[field]
                        assert getattr(options, attribute) == getattr(NO_OPTIONS, attribute)


def _with_rng(world: DesiredWorld, *, said: bool | None) -> DesiredWorld:
    one = guest(
        "a",
        restart=RestartWhen.NOW,
        mentioned=() if said is None else (RNG,),
        options=Options(rng=bool(said)),
    )
    return replace(world, guests={one.name: one})


@given(steps=st.lists(st.sampled_from((True, False, None)), min_size=1, max_size=4))
def test_a_revert_leaves_the_guest_as_it_was(steps: list[bool | None]) -> None:
    """Whatever was said between: once nothing is said any more, nothing of it is left."""
    world = desired(guest("a", restart=RestartWhen.NOW))
    story = Story.of(world, host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    before = story.find("a")
    for said in steps:
        story.arrive(_with_rng(world, said=said))
        story.passes()
        found = story.find("a")
        assert found.mark is not None
        assert found.mark.fields == (() if said is None else (RNG,))
        for definition in (found.stored, found.live):
            assert definition is not None
            assert definition.options == Options(rng=bool(said))
    story.arrive(world)
    story.passes()
    after = story.find("a")
    assert _but_restarts(after.stored) == _but_restarts(before.stored)
    assert _but_restarts(after.live) == _but_restarts(before.live)
    assert not story.refused


def _but_restarts(definition: GuestDefinition | None) -> GuestDefinition | None:
    """The definition, its mark without the restarts that it remembers for the budget."""
    if definition is None or definition.mark is None:
        return definition
    return replace(definition, mark=replace(definition.mark, restarts=()))


def _given_by_hand(story: Story) -> None:
    found = story.find("a")
    assert found.stored is not None
    stored = replace(found.stored, options=Options(rng=True))
    story.stage("a", stored=stored, live=stored, stored_digest=digest_of(stored))


def test_what_a_person_added_outlives_a_commit_that_changes_something_else() -> None:
    """The manifest is silent about it, before and after."""
    world = desired(guest("a"))
    story = Story.of(world, host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    _given_by_hand(story)
    story.arrive(desired(guest("a", protect=True, console=False)))
    story.passes()
    found = story.find("a")
    assert found.stored is not None
    assert not found.stored.console
    assert found.stored.options == Options(rng=True)
    assert found.mark is not None
    assert found.mark.fields == ()


def test_a_revert_waits_for_the_running_guest() -> None:
    """While it still runs with the device the mark remembers whose the device is."""
    wish = guest("a", mentioned=(RNG,), options=Options(rng=True))
    story = Story.of(desired(wish), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    story.arrive(desired(guest("a")))
    plans = story.passes()
    found = story.find("a")
    assert found.stored is not None
    assert found.live is not None
    assert found.mark is not None
    assert (found.stored.options.rng, found.live.options.rng) == (False, True)
    assert found.mark.fields == (RNG,)
    waiting = plans[-1].statuses[wish.name].changes
    assert [(change.field, change.before, change.after) for change in waiting] == [
        ("rng", "yes", "none")
    ]


def test_what_a_host_cannot_do_is_refused_and_the_rest_goes_on() -> None:
    """A guest in use gets its other changes; a new one is not made half."""
    why = "no such device here"
    kinds = host().guest_types
    unable = replace(ABLE, without={(kind, RNG): Denial(why=why) for kind, _ in kinds})
    where = {HOSTS[0]: MAIN}
    story = Story.of(desired(guest("a"), hosts=where), host(HOSTS[0], capabilities=unable))
    story.passes()
    wish = {"mentioned": (RNG,), "options": Options(rng=True)}
    story.arrive(desired(guest("a", console=False, **wish), guest("b", **wish), hosts=where))
    plans = story.passes()
    for name in story.desired.guests:
        assert any(why in change.message for change in plans[-1].statuses[name].changes)
    found = story.find("a")
    assert found.stored is not None
    assert found.mark is not None
    assert not found.stored.console
    assert found.stored.options == NO_OPTIONS
    assert found.mark.fields == ()


def test_a_name_that_this_version_does_not_know_stays_in_the_mark() -> None:
    """A newer domops wrote it, and may be back tomorrow."""
    strange = FieldName("teleport")
    owner = Ownership(mentioned=frozenset({RNG}), marked=frozenset({strange, RNG}))
    assert owner.names(back=FIELDS) == (RNG, strange)
