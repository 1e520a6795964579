"""Order among guests: kept while it can be, and never a lock (promise 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import GuestState
from reconciler.model.observed import ObservedWorld, RunState
from reconciler.model.plan import Reason
from reconciler.model.steps import StartGuest
from tests.strategies.stories import Event, events, stories

if TYPE_CHECKING:
    from reconciler.model.names import GuestName
    from tests.strategies.worlds import Story


def _running(seen: ObservedWorld) -> set[GuestName]:
    return {
        guest.mark.guest
        for host in seen.answered()
        for guest in host.guests.values()
        if guest.mark is not None and guest.state is RunState.RUNNING
    }


@given(story=stories(), happenings=st.lists(events(), max_size=8))
def test_a_guest_is_started_before_its_turn_only_when_its_wait_is_over(
    story: Story, happenings: list[Event]
) -> None:
    """Whoever is started without being asked to wait has before it all that it comes after."""
    for event in happenings:
        event(story)
    running = _running(story.look())
    waited = dict(story.memory.waits)
    for planned in story.plan().steps:
        guest = story.desired.guests.get(planned.step.guest)
        if guest is None or not isinstance(planned.step, StartGuest):
            continue
        for entry in guest.start_after:
            first = story.desired.guests.get(entry.guest)
            if first is None or first.state is GuestState.STOPPED or entry.guest in running:
                continue
            passed = (story.now - waited[guest.name]).total_seconds()
            assert passed >= entry.timeout_s


@given(story=stories(), happenings=st.lists(events(), max_size=8))
def test_whoever_waits_for_others_says_until_when(story: Story, happenings: list[Event]) -> None:
    for event in happenings:
        event(story)
    outcome = story.plan()
    for status in outcome.statuses.values():
        for change in status.changes:
            if change.reason is Reason.START_AFTER:
                assert change.until is not None
                assert change.until > story.now
                assert status.guest in outcome.waits
