"""The memo saves work and changes nothing: with it the same plans come out as without."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller.observing import sharing
from reconciler.model.observed import ObservedHost, ObservedWorld, SilentHost
from reconciler.planner import Memo, plan
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import HOSTS, Story, desired, guest, host

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.names import HostName
    from reconciler.model.plan import Plan


class Remembering:
    """Plans with a memo over answers that share what has not changed, and compares."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.memo = Memo()
        self.kept: dict[HostName, ObservedHost | SilentHost] = {}

    def plan(self, asked: frozenset[HostName], now: datetime | None = None) -> Plan:
        """The plan, which must be the one that comes out without a memo."""
        story = self.story
        before = story.memory.last_complete
        seen = story.look().hosts
        if not asked:
            story.memory = replace(story.memory, last_complete=before)
        self.kept = {name: self._answer(name, said, asked) for name, said in seen.items()}

        def made(memo: Memo | None) -> Plan:
            return plan(
                story.desired,
                ObservedWorld(hosts=self.kept),
                operations=story.operations,
                memory=story.memory,
                policy=story.policy,
                now=now or story.now,
                memo=memo,
            )

        outcome = made(self.memo)
        plain = made(None)
        assert outcome == plain
        assert list(outcome.statuses) == list(plain.statuses)
        return outcome

    def _answer(
        self, name: HostName, said: ObservedHost | SilentHost, asked: frozenset[HostName]
    ) -> ObservedHost | SilentHost:
        before = self.kept.get(name)
        if before is not None and name not in asked:
            return before
        if isinstance(before, ObservedHost) and isinstance(said, ObservedHost):
            return sharing(said, before)
        return said


@given(
    story=stories(),
    happenings=st.lists(
        st.tuples(events(), st.sets(st.sampled_from(HOSTS)).map(frozenset)), max_size=12
    ),
)
def test_a_plan_with_a_memo_is_the_plan_without(
    story: Story, happenings: list[tuple[Event, frozenset[HostName]]]
) -> None:
    """After whatever happened, at once and later, with some hosts asked again and some not."""
    remembering = Remembering(story)
    everybody = frozenset(HOSTS)
    for event, asked in happenings:
        event(story)
        outcome = remembering.plan(asked)
        remembering.plan(frozenset())
        story.carry_out(outcome)
        for seconds in (1, 90, 400):
            remembering.plan(everybody, story.now + timedelta(seconds=seconds))


def test_a_plan_for_the_same_world_is_the_same_object() -> None:
    """Where nothing has changed and nothing hangs on the time, nothing is computed."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    remembering = Remembering(story)
    first = remembering.plan(frozenset(HOSTS))
    story.now += timedelta(hours=1)
    assert remembering.plan(frozenset()) is first


def test_of_a_quiet_guest_the_verdict_is_taken_over() -> None:
    """Its host was asked again and said the same: its status is the same object."""
    story = Story.of(desired(guest("a"), guest("b")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    remembering = Remembering(story)
    first = remembering.plan(frozenset(HOSTS))
    [quiet, other] = story.desired.guests.values()
    wish = {quiet.name: quiet, other.name: guest("b", protect=True)}
    story.desired = replace(story.desired, guests=wish)
    second = remembering.plan(frozenset(HOSTS))
    assert [one.step.guest for one in second.steps] == ["b"]
    assert second.statuses[quiet.name] is first.statuses[quiet.name]


def test_a_quiet_guest_is_looked_at_anew_after_some_minutes() -> None:
    """A rule that looks at the time without saying until when is not believed for ever."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    remembering = Remembering(story)
    remembering.plan(frozenset(HOSTS))
    name = story.find("a").name
    made_at = remembering.memo.quiet_since(name)
    assert made_at == story.now
    story.now += timedelta(minutes=4)
    remembering.plan(frozenset(HOSTS))
    assert remembering.memo.quiet_since(name) == made_at
    story.now += timedelta(minutes=7)
    remembering.plan(frozenset(HOSTS))
    assert remembering.memo.quiet_since(name) == story.now
