"""What a look and a pass found, as values for whoever shows or records them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.controller.worlds import Standing
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan, PlannedStep
    from reconciler.model.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything that a plan is made from, at one instant.

    ``problems`` are sentences: about commits that are not in force, and about the journal.
    ``may_begin`` is false where something that steps need, such as the journal, failed. ``fresh``
    are the hosts that answered in this pass; what others say in ``observed`` is what they said
    last. ``new_commit`` says that the commit came into force in this pass.
    """

    now: datetime
    standing: Standing
    world: DesiredWorld
    observed: ObservedWorld
    operations: tuple[Operation, ...]
    memory: Memory
    policy: Policy
    fresh: frozenset[HostName]
    new_commit: bool = False
    problems: tuple[str, ...] = ()
    may_begin: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PassResult:
    """One pass: ``look`` and ``plan`` are None where there is no good commit to plan for.

    ``started`` are the steps that began; the rest of the plan's steps are left for the next pass.
    ``operations`` are those under way when the pass ended; ``took_s`` is how long it took.
    """

    now: datetime
    look: Look | None
    plan: Plan | None
    started: tuple[PlannedStep, ...] = ()
    operations: tuple[Operation, ...] = ()
    problems: tuple[str, ...] = ()
    standing: Standing | None = None
    took_s: float = 0

    @property
    def world(self) -> DesiredWorld | None:
        """The desired world that was planned for."""
        return self.look.world if self.look else None

    @property
    def observed(self) -> ObservedWorld | None:
        """What the hosts said."""
        return self.look.observed if self.look else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What guests and pools are called, as far as git and the journal know."""

    guests: frozenset[GuestName]
    pools: frozenset[PoolName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converged:
    """How ``converge`` ended: with nothing left that moves, at its deadline, or told to stop."""

    last: PassResult
    complete: bool
