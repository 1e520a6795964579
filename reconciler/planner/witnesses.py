"""Witnesses: the hosts whose word a step rests on.

A plan may be made from answers that are a while old, which is enough to see that there is nothing
to do. A step begins only if its witnesses have answered in full in the same pass (promise 1): then
what makes it safe has just been seen, or was not seen and counts as unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.desired import HostState
from reconciler.model.observed import ObservedHost
from reconciler.planner.budget import pool_of
from reconciler.planner.match import could_have

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import Step


def witnesses(
    planned: PlannedStep, desired: DesiredWorld, observed: ObservedWorld, memory: Memory
) -> frozenset[HostName]:
    """The hosts that must have answered in this pass before ``planned`` begins.

    The step's own host always. For a guest that is not seen running there as ours (it may be made,
    started or adopted), every host that only by its own word has not got it, and every host whose
    machine went by another name before. For a counted act, every host of its pool, because what
    was begun on them counts against the budget.
    """
    step = planned.step
    needed = {step.host}
    if not _runs_there_as_ours(step, observed):
        guest = desired.guests.get(step.guest)
        pool = guest.pool if guest is not None else None
        needed |= {
            host.name
            for host in desired.hosts.values()
            # A fenced host that answers is heard all the same, see Note [Fenced].
            if host.state is HostState.FENCED or could_have(step.guest, pool, host, memory)
        }
        needed |= memory.renamed
    if planned.counted:
        counts = pool_of(step.host, desired)
        needed |= {
            host.name
            for host in desired.hosts.values()
            if host.pool == counts and host.state is not HostState.RETIRED
        }
    return frozenset(needed)


def unheard(
    planned: PlannedStep,
    desired: DesiredWorld,
    observed: ObservedWorld,
    memory: Memory,
    fresh: frozenset[HostName],
) -> frozenset[HostName]:
    """The witnesses of ``planned`` whose answer in ``observed`` is from before this pass.

    A silent witness is none of them: that it is silent is what the plan was made from.
    """
    return frozenset(
        name
        for name in witnesses(planned, desired, observed, memory) - fresh
        if isinstance(observed.hosts.get(name), ObservedHost)
    )


def _runs_there_as_ours(step: Step, observed: ObservedWorld) -> bool:
    host = observed.hosts.get(step.host)
    guest = host.guests.get(step.uuid) if isinstance(host, ObservedHost) else None
    return guest is not None and guest.active and guest.mark is not None
