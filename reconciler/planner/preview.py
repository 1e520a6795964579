"""The preview: plan, let the steps have their expected effect, plan again, to the fixpoint.

It shows the whole way from the observed world to the desired one, including what only becomes
possible after something else, and moves ``now`` on to the next instant that a plan waits for. A
port that a plan would like to know of is taken to answer once its guest runs.
Nothing is asked and nothing is done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.memory import Probe
from reconciler.model.observed import ObservedHost, ObservedWorld
from reconciler.planner.effects import after, remembered
from reconciler.planner.memo import Memo
from reconciler.planner.planning import plan

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Change, Plan, PlannedStep
    from reconciler.model.policy import Policy

_ROUNDS_PER_GUEST = 40
"""More rounds than any guest needs; a preview that reaches it does not converge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One plan of the preview and the instant at which it would be made."""

    at: datetime
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """All rounds, the last of which has no steps and waits for nothing that time alone brings."""

    rounds: tuple[Round, ...]
    world: ObservedWorld
    converged: bool

    @property
    def first(self) -> Plan:
        """The plan as of now."""
        return self.rounds[0].plan

    @property
    def steps(self) -> tuple[tuple[datetime, PlannedStep], ...]:
        """Every step of every round, with its instant."""
        return tuple((one.at, step) for one in self.rounds for step in one.plan.steps)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every wish once, as it stood when it first came up, in the order of guests."""
        seen: dict[tuple[str, str], Change] = {}
        for one in self.rounds:
            for status in one.plan.statuses.values():
                for change in status.changes:
                    seen.setdefault((change.guest, change.field), change)
        return tuple(seen[key] for key in sorted(seen))


def preview(
    desired: DesiredWorld,
    observed: ObservedWorld,
    *,
    operations: tuple[Operation, ...],
    memory: Memory,
    policy: Policy,
    now: datetime,
) -> Preview:
    """Alternate plan and effect until nothing more would happen.

    Operations under way are taken to end as they should before the second round.
    """
    world = _first_seen(observed, now)
    rounds: list[Round] = []
    left = _ROUNDS_PER_GUEST * (len(desired.guests) + _count(observed) + 1)
    memo = Memo()
    for _ in range(left):
        outcome = plan(
            desired,
            world,
            operations=operations,
            memory=memory,
            policy=policy,
            now=now,
            memo=memo,
        )
        rounds.append(Round(at=now, plan=outcome))
        known = memory.probes
        answers = {port: Probe(at=now, open=True) for port in outcome.ports}
        memory = replace(memory, waits=outcome.waits, probes={**known, **answers})
        if not outcome.steps and any(known.get(port) != answers[port] for port in answers):
            continue  # nothing is done, but more is known
        ended = tuple(one for one in operations if not one.condemned)
        if not outcome.steps and not ended:
            if outcome.wake_at is None:
                return Preview(rounds=tuple(rounds), world=world, converged=True)
            now = outcome.wake_at
            continue
        for step in (*(one.step for one in ended), *(one.step for one in outcome.steps)):
            world = after(step, world, now)
            memory = remembered(step, memory)
        operations = tuple(one for one in operations if one.condemned)
    return Preview(rounds=tuple(rounds), world=world, converged=False)


def _first_seen(observed: ObservedWorld, now: datetime) -> ObservedWorld:
    """A state seen for the first time is taken to have begun now, so that waiting for it ends."""
    hosts = {
        name: replace(
            host,
            guests={
                uuid: guest if guest.state_since else replace(guest, state_since=now)
                for uuid, guest in host.guests.items()
            },
        )
        if isinstance(host, ObservedHost)
        else host
        for name, host in observed.hosts.items()
    }
    return replace(observed, hosts=hosts)


def _count(observed: ObservedWorld) -> int:
    return sum(len(host.guests) for host in observed.answered())
