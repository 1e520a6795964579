"""Whatever happens, a guest is told its data once, and once more only for a token that is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.definition import VolumeSource
from reconciler.model.steps import CreateSeed, RemoveSeed
from tests.strategies.stories import Event, events, stories

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.mark import Mark
    from tests.strategies.worlds import Story


def _marks(story: Story) -> dict[UUID, Mark]:
    """The mark of every guest whose mark is its own."""
    return {
        one.uuid: one.mark
        for host in story.hosts.values()
        for one in host.observe().guests.values()
        if one.mark is not None and one.mark.uuid == one.uuid
    }


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_a_guest_is_told_once_more_only_for_a_token_that_its_mark_did_not_have(
    story: Story, happenings: list[Event]
) -> None:
    """And the token is in the mark before the seed is made."""
    told: dict[UUID, set[str]] = {}
    tokens: dict[UUID, set[str]] = {}
    for event in happenings:
        event(story)
        outcome = story.plan()
        before = _marks(story)
        for planned in outcome.steps:
            step = planned.step
            if not isinstance(step, CreateSeed):
                continue
            mark = before[step.uuid]
            assert mark.seed is not None
            assert mark.seed.instance == step.instance
            token = step.instance.removeprefix(str(step.uuid)).removeprefix("-")
            assert not token or f"cloudInit:{token}" in mark.tokens
            if mark.cloud_init is not None:
                assert token
                assert step.instance not in told.get(step.uuid, set())
        story.carry_out(outcome)
        for uuid, mark in _marks(story).items():
            assert tokens.get(uuid, set()) <= set(mark.tokens)
            tokens[uuid] = set(mark.tokens)
            if mark.cloud_init is not None and mark.seed is not None and mark.seed.filled:
                told.setdefault(uuid, set()).add(mark.seed.instance)


@given(story=stories(), happenings=st.lists(events(), max_size=10))
def test_a_seed_is_removed_only_while_no_definition_has_it(
    story: Story, happenings: list[Event]
) -> None:
    for event in happenings:
        event(story)
        outcome = story.plan()
        for planned in outcome.steps:
            step = planned.step
            if not isinstance(step, RemoveSeed):
                continue
            source = VolumeSource(pool=step.pool, volume=step.volume)
            for one in story.hosts[step.host].observe().guests.values():
                for definition in (one.stored, one.live):
                    disks = definition.disks if definition is not None else ()
                    assert all(disk.source != source for disk in disks)
        story.carry_out(outcome)
