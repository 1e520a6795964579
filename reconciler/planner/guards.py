"""Guards: reasons to leave a guest alone altogether, the gravest first."""

from __future__ import annotations

from reconciler.model.mark import OperationKind
from reconciler.model.observed import RunState, StateReason
from reconciler.model.plan import (
    Fate,
    Reason,
)
from reconciler.planner.case import Block, Case
from reconciler.planner.differences import Kind
from reconciler.planner.telling import live_differences


def guard(case: Case) -> Block | None:
    """The first reason to leave the guest alone, if there is one."""
    for rule in (_foreign_state, _may_run_elsewhere, _misplaced, _failed_before, _impossible):
        block = rule(case)
        if block is not None:
            return block
    return None


def _foreign_state(case: Case) -> Block | None:
    """What a person or another tool does to the guest is reported and not touched."""
    guest = case.guest
    if guest.managed_save:
        return Block(
            reason=Reason.SAVED,
            message="its memory is saved on disk; start it, or remove the managed save, by hand",
        )
    if guest.state in (RunState.PAUSED, RunState.SUSPENDED):
        why = {
            StateReason.IO_ERROR: "an I/O error paused it; look at its storage, then resume it",
            StateReason.USER: "somebody paused it; resume it when done",
        }.get(guest.reason, f"it is {guest.state} ({guest.reason})")
        return Block(reason=Reason.PAUSED, message=why)
    if guest.job is not None:
        return Block(reason=Reason.BUSY, message=f"somebody's {guest.job} is running on it")
    return None


def _may_run_elsewhere(case: Case) -> Block | None:
    if not case.elsewhere:
        return None
    return Block(
        reason=Reason.HOST_UNKNOWN,
        message=f"it is stopped here but could run elsewhere: {case.elsewhere}",
    )


def _misplaced(case: Case) -> Block | None:
    pinned = case.desired.host
    manifest = case.world.hosts.get(case.host.name)
    wrong_pool = manifest is not None and manifest.pool != case.desired.pool
    if (pinned is None or pinned == case.host.name) and not wrong_pool:
        return None
    return Block(
        reason=Reason.PINNED_ELSEWHERE,
        message=f"it is on {case.host.name}, its manifest wants"
        f" {pinned or 'pool ' + case.desired.pool}; moving guests is not built yet",
        fate=Fate.REFUSED,
    )


def _failed_before(case: Case) -> Block | None:
    failure = case.memory.failures.get(case.desired.name)
    if failure is None or failure.optional or failure.intent != case.desired.intent:
        return None
    if failure.stalled:
        return Block(reason=Reason.STALLED, message=failure.message, fate=Fate.REFUSED)
    if case.now < failure.retry_at:
        return Block(reason=_failure_reason(case), message=failure.message, until=failure.retry_at)
    return None


def _failure_reason(case: Case) -> Reason:
    """A balloon that did not follow, or a guest that ignores its shutdown, has its own reason."""
    live = case.guest.live
    if case.operation in (OperationKind.STOP, OperationKind.RESTART) and live is not None:
        return Reason.IGNORES_SHUTDOWN
    if live is not None:
        kinds = {difference.kind for difference, label in live_differences(case, live)}
        if Kind.MEMORY_SIZE in kinds:
            return Reason.BALLOON_NOT_FOLLOWED
    return Reason.BACKOFF


def _impossible(case: Case) -> Block | None:
    if not case.wanted.blocked:
        return None
    refusal = case.wanted.refusals[-1]
    return Block(
        reason=refusal.reason or Reason.CONFLICT, message=refusal.message, fate=Fate.REFUSED
    )
