"""A guest's snapshots: which are ours, what the mark shall say of them, and what they pin.

A snapshot exists while its manifest names it. A name that is taken out is dated in the mark, and
the snapshot stays; put back, it is the same snapshot again. Whose a snapshot is stands in the
snapshot itself, so the list in the mark follows what is seen, also after a person went back to an
older snapshot and the mark with it. Foreign ones are never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from reconciler.model.names import Target
    from reconciler.model.observed import ObservedSnapshot


def is_ours(snapshot: ObservedSnapshot, owner: UUID) -> bool:
    """Whether domops made the snapshot for this repository."""
    return snapshot.signature is not None and snapshot.signature.owner == owner


def holders(snapshots: Iterable[ObservedSnapshot], target: Target) -> str:
    """The snapshots inside the disk at ``target``, in words; empty where there is none."""
    names = sorted(snapshot.name for snapshot in snapshots if target in snapshot.disks)
    return f"snapshot{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""
