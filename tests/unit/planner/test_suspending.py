"""Suspended guests: nothing begins for them, whoever said so, and it is not forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from reconciler.model.desired import GuestState, PoolMode
from reconciler.model.mark import MarkedOperation, OperationKind
from reconciler.model.names import HostName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.plan import Fate, Plan, Reason
from reconciler.model.steps import ResumeGuest, SetMark
from reconciler.model.suspension import Covered, Scope, Suspension, Suspensions
from tests.strategies.worlds import HOSTS, MAIN, SIDE, START, Story, desired, guest, host, pool

ONE = Covered(scope=Scope.GUEST, name="a")
POOL = Covered(scope=Scope.POOL, name=MAIN)
ALL = Covered(scope=Scope.ALL)


def _said(covered: Covered = ONE, until: datetime | None = None) -> Suspension:
    return Suspension(covered=covered, who="anna", why="a backup", since=START, until=until)


def _suspend(story: Story, *said: Suspension) -> None:
    known = Suspensions(standing=said)
    story.memory = replace(story.memory, suspensions=known)


def _resume(story: Story, covered: Covered) -> None:
    lifted = Suspensions(lifted={covered: story.now})
    story.memory = replace(story.memory, suspensions=lifted)


def _lose_state(story: Story) -> None:
    story.memory = replace(story.memory, suspensions=Suspensions())


def _up() -> Story:
    story = Story.of(desired(guest("a"), hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))
    story.passes()
    return story


def _destroy(story: Story) -> None:
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.DESTROYED)


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


@pytest.mark.parametrize("covered", [ONE, POOL, ALL], ids=str)
def test_a_suspended_guest_is_told_of_it_in_its_mark_and_not_healed(covered: Covered) -> None:
    story = _up()
    _suspend(story, _said(covered))
    assert _steps(story.passes()) == ["SetMark"]
    mark = story.find("a").mark
    assert mark is not None
    assert mark.suspended == (_said(covered),)
    _destroy(story)
    assert not story.plan().steps, "it is seen to be down"
    story.now += timedelta(hours=1)
    [outcome] = story.passes()
    status = outcome.statuses[guest("a").name]
    assert status.suspended == (_said(covered),)
    [change] = status.changes
    assert (change.field, change.fate, change.reason) == ("state", Fate.HELD, Reason.SUSPENDED)
    assert "anna: a backup" in change.message
    assert f"domops resume {covered}" in change.message
    _resume(story, covered)
    assert sorted(_steps(story.passes())) == ["SetMark", "StartGuest"]
    mark = story.find("a").mark
    assert mark is not None
    assert not mark.suspended


def test_what_ends_by_itself_waits_and_the_preview_shows_what_follows() -> None:
    story = _up()
    until = story.now + timedelta(hours=2)
    _suspend(story, _said(until=until))
    story.carry_out(story.plan())
    _destroy(story)
    outcome = story.plan()
    [change] = outcome.statuses[guest("a").name].changes
    assert (change.fate, change.until) == (Fate.WAITING, until)
    assert outcome.wake_at == until
    story.passes()
    assert story.find("a").active
    assert story.now > until


def test_a_suspension_outlives_the_local_state_and_is_lifted_all_the_same() -> None:
    story = _up()
    _suspend(story, _said())
    story.passes()
    _lose_state(story)
    _destroy(story)
    story.now += timedelta(hours=1)
    assert not _steps(story.passes())
    _resume(story, ONE)
    assert "StartGuest" in _steps(story.passes())


def test_what_a_mark_says_of_a_suspension_that_was_replaced_counts_no_more() -> None:
    story = _up()
    _suspend(story, _said())
    story.passes()
    longer = replace(_said(), since=story.now, why="another")
    _suspend(story, longer)
    assert _steps(story.passes()) == ["SetMark"]
    assert story.plan().statuses[guest("a").name].suspended == (longer,)


@pytest.mark.parametrize("where", ["guest", "pool", "all"])
def test_what_git_suspends_needs_no_mark_and_a_commit_lifts_it(where: str) -> None:
    story = _up()
    before = story.desired
    said = Suspension(covered=ONE, who="guests.yaml:7", why="a move by hand")
    changed = {
        "guest": replace(before, guests={guest("a").name: replace(guest("a"), suspend=said)}),
        "pool": replace(before, pools={MAIN: replace(before.pools[MAIN], suspend=said)}),
        "all": replace(before, suspend=said),
    }[where]
    story.arrive(changed)
    _destroy(story)
    story.now += timedelta(hours=1)
    [outcome] = story.passes()
    assert not outcome.steps
    [change] = outcome.statuses[guest("a").name].changes
    assert "takes suspend out of guests.yaml:7" in change.message
    story.arrive(before)
    assert _steps(story.passes()) == ["StartGuest"]


def test_a_guest_of_another_pool_goes_on() -> None:
    wish = desired(
        guest("a"),
        guest("b", pool=SIDE),
        hosts={HOSTS[0]: MAIN, HOSTS[1]: SIDE},
        pools=(pool(MAIN), pool(SIDE)),
    )
    story = Story.of(wish, host(HOSTS[0]), host(HOSTS[1]))
    _suspend(story, _said(POOL))
    story.passes()
    assert story.find("b").active
    assert not any(found.name == "a" for found in story.hosts[HOSTS[0]].observe().guests.values())


def test_a_guest_held_still_by_us_is_let_go_on_though_it_is_suspended() -> None:
    """Promise 7 comes first."""
    story = _up()
    found = story.find("a")
    assert found.mark is not None
    held = MarkedOperation(kind=OperationKind.SNAPSHOT, id="x", since=story.now)
    story.stage("a", mark=replace(found.mark, operation=held), state=RunState.PAUSED)
    _suspend(story, _said())
    [planned] = story.plan().steps
    assert isinstance(planned.step, ResumeGuest)


def test_a_restart_that_we_began_is_ended_though_the_guest_is_suspended_meanwhile() -> None:
    story = _up()
    found = story.find("a")
    assert found.mark is not None
    ours = MarkedOperation(kind=OperationKind.RESTART, id="x", since=story.now)
    story.stage("a", mark=replace(found.mark, operation=ours))
    _suspend(story, _said())
    outcome = story.plan()
    assert not any(type(one.step).__name__ == "ShutDownGuest" for one in outcome.steps)
    story.host_of("a").stage_stop(found.uuid, StateReason.SHUT_DOWN)
    assert "StartGuest" in _steps(story.passes())


def test_a_deletion_waits_too() -> None:
    story = _up()
    _suspend(story, _said())
    story.passes()
    story.arrive(desired(hosts={HOSTS[0]: MAIN}))
    [outcome] = story.passes()
    [change] = outcome.statuses[guest("a").name].changes
    assert change.reason is Reason.SUSPENDED
    assert story.find("a").active


def test_in_mode_warn_no_mark_is_written() -> None:
    story = _up()
    story.arrive(desired(guest("a"), hosts={HOSTS[0]: MAIN}, pools=(pool(mode=PoolMode.WARN),)))
    story.passes()
    _suspend(story, _said())
    [outcome] = story.passes()
    assert not outcome.steps
    assert outcome.statuses[guest("a").name].suspended


def test_nobody_else_is_disturbed_by_the_note_in_the_mark() -> None:
    story = _up()
    story.stage("a", job="backup")
    _suspend(story, _said())
    assert not story.plan().steps
    story.stage("a", job=None)
    [planned] = story.plan().steps
    assert isinstance(planned.step, SetMark)


def test_a_guest_on_a_silent_host_is_said_to_be_suspended_too() -> None:
    story = _up()
    _suspend(story, _said())
    story.silent = {HostName(HOSTS[0])}
    assert story.plan().statuses[guest("a").name].suspended == (_said(),)


def test_a_manifest_that_stops_a_suspended_guest_waits() -> None:
    story = _up()
    _suspend(story, _said())
    story.passes()
    story.arrive(desired(guest("a", state=GuestState.STOPPED), hosts={HOSTS[0]: MAIN}))
    story.passes()
    assert story.find("a").active
