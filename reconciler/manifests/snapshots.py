"""Build the snapshots that a guest shall have, and warn where there can be none.

A snapshot that cannot be is no mistake of the whole commit: the plan refuses it alone, and the
guest runs. That much is said already where the manifest is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.manifests.machine import drivers_of
from reconciler.model.definition import DiskFormat
from reconciler.model.desired import DesiredSnapshot, VolumeDisk
from reconciler.model.names import SnapshotName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.machine import Place
    from reconciler.model.desired import DesiredDisk

_REFUSED = "so the plan will refuse them"
_OUT = "take the snapshots out"


def snapshots(
    draft: Draft, disks: Iterable[DesiredDisk], where: Place | None
) -> tuple[DesiredSnapshot, ...]:
    """The snapshots, by name."""
    specs = draft.spec.snapshots
    seen: set[str] = set()
    for index, spec in enumerate(specs):
        if spec.name in seen:
            path = ("spec", "snapshots", index, "name")
            draft.complain(path, f'"{spec.name}" is there twice', "give it another")
        seen.add(spec.name)
    if specs:
        _warn(draft, disks, where)
    found = [
        DesiredSnapshot(name=SnapshotName(spec.name), quiesced=spec.quiesced) for spec in specs
    ]
    return tuple(sorted(found, key=lambda snapshot: snapshot.name))


def _warn(draft: Draft, disks: Iterable[DesiredDisk], where: Place | None) -> None:
    path = ("spec", "snapshots")
    if drivers_of(draft, where) == {"xen"}:
        draft.warn(path, f"Xen has no snapshots through libvirt, {_REFUSED}", _OUT)
        return
    raw = next(
        (
            disk.name
            for disk in disks
            if isinstance(disk, VolumeDisk) and disk.format is not DiskFormat.QCOW2
        ),
        None,
    )
    if raw is not None:
        hint = f"write format: qcow2 for disks of a new guest, or {_OUT}"
        draft.warn(path, f"disk {raw} is raw and can hold none, {_REFUSED}", hint)
