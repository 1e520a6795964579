"""Rules on snapshots: take what the manifest names, and let go on what taking one held still."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.definition import (
    DiskDevice,
    DiskFormat,
    FileSource,
    Firmware,
    FirmwareBoot,
    VolumeSource,
)
from reconciler.model.mark import OperationKind, Phase
from reconciler.model.observed import StateReason
from reconciler.model.plan import Fate, Label, Reason
from reconciler.model.steps import CreateSnapshot, ResumeGuest, SetMark
from reconciler.planner import words
from reconciler.planner.case import Block, Move, On
from reconciler.planner.disks import refusal_of
from reconciler.planner.seeds import done_at
from reconciler.planner.snapshots import is_ours
from reconciler.planner.stopping import operation_mark
from reconciler.planner.telling import blocked_by, field_change

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.model.definition import Disk, GuestDefinition
    from reconciler.model.desired import DesiredSnapshot
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Failure
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedGuest
    from reconciler.model.plan import Change
    from reconciler.planner.case import Case, Next

_AGENT_PATIENCE = timedelta(minutes=2)
"""How long an agent may take after the guest's start before a snapshot does without it."""

_RESUME_PATIENCE = timedelta(minutes=10)
"""After so long an agent that does not thaw is given up, and the guest is free for other steps."""


def snapshot_changes(case: Case) -> Iterator[Change]:
    """What is not as the manifest names it: to be taken, refused, or let go."""
    if case.wanted.mark.phase is Phase.CREATING:
        return
    seen = {snapshot.name: snapshot for snapshot in case.guest.snapshots}
    for wish in case.desired.snapshots:
        field = f"snapshots[{wish.name}]"
        found = seen.get(wish.name)
        if found is None:
            yield _to_take(case, wish)
        elif not is_ours(found, case.world.repository):
            why = "a snapshot of that name is there and is not ours; choose another name"
            yield refusal_of(case.desired, field, "somebody's", "ours", Reason.CONFLICT, why)
    after = {entry.name: entry for entry in case.wanted.mark.snapshots}
    for entry in case.mark.snapshots:
        new = after.get(entry.name)
        if new is not None and (new.removed is None) != (entry.removed is None):
            before, now = ("named", "let go, kept") if new.removed else ("let go, kept", "named")
            field = f"snapshots[{entry.name}]"
            yield field_change(case.desired, field, before, now, Label.NONE)


def take(case: Case, fields: tuple[Change, ...]) -> Next:
    """Take the next snapshot that can be taken, once the guest is as it shall be: on or off."""
    if case.wanted.mark.phase is Phase.CREATING or case.wants_running != case.guest.active:
        return None
    if case.operation not in (None, OperationKind.STOPPED):
        return None
    by_field = {change.field: change for change in fields}
    for wish in case.desired.snapshots:
        change = by_field.get(f"snapshots[{wish.name}]")
        if change is None or change.label is Label.NONE or change.fate is not Fate.NOW:
            continue
        operation = operation_mark(case.mark, OperationKind.SNAPSHOT, case.now)
        step = CreateSnapshot(
            host=case.host.name,
            guest=case.desired.name,
            uuid=case.guest.uuid,
            name=wish.name,
            quiesced=wish.quiesced,
            mark=replace(case.mark, operation=operation),
        )
        return Move(step=step, changes=(change,), disruptive=case.guest.active)
    return None


def _to_take(case: Case, wish: DesiredSnapshot) -> Change:
    field = f"snapshots[{wish.name}]"
    definition = case.guest.live or case.stored
    obstacle = _obstacle(case, wish, definition)
    if obstacle is not None:
        reason, why = obstacle
        return refusal_of(case.desired, field, "none", "taken", reason, why)
    label = Label.LIVE if case.guest.active else Label.OFFLINE
    change = field_change(case.desired, field, "none", "taken", label)
    block = _failed_before(case) or _seed_is_there(case) or _not_yet(case, wish, definition)
    if block is not None:
        return blocked_by(change, block)
    if case.guest.live is None:
        return change
    memory = words.memory(definition.memory.size_kib)
    return replace(change, message=f"it stands still while its memory ({memory}) is written")


def _failed_before(case: Case) -> Block | None:
    """A snapshot that could not be taken waits alone: the guest's other steps go on."""
    failure = case.memory.failures.get(case.desired.name)
    if failure is None or not failure.optional or failure.intent != case.desired.intent:
        return None
    if failure.stalled:
        return Block(reason=Reason.STALLED, message=failure.message, fate=Fate.REFUSED)
    if case.now < failure.retry_at:
        return Block(reason=Reason.BACKOFF, message=failure.message, until=failure.retry_at)
    return None


def _obstacle(
    case: Case, wish: DesiredSnapshot, definition: GuestDefinition
) -> tuple[Reason, str] | None:
    """Why the guest, as it is, can have no such snapshot."""
    if not case.host.capabilities.snapshots:
        return Reason.NOT_SUPPORTED, f"the hypervisor of {case.host.name} takes no snapshots"
    boot = definition.boot
    if isinstance(boot, FirmwareBoot) and boot.firmware is Firmware.UEFI:
        return Reason.NOT_SUPPORTED, "a guest with UEFI can have no snapshot inside its disks"
    held = [disk for disk in definition.disks if not disk.read_only]
    wrong = [disk for disk in held if _format(disk) is not DiskFormat.QCOW2]
    wrong = [disk for disk in wrong if disk.device is DiskDevice.DISK]
    if wrong:
        disk = wrong[0]
        name = case.wanted.owned.disks.get(disk.target)
        which = f"disk {name} ({disk.target})" if name else f"the disk at {disk.target}"
        why = (
            f"{which} is not qcow2, which a snapshot needs of every writable disk;"
            " a new disk with format: qcow2 can have one, this one cannot be changed"
        )
        return Reason.NOT_SUPPORTED, why
    if not any(disk.device is DiskDevice.DISK for disk in held):
        return Reason.NOT_SUPPORTED, "it has no disk that a snapshot could be inside"
    if wish.quiesced and case.guest.active and not definition.agent:
        why = "it runs without the guest agent, and quiesced: true needs one; write agent: true"
        return Reason.NOT_SUPPORTED, why
    return None


def _format(disk: Disk) -> DiskFormat | None:
    source = disk.source
    return source.format if isinstance(source, VolumeSource | FileSource) else None


def _seed_is_there(case: Case) -> Block | None:
    """A guest goes back to a snapshot with the disks of then, and the seed will be gone."""
    wish = case.desired.cloud_init
    if case.mark.seed is None or (wish is not None and wish.keep):
        return None
    why = "cloud-init's seed is still there, and without it nobody could go back to the snapshot"
    until = done_at(case.guest, case.mark, case.policy, case.now)
    return Block(
        reason=Reason.NOT_QUIESCED,
        message=why,
        until=until if until is not None and until > case.now else None,
    )


def _not_yet(case: Case, wish: DesiredSnapshot, definition: GuestDefinition) -> Block | None:
    """Whether a better snapshot can be had by waiting: an agent that starts is given its time."""
    reason = Reason.NOT_QUIESCED
    if not case.guest.active:
        if not wish.quiesced or case.guest.reason is StateReason.SHUT_DOWN:
            return None
        why = "it was not shut down in good order, and only a quiesced snapshot is wanted"
        return Block(reason=reason, message=why)
    if not definition.agent or case.guest.agent_connected:
        return None
    if wish.quiesced:
        why = "its agent is not there, and only a quiesced snapshot is wanted"
        return Block(reason=reason, message=why)
    until = (case.guest.state_since or case.now) + _AGENT_PATIENCE
    if case.now >= until:
        return None
    why = "its agent is not there yet, and could freeze its file systems"
    return Block(reason=reason, message=why, until=until)


def unfinished(case: Case) -> Next:
    """Before all else, let a guest go on that an interrupted snapshot may have left standing."""
    failure = case.memory.failures.get(case.desired.name)
    change = field_change(case.desired, "state", "held for a snapshot", "going on", Label.HEAL)
    return resumption(case.guest, case.mark, case.host.name, failure, case.now, change)


def resumption(
    guest: ObservedGuest,
    mark: Mark,
    host: HostName,
    failure: Failure | None,
    now: datetime,
    change: Change,
) -> Next:
    """The step that undoes what an interrupted snapshot left; None where none was interrupted."""
    operation = mark.operation
    if operation is None or operation.kind is not OperationKind.SNAPSHOT:
        return None
    if failure is not None and failure.optional:
        failure = None  # that the snapshot failed is no reason to leave the guest standing
    on = On(host=host, guest=mark.guest, uuid=guest.uuid)
    after = replace(mark, operation=None)
    given_up = failure is not None and now >= operation.since + _RESUME_PATIENCE
    if not guest.active or given_up:
        return Move(step=SetMark(**on, mark=after), changes=(change,))
    if failure is not None and now < failure.retry_at:
        return Block(reason=Reason.FROZEN, message=failure.message, until=failure.retry_at)
    return Move(step=ResumeGuest(**on, mark=after), changes=(change,))
