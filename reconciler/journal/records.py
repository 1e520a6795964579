"""What the journal hands out: intents, events and approvals, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.desired import HostState
    from reconciler.model.names import GuestName, HostName, PlanId, PoolName, Sha
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import Step


class Outcome(StrEnum):
    """How a step ended.

    ``DONE``: its obligation was seen to be true. ``FAILED``: it did not happen and may be tried
    again. ``STALLED``: it cannot happen until a commit or a person changes something. ``REFUSED``:
    a guard or the host's driver said no, and nothing was tried. ``NOT_REACHED``: the request was
    taken, and the guest or host had not followed at the deadline. ``UNKNOWN``: the call was cut,
    and the host was looked at anew. ``INTERRUPTED``: the controller died, and the host was looked
    at anew.
    """

    DONE = "done"
    FAILED = "failed"
    STALLED = "stalled"
    REFUSED = "refused"
    NOT_REACHED = "not reached in time"
    UNKNOWN = "outcome unknown"
    INTERRUPTED = "interrupted"


class EventKind(StrEnum):
    """What an event tells; each is documented in the reference.

    The values are what a person filters by, so they never change their meaning.
    """

    STEP_BEGUN = "step-begun"
    STEP_ENDED = "step-ended"
    COMMIT_APPLIED = "commit-applied"
    COMMIT_REFUSED = "commit-refused"
    SOURCE_FAILED = "source-failed"
    HOST_SILENT = "host-silent"
    HOST_BACK = "host-back"
    HOST_LEARNED = "host-learned"
    HOST_DEPARTED = "host-departed"
    HELD = "held"
    APPROVED = "approved"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    FOREIGN = "foreign"
    OTHER_HAND = "other-hand"
    JOURNAL_LOST = "journal-lost"
    TROUBLE = "trouble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, with its reason as far as it has one.

    ``where`` is ``path:line`` of the manifest; ``commit`` the one that asked for it. ``step`` is
    the kind of the step that begins or ends; ``outcome`` and ``took_s`` say how it ended.
    """

    at: datetime
    kind: EventKind
    text: str
    guest: GuestName | None = None
    host: HostName | None = None
    commit: Sha | None = None
    where: str | None = None
    step: str | None = None
    outcome: Outcome | None = None
    took_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A step that was begun and is not known to have ended.

    ``step`` is None if another version of domops wrote it in words this one does not have.
    """

    id: int
    guest: GuestName
    host: HostName
    uuid: UUID
    kind: str
    began: datetime
    step: Step | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A step with all that is known of it, from its reason to its end.

    ``planned`` is None if another version of domops wrote it in words this one does not have;
    ``commit`` was in force when it began. ``ended`` and ``outcome`` are None while it is open.
    """

    id: int
    guest: GuestName
    host: HostName
    kind: str
    began: datetime
    commit: Sha | None
    planned: PlannedStep | None
    ended: datetime | None
    outcome: Outcome | None
    message: str

    @property
    def took_s(self) -> float | None:
        """How long it took, if it has ended."""
        return None if self.ended is None else (self.ended - self.began).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person let held acts through with ``domops approve``."""

    plan_id: PlanId
    who: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHost:
    """A host that was ever in a good commit or in git's past, as it was last seen there.

    ``present`` is whether the commit in force has its manifest; ``uuid`` is the machine that was
    first seen at it, ``uri`` where it was last reached.
    """

    name: HostName
    pool: PoolName | None
    state: HostState
    present: bool
    uuid: UUID | None = None
    uri: str | None = None
