"""Deletion: into the trash, kept there, and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.model.mark import OperationKind, Phase
from reconciler.model.names import HostName, Sha
from reconciler.model.observed import RunState, StateReason
from reconciler.model.plan import Fate, Plan, Reason
from reconciler.planner import plan
from reconciler.planner.budget import deletion, plan_id
from tests.strategies.worlds import HOSTS, MAIN, START, Story, desired, guest, host


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _deleted(**fields: object) -> tuple[Story, list[str]]:
    story = Story.of(desired(guest("a", **fields), hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(hosts={HOSTS[0]: MAIN}, sha="gone"))
    return story, _steps(story.passes())


def test_a_deleted_guest_is_marked_first_then_never_autostarted_then_shut_down_and_kept() -> None:
    story, steps = _deleted(host=HOSTS[0])
    assert steps == ["SetMark", "SetAutostart", "ShutDownGuest", "SetMark"]
    found = story.find("a")
    assert not found.active
    assert not found.autostart
    assert found.stored is not None
    assert found.stored.disks
    mark = found.mark
    assert mark is not None
    assert mark.phase is Phase.TRASH
    assert mark.trash is not None
    assert mark.trash.commit == "gone"
    assert mark.trash.until - mark.trash.since == timedelta(days=30)
    assert mark.operation is not None
    assert mark.operation.kind is OperationKind.STOPPED
    story.now += timedelta(days=60)
    assert not _steps(story.passes())


def test_a_revert_brings_it_back_with_its_volumes_and_starts_it_at_once() -> None:
    story, _ = _deleted()
    before = story.find("a").disk_sizes
    begin = story.now
    story.arrive(desired(guest("a"), hosts={HOSTS[0]: MAIN}))
    assert _steps(story.passes()) == ["SetMark", "StartGuest", "SetMark"]
    assert story.now - begin < timedelta(seconds=10)
    found = story.find("a")
    assert found.active
    assert found.disk_sizes == before
    assert found.mark is not None
    assert found.mark.phase is Phase.READY
    assert found.mark.trash is None


def test_a_protected_guest_is_not_deleted() -> None:
    story, steps = _deleted(protect=True)
    assert not steps
    change = story.plan().statuses[guest("a").name].changes[0]
    assert (change.fate, change.reason) == (Fate.HELD, Reason.PROTECTED)
    story.arrive(desired(guest("a"), hosts={HOSTS[0]: MAIN}))
    story.passes()
    story.arrive(desired(hosts={HOSTS[0]: MAIN}))
    assert _steps(story.passes())[0] == "SetMark"


def test_only_a_commit_of_its_own_lets_a_protected_guest_go() -> None:
    """Not the command, and no commit that does anything else: a plan id can be known before."""
    story, _ = _deleted(protect=True)
    (held,) = story.plan().held
    assert held.protected
    ids = frozenset({held.plan_id})
    story.policy = replace(story.policy, approvals=ids)
    story.arrive(replace(desired(hosts={HOSTS[0]: MAIN}), approvals=ids))
    assert not story.plan().steps
    story.arrive(replace(desired(hosts={HOSTS[0]: MAIN}), approvals=ids, lifted=ids))
    assert _steps(story.passes())[0] == "SetMark"
    assert story.find("a").mark is not None


def test_a_guest_in_the_trash_that_somebody_starts_is_shut_down_again() -> None:
    story, _ = _deleted()
    found = story.find("a")
    assert found.stored is not None
    story.stage("a", state=RunState.RUNNING, reason=StateReason.BOOTED, live=found.stored)
    assert "ShutDownGuest" in _steps(story.passes())
    assert not story.find("a").active


def test_a_stopped_guest_that_could_run_elsewhere_is_not_deleted() -> None:
    story = Story.of(desired(guest("a"), guest("b")), host(HOSTS[0]), host(HOSTS[1]))
    story.passes()
    home = story.host_of("a")
    home.stage_stop(story.find("a").uuid, StateReason.SHUT_DOWN)
    story.arrive(desired(guest("b")))
    story.silent = {HostName(one) for one in HOSTS[:2] if one != home.name}
    outcome = story.plan()
    assert not outcome.steps
    assert outcome.statuses[guest("a").name].changes[0].reason is Reason.HOST_UNKNOWN


def test_a_guest_on_a_host_that_left_waits_for_a_person() -> None:
    """No budget covers it: the deletion is held."""
    story = Story.of(desired(guest("a"), hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))
    story.passes()
    seen = story.look()
    story.desired = desired(hosts={HOSTS[1]: MAIN})
    outcome = plan(
        story.desired,
        seen,
        operations=(),
        memory=story.memory,
        policy=story.policy,
        now=story.now,
    )
    assert not outcome.steps
    assert [one.pool for one in outcome.held] == [None]


def test_what_others_do_to_a_guest_delays_its_deletion() -> None:
    story = Story.of(desired(guest("a"), hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(hosts={HOSTS[0]: MAIN}))
    story.stage("a", job="backup")
    assert not story.plan().steps
    story.stage("a", job=None)
    assert story.plan().steps


def test_a_plan_id_is_short_and_depends_on_the_intent() -> None:
    story = Story.of(desired(guest("a"), hosts={HOSTS[0]: MAIN}), host(HOSTS[0]))
    story.passes()
    mark = story.find("a").mark
    assert mark is not None
    first = plan_id([deletion(mark)])
    assert len(first) == len("5d1c-90ab-77f0")
    assert plan_id([deletion(replace(mark, commit=Sha("x"), operation=None))]) == first
    other = replace(mark, intent=guest("a", console=False).intent)
    assert plan_id([deletion(other)]) != first
    assert story.now > START
