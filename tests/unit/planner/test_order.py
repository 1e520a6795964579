"""Guests are started after those that they need, and never kept down by them for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.desired import Autostart, DesiredGuest, GuestState, RestartWhen, StartAfter
from reconciler.model.memory import GuestHistory
from reconciler.model.names import GuestName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.plan import Fate, Reason
from reconciler.model.steps import SetAutostart, StartGuest
from reconciler.planner import preview
from tests.strategies.worlds import (
    CLOSED_PORT,
    HOSTS,
    MAIN,
    OPEN_PORT,
    SIDE,
    START,
    Story,
    desired,
    guest,
    host,
)

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.plan import Change, Plan

DNS = GuestName("a")
FIRST = StartAfter(guest=DNS)


def _story(*wishes: DesiredGuest) -> Story:
    return Story.of(desired(*wishes, hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))


def _starts(plans: list[Plan]) -> list[str]:
    return [
        planned.step.guest
        for outcome in plans
        for planned in outcome.steps
        if isinstance(planned.step, StartGuest)
    ]


def _until_waiting(story: Story, name: str) -> Change:
    """Pass after pass until the guest waits for others; what the status says then."""
    for _ in range(30):
        outcome = story.plan()
        for change in outcome.statuses[GuestName(name)].changes:
            if change.reason is Reason.START_AFTER:
                return change
        story.carry_out(outcome)
        story.now += timedelta(seconds=1)
    message = f"{name} never waited"
    raise AssertionError(message)


def _started_at(story: Story, name: str) -> datetime:
    """Pass after pass, until the guest is started."""
    for _ in range(60):
        outcome = story.plan()
        if name in _starts([outcome]):
            return story.now
        story.carry_out(outcome)
        wake = None if outcome.steps else outcome.wake_at
        story.now = wake or story.now + timedelta(seconds=1)
    message = f"{name} was never started"
    raise AssertionError(message)


def test_a_guest_is_made_at_once_and_started_after_the_one_it_needs() -> None:
    story = _story(guest("b", start_after=(StartAfter(guest=GuestName("c")),)), guest("c"))
    plans = story.passes()
    assert _starts(plans) == ["c", "b"]
    assert {planned.step.guest for planned in plans[0].steps} == {"b", "c"}
    assert not story.refused


def test_a_chain_is_started_from_its_far_end() -> None:
    chain = (
        guest("a", start_after=(StartAfter(guest=GuestName("b")),)),
        guest("b", start_after=(StartAfter(guest=GuestName("c")),)),
        guest("c"),
    )
    assert _starts(_story(*chain).passes()) == ["c", "b", "a"]


def test_a_guest_that_waits_says_for_whom_why_and_until_when() -> None:
    story = _story(guest("a", agent=True), guest("b", start_after=(replace(FIRST, agent=True),)))
    story.passes()
    story.stage("a", agent_connected=False)
    story.host_of("b").stage_stop(story.find("b").uuid, StateReason.CRASHED)
    change = _until_waiting(story, "b")
    assert change.fate is Fate.WAITING
    assert change.message == "it is started after a (its agent is not connected)"
    assert change.until == story.now + timedelta(minutes=5)


def test_a_guest_starts_without_what_was_waited_for_long_enough() -> None:
    story = _story(guest("a"), guest("b", start_after=(replace(FIRST, port=CLOSED_PORT),)))
    waiting = _until_waiting(story, "b")
    began = story.now
    assert _started_at(story, "b") == began + timedelta(minutes=5)
    start = next(one for one in story.plan().steps if one.step.guest == "b")
    assert waiting.until == began + timedelta(minutes=5)
    assert [change.message for change in start.changes] == [
        "its wait is over; still not ready: a (10.0.0.53:54 does not answer)"
    ]


def test_a_port_that_answers_ends_the_wait() -> None:
    story = _story(guest("a"), guest("b", start_after=(replace(FIRST, port=OPEN_PORT),)))
    _until_waiting(story, "b")
    began = story.now
    assert _started_at(story, "b") < began + timedelta(seconds=10)


def test_a_port_that_answered_long_ago_does_not_count() -> None:
    story = _story(guest("a"), guest("b", start_after=(replace(FIRST, port=OPEN_PORT),)))
    _until_waiting(story, "b")
    story.carry_out(story.plan())
    story.now += timedelta(seconds=story.policy.probe_counts_s + 1)
    assert "b" not in _starts([story.plan()])


def test_a_guest_on_a_silent_host_is_not_ready() -> None:
    where = {HOSTS[0]: MAIN, HOSTS[1]: SIDE}
    on_the_other = guest("a", pool=SIDE)
    story = Story.of(
        desired(on_the_other, guest("b", start_after=(FIRST,)), hosts=where),
        host(HOSTS[0]),
        host(HOSTS[1]),
    )
    story.arrive(story.desired)  # both are new, so that b can be nowhere but in its own pool
    born = GuestHistory(first_seen=story.now, pools=frozenset({MAIN}))
    story.memory = replace(story.memory, guests={GuestName("b"): born})
    story.silent.add(HOSTS[1])
    change = _until_waiting(story, "b")
    assert change.message.startswith("it is started after a (unknown: it could be elsewhere")
    assert _started_at(story, "b") == change.until


def test_the_clock_of_a_guest_stands_while_what_it_waits_for_waits_its_turn() -> None:
    """See Note [Whose turn]."""
    slow = StartAfter(guest=GuestName("b"), timeout_s=60)
    story = _story(
        guest("a"),
        guest("b", start_after=(replace(FIRST, port=CLOSED_PORT, timeout_s=120),)),
        guest("c", start_after=(slow,)),
    )
    _until_waiting(story, "b")
    began = story.plan().waits[GuestName("b")]
    assert _until_waiting(story, "c").until == began + timedelta(seconds=180)
    assert _started_at(story, "b") == began + timedelta(seconds=120)
    assert _started_at(story, "c") == began + timedelta(seconds=121)  # b is seen running by then
    assert story.find("b").state is RunState.RUNNING


def test_a_guest_that_shall_not_run_is_not_waited_for() -> None:
    story = _story(guest("a", state=GuestState.STOPPED), guest("b", start_after=(FIRST,)))
    assert _starts(story.passes()) == ["b"]


def test_a_guest_that_runs_is_left_alone_when_the_other_stops() -> None:
    story = _story(guest("a"), guest("b", start_after=(FIRST,)))
    story.passes()
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.SHUT_DOWN)
    outcome = story.plan()
    assert outcome.waits == {}
    assert all(planned.step.guest != "b" for planned in outcome.steps)


def test_a_failed_start_does_not_begin_the_wait_anew() -> None:
    story = _story(guest("a"), guest("b", start_after=(replace(FIRST, port=CLOSED_PORT),)))
    _until_waiting(story, "b")
    began = story.now
    story.now = _started_at(story, "b")
    story.memory = replace(story.memory, crashes={})
    story.stage("b", job="backup")  # for the time being something else keeps it down
    assert story.plan().waits[GuestName("b")] == began
    story.stage("b", job=None)
    assert _starts([story.plan()]) == ["b"]


def test_the_preview_takes_a_port_to_answer_once_its_guest_runs() -> None:
    story = _story(guest("a"), guest("b", start_after=(replace(FIRST, port=CLOSED_PORT),)))
    shown = preview(
        story.desired,
        story.look(),
        operations=(),
        memory=story.memory,
        policy=story.policy,
        now=START,
    )
    started = [at for at, one in shown.steps if isinstance(one.step, StartGuest)]
    assert shown.converged
    assert started == [START, START]


@pytest.mark.parametrize(
    ("entries", "on"), [((), True), ((FIRST,), False)], ids=["alone", "after another"]
)
def test_libvirt_does_not_start_by_itself_what_comes_after_others(
    entries: tuple[StartAfter, ...], *, on: bool
) -> None:
    """It knows no order: with autostart all guests of a host would start at once."""
    story = _story(
        guest("a"), guest("b", host=HOSTS[0], autostart=Autostart.AUTO, start_after=entries)
    )
    plans = story.passes()
    asked = [
        planned.step.on
        for outcome in plans
        for planned in outcome.steps
        if isinstance(planned.step, SetAutostart)
    ]
    assert asked == ([True] if on else [])


def test_a_restart_waits_like_any_start() -> None:
    story = _story(guest("a"), guest("b", start_after=(FIRST,)))
    story.passes()
    changed = guest("b", start_after=(FIRST,), restart=RestartWhen.NOW, console=False)
    story.stage("a", state=RunState.PAUSED, reason=StateReason.USER)
    story.desired = desired(guest("a"), changed, hosts={HOSTS[0]: MAIN})
    change = _until_waiting(story, "b")
    assert change.message == "it is started after a (paused)"
