"""Promise 1 with answers that are kept: what begins rests on hosts that answered in this pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller.fresh import plan_on_fresh_words, rests_on_fresh_words
from reconciler.controller.results import Look
from reconciler.controller.worlds import Standing
from reconciler.model.definition import Vcpus
from reconciler.model.desired import HostState
from reconciler.model.observed import ObservedHost, ObservedWorld, SilentHost
from reconciler.planner import plan
from tests.properties.test_promise_1_never_twice import running_in
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import HOSTS, Story, desired, guest, host

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.names import HostName
    from reconciler.model.plan import Plan

_SUBSETS = st.sets(st.sampled_from(HOSTS)).map(frozenset)


@dataclass
class Keeping:
    """A controller over a story that asks some hosts, and remembers what the others said."""

    story: Story
    kept: dict[HostName, ObservedHost | SilentHost] = field(default_factory=dict)

    def ask(self, look: Look, names: Collection[HostName]) -> Look:
        """Ask ``names``, and whoever never was; everybody else says what he said last."""
        before = self.story.memory.last_complete
        seen = self.story.look().hosts
        asked = {name for name in seen if name in names or name not in self.kept}
        answers = {name: self.story.now for name in asked if isinstance(seen[name], ObservedHost)}
        self.story.memory = replace(self.story.memory, last_complete={**before, **answers})
        self.kept = {name: seen[name] if name in asked else self.kept[name] for name in seen}
        return replace(
            look,
            observed=ObservedWorld(hosts=dict(self.kept)),
            memory=self.story.memory,
            fresh=look.fresh | frozenset(answers),
        )

    def begins(self, names: Collection[HostName]) -> tuple[Look, Plan]:
        """The plan of a pass in which at first only ``names`` are due, with what may begin."""
        story = self.story
        look = Look(
            now=story.now,
            standing=Standing(world=story.desired, head=None),
            world=story.desired,
            observed=ObservedWorld(hosts={}),
            operations=story.operations,
            memory=story.memory,
            policy=story.policy,
            fresh=frozenset(),
        )
        look, planned = plan_on_fresh_words(self.ask(look, names), self.ask)
        steps = tuple(step for step in planned.steps if rests_on_fresh_words(step, look))
        return look, replace(planned, steps=steps)


@given(
    story=stories(),
    happenings=st.lists(st.tuples(events(), _SUBSETS), max_size=10),
)
def test_a_step_begins_only_if_it_would_with_every_unasked_host_silent(
    story: Story, happenings: list[tuple[Event, frozenset[HostName]]]
) -> None:
    """An answer from before the pass counts for no more than none, and no guest runs twice."""
    keeping = Keeping(story)
    for event, due in happenings:
        event(story)
        look, planned = keeping.begins(due)
        heard = {
            name: one if name in look.fresh else SilentHost(name=name, why="not asked", since=None)
            for name, one in look.observed.hosts.items()
        }
        careful = plan(
            look.world,
            ObservedWorld(hosts=heard),
            operations=look.operations,
            memory=look.memory,
            policy=look.policy,
            now=look.now,
        )
        assert {one.step.guest for one in planned.steps} <= {
            one.step.guest for one in careful.steps
        }
        story.carry_out(planned)
        story.now += timedelta(seconds=2)
        running = running_in(story)
        assert all(count == 1 for count in running.values()), running


def test_where_nothing_has_changed_the_same_begins_whoever_is_asked() -> None:
    """The hosts that the steps rest on are asked in the same pass; the third is let be."""
    for due in (frozenset(), frozenset(HOSTS)):
        story = Story.of(desired(guest("a")), *[host(name) for name in HOSTS[:2]])
        keeping = Keeping(story)
        keeping.begins(HOSTS)
        look, planned = keeping.begins(due)
        assert [one.step.guest for one in planned.steps] == ["a"]
        assert look.fresh == {*HOSTS[:2]}


def test_a_guest_is_made_only_after_a_fenced_host_that_answers_was_heard_again() -> None:
    """It may have come to life since: what is seen counts for more than what was said."""
    story = Story.of(desired(guest("a")), *[host(name) for name in HOSTS[:2]])
    fenced = replace(story.desired.hosts[HOSTS[1]], state=HostState.FENCED)
    story.desired = replace(story.desired, hosts={**story.desired.hosts, fenced.name: fenced})
    keeping = Keeping(story)
    keeping.begins(HOSTS)
    look, planned = keeping.begins(frozenset())
    assert [one.step.guest for one in planned.steps] == ["a"]
    assert look.fresh == {*HOSTS[:2]}


def test_a_deletion_rests_on_every_host_of_its_pool() -> None:
    """What was begun on any of them counts against the budget."""
    story = Story.of(desired(guest("a")), *[host(name) for name in HOSTS[:2]])
    story.passes()
    keeping = Keeping(story)
    story.desired = desired()
    keeping.begins(HOSTS)
    look, planned = keeping.begins(frozenset())
    assert [one.step.guest for one in planned.steps] == ["a"]
    assert look.fresh == {*HOSTS[:2]}


def test_a_change_to_a_running_guest_rests_on_its_host_alone() -> None:
    """Cost follows change: a hundred other hosts need not be asked for a vCPU."""
    story = Story.of(desired(guest("a")), *[host(name) for name in HOSTS[:2]])
    story.passes()
    keeping = Keeping(story)
    keeping.begins(HOSTS)
    story.desired = desired(guest("a", cpus=Vcpus(count=2, maximum=4)))
    look, planned = keeping.begins(frozenset())
    assert [one.step.guest for one in planned.steps] == ["a"]
    assert look.fresh == {planned.steps[0].step.host}
