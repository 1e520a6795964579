"""The targets of disks: which bus a name stands for, and which name is free."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from reconciler.model.definition import (
    Bus,
    DiskDevice,
    DomainType,
    GuestType,
)
from reconciler.model.desired import CdromDisk
from reconciler.model.names import Target

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredDisk

_BUSES_XEN = {"xvd": Bus.XEN, "hd": Bus.IDE, "sd": Bus.SCSI}
_BUSES_QEMU = {"vd": Bus.VIRTIO, "sd": Bus.SATA}
_TARGET = re.compile(r"^(xvd|vd|sd|hd)([a-z]+)([0-9]*)$")
_PREFIXES = {
    Bus.XEN: "xvd",
    Bus.VIRTIO: "vd",
    Bus.SCSI: "sd",
    Bus.SATA: "sd",
    Bus.USB: "sd",
    Bus.IDE: "hd",
}
"""What a disk's target is called where only its bus is said."""


def bus_of(target: Target, domain_type: DomainType, device: DiskDevice) -> Bus | None:
    """The bus that a target's name stands for on a kind of host; None where it has none."""
    parts = _TARGET.match(target)
    if parts is None:
        return None
    if domain_type is DomainType.XEN:
        return _BUSES_XEN.get(parts[1])
    bus = _BUSES_QEMU.get(parts[1])
    return None if bus is Bus.VIRTIO and device is DiskDevice.CDROM else bus


def device_of(disk: DesiredDisk) -> DiskDevice:
    """What the guest takes the disk for."""
    return DiskDevice.CDROM if isinstance(disk, CdromDisk) else DiskDevice.DISK


def free_target(
    domain_type: DomainType,
    type_: GuestType,
    device: DiskDevice,
    taken: set[Target],
    bus: Bus | None = None,
) -> Target:
    """The first free letter; on Xen HVM a letter is one place, whatever its prefix."""
    cdrom = device is DiskDevice.CDROM
    if domain_type is DomainType.XEN:
        prefix = "hd" if cdrom and type_ is GuestType.HVM else "xvd"
        prefix = prefix if bus is None else _PREFIXES[bus]
        used = {parts[2] for target in taken if (parts := _TARGET.match(target))}
    else:
        prefix = "sd" if cdrom else "vd"
        prefix = prefix if bus is None else _PREFIXES[bus]
        used = {
            parts[2] for target in taken if (parts := _TARGET.match(target)) and parts[1] == prefix
        }
    letters = string.ascii_lowercase
    free = (one for one in letters if one not in used and not (prefix == "hd" and one < "c"))
    more = (a + b for a in letters for b in letters if a + b not in used)
    return Target(prefix + (next(free, None) or next(more)))
