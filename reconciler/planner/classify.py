"""Classify: what one guest whose home is known needs, and its next step (second stage).

One step a guest a pass: the order of the rules below is the order in which a guest is put right, and
each rule looks at what is seen, never at what an earlier pass meant to do.

Note [Two definitions]: a guest has a stored definition, which is the next start's, and a live one.
Stored comes first, so that a guest that stops half way starts as it should; then the live one is
changed where that can be done without a restart; what is left needs a restart.

Note [The operation in the mark]: what domops is about to do to a guest's run state is written into
its mark first, so that after a kill the hosts alone tell a stop that was wished from one that was not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, TypedDict

from reconciler.model.definition import DomainType, VolumeSource
from reconciler.model.desired import Autostart, GuestState, RestartWhen, VolumeDisk
from reconciler.model.mark import Mark, MarkedOperation, OperationKind, Phase, ThenWhat
from reconciler.model.observed import ObservedGuest, RunState, StateReason
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Label,
    PlannedStep,
    Reason,
    Sync,
)
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateVolume,
    DefineGuest,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    SetAutostart,
    SetMark,
    SetMemory,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    Step,
)
from reconciler.planner import words
from reconciler.planner.differences import Difference, Kind, cost, differences
from reconciler.planner.wanted import Existing, Wanted, adds_nothing, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, Target
    from reconciler.model.observed import ObservedHost
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy
    from reconciler.planner.match import Found


class On(TypedDict):
    """What every step names; spread into a step's arguments."""

    host: HostName
    guest: GuestName
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one guest in this pass: its status, and the one step to start, if any."""

    status: GuestStatus
    step: PlannedStep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Why nothing is done to a guest now."""

    reason: Reason
    message: str
    fate: Fate = Fate.WAITING
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the rules look at, for one guest."""

    desired: DesiredGuest
    host: ObservedHost
    guest: ObservedGuest
    stored: GuestDefinition
    mark: Mark
    elsewhere: str
    wanted: Wanted
    world: DesiredWorld
    memory: Memory
    policy: Policy
    now: datetime

    @property
    def wants_running(self) -> bool:
        """Whether the manifest wants it to run."""
        return self.desired.state is GuestState.RUNNING

    @property
    def operation(self) -> OperationKind | None:
        """What the mark says that domops is doing to its run state."""
        return self.mark.operation.kind if self.mark.operation else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The next step of a guest and the changes that it serves."""

    step: Step
    changes: tuple[Change, ...]
    disruptive: bool = False


Next = Move | Block | None


def classify(
    desired: DesiredGuest,
    found: Found,
    world: DesiredWorld,
    *,
    operation: Operation | None,
    memory: Memory,
    policy: Policy,
    now: datetime,
) -> Verdict:
    """Decide what the guest needs next, and tell its status."""
    guest, host = found.guest, found.host
    if guest.stored is None:
        block = Block(
            reason=Reason.TRANSIENT,
            message="it runs without a stored definition and would be gone at power-off;"
            " define it again by hand, or let it stop",
            fate=Fate.REFUSED,
        )
        change = _change(desired, "", guest.state, "defined", Label.STATE, block=block)
        return Verdict(status=_status(desired, found, (change,), operation, None))
    resolved = wanted(
        desired,
        host,
        world,
        memory,
        now,
        Existing(guest=guest, stored=guest.stored, mark=found.mark),
    )
    case = Case(
        desired=desired,
        host=host,
        guest=guest,
        stored=guest.stored,
        mark=found.mark,
        elsewhere=found.elsewhere,
        wanted=resolved,
        world=world,
        memory=memory,
        policy=policy,
        now=now,
    )
    fields = _field_changes(case)
    wishes = (*fields, *_run_state_changes(case))
    blocked = None if operation else _guard(case)
    if operation is not None:
        wishes = tuple(_with_fate(change, Fate.RUNNING) for change in wishes)
        return Verdict(status=_status(desired, found, wishes, operation, case))
    move: Next = blocked if blocked is not None else _next(case, fields)
    if isinstance(move, Block):
        if not any(change.fate is Fate.NOW for change in wishes):
            wishes = (*wishes, _change(desired, "", "", "", Label.STATE, block=move))
        wishes = tuple(_blocked(change, move) for change in wishes)
        move = None
    step = None
    if move is not None:
        changes = move.changes or tuple(change for change in wishes if change.fate is Fate.NOW)
        if not changes:
            changes = (_upkeep(case, move),)
        step = PlannedStep(
            step=move.step,
            pool=desired.pool,
            changes=changes,
            disruptive=move.disruptive,
            commit=world.commit.sha,
        )
        if not any(change.fate is Fate.NOW for change in wishes):
            wishes = (*wishes, *changes)
    return Verdict(status=_status(desired, found, wishes, operation, case), step=step)


# Guards: reasons to leave the guest alone altogether, the gravest first.


def _guard(case: Case) -> Block | None:
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
    if failure is None or failure.intent != case.desired.intent:
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
        kinds = {difference.kind for difference, label in _live_differences(case, live)}
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


# Rules: the first that has something to do says what.


def _next(case: Case, fields: tuple[Change, ...]) -> Next:
    rules: tuple[Callable[[Case, tuple[Change, ...]], Next], ...] = (
        _write_stored,
        _fill_volumes,
        _grow,
        _set_autostart,
        _run,
    )
    for rule in rules:
        step = rule(case, fields)
        if step is not None:
            return step
    return None


def _write_stored(case: Case, fields: tuple[Change, ...]) -> Next:
    """The stored definition and the mark first, see Note [Two definitions]."""
    definition = case.wanted.definition
    mark = case.wanted.mark
    became_ready = mark.phase is Phase.READY and case.mark.phase is not Phase.READY
    if became_ready and case.wants_running:
        mark = replace(mark, operation=operation_mark(case.mark, OperationKind.START, case.now))
    elif case.mark.phase is Phase.TRASH:
        mark = replace(mark, operation=None)
    definition = replace(definition, mark=mark)
    if replace(definition, mark=None) != replace(case.stored, mark=None):
        return Move(
            step=DefineGuest(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                definition=definition,
                replaces=case.guest.stored_digest,
            ),
            changes=tuple(change for change in fields if change.fate is Fate.NOW),
        )
    if adds_nothing(mark, case.mark):
        return None
    return Move(step=_set_mark(case, mark), changes=())


def _fill_volumes(case: Case, _fields: tuple[Change, ...]) -> Next:
    """Make what the mark says is to be made; what an earlier attempt left half made goes first."""
    for entry in case.wanted.unfilled:
        disk = next(
            disk
            for disk in case.desired.disks
            if disk.name == entry.name and isinstance(disk, VolumeDisk)
        )
        if entry.pool is None or entry.volume is None:
            continue
        change = _change(
            case.desired,
            f"disks[{entry.name}]",
            "none",
            words.size(disk.size_bytes),
            Label.CREATE,
        )
        pool = case.host.pools.get(entry.pool)
        if pool is None or not pool.active:
            return Block(
                reason=Reason.NO_PLACE,
                message=f"{case.host.name} has no active storage pool {entry.pool}",
            )
        if entry.volume in pool.volumes:
            return Move(
                step=DiscardVolume(
                    host=case.host.name,
                    guest=case.desired.name,
                    uuid=case.guest.uuid,
                    pool=entry.pool,
                    volume=entry.volume,
                ),
                changes=(change,),
            )
        image = None
        if disk.image is not None:
            storage = case.world.storages[disk.image.storage]
            image = VolumeSource(pool=storage.on(case.host.name), volume=disk.image.volume)
        return Move(
            step=CreateVolume(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                pool=entry.pool,
                volume=entry.volume,
                capacity_bytes=disk.size_bytes,
                format=disk.format,
                image=image,
            ),
            changes=(change,),
        )
    return None


def _grow(case: Case, fields: tuple[Change, ...]) -> Next:
    for disk, entry_target, actual in _sizes(case):
        if disk.size_bytes <= actual:
            continue
        changes = tuple(
            change
            for change in fields
            if change.field == f"disks[{disk.name}].size" and change.fate is Fate.NOW
        )
        if not changes:
            continue
        if case.guest.active:
            step: Step = GrowDisk(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                target=entry_target,
                capacity_bytes=disk.size_bytes,
            )
        else:
            storage = case.world.storages[disk.storage]
            step = GrowVolume(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                pool=storage.on(case.host.name),
                volume=disk.volume,
                capacity_bytes=disk.size_bytes,
            )
        return Move(step=step, changes=changes)
    return None


def _set_autostart(case: Case, _fields: tuple[Change, ...]) -> Next:
    if case.wanted.mark.phase is Phase.CREATING:
        return None
    on = _wants_autostart(case)
    if case.guest.autostart == on:
        return None
    before, after = ("on", "off") if case.guest.autostart else ("off", "on")
    return Move(
        step=SetAutostart(
            host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid, on=on
        ),
        changes=(_change(case.desired, "autostart", before, after, Label.NONE),),
    )


def _wants_autostart(case: Case) -> bool:
    match case.desired.autostart:
        case Autostart.ON:
            return True
        case Autostart.OFF:
            return False
        case Autostart.AUTO:
            storages = [
                case.world.storages[disk.storage]
                for disk in case.desired.disks
                if isinstance(disk, VolumeDisk)
            ]
            local = not any(storage.shared for storage in storages)
            return case.desired.host is not None and local and case.wants_running


def _run(case: Case, fields: tuple[Change, ...]) -> Next:
    if case.wanted.mark.phase is Phase.CREATING:
        return None
    if not case.guest.active:
        return _start(case) if case.wants_running else _settle_stopped(case)
    if not case.wants_running:
        change = _state_change(case, "stopped")
        return stop(case.guest, case.mark, case.host.name, case.now, (change,))
    return _keep_running(case, fields)


def _settle_stopped(case: Case) -> Next:
    """Remember in the mark that the stop was ours, so that a later start need not wait."""
    if case.operation in (None, OperationKind.STOPPED):
        return None
    return Move(
        step=_with_operation(case, OperationKind.STOPPED),
        changes=(_state_change(case, "stopped"),),
    )


def _start(case: Case) -> Next:
    """Start the guest: at once if it was domops that stopped it, else by the reason of its stop."""
    free = case.host.free_memory_kib - _reserve(case)
    needed = case.stored.memory.size_kib
    change = _state_change(case, "running")
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
    if case.operation is not None:
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
    if case.guest.reason in (StateReason.CRASHED, StateReason.FAILED) or (
        case.guest.state is RunState.CRASHED
    ):
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
    by_field = {change.field: change for change in fields}
    restart = []
    refused: Block | None = None
    for difference, label in _live_differences(case, live):
        change = by_field[difference.field]
        if label is Label.RESTART:
            restart.append(change)
            continue
        step = _live_step(case, difference, live)
        if isinstance(step, Block):
            refused = refused or step
            continue
        return Move(step=step, changes=(change,))
    if restart and case.desired.restart is RestartWhen.NOW:
        return stop(
            case.guest,
            case.mark,
            case.host.name,
            case.now,
            tuple(restart),
            kind=OperationKind.RESTART,
        )
    if case.mark.operation is not None:
        return Move(
            step=_set_mark(case, replace(case.mark, operation=None)),
            changes=(_state_change(case, "running"),),
        )
    return refused


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
        case Difference(kind=Kind.DISK_NEW, disk=disk) if disk is not None:
            return AttachDisk(**on, disk=disk)
        case Difference(kind=Kind.DISK_GONE, disk=disk) if disk is not None:
            return DetachDisk(**on, disk=disk)
        case Difference(kind=Kind.DISK_MEDIUM, disk=disk) if disk is not None:
            return ChangeMedium(**on, disk=disk)
        case Difference(kind=Kind.NIC_NEW, nic=nic) if nic is not None:
            return AttachNic(**on, nic=nic)
        case Difference(kind=Kind.NIC_GONE, nic=nic) if nic is not None:
            return DetachNic(**on, nic=nic)
        case Difference(kind=Kind.NIC_NETWORK, nic=nic) if nic is not None:
            return ChangeNic(**on, nic=nic)
        case _:
            message = f"{difference.kind} was labelled live and has no live step"
            raise AssertionError(message)


def _reserve(case: Case) -> int:
    manifest = case.world.hosts.get(case.host.name)
    return manifest.reserve_memory_kib if manifest else 0


# Stopping, for a manifest that says so, for a restart, and for the way into the trash.


def stop(
    guest: ObservedGuest,
    mark: Mark,
    host: HostName,
    now: datetime,
    changes: tuple[Change, ...],
    *,
    kind: OperationKind = OperationKind.STOP,
) -> Move:
    """The next step towards off: say so in the mark, ask, and when it may be, insist."""
    on = On(host=host, guest=mark.guest, uuid=guest.uuid)
    if mark.operation is None or mark.operation.kind is not kind:
        marked = replace(mark, operation=operation_mark(mark, kind, now))
        return Move(step=SetMark(**on, mark=marked), changes=changes)
    deadline = mark.operation.since + timedelta(seconds=mark.shutdown.timeout_s)
    if now >= deadline and mark.shutdown.then is ThenWhat.DESTROY:
        return Move(step=DestroyGuest(**on), changes=changes, disruptive=True)
    left = max(int((deadline - now).total_seconds()), 1)
    timeout = left if now < deadline else mark.shutdown.timeout_s
    return Move(step=ShutDownGuest(**on, timeout_s=timeout), changes=changes, disruptive=True)


def operation_mark(mark: Mark, kind: OperationKind, now: datetime) -> MarkedOperation:
    """An operation to write into ``mark``; its id is derived, since nothing here is random."""
    text = f"{mark.uuid} {kind} {now.isoformat()}"
    return MarkedOperation(
        kind=kind, id=blake2b(text.encode(), digest_size=6).hexdigest(), since=now
    )


def _with_operation(case: Case, kind: OperationKind) -> SetMark:
    marked = replace(case.mark, operation=operation_mark(case.mark, kind, case.now))
    return _set_mark(case, marked)


def _set_mark(case: Case, mark: Mark) -> SetMark:
    return SetMark(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid, mark=mark)


# What is told: changes, in the manifest's words.


def _live_differences(case: Case, live: GuestDefinition) -> Iterator[tuple[Difference, Label]]:
    definition = case.wanted.definition
    for difference in differences(
        definition, live, case.wanted.owned, slack_kib=case.policy.balloon_slack_kib
    ):
        yield difference, cost(difference, definition, live, case.host.capabilities)


def _field_changes(case: Case) -> tuple[Change, ...]:
    """Every field that is not as the manifest wants it, each once, with its cost and fate."""
    changes: dict[str, Change] = {change.field: change for change in case.wanted.refusals}
    live = case.guest.live
    if live is not None:
        for difference, label in _live_differences(case, live):
            changes.setdefault(difference.field, _live_change(case, difference, label))
    for difference in differences(case.wanted.definition, case.stored, case.wanted.owned):
        label = Label.OFFLINE if live is None else Label.NONE
        changes.setdefault(
            difference.field,
            _change(case.desired, difference.field, difference.before, difference.after, label),
        )
    for change in _size_changes(case):
        changes.setdefault(change.field, change)
    for entry in case.wanted.unfilled:
        field = f"disks[{entry.name}]"
        after = f"{entry.target}: {entry.pool}/{entry.volume}"
        changes.setdefault(field, _change(case.desired, field, "none", after, Label.CREATE))
    return tuple(changes.values())


def _live_change(case: Case, difference: Difference, label: Label) -> Change:
    change = _change(case.desired, difference.field, difference.before, difference.after, label)
    if label is not Label.RESTART or case.desired.restart is RestartWhen.NOW:
        return change
    why = {
        RestartWhen.NEVER: "update.restart is never; it takes effect when the guest is restarted",
        RestartWhen.WINDOW: "its pool has no window; it takes effect when the guest is restarted",
    }[case.desired.restart]
    return replace(change, fate=Fate.WAITING, reason=Reason.NEEDS_RESTART, message=why)


def _sizes(case: Case) -> Iterator[tuple[VolumeDisk, Target, int]]:
    """Disks whose size can be told: the wish, the target, and the size that is seen."""
    for disk in case.desired.disks:
        entry = case.wanted.mark.disk(disk.name)
        if not isinstance(disk, VolumeDisk) or entry is None or not entry.filled:
            continue
        actual = case.guest.disk_sizes.get(entry.target)
        if actual is not None and case.stored.disk(entry.target) is not None:
            yield disk, entry.target, actual


def _size_changes(case: Case) -> Iterator[Change]:
    capabilities = case.host.capabilities
    for disk, _target, actual in _sizes(case):
        field = f"disks[{disk.name}].size"
        if disk.size_bytes == actual:
            continue
        label = Label.LIVE if case.guest.active else Label.OFFLINE
        change = _change(
            case.desired, field, words.size(actual), words.size(disk.size_bytes), label
        )
        if disk.size_bytes < actual:
            message = (
                f"disks never shrink; it stays at {words.size(actual)}."
                " To make it smaller, add a new disk and move the data"
            )
            refused = Block(reason=Reason.NEVER_SHRINKS, message=message, fate=Fate.REFUSED)
            yield replace(_blocked(change, refused), label=Label.REFUSED)
            continue
        possible = (
            capabilities.grow_running_disk
            if case.guest.active
            else capabilities.grow_stopped_volume
        )
        if not possible:
            when = "while its guest runs" if case.guest.active else "here"
            change = _blocked(
                change,
                Block(
                    reason=Reason.NOT_SUPPORTED,
                    message=f"{case.host.name} cannot grow a disk {when}",
                    fate=Fate.REFUSED,
                ),
            )
        yield change


def _run_state_changes(case: Case) -> Iterator[Change]:
    if case.mark.phase is Phase.TRASH:
        yield _change(case.desired, "", "in the trash", "restored", Label.CREATE)
    if case.mark.phase is Phase.CREATING:
        yield _change(case.desired, "", "half made", "ready", Label.CREATE)
    if case.wants_running and not case.guest.active:
        yield _state_change(case, "running")
    if not case.wants_running and case.guest.active:
        yield _state_change(case, "stopped")


def _state_change(case: Case, after: str) -> Change:
    return _change(case.desired, "state", case.guest.state, after, Label.STATE)


def _upkeep(case: Case, move: Move) -> Change:
    what = type(move.step).__name__
    return _change(case.desired, "mark", "", f"brought up to date ({what})", Label.NONE)


def _change(
    guest: DesiredGuest,
    field: str,
    before: str,
    after: str,
    label: Label,
    *,
    block: Block | None = None,
) -> Change:
    change = Change(
        guest=guest.name,
        field=field,
        before=before,
        after=after,
        label=label,
        fate=Fate.NOW,
        origin=guest.where(f"spec.{field}") if field else guest.origin,
    )
    return change if block is None else _blocked(change, block)


def _blocked(change: Change, block: Block) -> Change:
    """The change, kept back by ``block`` unless something else keeps it back already."""
    if change.fate is not Fate.NOW:
        return change
    return replace(
        change, fate=block.fate, reason=block.reason, message=block.message, until=block.until
    )


def _with_fate(change: Change, fate: Fate) -> Change:
    return replace(change, fate=fate) if change.fate is Fate.NOW else change


def _status(
    desired: DesiredGuest,
    found: Found,
    changes: tuple[Change, ...],
    operation: Operation | None,
    case: Case | None,
) -> GuestStatus:
    guest = found.guest
    stored = live = Sync.YES
    if case is not None:
        owned = case.wanted.owned
        if differences(case.wanted.definition, case.stored, owned) or case.wanted.unfilled:
            stored = Sync.NO
        if guest.live is not None and any(True for _ in _live_differences(case, guest.live)):
            live = Sync.NO
        if any(change.label is Label.REFUSED for change in changes):
            stored = Sync.NO
        if any(disk.size_bytes > actual for disk, _target, actual in _sizes(case)):
            stored = Sync.NO
    wants_running = desired.state is GuestState.RUNNING
    up = guest.state is RunState.RUNNING
    return GuestStatus(
        guest=desired.name,
        host=found.host.name,
        type=guest.stored.type if guest.stored else "",
        state=guest.state,
        stored=stored,
        live=live,
        healthy=Health.YES if up == wants_running else Health.NO,
        operation=type(operation.step).__name__ if operation else None,
        phase=found.mark.phase,
        changes=changes,
    )
