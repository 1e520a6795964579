"""Promise 6: from any reachable world, passes end in a plan without steps, and stay there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import Fate
from reconciler.planner import plan, preview
from reconciler.planner.effects import after, possible, reached
from tests.strategies.stories import Event, events, stories

if TYPE_CHECKING:
    from tests.strategies.worlds import Story


def _played(story: Story, happenings: list[Event]) -> Story:
    for event in happenings:
        event(story)
    return story


@given(story=stories(), happenings=st.lists(events(), max_size=8))
def test_a_preview_converges(story: Story, happenings: list[Event]) -> None:
    """Plan and effect alternate to a fixpoint, with whatever hosts silent or forgotten."""
    _played(story, happenings)
    shown = preview(
        story.desired,
        story.look(),
        operations=story.operations,
        memory=story.memory,
        policy=story.policy,
        now=story.now,
    )
    assert shown.converged
    assert not shown.rounds[-1].plan.steps


@given(story=stories(), happenings=st.lists(events(doubts=False), max_size=8))
def test_passes_end_and_a_plan_after_them_writes_nothing(
    story: Story, happenings: list[Event]
) -> None:
    """Neither later, nor by a controller that has lost its local state."""
    _played(story, happenings)
    story.refused.clear()
    # A guest that ignores its shutdown keeps being asked; every other story comes to an end.
    deaf = any(one._deaf for one in story.hosts.values())
    for one in story.hosts.values():
        one._deaf.clear()
    story.passes(200)
    assert not story.refused or deaf
    before = story.writes
    story.now += timedelta(minutes=5)
    story.passes(200)
    story.forget()
    story.passes(200)
    assert story.writes == before


@given(story=stories(), happenings=st.lists(events(), max_size=6))
def test_planning_is_a_function_of_its_arguments(story: Story, happenings: list[Event]) -> None:
    """Same worlds in, same plan out, and nothing of what went in has changed."""
    _played(story, happenings)
    seen = story.look()
    told = repr((story.desired, seen, story.memory))
    plans = [
        plan(
            story.desired,
            seen,
            operations=story.operations,
            memory=story.memory,
            policy=story.policy,
            now=story.now,
        )
        for _ in range(2)
    ]
    assert plans[0] == plans[1]
    assert repr((story.desired, seen, story.memory)) == told


@given(story=stories(), happenings=st.lists(events(), max_size=6))
def test_every_guest_has_a_status_and_at_most_one_step(
    story: Story, happenings: list[Event]
) -> None:
    """And whatever waits, is held or refused says why; whatever begins says for what."""
    _played(story, happenings)
    outcome = story.plan()
    assert set(story.desired.guests) <= set(outcome.statuses)
    named = [planned.step.guest for planned in outcome.steps]
    assert len(named) == len(set(named))
    assert all(planned.changes for planned in outcome.steps)
    for status in outcome.statuses.values():
        for change in status.changes:
            if change.fate in (Fate.WAITING, Fate.HELD, Fate.REFUSED):
                assert change.reason is not None, change
                assert change.message, change


@given(story=stories(), happenings=st.lists(events(doubts=False), max_size=8))
def test_a_step_reaches_what_it_must_and_only_then(story: Story, happenings: list[Event]) -> None:
    """No step is planned that is reached already, and each is after its expected effect."""
    _played(story, happenings)
    world = story.look()
    for planned in story.plan().steps:
        step = planned.step
        host = story.hosts[step.host].observe()
        assert possible(step, host), step
        assert not reached(step, world), step
        assert reached(step, after(step, world, story.now)), step


@given(story=stories(), happenings=st.lists(events(doubts=False), max_size=8))
def test_with_an_unknown_past_only_fewer_steps_are_planned(
    story: Story, happenings: list[Event]
) -> None:
    """A lost journal only ever makes domops more careful: it names no guest that it would not.

    Failures and crashes are kept here: forgetting those means to try once more, at no risk.
    """
    _played(story, happenings)
    with_memory = {planned.step.guest for planned in story.plan().steps}
    unknown = replace(story.memory, guests={}, last_complete={}, departed=None)
    careful = replace(story, memory=unknown)
    assert {planned.step.guest for planned in careful.plan().steps} <= with_memory
