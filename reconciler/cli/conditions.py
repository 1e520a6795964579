"""A guest's status as conditions: type, status, reason, message, time.

People read the three axes of ``get``; programs read these. Each reason constant is documented in
``docs/reference/reasons.md``, which is made from ``MEANINGS`` here and from the reasons of a plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.cli import words
from reconciler.model.plan import Fate, Health, Label, Reason, Sync

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.plan import Change, GuestStatus


class ConditionType(StrEnum):
    """What a condition is about; the three axes, with *synced* told for both definitions."""

    STORED = "StoredInSync"
    LIVE = "LiveInSync"
    HEALTHY = "Healthy"
    OPERATING = "Operating"


class ConditionStatus(StrEnum):
    """Whether the condition holds; ``UNKNOWN`` is an answer of its own, never a no."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionReason(StrEnum):
    """Reasons of conditions that no change of a plan explains."""

    AS_WANTED = "AsWanted"
    DIFFERS = "Differs"
    NOT_KNOWN = "NotKnown"
    UP = "Up"
    DOWN = "Down"
    IDLE = "Idle"
    POOL_OFF = "PoolOff"


MEANINGS: dict[ConditionReason, tuple[str, str]] = {
    ConditionReason.AS_WANTED: (
        "Every field that the manifest owns is as the manifest wants it.",
        "Nothing.",
    ),
    ConditionReason.DIFFERS: (
        "A field differs from the manifest; the change that puts it right is made now or next.",
        "Nothing; `domops diff GUEST` shows the fields.",
    ),
    ConditionReason.NOT_KNOWN: (
        "The guest could not be observed in full in this pass.",
        "Look at `domops get hosts`: most often a host does not answer.",
    ),
    ConditionReason.UP: (
        "The guest is in the state that its manifest asks for: it runs, or rests on purpose.",
        "Nothing.",
    ),
    ConditionReason.DOWN: (
        "The guest is not in the state that its manifest asks for.",
        "Nothing, if a change heals it; otherwise the change's own reason says what.",
    ),
    ConditionReason.IDLE: (
        "No step for this guest is under way.",
        "Nothing.",
    ),
    ConditionReason.POOL_OFF: (
        "The guest's pool has `mode: off`: its host is looked at, and nothing else.",
        "Nothing; or write `mode: warn` to see what differs, `enforce` to have it done.",
    ),
}
"""For the reference: what a reason means, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement about a guest, as programs read it.

    ``since`` is when it was last seen to be so; None where nobody could look.
    """

    type: ConditionType
    status: ConditionStatus
    reason: ConditionReason | Reason
    message: str
    since: datetime | None


_FOR_SYNC = {
    Sync.YES: ConditionStatus.TRUE,
    Sync.NO: ConditionStatus.FALSE,
    Sync.UNKNOWN: ConditionStatus.UNKNOWN,
}
_FOR_HEALTH = {
    Health.YES: (ConditionStatus.TRUE, ConditionReason.UP),
    Health.NO: (ConditionStatus.FALSE, ConditionReason.DOWN),
    Health.UNKNOWN: (ConditionStatus.UNKNOWN, ConditionReason.NOT_KNOWN),
}


def conditions(status: GuestStatus, *, seen_at: datetime | None) -> tuple[Condition, ...]:
    """All conditions of a guest that was last observed at ``seen_at``."""
    healthy, reason = _FOR_HEALTH[status.healthy]
    if status.off:
        reason = ConditionReason.POOL_OFF
    return (
        _in_sync(ConditionType.STORED, status.stored, status, seen_at),
        _in_sync(ConditionType.LIVE, status.live, status, seen_at),
        Condition(
            type=ConditionType.HEALTHY,
            status=healthy,
            reason=reason,
            message=status.state,
            since=seen_at,
        ),
        Condition(
            type=ConditionType.OPERATING,
            status=ConditionStatus.TRUE if status.operation else ConditionStatus.FALSE,
            reason=Reason.OPERATION_RUNNING if status.operation else ConditionReason.IDLE,
            message=status.operation or "",
            since=seen_at,
        ),
    )


def _in_sync(
    about: ConditionType, sync: Sync, status: GuestStatus, seen_at: datetime | None
) -> Condition:
    """Whether one of the two definitions is as wanted; if not, why not, from the changes."""
    reason: ConditionReason | Reason = ConditionReason.AS_WANTED
    message = ""
    if sync is not Sync.YES:
        why = _telling(status.changes, live=about is ConditionType.LIVE)
        reason = ConditionReason.DIFFERS if sync is Sync.NO else ConditionReason.NOT_KNOWN
        if status.off:
            reason = ConditionReason.POOL_OFF
        if why is not None:
            reason = why.reason or reason
            message = why.message
        if not message and sync is Sync.NO:
            message = words.listed(sorted({words.field(c.field) for c in status.changes} - {""}))
    return Condition(
        type=about, status=_FOR_SYNC[sync], reason=reason, message=message, since=seen_at
    )


_OF_LIVE = frozenset({Label.LIVE, Label.RESTART, Label.NONE})
"""What a difference of the running definition is labelled with; a guest not seen has ``NONE``."""


def _telling(changes: tuple[Change, ...], *, live: bool) -> Change | None:
    """The change that most needs a person, if any that can be the cause has a reason at all."""
    order = (Fate.REFUSED, Fate.HELD, Fate.WAITING, Fate.RUNNING, Fate.NOW)
    with_reason = [
        change
        for change in changes
        if change.reason is not None and (not live or change.label in _OF_LIVE)
    ]
    return min(with_reason, key=lambda change: order.index(change.fate), default=None)
