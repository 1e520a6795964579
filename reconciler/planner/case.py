"""What the rules on one guest look at, and what they may say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from reconciler.model.desired import GuestState
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    PlannedStep,
    Reason,
)

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.counted import Asked
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.mark import Mark, OperationKind
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedWorld
    from reconciler.model.policy import Policy
    from reconciler.model.steps import (
        Step,
    )
    from reconciler.planner.budget import Rulings
    from reconciler.planner.wanted import Wanted


class On(TypedDict):
    """What every step names; spread into a step's arguments."""

    host: HostName
    guest: GuestName
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of one guest in this pass: its status, and the one step to start, if any.

    ``asked`` are the counted acts that it needs and that have not begun; see Note [Counted acts].
    """

    status: GuestStatus
    step: PlannedStep | None = None
    asked: tuple[Asked, ...] = ()


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
    rulings: Rulings
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
class Ground:
    """What the stages across guests look at."""

    world: DesiredWorld
    observed: ObservedWorld
    memory: Memory
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The next step of a guest and the changes that it serves.

    ``also`` are those that it serves in part, and that wait for the rest: a restart.
    """

    step: Step
    changes: tuple[Change, ...]
    disruptive: bool = False
    also: tuple[Change, ...] = ()


Next = Move | Block | None
"""What a rule says: do this, leave it be for that reason, or nothing to say."""
