"""The plan: the steps of one pass, and for everything that is not done, why not.

The command line, the comment on a pull request, the status and the executor all read this one
object. Doing nothing has a reason too: a guest of the desired world has a status even when no step
serves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.counted import Act, Counted
    from reconciler.model.desired import OpenPort, Origin
    from reconciler.model.names import GuestName, HostName, PlanId, PoolName, Sha
    from reconciler.model.steps import Step
    from reconciler.model.suspension import Suspension


class Label(StrEnum):
    """What a change costs its guest."""

    LIVE = "live"
    RESTART = "restart"
    OFFLINE = "while stopped"
    ADOPT = "adopt"
    CREATE = "create"
    DELETE = "delete"
    HEAL = "heal"
    STATE = "state"
    REFUSED = "refused"
    NONE = "no effect on the guest"


class Fate(StrEnum):
    """What becomes of a wish in this pass."""

    NOW = "now"
    RUNNING = "running"
    WAITING = "waiting"
    HELD = "held"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why something waits, is held or is refused; each is documented in the reference."""

    HOST_UNKNOWN = "HostUnknown"
    HOST_FENCED = "HostFenced"
    GUEST_UNKNOWN = "GuestUnknown"
    OPERATION_RUNNING = "OperationRunning"
    SETTLING = "Settling"
    HEAL_DELAY = "HealDelay"
    BACKOFF = "Backoff"
    STALLED = "Stalled"
    CRASH_LOOP = "CrashLoop"
    NEEDS_RESTART = "NeedsRestart"
    SHUTTING_DOWN = "ShuttingDown"
    IGNORES_SHUTDOWN = "IgnoresShutdown"
    BALLOON_NOT_FOLLOWED = "BalloonNotFollowed"
    BUDGET = "Budget"
    WARN_MODE = "WarnMode"
    PROTECTED = "Protected"
    NEVER_SHRINKS = "NeverShrinks"
    CREATE_ONLY = "CreateOnly"
    NOT_SUPPORTED = "NotSupported"
    NO_PLACE = "NoPlace"
    FOREIGN = "Foreign"
    NOTHING_TO_ADOPT = "NothingToAdopt"
    CONFLICT = "Conflict"
    PAUSED = "Paused"
    SAVED = "Saved"
    BUSY = "Busy"
    TRANSIENT = "Transient"
    LOCKING = "Locking"
    PINNED_ELSEWHERE = "PinnedElsewhere"
    ORDER = "Order"
    START_AFTER = "StartAfter"
    IGNORED = "Ignored"
    FROZEN = "Frozen"
    PINNED_BY_SNAPSHOTS = "PinnedBySnapshots"
    NOT_QUIESCED = "NotQuiesced"
    SUSPENDED = "Suspended"
    EMPTIED = "Emptied"
    NAME_TAKEN = "NameTaken"
    WINDOW = "Window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One wish about one field of one guest: from what, to what, at what cost, and its fate.

    ``field`` is the manifest's name for it (``memory``, ``disks[root].size``), empty for a change
    of the whole guest (``create``, ``delete``). ``until`` is the next instant at which the fate may
    change by itself.
    """

    guest: GuestName
    field: str
    before: str
    after: str
    label: Label
    fate: Fate
    reason: Reason | None = None
    message: str = ""
    until: datetime | None = None
    plan_id: PlanId | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step to be started now, with the changes that it serves.

    ``pool`` is whose mode decides on it; ``counted`` are the counted acts that begin with it.
    """

    step: Step
    pool: PoolName | None
    changes: tuple[Change, ...]
    disruptive: bool
    commit: Sha
    counted: tuple[Act, ...] = ()


class Health(StrEnum):
    """Is the guest up, if it shall be."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Sync(StrEnum):
    """Is the definition as the manifest wants it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatus:
    """Three axes, kept apart: synced (stored and live), healthy, and the operation in hand."""

    guest: GuestName
    host: HostName | None
    type: str
    state: str
    stored: Sync
    live: Sync
    healthy: Health
    operation: str | None
    phase: str | None
    changes: tuple[Change, ...] = ()
    ignored: tuple[Change, ...] = ()
    """What would be changed if the manifest did not say to ignore it; it needs nobody."""

    suspended: tuple[Suspension, ...] = ()
    """What keeps every step of this guest from beginning."""

    domain: str | None = None
    """What its host calls it, where that is another name."""

    off: bool = False
    """Its pool is switched off: nothing was compared, and nothing is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Acts of one class and pool that are kept back together until a person lets them through.

    ``pool`` is None for guests on a host that no manifest names. What is ``protected`` is let
    through by a commit alone. ``until`` is the instant from which the budget covers the acts, None
    where it never will.
    """

    plan_id: PlanId
    pool: PoolName | None
    counted: Counted
    acts: tuple[Act, ...]
    guests: tuple[GuestName, ...]
    message: str
    protected: bool = False
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A domain that is not ours although something about it looks as if it were."""

    host: HostName
    name: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The outcome of planning: what to start now, what is held, and the status of every guest."""

    steps: tuple[PlannedStep, ...] = ()
    held: tuple[Held, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    statuses: Mapping[GuestName, GuestStatus] = field(default_factory=dict)
    wake_at: datetime | None = None
    """The earliest instant at which a new pass may come to another plan without any event."""
    waits: Mapping[GuestName, datetime] = field(default_factory=dict)
    """Since when each guest waits for others to be ready; the next plan must be told of it."""
    ports: frozenset[OpenPort] = frozenset()
    """The ports of which the next plan would like to know whether they take connections."""
