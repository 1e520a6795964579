"""What each of libvirt's drivers can do for domops, and for each thing that it cannot, why not.

The door looks here before it tries anything: what a row denies is refused before a call is made,
and the planner finds another way (a restart) or says so. A row claims only what was seen to work.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.errors import StalledError
from reconciler.model.definition import GuestType
from reconciler.model.names import FieldName
from reconciler.model.observed import Capabilities, Denial
from reconciler.model.options import HOST_DEVICES, HOST_PASSTHROUGH

if TYPE_CHECKING:
    from collections.abc import Mapping


class Driver(StrEnum):
    """A driver of libvirt, by the name that ``virConnectGetType`` gives it."""

    QEMU = "QEMU"
    XEN = "Xen"
    TEST = "TEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverRow:
    """One driver: its capabilities, and ``because`` with a reason for each that is false."""

    capabilities: Capabilities
    because: Mapping[str, str]


_UNPLUG = (
    "taking a vCPU from a running guest needs the guest's consent, and some guests hang at it; "
    "a restart is certain"
)

_SILENT = "libxl takes the wish and does nothing about it"
_NOT_ON_XEN: Mapping[str, Denial] = {
    "cpus.mode": Denial(
        why="Xen shows every guest the host's own processor, which is host-passthrough",
        but=frozenset({HOST_PASSTHROUGH}),
    ),
    "cpus.topology": Denial(why=f"{_SILENT}: Xen lays out a guest's virtual CPUs by itself"),
    "memory.hugePages": Denial(why=f"{_SILENT}: Xen uses large pages by itself where it can"),
    "rng": Denial(why=f"{_SILENT}: Xen has no random number generator for guests"),
    "watchdog": Denial(why=f"{_SILENT}: Xen's own watchdog is set from inside the guest"),
    HOST_DEVICES: Denial(why="handing devices of the host to guests on Xen has not been proven"),
    "tpm": Denial(why=f"{_SILENT}: no module for Xen's guests has been built here"),
    "disks.bus.sata": Denial(why="libxl has no SATA disks"),
    "disks.bus.usb": Denial(why="libxl has no USB disks"),
    "disks.bus.virtio": Denial(
        why="libxl has no virtio disks; pv disks on Xen are those of bus xen"
    ),
    "disks.cache": Denial(why="libxl keeps a word about the cache and does nothing with it"),
    "disks.discard": Denial(why="libxl's discard has not been proven"),
    "disks.limits": Denial(why="libxl does not limit what a disk does"),
    "disks.nbd": Denial(why="libxl reads no image over NBD"),
    "disks.rbd": Denial(why="reading Ceph images under libxl has not been proven"),
    "disks.serial": Denial(why="libxl gives disks no serial number"),
    "networks.openvswitch": Denial(why="libxl's ports of an Open vSwitch have not been proven"),
    "networks.link": Denial(why="libxl has no cable to pull"),
    "networks.queues": Denial(why="libxl sets no number of queues"),
}
"""By the manifest's name of an option, why no guest on Xen has it."""

_NOT_ON_QEMU: Mapping[str, Denial] = {
    "disks.bus.ide": Denial(why="new guests are q35 machines, which have no IDE"),
    "disks.bus.xen": Denial(why="Xen disks are for guests on Xen"),
}
_QEMU_CARDS = frozenset(
    {"e1000", "e1000e", "ne2k_pci", "pcnet", "rtl8139", "virtio", "virtio-net", "vmxnet3"}
    | {"virtio-transitional", "virtio-non-transitional"}
)
_XEN_CARDS = frozenset({"e1000", "ne2k_pci", "netfront", "pcnet", "rtl8139"})


def _for_all(why: Mapping[str, Denial]) -> Mapping[tuple[GuestType, FieldName], Denial]:
    """The sentences of a table for guests of every type."""
    return {(one, FieldName(field)): said for one in GuestType for field, said in why.items()}


TABLE: Mapping[Driver, DriverRow] = {
    Driver.QEMU: DriverRow(
        capabilities=Capabilities(
            vcpu_hotplug=True,
            vcpu_unplug=False,
            memory_balloon=True,
            disk_hotplug=True,
            nic_hotplug=True,
            nic_change=True,
            media_change=True,
            grow_running_disk=True,
            grow_stopped_volume=True,
            disk_limits=True,
            volume_sources=True,
            volume_upload=True,
            agent=True,
            snapshots=True,
            without=_for_all(_NOT_ON_QEMU),
            nic_models=_QEMU_CARDS,
            pin_running=True,
            share_running=False,
        ),
        because={
            "vcpu_unplug": _UNPLUG,
            "share_running": "changing the shares of a running guest has not been proven on QEMU",
        },
    ),
    Driver.XEN: DriverRow(
        capabilities=Capabilities(
            vcpu_hotplug=True,
            vcpu_unplug=False,
            memory_balloon=True,
            disk_hotplug=False,
            nic_hotplug=True,
            nic_change=False,
            media_change=False,
            grow_running_disk=False,
            grow_stopped_volume=True,
            disk_limits=False,
            volume_sources=False,
            volume_upload=True,
            agent=False,
            snapshots=False,
            pin_running=False,
            share_running=True,
            without=_for_all(_NOT_ON_XEN),
            nic_models=_XEN_CARDS,
        ),
        because={
            "vcpu_unplug": _UNPLUG,
            "disk_hotplug": (
                "a disk in a file needs a device model, which a PV guest that started without one "
                "does not have"
            ),
            "nic_change": "libxl updates no network card of a running guest",
            "media_change": "changing a medium under libxl has not been proven",
            "grow_running_disk": "libxl has no call that tells a running guest of its disk's size",
            "disk_limits": "libxl does not limit what a disk does",
            "volume_sources": "libxl does not resolve a disk that names a pool and a volume",
            "pin_running": "libxl has no map of its processors, without which libvirt pins nothing",
            "agent": "libxl offers no channel to a guest agent",
            "snapshots": "libxl has no snapshots; those of LVM are not built yet",
        },
    ),
    Driver.TEST: DriverRow(
        capabilities=Capabilities(
            vcpu_hotplug=True,
            vcpu_unplug=False,
            memory_balloon=True,
            disk_hotplug=False,
            nic_hotplug=False,
            nic_change=False,
            media_change=False,
            grow_running_disk=False,
            grow_stopped_volume=False,
            disk_limits=False,
            volume_sources=False,
            volume_upload=False,
            agent=False,
            snapshots=True,
            pin_running=False,
            share_running=False,
        ),
        because={
            "vcpu_unplug": _UNPLUG,
            "disk_hotplug": "the test driver attaches and detaches no devices",
            "nic_hotplug": "the test driver attaches and detaches no devices",
            "nic_change": "the test driver updates no devices",
            "media_change": "the test driver updates no devices",
            "grow_running_disk": "the test driver has no block resize",
            "grow_stopped_volume": "the test driver has no volume resize",
            "disk_limits": "the test driver's disks do nothing that could be limited",
            "volume_sources": "the test driver does not resolve volumes",
            "volume_upload": "the test driver lets no volume be written",
            "pin_running": "the test driver keeps no pins of running guests",
            "share_running": "the test driver has no scheduler",
            "agent": "the test driver runs no guests that could hold an agent",
        },
    ),
}


def driver_called(name: str) -> Driver:
    """The driver that libvirt calls ``name``.

    Raises:
        StalledError: domops has no row for it, and so does not touch its host.

    """
    try:
        return Driver(name)
    except ValueError:
        known = ", ".join(Driver)
        raise StalledError(f"libvirt's driver {name!r} is not one of: {known}") from None
