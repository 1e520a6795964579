"""Warn of devices that the host emulates: they work everywhere, and cost much.

The figures are of 2008, on Xen. Machines have become faster since, and both sides with them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.manifests.machine import drivers_of

if TYPE_CHECKING:
    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.kinds.devices import DiskSpec
    from reconciler.manifests.machine import Place

NETWORK_COSTS: Final = (
    "is emulated: in 2008, on Xen, an emulated card carried 50 Mb/s where netfront carried 920"
)
DISK_COSTS: Final = (
    "is emulated: in 2008, on Xen, an emulated disk wrote 40 MB/s and read 80 where a partition"
    " given to a PV driver did about 100"
)
USE_PV: Final = "take the line out if the guest has a driver for pv"
USE_PV_DISK: Final = "leave bus and target out if the guest has a driver for virtio or xen disks"

_PV_MODELS: Final = re.compile(r"pv|netfront|virtio.*")
_EMULATED_BUSES: Final = frozenset({"ide", "sata", "usb"})
_EMULATED_PREFIXES: Final = {"hd": "ide", "sd": "sata"}


def warn(draft: Draft, where: Place | None) -> None:
    """Note each disk and card of the guest that its host has to emulate."""
    if _never_emulates(draft, where):
        return
    slow = _EMULATED_BUSES | ({"scsi"} if "xen" in drivers_of(draft, where) else frozenset())
    for index, nic in enumerate(draft.spec.networks):
        if not _PV_MODELS.fullmatch(nic.model):
            draft.warn(("spec", "networks", index, "model"), f"{nic.model} {NETWORK_COSTS}", USE_PV)
    for index, disk in enumerate(draft.spec.disks):
        found = _emulated(disk, slow)
        if found is not None:
            name, bus = found
            draft.warn(("spec", "disks", index, name), f"{bus} {DISK_COSTS}", USE_PV_DISK)


def _never_emulates(draft: Draft, where: Place | None) -> bool:
    """PV and PVH guests have no emulated device at all, whatever a disk's target is called."""
    guest_type = draft.spec.type
    return guest_type in ("pv", "pvh") or (
        guest_type == "auto" and drivers_of(draft, where) == {"xen"}
    )


def _emulated(disk: DiskSpec, slow: frozenset[str]) -> tuple[str, str] | None:
    """The field that makes it an emulated disk, and its bus; a drive for CDs is always one.

    SCSI on KVM is virtio's, and emulated on Xen only.
    """
    if disk.cdrom is not None:
        return None
    if disk.bus is not None:
        return ("bus", disk.bus) if disk.bus in slow else None
    bus = _EMULATED_PREFIXES.get((disk.target or "")[:2])
    return None if bus is None else ("target", bus)
