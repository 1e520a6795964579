"""Since when a state has lasted, and how often a guest crashed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid5

from reconciler.controller.states import StatesSeen
from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedHost, RunState, StateReason
from reconciler.model.steps import StartGuest
from tests.unit.controller.stage import REPOSITORY, in_memory
from tests.unit.executor.guests import with_guest

WEB = GuestName("web")
UUID_OF_WEB = uuid5(REPOSITORY, WEB)
HOST = with_guest(in_memory("a").memory.observe(), WEB)


def crashed(later_s: int) -> ObservedHost:
    guest = replace(HOST.guests[UUID_OF_WEB], state=RunState.SHUT_OFF, reason=StateReason.CRASHED)
    at = HOST.answered_at + timedelta(seconds=later_s)
    return replace(HOST, answered_at=at, guests={UUID_OF_WEB: guest})


def test_a_state_lasts_since_it_was_first_seen() -> None:
    states = StatesSeen()
    assert states.fill(crashed(0)).guests[UUID_OF_WEB].state_since is None
    assert states.fill(crashed(5)).guests[UUID_OF_WEB].state_since == crashed(0).answered_at


def test_one_crash_is_counted_once_however_often_it_is_seen() -> None:
    states = StatesSeen()
    states.fill(crashed(0))
    states.fill(crashed(5))
    assert states.crashes() == {WEB: (crashed(0).answered_at,)}


def test_a_guest_that_crashes_again_between_two_looks_has_crashed_twice() -> None:
    """It was started and fell over before anybody looked: the same state is a new one."""
    states = StatesSeen()
    states.fill(crashed(0))
    states.forget(StartGuest(host=HOST.name, guest=WEB, uuid=UUID_OF_WEB))
    assert states.fill(crashed(5)).guests[UUID_OF_WEB].state_since is None
    assert len(states.crashes()[WEB]) == 2
