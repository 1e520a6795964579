"""The stages, one after the other, and the limits that hold across guests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.desired import PoolMode
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Label,
    Plan,
    Reason,
    Sync,
)
from reconciler.model.steps import ResumeGuest
from reconciler.planner.adoption import adopt, nothing_to_adopt
from reconciler.planner.budget import NO_RULINGS, rule
from reconciler.planner.case import Ground, Verdict
from reconciler.planner.classify import classify
from reconciler.planner.expiring import asked, expire, expiries
from reconciler.planner.fencing import binding
from reconciler.planner.match import Adoptable, Found, Missing, Unclear, index_of, match
from reconciler.planner.memo import Inputs, Memo, busy
from reconciler.planner.order import Around, order
from reconciler.planner.placement import Placing
from reconciler.planner.pools import is_off, keep_to_windows, switched_off
from reconciler.planner.returning import Returned
from reconciler.planner.suspending import Grounds, concerned, suspend
from reconciler.planner.trash import deletions, dismiss, emptyings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld, Origin
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy
    from reconciler.model.steps import Step
    from reconciler.planner.budget import Rulings
    from reconciler.planner.match import Index, Match, Matching


def plan(
    desired: DesiredWorld,
    observed: ObservedWorld,
    *,
    operations: tuple[Operation, ...],
    memory: Memory,
    policy: Policy,
    now: datetime,
    memo: Memo | None = None,
) -> Plan:
    """Say what to start now, what is held, and how every guest stands.

    ``memo`` saves work and changes nothing, see Note [Memo].
    """
    inputs = Inputs(
        desired=desired,
        observed=observed,
        operations=binding(operations, desired),
        memory=memory,
        policy=policy,
    )
    memo = memo if memo is not None else Memo()
    known = memo.same_plan(inputs, now)
    if known is not None:
        return known
    outcome = _plan(inputs, memo, now)
    memo.keep_plan(inputs, outcome, now)
    return outcome


def _plan(inputs: Inputs, memo: Memo, now: datetime) -> Plan:
    desired, observed, policy = inputs.desired, inputs.observed, inputs.policy
    under_way = _under_way(inputs)
    index = index_of(
        desired,
        observed,
        operations=inputs.operations,
        memory=inputs.memory,
        parts=memo.parts,
    )
    verdicts = memo.quiet(inputs, index, busy(under_way, inputs.memory), now)
    quiet = frozenset(verdicts)
    matching = match(desired, observed, memory=inputs.memory, index=index, settled=quiet)
    missing: list[GuestName] = []
    orphans = {name: one for name, one in matching.orphans.items() if isinstance(one, Found)}
    returned = Returned(inputs, now)
    for name, outcome in matching.guests.items():
        guest = desired.guests[name]
        match outcome:
            case Found() if returned.stays_away(guest, outcome):
                orphans[name] = outcome
            case Found():
                verdict = _classified(name, outcome, inputs, under_way, now)
                if name not in under_way and len(index.owned.get(name, ())) == 1:
                    copy = index.owned[name][0]
                    verdict = memo.keep_quiet(guest, outcome, copy, verdict, now)
                verdicts[name] = verdict
            case Adoptable():
                verdicts[name] = adopt(
                    guest,
                    outcome,
                    desired,
                    operation=under_way.get(name),
                    memory=inputs.memory,
                    policy=policy,
                    now=now,
                )
            case Missing() if guest.adopt and name not in under_way:
                verdicts[name] = nothing_to_adopt(guest)
            case Missing() if returned.is_mourned(guest) and name not in under_way:
                verdicts[name] = returned.emptied(guest)
            case Missing():
                missing.append(name)
            case Unclear():
                verdicts[name] = _unclear(name, outcome, guest.origin)
    verdicts.update(_place(missing, desired, observed, under_way, inputs.memory, now))
    ground = Ground(world=desired, observed=observed, memory=inputs.memory, now=now)
    asking = {
        name: one
        for name, one in matching.guests.items()
        if isinstance(one, Found) and name in verdicts and verdicts[name].asked
    }
    due = expiries(matching.guests, verdicts, under_way, ground)
    rulings = rule(
        (
            *(one for name in asking for one in verdicts[name].asked),
            *deletions(orphans, desired, under_way),
            *emptyings(orphans, ground, under_way, spared=returned.spared),
            *asked(due, ground),
        ),
        index,
        ground,
        operations=inputs.operations,
        policy=policy,
    )
    verdicts.update(
        {
            name: _classified(name, one, inputs, under_way, now, rulings)
            for name, one in asking.items()
        }
    )
    verdicts.update(
        returned.told(
            dismiss(
                orphans,
                ground,
                rulings,
                operations=under_way,
                spared=returned.spared,
                approvals=policy.approvals | desired.approvals,
            )
        )
    )
    verdicts.update(expire(due, verdicts, rulings, ground))
    verdicts.update(
        {
            name: _unclear(name, outcome, None)
            for name, outcome in matching.orphans.items()
            if isinstance(outcome, Unclear)
        }
    )
    off = switched_off(verdicts, desired)
    verdicts.update(off)
    verdicts.update(keep_to_windows(verdicts, desired, now))
    suspended = _suspended(verdicts, quiet, matching, index, inputs, now)
    verdicts.update(suspended)
    # All there is to say is said of these.
    loud = sorted((verdicts.keys() - quiet) | suspended.keys() | off.keys())
    stirred = {
        name: verdict
        for name in loud
        if (verdict := verdicts[name]).step is not None or name in inputs.memory.waits
    }
    ordered = order(
        stirred,
        Around(
            matches={**matching.guests, **_found_quiet(stirred, quiet, index, desired)},
            desired=desired,
            memory=inputs.memory,
            policy=policy,
            now=now,
        ),
    )
    verdicts.update(ordered.verdicts)
    stepping = _in_turn(
        {name: one for name, one in ordered.verdicts.items() if one.step is not None},
        inputs.memory,
    )
    verdicts.update(_limit(stepping, desired, inputs.operations, policy))
    statuses = {name: verdicts[name].status for name in sorted(verdicts)}
    return Plan(
        steps=tuple(step for name in stepping if (step := verdicts[name].step)),
        held=tuple(one for one in rulings.held if not is_off(one.pool, desired)),
        foreign=matching.foreign,
        statuses=statuses,
        wake_at=_wake_at((statuses[name] for name in loud), now),
        waits=ordered.waits,
        ports=ordered.ports,
    )


def _under_way(inputs: Inputs) -> dict[GuestName, Operation]:
    """The operations, by what their guests are called now."""
    under_way = {operation.guest: operation for operation in inputs.operations}
    if not under_way:
        return {}
    for guest in inputs.desired.guests.values():
        if guest.former is not None and guest.former in under_way:
            under_way.setdefault(guest.name, under_way[guest.former])
    return under_way


def _suspended(
    verdicts: Mapping[GuestName, Verdict],
    quiet: frozenset[GuestName],
    matching: Matching,
    index: Index,
    inputs: Inputs,
    now: datetime,
) -> dict[GuestName, Verdict]:
    """The verdicts that a suspension makes others."""
    grounds = Grounds(
        matches={**matching.orphans, **matching.guests},
        quiet={},
        marked=frozenset(index.suspended),
        desired=inputs.desired,
        memory=inputs.memory,
        policy=inputs.policy,
        now=now,
    )
    copies = {
        name: index.owned[name][0] for name in concerned(verdicts.keys(), grounds) if name in quiet
    }
    found = {
        name: Found(host=copy.host, guest=copy.guest, mark=copy.mark)
        for name, copy in copies.items()
    }
    return suspend(verdicts, replace(grounds, quiet=found))


def _classified(
    name: GuestName,
    found: Found,
    inputs: Inputs,
    under_way: Mapping[GuestName, Operation],
    now: datetime,
    rulings: Rulings = NO_RULINGS,
) -> Verdict:
    """What the guest needs next, with what was ruled of what it asked for."""
    return classify(
        inputs.desired.guests[name],
        found,
        inputs.desired,
        operation=under_way.get(name),
        memory=inputs.memory,
        policy=inputs.policy,
        now=now,
        rulings=rulings,
    )


def _found_quiet(
    stirred: Mapping[GuestName, Verdict],
    quiet: frozenset[GuestName],
    index: Index,
    desired: DesiredWorld,
) -> dict[GuestName, Match]:
    """Where the quiet guests are that others wait for."""
    needed = {
        entry.guest
        for name in stirred
        if name in desired.guests
        for entry in desired.guests[name].start_after
    }
    copies = {name: index.owned[name][0] for name in (needed | stirred.keys()) & quiet}
    return {
        name: Found(host=copy.host, guest=copy.guest, mark=copy.mark)
        for name, copy in copies.items()
    }


def _place(
    missing: list[GuestName],
    desired: DesiredWorld,
    observed: ObservedWorld,
    under_way: Mapping[GuestName, Operation],
    memory: Memory,
    now: datetime,
) -> dict[GuestName, Verdict]:
    taken: Counter[HostName] = Counter()
    for operation in under_way.values():
        taken[operation.host] += operation.memory_kib
    placing = Placing(desired, observed, taken_kib=taken, memory=memory, now=now)
    verdicts: dict[GuestName, Verdict] = {}
    for name in sorted(missing):
        if name in under_way:
            verdicts[name] = _being_made(name, under_way[name], desired.guests[name].origin)
        else:
            verdicts[name] = placing.place(desired.guests[name])
    return verdicts


def _being_made(name: GuestName, operation: Operation, origin: Origin) -> Verdict:
    change = Change(
        guest=name,
        field="",
        before="missing",
        after=f"on {operation.host}",
        label=Label.CREATE,
        fate=Fate.RUNNING,
        reason=Reason.OPERATION_RUNNING,
        origin=origin,
    )
    status = GuestStatus(
        guest=name,
        host=operation.host,
        type="",
        state="missing",
        stored=Sync.NO,
        live=Sync.NO,
        healthy=Health.NO,
        operation=type(operation.step).__name__,
        phase=None,
        changes=(change,),
    )
    return Verdict(status=status)


def _unclear(name: GuestName, outcome: Unclear, origin: Origin | None) -> Verdict:
    conflict = outcome.reason in (Reason.CONFLICT, Reason.FOREIGN)
    change = Change(
        guest=name,
        field="",
        before="unknown",
        after="",
        label=Label.NONE,
        fate=Fate.REFUSED if conflict else Fate.WAITING,
        reason=outcome.reason,
        message=outcome.message,
        origin=origin,
    )
    status = GuestStatus(
        guest=name,
        host=outcome.host,
        type="",
        state="unknown",
        stored=Sync.UNKNOWN,
        live=Sync.UNKNOWN,
        healthy=Health.UNKNOWN,
        operation=None,
        phase=None,
        changes=(change,),
    )
    return Verdict(status=status)


def _in_turn(verdicts: Mapping[GuestName, Verdict], memory: Memory) -> Mapping[GuestName, Verdict]:
    """What the newest commits changed goes first; behind it the many that a start has to do."""
    if not memory.changed:
        return verdicts
    newest = sorted(
        (name for name in verdicts if name in memory.changed),
        key=lambda name: memory.changed[name],
        reverse=True,
    )
    return {name: verdicts[name] for name in (*newest, *verdicts)}


def _limit(
    verdicts: Mapping[GuestName, Verdict],
    desired: DesiredWorld,
    operations: tuple[Operation, ...],
    policy: Policy,
) -> dict[GuestName, Verdict]:
    """Take back the steps that may not begin now, each with its reason, in the order given."""
    room: Counter[HostName] = Counter()
    for operation in operations:
        room[operation.host] += 1
    limited: dict[GuestName, Verdict] = {}
    for name, verdict in verdicts.items():
        step = verdict.step
        if step is None:
            continue
        if not (policy.enforce or _enforced(step.pool, desired) or _undoes(step.step)):
            message = f"pool {step.pool} is in mode warn; domops apply does it when asked"
            limited[name] = _taken_back(verdict, Fate.HELD, Reason.WARN_MODE, message)
        elif room[step.step.host] >= policy.steps_per_host:
            message = f"its turn comes: {step.step.host} is given {_steps(policy)} at a time"
            limited[name] = _taken_back(verdict, Fate.WAITING, Reason.ORDER, message)
        else:
            room[step.step.host] += 1
            limited[name] = verdict
    return limited


def _steps(policy: Policy) -> str:
    return "one step" if policy.steps_per_host == 1 else f"{policy.steps_per_host} steps"


def _undoes(step: Step) -> bool:
    """Whether the step only takes back what domops itself did: no mode keeps a guest frozen."""
    return isinstance(step, ResumeGuest)


def _enforced(pool: PoolName | None, desired: DesiredWorld) -> bool:
    manifest = desired.pools.get(pool) if pool is not None else None
    return manifest is not None and manifest.mode is PoolMode.ENFORCE


def _taken_back(verdict: Verdict, fate: Fate, reason: Reason, message: str) -> Verdict:
    changes = tuple(
        replace(change, fate=fate, reason=reason, message=message)
        if change.fate is Fate.NOW
        else change
        for change in verdict.status.changes
    )
    return Verdict(status=replace(verdict.status, changes=changes))


def _wake_at(statuses: Iterable[GuestStatus], now: datetime) -> datetime | None:
    instants = (
        until
        for status in statuses
        for until in (
            *(change.until for change in status.changes),
            *(one.until for one in status.suspended),
        )
        if until is not None and until > now
    )
    return min(instants, default=None)
