"""A guest's snapshots: which are ours, what the mark shall say of them, and what they pin.

A snapshot exists while its manifest names it. A name that is taken out is dated in the mark, and
the snapshot stays; put back, it is the same snapshot again. Whose a snapshot is stands in the
snapshot itself, so the list in the mark follows what is seen, also after a person went back to an
older snapshot and the mark with it. Foreign ones are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.mark import MarkedSnapshot
from reconciler.model.plan import Reason
from reconciler.planner.disks import refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.desired import DesiredGuest
    from reconciler.model.mark import MarkedDisk
    from reconciler.model.names import Target
    from reconciler.model.observed import ObservedSnapshot
    from reconciler.model.plan import Change
    from reconciler.planner.disks import Existing


def is_ours(snapshot: ObservedSnapshot, owner: UUID) -> bool:
    """Whether domops made the snapshot for this repository."""
    return snapshot.signature is not None and snapshot.signature.owner == owner


def recorded(
    guest: DesiredGuest, existing: Existing, owner: UUID, now: datetime
) -> tuple[MarkedSnapshot, ...]:
    """What the mark shall say: every snapshot of ours that is seen, and since when unnamed ones."""
    named = {wish.name for wish in guest.snapshots}
    entries: list[MarkedSnapshot] = []
    for snapshot in existing.guest.snapshots:
        if snapshot.signature is None or snapshot.signature.owner != owner:
            continue
        old = existing.mark.snapshot(snapshot.name)
        removed = None if snapshot.name in named else (old.removed if old else None) or now
        entries.append(
            MarkedSnapshot(
                name=snapshot.name,
                taken=snapshot.taken,
                consistency=snapshot.signature.consistency,
                removed=removed,
            )
        )
    return tuple(sorted(entries, key=lambda entry: entry.name))


def holders(snapshots: Iterable[ObservedSnapshot], target: Target) -> str:
    """The snapshots inside the disk at ``target``, in words; empty where there is none."""
    names = sorted(snapshot.name for snapshot in snapshots if target in snapshot.disks)
    return f"snapshot{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""


def keep_pinned(
    guest: DesiredGuest,
    entries: Iterable[MarkedDisk],
    existing: Existing | None,
    refusals: list[Change],
) -> Iterator[MarkedDisk]:
    """Keep a disk plugged in that a manifest lets go while snapshots are inside it.

    Without one of its disks a snapshot can neither be gone back to nor be deleted, and libvirt 9.0
    dies of the attempt.
    """
    for entry in entries:
        old = existing.mark.disk(entry.name) if existing is not None else None
        pins = holders(existing.guest.snapshots, entry.target) if existing is not None else ""
        if (
            existing is None
            or old is None
            or old.detached is not None
            or not pins
            or existing.stored.disk(entry.target) is None
        ):
            yield entry
            continue
        why = f"{pins} would be worth nothing without it; delete that first, with virsh"
        place = f"{entry.target}: {entry.pool}/{entry.volume}"
        field = f"disks[{entry.name}]"
        refusals.append(refusal_of(guest, field, place, "", Reason.PINNED_BY_SNAPSHOTS, why))
        yield old
