"""Guests of ours without a manifest: into the trash, gracefully, within the budget, and kept there.

Beginning a deletion is the one counted step of this stage. All deletions of a pool that its budget
does not cover are held together, under a plan id that is the digest of what would be done and of
nothing else, so that an approval in a later commit meets it; finished acts carry the id that let
them through in their marks, so that finishing some does not undo the approval of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from reconciler.model.desired import HostState
from reconciler.model.mark import OperationKind, Phase, Trash
from reconciler.model.names import PlanId
from reconciler.model.observed import ObservedHost, RunState
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Held,
    Label,
    PlannedStep,
    Reason,
    Sync,
)
from reconciler.model.steps import SetAutostart, SetMark
from reconciler.planner.case import Block, Move, Verdict
from reconciler.planner.match import Found, in_trash
from reconciler.planner.snapshotting import resumption
from reconciler.planner.stopping import operation_mark, stop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.desired import Budget, DesiredWorld
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy
    from reconciler.planner.case import Next

_DAY = timedelta(hours=24)
_KEEP_S = 30 * 86400
_PERCENT_FROM = 10
"""Below so many guests a percentage means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissals:
    """The verdicts on guests without a manifest, and the deletions that are held."""

    verdicts: Mapping[GuestName, Verdict]
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """The deletions of one pool: those that may begin, all that are asked for, and those done."""

    pool: PoolName | None
    due: Mapping[GuestName, Found]
    asked: list[Mark]
    finished: list[Mark]


def dismiss(
    orphans: Mapping[GuestName, Found],
    world: DesiredWorld,
    observed: ObservedWorld,
    *,
    operations: Mapping[GuestName, Operation],
    memory: Memory,
    policy: Policy,
    now: datetime,
) -> Dismissals:
    """Decide on every guest of ours that no manifest names.

    A deletion that must wait is asked for all the same: it counts against the budget, and in the
    plan id, so that what is in doubt or busy for a while neither frees the way for others nor
    undoes an approval.
    """
    verdicts: dict[GuestName, Verdict] = {}
    due: dict[PoolName | None, dict[GuestName, Found]] = {}
    asked: dict[PoolName | None, list[Mark]] = {}
    finished: dict[PoolName | None, list[Mark]] = {}
    for name in sorted(orphans):
        found = orphans[name]
        pool = _pool(found, world)
        operation = operations.get(name)
        if in_trash(found):
            finished.setdefault(pool, []).append(found.mark)
        elif not found.mark.protected and not _begins(operation):
            asked.setdefault(pool, []).append(found.mark)
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
            verdicts[name] = _keep_in_trash(found, world, now)
        else:
            due.setdefault(pool, {})[name] = found
    for operation in operations.values():
        _count_begun(operation, orphans, world, finished)
    silent = [
        name
        for name, host in sorted(world.hosts.items())
        if host.state is not HostState.RETIRED
        and not isinstance(observed.hosts.get(name), ObservedHost)
    ]
    held: list[Held] = []
    for pool, candidates in due.items():
        approvals = policy.approvals | world.approvals
        wish = _Wish(pool=pool, due=candidates, asked=asked[pool], finished=finished.get(pool, []))
        outcome = _begin(wish, world, approvals, silent, now)
        verdicts.update(outcome.verdicts)
        held.extend(outcome.held)
    return Dismissals(verdicts=verdicts, held=tuple(held))


def _going_on(found: Found, memory: Memory, now: datetime) -> Next:
    """What an interrupted snapshot held still goes on before the guest is stopped."""
    failure = memory.failures.get(found.mark.guest)
    change = replace(_deletion(found), after="going on, then in the trash")
    return resumption(found.guest, found.mark, found.host.name, failure, now, change)


def _begins(operation: Operation | None) -> bool:
    step = operation.step if operation is not None else None
    return isinstance(step, SetMark) and step.mark.phase is Phase.TRASH


def _count_begun(
    operation: Operation,
    orphans: Mapping[GuestName, Found],
    world: DesiredWorld,
    finished: dict[PoolName | None, list[Mark]],
) -> None:
    """A deletion that is being begun counts as begun, though its mark is not seen yet."""
    step = operation.step
    if not isinstance(step, SetMark) or not _begins(operation):
        return
    found = orphans.get(operation.guest)
    if found is not None and in_trash(found):
        return
    manifest = world.hosts.get(operation.host)
    finished.setdefault(manifest.pool if manifest else None, []).append(step.mark)


def allowance(budget: Budget, guests: int) -> int:
    """How many deletions a pool of ``guests`` guests may begin in 24 hours."""
    if guests < _PERCENT_FROM:
        return budget.deletions
    return min(budget.deletions, guests * budget.percent // 100)


def plan_id(marks: list[Mark]) -> PlanId:
    """The digest of the sorted acts: no commit, no host and no time is in it."""
    acts = sorted(f"{mark.guest}\0delete\0{mark.intent}\0" for mark in marks)
    text = blake2b("\n".join(acts).encode(), digest_size=6).hexdigest()
    return PlanId("-".join(text[at : at + 4] for at in range(0, 12, 4)))


def _pool(found: Found, world: DesiredWorld) -> PoolName | None:
    manifest = world.hosts.get(found.host.name)
    return manifest.pool if manifest else None


def _guard(found: Found, memory: Memory, now: datetime) -> Block | None:
    guest = found.guest
    if guest.stored is None:
        return Block(
            reason=Reason.TRANSIENT,
            message="it runs without a stored definition, so it could not be kept",
            fate=Fate.REFUSED,
        )
    if not in_trash(found):
        if found.mark.protected:
            return Block(
                reason=Reason.PROTECTED,
                message="it is protected; lift protect in a commit of its own, then delete it",
                fate=Fate.REFUSED,
            )
        if found.elsewhere:
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


def _begin(
    wish: _Wish,
    world: DesiredWorld,
    approvals: frozenset[PlanId],
    silent: list[HostName],
    now: datetime,
) -> Dismissals:
    pool, due, asked = wish.pool, wish.due, wish.asked
    manifest = world.pools.get(pool) if pool is not None else None
    silent = [name for name in silent if world.hosts[name].pool == pool]
    approval = _approved(asked, wish.finished, approvals)
    begun = sum(1 for mark in wish.finished if mark.trash and now - mark.trash.since < _DAY)
    guests = sum(1 for guest in world.guests.values() if guest.pool == pool)
    allowed = allowance(manifest.budget, guests + len(asked) + begun) if manifest else 0
    if approval is None and (silent or begun + len(asked) > allowed):
        return _hold(wish, _sentence(pool, silent, len(asked), begun, allowed))
    keep = manifest.trash_keep_s if manifest else _KEEP_S
    verdicts = {name: _to_trash(found, world, keep, approval, now) for name, found in due.items()}
    return Dismissals(verdicts=verdicts, held=())


def _approved(
    asked: list[Mark], finished: list[Mark], approvals: frozenset[PlanId]
) -> PlanId | None:
    """The approval that names exactly these acts, counting those that it already let through."""
    for approval in sorted(approvals):
        done = [mark for mark in finished if mark.trash and mark.trash.approval == approval]
        if plan_id(asked + done) == approval:
            return approval
    return None


def _sentence(
    pool: PoolName | None, silent: list[HostName], asked: int, begun: int, allowed: int
) -> str:
    if pool is None:
        return "its host is in no manifest, so no budget covers it"
    if silent:
        return f"budget: what was begun on {', '.join(silent)} cannot be counted, it is silent"
    done = f", {begun} done" if begun else ""
    noun = "deletion" if allowed == 1 else "deletions"
    return f"budget: {allowed} {noun} in 24 h, {asked} asked{done}"


def _hold(wish: _Wish, message: str) -> Dismissals:
    id_ = plan_id(wish.asked)
    block = Block(reason=Reason.BUDGET, message=message, fate=Fate.HELD)
    verdicts = {name: _kept(found, block, id_) for name, found in wish.due.items()}
    guests = tuple(sorted(mark.guest for mark in wish.asked))
    held = Held(plan_id=id_, pool=wish.pool, guests=guests, message=message)
    return Dismissals(verdicts=verdicts, held=(held,))


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


def _kept(found: Found, block: Block, plan_id_: PlanId | None = None) -> Verdict:
    change = replace(
        _deletion(found),
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
        pool=_pool(found, world),
        changes=move.changes,
        disruptive=move.disruptive,
        commit=world.commit.sha,
    )
    return Verdict(status=status, step=step)
