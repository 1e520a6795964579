"""What waits to be removed for good, and what was.

Removal needs two clocks to agree: the date that was set when a thing went, and as many days on
which a pass has seen the thing waiting. One wrong clock empties nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.names import Digest, GuestName, HostName, Sha
    from reconciler.model.steps import UndefineGuest


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A thing of the domain ``uuid`` that waits since ``since`` to be removed.

    ``what`` is empty for the whole guest, else the field of it: ``disks[data]``,
    ``snapshots[one]``. What comes back and goes again is another thing, for it waits anew.
    """

    uuid: UUID
    what: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """A guest that was removed for good, as the journal remembers it.

    ``trashed`` is when it went into the trash and ``commit`` the one that deleted it. ``began`` is
    when its data began to be removed, ``emptied`` when the last of it went. ``lost`` says in words
    what was removed, ``size_bytes`` how much its volumes held.
    """

    guest: GuestName
    host: HostName
    uuid: UUID
    trashed: datetime
    commit: Sha
    intent: Digest
    began: datetime
    emptied: datetime
    size_bytes: int
    lost: tuple[str, ...]

    @classmethod
    def of(cls, step: UndefineGuest, *, at: datetime, size_bytes: int) -> Self:
        """What is to be remembered of a guest whose domain goes at ``at``."""
        mark = step.mark
        trash = mark.trash
        return cls(
            guest=step.guest,
            host=step.host,
            uuid=step.uuid,
            trashed=trash.since if trash else at,
            commit=trash.commit if trash else mark.commit,
            intent=mark.intent,
            began=(trash.emptying if trash else None) or at,
            emptied=at,
            size_bytes=size_bytes,
            lost=(
                *(f"disk {disk.name}" for disk in mark.disks if disk.ours and disk.filled),
                *(f"snapshot {snapshot.name}" for snapshot in mark.snapshots),
            ),
        )
