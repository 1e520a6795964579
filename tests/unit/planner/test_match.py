"""Match: which domain is which guest, and when that cannot be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.desired import HostState
from reconciler.model.memory import DepartedHost, GuestHistory
from reconciler.model.observed import ObservedGuest, RunState, StateReason
from reconciler.model.plan import Fate, Reason
from tests.strategies.worlds import (
    HOSTS,
    MAIN,
    SIDE,
    Story,
    adopting,
    desired,
    foreigner,
    guest,
    host,
    identity,
)

if TYPE_CHECKING:
    from reconciler.model.names import HostName


def _made() -> tuple[Story, ObservedGuest]:
    """A guest that runs on one of two hosts."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    return story, story.find("a")


def _put(story: Story, found: ObservedGuest) -> None:
    """Put a copy of the guest onto the other host, too."""
    home = story.host_of("a")
    other = next(one for one in story.hosts.values() if one is not home)
    other.stage(lambda seen: replace(seen, guests={**seen.guests, found.uuid: found}))


def _off(found: ObservedGuest, generation: int) -> ObservedGuest:
    assert found.stored is not None
    assert found.mark is not None
    mark = replace(found.mark, generation=generation)
    return replace(
        found,
        state=RunState.SHUT_OFF,
        live=None,
        mark=mark,
        stored=replace(found.stored, mark=mark),
    )


def _reason(story: Story) -> Reason | None:
    return story.plan().statuses[guest("a").name].changes[0].reason


def test_a_guest_that_runs_twice_is_left_to_a_person() -> None:
    story, found = _made()
    _put(story, found)
    assert not story.plan().steps
    change = story.plan().statuses[guest("a").name].changes[0]
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.CONFLICT)


def test_a_running_copy_is_home_whatever_its_generation() -> None:
    story, found = _made()
    home = story.host_of("a").name
    _put(story, _off(found, generation=9))
    outcome = story.plan()
    assert not outcome.steps
    assert outcome.statuses[guest("a").name].host == home


def test_of_stopped_copies_the_highest_generation_is_home() -> None:
    story, found = _made()
    home = story.host_of("a").name
    _put(story, _off(found, generation=9))
    story.hosts[home].stage(
        lambda seen: replace(seen, guests={found.uuid: _off(found, generation=8)})
    )
    assert story.plan().statuses[guest("a").name].host != home
    story.hosts[home].stage(
        lambda seen: replace(seen, guests={found.uuid: _off(found, generation=9)})
    )
    assert _reason(story) is Reason.CONFLICT


@pytest.mark.parametrize(
    ("name", "uuid", "reason"),
    [("a", "other", Reason.FOREIGN), ("other", "a", Reason.CONFLICT)],
)
def test_a_name_or_uuid_that_somebody_else_has_is_not_taken(
    name: str, uuid: str, reason: Reason
) -> None:
    stranger = replace(foreigner(name), uuid=identity(uuid))
    story = Story.of(desired(guest("a")), host(HOSTS[0], stranger), host(HOSTS[1]))
    assert not story.plan().steps
    assert _reason(story) is reason


def test_a_copied_mark_is_reported_as_foreign() -> None:
    story, found = _made()
    twin = replace(_off(found, generation=1), uuid=identity("copy"))
    _put(story, twin)
    outcome = story.plan()
    assert not outcome.steps
    assert ["copy of the mark" in one.message for one in outcome.foreign] == [True]


def test_a_mark_of_another_repository_is_not_ours() -> None:
    story, found = _made()
    assert found.mark is not None
    theirs = replace(found.mark, owner=identity("another repository"))
    story.stage("a", mark=theirs)
    story.arrive(desired())
    assert not story.plan().steps
    assert not story.plan().statuses


def test_an_unreadable_mark_is_reported() -> None:
    story, _ = _made()
    story.stage("a", mark=None, mark_problem="no phase")
    assert [one.message for one in story.plan().foreign] == ["its mark cannot be read: no phase"]
    assert not story.plan().steps


@pytest.mark.parametrize(
    ("state", "pool", "seen", "touched", "made"),
    [
        (HostState.ACTIVE, MAIN, -1, False, True),
        (HostState.ACTIVE, MAIN, 1, False, False),
        (HostState.ACTIVE, MAIN, None, False, False),
        (HostState.ACTIVE, MAIN, -1, True, False),
        (HostState.ACTIVE, SIDE, 1, False, True),
        (HostState.ACTIVE, SIDE, 1, True, False),
        (HostState.RETIRED, MAIN, 1, True, True),
        (HostState.FENCED, MAIN, 1, True, True),
        (HostState.DRAINED, MAIN, 1, False, False),
    ],
)
def test_a_silent_host_counts_unless_the_guest_is_proven_not_to_be_there(
    *,
    state: HostState,
    pool: str,
    seen: int | None,
    touched: bool,
    made: bool,
) -> None:
    """Proof is an answer before the guest's first commit, another pool, or its retirement."""
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    silent = replace(
        story.desired.hosts[HOSTS[1]],
        state=state,
        pool=story.desired.pools[pool].name,  # type: ignore[index]
    )
    hosts = {**story.desired.hosts, silent.name: silent}
    story.desired = replace(story.desired, hosts=hosts)
    story.silent = {silent.name}
    history = GuestHistory(
        first_seen=story.now,
        pools=frozenset({MAIN}),
        touched=frozenset({silent.name} if touched else ()),
    )
    answered = {} if seen is None else {silent.name: story.now + timedelta(hours=seen)}
    story.memory = replace(story.memory, guests={guest("a").name: history}, last_complete=answered)
    assert bool(story.plan().steps) is made


def _fence(story: Story, name: HostName) -> None:
    there = replace(story.desired.hosts[name], state=HostState.FENCED)
    story.desired = replace(story.desired, hosts={**story.desired.hosts, name: there})


def test_a_stopped_copy_on_a_fenced_host_is_a_leftover_whatever_its_generation() -> None:
    story, found = _made()
    _put(story, _off(found, generation=9))
    home = story.host_of("a").name
    other = next(name for name in HOSTS[:2] if name != home)
    _fence(story, other)
    outcome = story.plan()
    assert (outcome.steps, outcome.statuses[guest("a").name].host) == ((), home)
    [left] = outcome.foreign
    assert (left.host, left.name) == (other, "a")
    assert "a stopped copy of a is left" in left.message
    story.hosts[home].stage_stop(found.uuid, StateReason.CRASHED)
    story.passes()
    assert story.hosts[home].observe().guests[found.uuid].active
    assert not story.hosts[other].observe().guests[found.uuid].active


def test_one_that_runs_on_a_fenced_host_too_is_a_conflict_that_names_it() -> None:
    story, found = _made()
    _put(story, found)
    other = next(name for name in HOSTS[:2] if name != story.host_of("a").name)
    _fence(story, other)
    outcome = story.plan()
    change = outcome.statuses[guest("a").name].changes[0]
    assert (outcome.steps, change.fate, change.reason) == ((), Fate.REFUSED, Reason.CONFLICT)
    assert f"{other} (declared fenced)" in change.message
    assert "a running copy of a is left" in outcome.foreign[0].message


@pytest.mark.parametrize("runs", [True, False])
def test_a_guest_that_is_seen_on_a_fenced_host_alone_is_not_made_again(*, runs: bool) -> None:
    """Its disks are there; a second one would be new and empty."""
    story, found = _made()
    home = story.host_of("a")
    if not runs:
        home.stage_stop(found.uuid, StateReason.CRASHED)
    _fence(story, home.name)
    assert not [one for one in story.passes() if one.steps]
    change = story.plan().statuses[guest("a").name].changes[0]
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.HOST_FENCED)
    assert ("it runs" if runs else "stopped") in change.message
    assert not story.plan().foreign


def test_a_domain_on_a_fenced_host_is_not_adopted() -> None:
    story = Story.of(desired(adopting()), host(HOSTS[0], foreigner()), host(HOSTS[1]))
    _fence(story, HOSTS[0])
    assert not story.plan().steps
    assert story.plan().statuses[adopting().name].changes[0].reason is Reason.HOST_FENCED


def test_nothing_is_placed_on_a_fenced_host() -> None:
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    for name in HOSTS[:2]:
        _fence(story, name)
    change = story.plan().statuses[guest("a").name].changes[0]
    assert change.reason is Reason.NO_PLACE
    assert change.message == "h1 is fenced; h2 is fenced"


@pytest.mark.parametrize(
    ("pool", "touched", "known", "made"),
    [
        (MAIN, False, True, False),
        (SIDE, False, True, True),
        (SIDE, True, True, False),
        (None, False, True, False),
        (SIDE, False, False, False),
    ],
)
def test_a_host_that_left_counts_unless_the_guest_was_never_in_its_pool(
    *,
    pool: str | None,
    touched: bool,
    known: bool,
    made: bool,
) -> None:
    story = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    gone = DepartedHost(name=HOSTS[2], pool=story.desired.pools[pool].name if pool else None)  # type: ignore[index]
    history = GuestHistory(
        first_seen=story.now,
        pools=frozenset({MAIN}),
        touched=frozenset({gone.name} if touched else ()),
    )
    story.memory = replace(
        story.memory,
        departed=(gone,),
        guests={guest("a").name: history} if known else {},
    )
    assert bool(story.plan().steps) is made
