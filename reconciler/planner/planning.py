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
from reconciler.planner.case import Verdict
from reconciler.planner.classify import classify
from reconciler.planner.match import Found, Missing, Unclear, match
from reconciler.planner.order import Around, order
from reconciler.planner.placement import Placing
from reconciler.planner.trash import dismiss

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld, Origin
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy


def plan(
    desired: DesiredWorld,
    observed: ObservedWorld,
    *,
    operations: tuple[Operation, ...],
    memory: Memory,
    policy: Policy,
    now: datetime,
) -> Plan:
    """Say what to start now, what is held, and how every guest stands."""
    matching = match(desired, observed, operations=operations, memory=memory)
    under_way = {operation.guest: operation for operation in operations}
    verdicts: dict[GuestName, Verdict] = {}
    missing: list[GuestName] = []
    for name, outcome in matching.guests.items():
        guest = desired.guests[name]
        match outcome:
            case Found():
                verdicts[name] = classify(
                    guest,
                    outcome,
                    desired,
                    operation=under_way.get(name),
                    memory=memory,
                    policy=policy,
                    now=now,
                )
            case Missing():
                missing.append(name)
            case Unclear():
                verdicts[name] = _unclear(name, outcome, guest.origin)
    verdicts.update(_place(missing, desired, observed, under_way, memory, now))
    orphans = {name: one for name, one in matching.orphans.items() if isinstance(one, Found)}
    dismissals = dismiss(
        orphans, desired, observed, operations=under_way, memory=memory, policy=policy, now=now
    )
    verdicts.update(dismissals.verdicts)
    for name, outcome in matching.orphans.items():
        if isinstance(outcome, Unclear):
            verdicts[name] = _unclear(name, outcome, None)
    ordered = order(
        verdicts,
        Around(matches=matching.guests, desired=desired, memory=memory, policy=policy, now=now),
    )
    verdicts = _limit(ordered.verdicts, desired, operations, policy)
    statuses = {name: verdicts[name].status for name in sorted(verdicts)}
    return Plan(
        steps=tuple(step for name in sorted(verdicts) if (step := verdicts[name].step)),
        held=dismissals.held,
        foreign=matching.foreign,
        statuses=statuses,
        wake_at=_wake_at(statuses, now),
        waits=ordered.waits,
        ports=ordered.ports,
    )


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


def _limit(
    verdicts: Mapping[GuestName, Verdict],
    desired: DesiredWorld,
    operations: tuple[Operation, ...],
    policy: Policy,
) -> dict[GuestName, Verdict]:
    """Take back the steps that may not begin now, each with its reason."""
    room: Counter[HostName] = Counter()
    for operation in operations:
        room[operation.host] += 1
    limited: dict[GuestName, Verdict] = {}
    for name in sorted(verdicts):
        verdict = verdicts[name]
        step = verdict.step
        if step is None:
            limited[name] = verdict
        elif not (policy.enforce or _enforced(step.pool, desired)):
            message = f"pool {step.pool} is in mode warn; domops apply does it when asked"
            limited[name] = _taken_back(verdict, Fate.HELD, Reason.WARN_MODE, message)
        elif room[step.step.host] >= policy.steps_per_host:
            message = f"{policy.steps_per_host} steps are under way on {step.step.host}"
            limited[name] = _taken_back(verdict, Fate.WAITING, Reason.ORDER, message)
        else:
            room[step.step.host] += 1
            limited[name] = verdict
    return limited


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


def _wake_at(statuses: Mapping[GuestName, GuestStatus], now: datetime) -> datetime | None:
    instants = (
        change.until
        for status in statuses.values()
        for change in status.changes
        if change.until is not None and change.until > now
    )
    return min(instants, default=None)
