"""Guests of ours without a manifest: into the trash, gracefully, within the budget, and kept there.

Beginning a deletion is a counted act, and so is beginning to remove a guest from the trash, see
Note [Counted acts].
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from reconciler.model.counted import Asked
from reconciler.model.mark import OperationKind, Phase, Trash
from reconciler.model.observed import RunState
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
from reconciler.model.steps import SetAutostart, SetMark
from reconciler.planner.budget import (
    Kept,
    Passed,
    beginning,
    deletion,
    emptying,
    plan_id,
    pool_of,
)
from reconciler.planner.case import Block, Move, Verdict
from reconciler.planner.emptying import (
    begin,
    emptying_change,
    go_on,
    has_begun,
    is_due,
    obstacle,
)
from reconciler.planner.match import Found, in_trash
from reconciler.planner.snapshotting import resumption
from reconciler.planner.stopping import operation_mark, stop

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, PlanId
    from reconciler.model.operation import Operation
    from reconciler.planner.budget import Rulings
    from reconciler.planner.case import Ground, Next

_KEEP_S = 30 * 86400


def deletions(
    orphans: Mapping[GuestName, Found],
    world: DesiredWorld,
    operations: Mapping[GuestName, Operation],
) -> Iterator[Asked]:
    """Ask for the deletion of every guest without a manifest that is not on its way out yet."""
    for name, found in orphans.items():
        act = deletion(found.mark)
        operation = operations.get(name)
        begun = beginning(operation.step, found.mark, world) if operation is not None else ()
        if in_trash(found) or any(one.act == act for one in begun):
            continue
        protected = _PROTECTED if found.mark.protected else ""
        yield Asked(act=act, pool=pool_of(found.host.name, world), protected=protected)


def emptyings(
    orphans: Mapping[GuestName, Found],
    ground: Ground,
    operations: Mapping[GuestName, Operation],
    *,
    spared: Collection[GuestName],
) -> Iterator[Asked]:
    """Ask to remove every guest whose time in the trash is over, and that nothing holds there.

    What is held is not asked for: it would take the place of others, and for ever.
    """
    for name, found in orphans.items():
        if name in spared or name in operations or not in_trash(found) or found.guest.active:
            continue
        due = is_due(found.mark, ground.memory, ground.now) and not has_begun(found.mark)
        if due and obstacle(found, ground) is None:
            yield Asked(act=emptying(found.mark), pool=pool_of(found.host.name, ground.world))


_PROTECTED = (
    "it is protected; bring its manifest back, lift protect in a commit of its own, then delete it"
)


def dismiss(
    orphans: Mapping[GuestName, Found],
    ground: Ground,
    rulings: Rulings,
    *,
    operations: Mapping[GuestName, Operation],
    approvals: frozenset[PlanId] = frozenset(),
    spared: Collection[GuestName] = (),
) -> dict[GuestName, Verdict]:
    """Decide on every guest of ours that no manifest names; ``spared`` are kept in the trash.

    ``approvals`` may name the removal of one guest, which then need not wait for its time.
    """
    world, memory, now = ground.world, ground.memory, ground.now
    verdicts: dict[GuestName, Verdict] = {}
    for name in sorted(orphans):
        found = orphans[name]
        operation = operations.get(name)
        if operation is not None:
            change = replace(_deletion(found), fate=Fate.RUNNING)
            verdicts[name] = _verdict(found, (change,), operation)
            continue
        going_on = _going_on(found, memory, now)
        block = going_on if isinstance(going_on, Block) else _guard(found, memory, now)
        if isinstance(going_on, Move):
            verdicts[name] = _verdict(found, going_on.changes, move=going_on, world=world)
        elif block is not None:
            verdicts[name] = _kept(found, block)
        elif in_trash(found):
            resting = _keep_in_trash(found, world, now)
            removed = None
            if not resting.status.changes and name not in spared:
                removed = _empty(found, ground, rulings, approvals)
            verdicts[name] = removed or resting
        else:
            verdicts[name] = _begin(found, world, rulings, now)
    return verdicts


def _going_on(found: Found, memory: Memory, now: datetime) -> Next:
    """What an interrupted snapshot held still goes on before the guest is stopped."""
    failure = memory.failures.get(found.mark.guest)
    change = replace(_deletion(found), after="going on, then in the trash")
    return resumption(found.guest, found.mark, found.host.name, failure, now, change)


def _guard(found: Found, memory: Memory, now: datetime) -> Block | None:
    guest = found.guest
    if guest.stored is None:
        return Block(
            reason=Reason.TRANSIENT,
            message="it runs without a stored definition, so it could not be kept",
            fate=Fate.REFUSED,
        )
    if found.elsewhere and not in_trash(found):
        return Block(
            reason=Reason.HOST_UNKNOWN,
            message=f"it is stopped here but could run elsewhere: {found.elsewhere}",
        )
    if guest.managed_save:
        return Block(reason=Reason.SAVED, message="its memory is saved on disk")
    if guest.state in (RunState.PAUSED, RunState.SUSPENDED):
        return Block(reason=Reason.PAUSED, message=f"it is {guest.state} ({guest.reason})")
    if guest.job is not None:
        return Block(reason=Reason.BUSY, message=f"somebody's {guest.job} is running on it")
    return _failed_before(found, memory, now)


def _failed_before(found: Found, memory: Memory, now: datetime) -> Block | None:
    failure = memory.failures.get(found.mark.guest)
    if failure is not None and failure.intent is None:
        if failure.stalled:
            return Block(reason=Reason.STALLED, message=failure.message, fate=Fate.REFUSED)
        if now < failure.retry_at:
            stopping = found.guest.active and in_trash(found)
            reason = Reason.IGNORES_SHUTDOWN if stopping else Reason.BACKOFF
            return Block(reason=reason, message=failure.message, until=failure.retry_at)
    return None


def _keep_in_trash(found: Found, world: DesiredWorld, now: datetime) -> Verdict:
    """A guest in the trash is off and does not start with its host; nothing else happens to it."""
    guest, mark, host = found.guest, found.mark, found.host.name
    change = _deletion(found)
    move: Move | None = None
    if guest.autostart:
        step = SetAutostart(host=host, guest=mark.guest, uuid=guest.uuid, on=False)
        move = Move(step=step, changes=(change,))
    elif guest.active:
        move = stop(guest, mark, host, now, (change,))
    elif mark.operation is not None and mark.operation.kind is not OperationKind.STOPPED:
        marked = replace(mark, operation=operation_mark(mark, OperationKind.STOPPED, now))
        step_ = SetMark(host=host, guest=mark.guest, uuid=guest.uuid, mark=marked)
        move = Move(step=step_, changes=(change,))
    if move is None:
        return _verdict(found, ())
    return _verdict(found, (change,), move=move, world=world)


def _begin(found: Found, world: DesiredWorld, rulings: Rulings, now: datetime) -> Verdict:
    """Begin a deletion that was let through."""
    ruling = rulings.of(deletion(found.mark))
    match ruling:
        case Kept():
            return _kept(found, ruling.block, ruling.plan_id)
        case Passed():
            pool = pool_of(found.host.name, world)
            manifest = world.pools.get(pool) if pool is not None else None
            keep_s = manifest.trash_keep_s if manifest else _KEEP_S
            return _to_trash(found, world, keep_s, ruling.approval, now)
        case _:
            assert_never(ruling)


def _empty(
    found: Found, ground: Ground, rulings: Rulings, approvals: frozenset[PlanId]
) -> Verdict | None:
    """Remove for good what has waited long enough, or what a person has let go."""
    mark, act = found.mark, emptying(found.mark)
    begun, approved = has_begun(mark), plan_id([act]) in approvals
    if not (begun or approved or is_due(mark, ground.memory, ground.now)):
        return None
    change = emptying_change(found)
    block = obstacle(found, ground)
    if block is not None:
        return _kept(found, block, None, change)
    if begun:
        return _verdict(found, (change,), move=go_on(found), world=ground.world)
    ruling = Passed() if approved else rulings.of(act)
    match ruling:
        case Kept():
            return _kept(found, ruling.block, plan_id([act]), change)
        case Passed():
            move = begin(found, ground.now)
            verdict = _verdict(found, (change,), move=move, world=ground.world)
            step = verdict.step and replace(verdict.step, counted=(act,))
            return replace(verdict, step=step)
        case _:
            assert_never(ruling)


def _to_trash(
    found: Found, world: DesiredWorld, keep_s: int, approval: PlanId | None, now: datetime
) -> Verdict:
    """Write the phase first: from then on the guest is known to be on its way, whatever happens."""
    mark = replace(
        found.mark,
        phase=Phase.TRASH,
        operation=operation_mark(found.mark, OperationKind.STOP, now)
        if found.guest.active
        else None,
        trash=Trash(
            since=now,
            until=now + timedelta(seconds=keep_s),
            commit=world.commit.sha,
            approval=approval,
        ),
    )
    step = SetMark(host=found.host.name, guest=found.mark.guest, uuid=found.guest.uuid, mark=mark)
    change = _deletion(found)
    move = Move(step=step, changes=(change,), disruptive=True)
    return _verdict(found, (change,), move=move, world=world)


def _deletion(found: Found) -> Change:
    return Change(
        guest=found.mark.guest,
        field="",
        before=found.guest.state,
        after="in the trash",
        label=Label.DELETE,
        fate=Fate.NOW,
        message="its volumes stay; git revert brings it back",
    )


def _kept(
    found: Found, block: Block, plan_id_: PlanId | None = None, change: Change | None = None
) -> Verdict:
    change = replace(
        change or _deletion(found),
        fate=block.fate,
        reason=block.reason,
        message=block.message,
        until=block.until,
        plan_id=plan_id_,
    )
    return _verdict(found, (change,))


def _verdict(
    found: Found,
    changes: tuple[Change, ...],
    operation: Operation | None = None,
    *,
    move: Move | None = None,
    world: DesiredWorld | None = None,
) -> Verdict:
    guest = found.guest
    status = GuestStatus(
        guest=found.mark.guest,
        host=found.host.name,
        type=guest.stored.type if guest.stored else "",
        state=guest.state,
        stored=Sync.NO if changes else Sync.YES,
        live=Sync.YES,
        healthy=Health.NO if guest.active and in_trash(found) else Health.YES,
        operation=type(operation.step).__name__ if operation else None,
        phase=found.mark.phase,
        changes=changes,
    )
    if move is None or world is None:
        return Verdict(status=status)
    step = PlannedStep(
        step=move.step,
        pool=pool_of(found.host.name, world),
        changes=move.changes,
        disruptive=move.disruptive,
        commit=world.commit.sha,
        counted=tuple(one.act for one in beginning(move.step, found.mark, world)),
    )
    return Verdict(status=status, step=step)
