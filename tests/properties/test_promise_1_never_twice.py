"""Promise 1: one guest never runs in two places because of domops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import HostState
from reconciler.model.memory import Memory
from reconciler.model.observed import RunState, StateReason
from reconciler.model.operation import Operation
from reconciler.model.steps import CreateVolume, DefineGuest, StartGuest
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import HOSTS, Story, desired, guest, host

if TYPE_CHECKING:
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.plan import Plan


def running_in(story: Story) -> Counter[GuestName]:
    """How often each guest of ours runs."""
    return Counter(
        one.mark.guest
        for each in story.hosts.values()
        for one in each.observe().guests.values()
        if one.active and one.mark is not None and one.mark.uuid == one.uuid
    )


def _defined_on(story: Story, name: GuestName) -> set[str]:
    """Where the guest is; what is left on hosts that were cut off does not run."""
    return {
        each.name
        for each in story.hosts.values()
        if each.name not in story.fenced
        for one in each.observe().guests.values()
        if one.mark is not None and one.mark.uuid == one.uuid and one.mark.guest == name
    }


@given(story=stories(), happenings=st.lists(events(), max_size=12))
def test_no_guest_ever_runs_on_two_hosts(story: Story, happenings: list[Event]) -> None:
    """Whatever goes silent, departs, is forgotten or given up, and whenever."""
    for event in happenings:
        event(story)
        running = running_in(story)
        assert all(count == 1 for count in running.values()), running


@given(story=stories(), happenings=st.lists(events(), max_size=12))
def test_nothing_is_created_or_started_that_is_on_a_host_that_does_not_answer(
    story: Story, happenings: list[Event]
) -> None:
    """Neither on a silent host nor on one that left; not after the memory was lost either."""
    for event in happenings:
        event(story)
        for planned in story.plan().steps:
            step = planned.step
            elsewhere = _defined_on(story, step.guest) - {step.host}
            if isinstance(step, DefineGuest) and step.replaces is None:
                assert not elsewhere, f"{step.guest} is made again; it is on {elsewhere}"
            if isinstance(step, StartGuest | CreateVolume):
                assert not elsewhere, f"{step.guest} is started again; it is on {elsewhere}"


@given(story=stories(), happenings=st.lists(events(), max_size=8), which=st.integers(0, 9))
def test_a_guest_whose_call_was_given_up_is_left_alone(
    story: Story, happenings: list[Event], which: int
) -> None:
    """It is bound to that host, wherever it may be seen."""
    for event in happenings:
        event(story)
    steps = story.plan().steps
    if not steps:
        return
    given_up = steps[which % len(steps)].step
    story.operations = (
        Operation(
            guest=given_up.guest,
            host=given_up.host,
            step=given_up,
            began=story.now,
            deadline=story.now,
            condemned=True,
        ),
    )
    assert given_up.guest not in {planned.step.guest for planned in story.plan().steps}


def _without_memory_of(story: Story) -> Plan:
    story.memory = Memory()
    return story.plan()


def test_nothing_is_made_while_a_host_of_the_pool_is_silent() -> None:
    """A guest that domops did not see arrive could be on it."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.silent = {HOSTS[1]}
    assert not story.plan().steps
    story.silent = set()
    assert len(story.plan().steps) == 1


def test_a_guest_that_is_newer_than_the_last_answer_is_made_in_spite_of_silence() -> None:
    """What proves otherwise: the first commit is later than the host's last complete answer."""
    story = Story.of(desired(), host(HOSTS[0]), host(HOSTS[1]))
    story.plan()
    story.silent = {HOSTS[1]}
    story.now = story.now.replace(hour=11)
    story.arrive(desired(guest("a")))
    assert [planned.step.host for planned in story.plan().steps] == [HOSTS[0]]


def test_a_host_on_which_a_step_began_counts_even_in_another_pool() -> None:
    """It may have been moved by a commit since, and the guest is still on it."""
    story = Story.of(desired(), host(HOSTS[0]), host(HOSTS[1]))
    story.plan()
    story.now = story.now.replace(hour=11)
    story.arrive(desired(guest("a")))
    story.passes()
    home = story.host_of("a").name
    other = next(name for name in HOSTS[:2] if name != home)
    pools = {home: story.desired.pools["side"].name, other: story.desired.pools["main"].name}  # type: ignore[index]
    story.desired = desired(guest("a"), hosts=pools)
    story.silent = {home}
    assert not story.plan().steps


def test_nothing_is_made_when_the_memory_and_the_manifest_of_its_host_are_gone() -> None:
    """With the local state deleted, which hosts have left is not known."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a").name
    left = {name: one for name, one in story.desired.hosts.items() if name != home}
    story.desired = replace(story.desired, hosts=left)
    assert not _without_memory_of(story).steps


def test_a_stopped_guest_is_not_started_while_a_host_is_silent() -> None:
    """A copy that runs elsewhere would be seen only there."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a")
    home.stage_stop(story.find("a").uuid, StateReason.CRASHED)
    story.silent = {name for name in HOSTS[:2] if name != home.name}
    assert not [plan for plan in story.passes() if plan.steps]
    story.silent = set()
    story.passes()
    assert story.find("a").state is RunState.RUNNING


def _fenced(story: Story, name: HostName) -> Story:
    there = replace(story.desired.hosts[name], state=HostState.FENCED)
    story.desired = replace(story.desired, hosts={**story.desired.hosts, name: there})
    return story


def test_what_was_on_a_fenced_host_is_made_elsewhere_also_without_memory() -> None:
    """A person's word takes the place of the host's."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a").name
    story.silent = {home}
    assert not story.plan().steps
    assert not _without_memory_of(story).steps
    story.forget()
    story.silent = {home}
    assert not story.plan().steps
    _fenced(story, home)
    story.hosts[home].stage_stop(story.find("a").uuid, StateReason.UNKNOWN)
    story.passes()
    assert running_in(story) == {"a": 1}


def test_a_call_that_is_out_on_a_fenced_host_binds_nobody() -> None:
    """It died with its host."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    step = story.plan().steps[0].step
    story.operations = (
        Operation(
            guest=step.guest,
            host=step.host,
            step=step,
            began=story.now,
            deadline=story.now,
            condemned=True,
        ),
    )
    story.touch(step)
    story.silent = {step.host}
    assert not story.plan().steps
    _fenced(story, step.host)
    assert {one.step.host for one in story.plan().steps} == {*HOSTS[:2]} - {step.host}


def test_a_guest_that_still_runs_on_a_fenced_host_that_answers_is_started_nowhere() -> None:
    """What is seen counts for more than what was said; nothing is done to it there either."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    _fenced(story, story.host_of("a").name)
    assert not [one for one in story.passes() if one.steps]
    story.arrive(replace(desired(), hosts=story.desired.hosts))
    assert not [one for one in story.passes() if one.steps]


def test_a_domain_with_the_same_uuid_and_no_mark_elsewhere_stalls_the_guest() -> None:
    """It may be the guest itself, defined by hand on another host."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a")
    found = story.find("a")
    assert found.stored is not None
    bare = replace(found, mark=None, stored=replace(found.stored, mark=None))
    other = next(one for one in story.hosts.values() if one.name != home.name)
    other.stage(lambda seen: replace(seen, guests={**seen.guests, bare.uuid: bare}))
    home.stage_stop(found.uuid, StateReason.DESTROYED)
    assert not [plan for plan in story.passes() if plan.steps]
