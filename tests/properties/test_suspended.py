"""While guests are suspended nothing is done to them, whatever happens, and all is made good after.

A suspension is the one thing by which a person takes a guest out of our hands, so it is held to in
any world, and does not need the local state.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.mark import OperationKind
from reconciler.model.steps import ResumeGuest, SetMark, StartGuest
from reconciler.model.suspension import Covered, Scope, Suspension, Suspensions
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import MAIN, NAMES

if TYPE_CHECKING:
    from reconciler.model.mark import Mark
    from reconciler.model.plan import Plan, PlannedStep
    from tests.strategies.worlds import Story

COVERED = (
    Covered(scope=Scope.GUEST, name=NAMES[0]),
    Covered(scope=Scope.POOL, name=MAIN),
    Covered(scope=Scope.ALL),
)


def _marks(story: Story) -> dict[str, Mark]:
    seen = (one for host in story.look().answered() for one in host.guests.values())
    return {one.mark.guest: one.mark for one in seen if one.mark is not None}


def _is_allowed(planned: PlannedStep, marks: dict[str, Mark]) -> bool:
    """Only a note in the mark; and what ends what we had begun."""
    step, mark = planned.step, marks.get(planned.step.guest)
    match step:
        case ResumeGuest():
            return True
        case SetMark():
            return mark is not None and replace(step.mark, suspended=mark.suspended) == mark
        case StartGuest():
            ours = mark.operation if mark is not None else None
            return ours is not None and ours.kind is OperationKind.RESTART
        case _:
            return False


def _suspended(outcome: Plan) -> set[str]:
    return {name for name, status in outcome.statuses.items() if status.suspended}


@given(
    story=stories(),
    before=st.lists(events(), max_size=5),
    after=st.lists(events(), max_size=4),
    covered=st.sampled_from(COVERED),
)
def test_no_step_begins_for_what_is_suspended(
    story: Story, before: list[Event], after: list[Event], covered: Covered
) -> None:
    for event in before:
        event(story)
    said = Suspension(covered=covered, who="anna", why="a look", since=story.now)
    for event in after:
        story.memory = replace(story.memory, suspensions=Suspensions(standing=(said,)))
        event(story)
    story.memory = replace(story.memory, suspensions=Suspensions(standing=(said,)))
    for _ in range(4):
        outcome = story.plan()
        marks, names = _marks(story), _suspended(outcome)
        if covered.scope is Scope.ALL:
            assert names == outcome.statuses.keys()
        for planned in outcome.steps:
            assert planned.step.guest not in names or _is_allowed(planned, marks), planned.step
        story.carry_out(outcome)
        story.now += timedelta(seconds=30)


@given(
    story=stories(),
    happenings=st.lists(events(doubts=False), max_size=6),
    covered=st.sampled_from(COVERED),
)
def test_once_told_a_guest_stays_suspended_without_the_local_state_and_converges_when_resumed(
    story: Story, happenings: list[Event], covered: Covered
) -> None:
    for event in happenings:
        event(story)
    for one in story.hosts.values():
        one._deaf.clear()
    said = Suspension(covered=covered, who="anna", why="a look", since=story.now)
    story.memory = replace(story.memory, suspensions=Suspensions(standing=(said,)))
    story.passes(200)
    told = {name for name, mark in _marks(story).items() if said in mark.suspended}
    story.forget()
    outcome = story.plan()
    assert told <= _suspended(outcome)
    for planned in outcome.steps:
        assert planned.step.guest not in told or _is_allowed(planned, _marks(story))
    story.now += timedelta(seconds=1)
    story.memory = replace(story.memory, suspensions=Suspensions(lifted={covered: story.now}))
    story.passes(200)
    assert not any(mark.suspended for mark in _marks(story).values())
