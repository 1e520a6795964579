"""Rules on the run state: start, stop, restart, and change the running definition."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.definition import DomainType
from reconciler.model.mark import Mark, OperationKind, Phase
from reconciler.model.names import FieldName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.options import NO_LIMITS
from reconciler.model.plan import (
    Change,
    Label,
    Reason,
)
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    DetachDisk,
    DetachNic,
    PinVcpus,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    StartGuest,
    Step,
)
from reconciler.planner import words
from reconciler.planner.budget import Passed, needs_ruling, restart_of, with_restart
from reconciler.planner.case import Block, Case, Move, Next, On
from reconciler.planner.differences import Difference, Kind
from reconciler.planner.stopping import operation_mark, stop
from reconciler.planner.telling import live_differences, restart_block, state_change

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition

_WEIGHT, _CAP = FieldName("cpus.weight"), FieldName("cpus.cap")


def run(case: Case, fields: tuple[Change, ...]) -> Next:
    """Run, or stop, or keep running as the manifest wants it."""
    if case.wanted.mark.phase is Phase.CREATING:
        return None
    if not case.guest.active:
        return _start(case) if case.wants_running else _settle_stopped(case)
    if not case.wants_running:
        change = state_change(case, "stopped")
        return stop(case.guest, case.mark, case.host.name, case.now, (change,))
    return _keep_running(case, fields)


def _settle_stopped(case: Case) -> Next:
    """Remember in the mark that the stop was ours, so that a later start need not wait."""
    if case.operation in (None, OperationKind.STOPPED):
        return None
    return Move(
        step=_with_operation(case, OperationKind.STOPPED),
        changes=(state_change(case, "stopped"),),
    )


def _start(case: Case) -> Next:
    """Start the guest: at once if it was domops that stopped it, else by the reason of its stop."""
    free = case.host.free_memory_kib - _reserve(case)
    needed = case.stored.memory.size_kib
    change = state_change(case, "running")
    if needed > free:
        return Block(
            reason=Reason.NO_PLACE,
            message=f"{case.host.name} has {words.memory(max(free, 0))} of memory free,"
            f" {words.memory(needed)} are needed",
        )
    move = Move(
        step=StartGuest(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid),
        changes=(change,),
    )
    crashed = case.guest.state is RunState.CRASHED or case.guest.reason in (
        StateReason.CRASHED,
        StateReason.FAILED,
    )
    if case.operation is not None and not crashed:
        return move
    since = case.guest.state_since or case.now
    settle = (
        case.policy.settle_xen_s
        if case.host.domain_type is DomainType.XEN
        else case.policy.settle_qemu_s
    )
    believed = since + timedelta(seconds=settle)
    if case.now < believed:
        return Block(
            reason=Reason.SETTLING,
            message="it has only just been seen stopped",
            until=believed,
        )
    if crashed:
        return _after_crash(case) or replace(move, changes=(replace(change, label=Label.HEAL),))
    if case.guest.reason is StateReason.UNKNOWN:  # the host was restarted
        return replace(move, changes=(replace(change, label=Label.HEAL),))
    at = since + timedelta(seconds=case.desired.heal_after_s)
    if case.now < at:
        return Block(
            reason=Reason.HEAL_DELAY,
            message=f"it was {case.guest.reason}; it is started again after"
            f" heal.after ({words.span(case.desired.heal_after_s)})",
            until=at,
        )
    return replace(move, changes=(replace(change, label=Label.HEAL),))


def _after_crash(case: Case) -> Block | None:
    """Start again with growing pauses; a guest that keeps crashing needs a person."""
    window = timedelta(seconds=case.policy.crash_window_s)
    crashes = [
        at for at in case.memory.crashes.get(case.desired.name, ()) if case.now - at < window
    ]
    if len(crashes) >= case.policy.crash_limit:
        return Block(
            reason=Reason.CRASH_LOOP,
            message=f"it crashed {len(crashes)} times in {words.span(window.total_seconds())};"
            " look at its console, then commit a change or start it by hand",
            until=crashes[0] + window,
        )
    if len(crashes) <= 1:
        return None
    pause = case.policy.crash_backoff_s * 2 ** (len(crashes) - 1)
    until = crashes[-1] + timedelta(seconds=pause)
    if case.now < until:
        return Block(
            reason=Reason.BACKOFF,
            message=f"it crashed {len(crashes)} times; the next start waits",
            until=until,
        )
    return None


def _keep_running(case: Case, fields: tuple[Change, ...]) -> Next:
    live = case.guest.live
    if live is None:
        return None
    if case.guest.state is RunState.SHUTTING_DOWN:
        return Block(reason=Reason.SHUTTING_DOWN, message="it is shutting down by itself")
    by_field = {change.field: change for change in fields}
    restart = []
    refused: Block | None = None
    for difference, label in live_differences(case, live):
        change = by_field[difference.field]
        if label is Label.RESTART:
            restart.append(change)
            continue
        step = _live_step(case, difference, live)
        if isinstance(step, Block):
            refused = refused or step
            continue
        return Move(step=step, changes=(change,))
    mark = _restarting(case) if restart else None
    if mark is not None:
        return stop(
            case.guest,
            mark,
            case.host.name,
            case.now,
            tuple(restart),
            kind=OperationKind.RESTART,
        )
    if case.mark.operation is not None:
        return Move(
            step=set_mark(case, replace(case.mark, operation=None)),
            changes=(state_change(case, "running"),),
        )
    return refused


def _restarting(case: Case) -> Mark | None:
    """The mark of a guest that is to be restarted, or goes on being; None if it may not."""
    if restart_block(case) is not None:
        return None
    if not needs_ruling(case):
        return case.mark
    ruling = case.rulings.of(restart_of(case))
    return with_restart(case, ruling) if isinstance(ruling, Passed) else None


def _live_step(case: Case, difference: Difference, live: GuestDefinition) -> Step | Block:
    on = On(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid)
    match difference:
        case Difference(kind=Kind.CPU_COUNT):
            return SetVcpus(**on, count=case.wanted.definition.vcpus.count)
        case Difference(kind=Kind.MEMORY_SIZE):
            goal = case.wanted.definition.memory.size_kib
            more = goal - live.memory.size_kib
            free = case.host.free_memory_kib - _reserve(case)
            if more > free:
                return Block(
                    reason=Reason.NO_PLACE,
                    message=f"{case.host.name} has {words.memory(max(free, 0))} of memory free,"
                    f" {words.memory(more)} more are needed",
                )
            return SetMemory(**on, size_kib=goal)
        case Difference(kind=Kind.OPTION):
            return _option_step(case, difference, live)
        case _:
            return _device_step(case, difference)


def _option_step(case: Case, difference: Difference, live: GuestDefinition) -> Step:
    on = On(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid)
    wanted, owned = case.wanted.definition.options, case.wanted.owned.fields
    match difference.field:
        case "cpus.pin":
            return PinVcpus(**on, pin=wanted.pin)
        case "cpus.weight" | "cpus.cap":
            # One call sets both: the one that is not ours is told as the guest has it.
            weight = wanted.weight if _WEIGHT in owned else live.options.weight
            return SetShares(
                **on, weight=weight, cap=wanted.cap if _CAP in owned else live.options.cap
            )
        case _:
            message = f"{difference.field} was labelled live and has no live step"
            raise AssertionError(message)


def _device_step(case: Case, difference: Difference) -> Step:
    on = On(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid)
    match difference:
        case Difference(kind=Kind.DISK_NEW, disk=disk) if disk is not None:
            return AttachDisk(**on, disk=disk)
        case Difference(kind=Kind.DISK_GONE | Kind.SEED_GONE, disk=disk) if disk is not None:
            return DetachDisk(**on, disk=disk)
        case Difference(kind=Kind.DISK_MEDIUM, disk=disk) if disk is not None:
            return ChangeMedium(**on, disk=disk)
        case Difference(kind=Kind.DISK_LIMITS, disk=disk) if disk is not None:
            limits = disk.options.limits or NO_LIMITS
            return SetDiskLimits(**on, target=disk.target, limits=limits)
        case Difference(kind=Kind.NIC_NEW, nic=nic) if nic is not None:
            return AttachNic(**on, nic=nic)
        case Difference(kind=Kind.NIC_GONE, nic=nic) if nic is not None:
            return DetachNic(**on, nic=nic)
        case Difference(kind=Kind.NIC_NETWORK | Kind.NIC_LINK, nic=nic) if nic is not None:
            return ChangeNic(**on, nic=nic)
        case _:
            message = f"{difference.kind} was labelled live and has no live step"
            raise AssertionError(message)


def _reserve(case: Case) -> int:
    manifest = case.world.hosts.get(case.host.name)
    return manifest.reserve_memory_kib if manifest else 0


def _with_operation(case: Case, kind: OperationKind) -> SetMark:
    marked = replace(case.mark, operation=operation_mark(case.mark, kind, case.now))
    return set_mark(case, marked)


def set_mark(case: Case, mark: Mark) -> SetMark:
    """The step that writes ``mark`` and nothing else."""
    return SetMark(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid, mark=mark)
