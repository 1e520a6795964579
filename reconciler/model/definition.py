"""What one guest is to a hypervisor: the values that domain XML is rendered from and read into.

Only what domops models stands here. Whatever else a domain's XML holds belongs to somebody else and
is kept as it is when a definition is written (see ``domxml``). Two definitions are equal when they
mean the same guest: lists are in the order of their keys, sizes are exact numbers.

Units: memory in KiB, as libvirt counts it; disk sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.options import NO_DISK_OPTIONS, NO_NIC_OPTIONS, NO_OPTIONS

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.mark import Mark
    from reconciler.model.names import GuestName, LibvirtPool, MacAddress, Target, VolumeName
    from reconciler.model.options import DiskOptions, NicOptions, Options
    from reconciler.model.overlay import OverlayElement


class GuestType(StrEnum):
    """How the guest is virtualised; PV and PVH exist on Xen only."""

    PV = "pv"
    PVH = "pvh"
    HVM = "hvm"


class Arch(StrEnum):
    """The processor that the guest sees."""

    X86_64 = "x86_64"
    I686 = "i686"


class DomainType(StrEnum):
    """The ``type`` attribute of libvirt's ``<domain>``: who runs the guest."""

    XEN = "xen"
    KVM = "kvm"
    QEMU = "qemu"
    TEST = "test"


class Bus(StrEnum):
    """How a disk is connected."""

    XEN = "xen"
    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"
    USB = "usb"


class DiskDevice(StrEnum):
    """What the guest takes the disk for."""

    DISK = "disk"
    CDROM = "cdrom"


class DiskFormat(StrEnum):
    """How the bytes of a volume or file are laid out."""

    RAW = "raw"
    QCOW2 = "qcow2"


class Firmware(StrEnum):
    """What the guest's machine starts with."""

    BIOS = "bios"
    UEFI = "uefi"


class BootDevice(StrEnum):
    """A class of devices that firmware tries, in order."""

    DISK = "disk"
    CDROM = "cdrom"
    NETWORK = "network"


class Loader(StrEnum):
    """A boot loader that runs in the host's stead (Xen PV)."""

    PVGRUB = "pvgrub"
    PYGRUB = "pygrub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vcpus:
    """Virtual CPUs: ``count`` are given now, ``maximum`` can be without a restart."""

    count: int
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``size_kib`` is the balloon's goal, ``maximum_kib`` what the guest was started with."""

    size_kib: int
    maximum_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelBoot:
    """The host loads the kernel; paths are paths on the host."""

    kernel: str
    initrd: str | None = None
    cmdline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareBoot:
    """The guest's firmware boots from the first device of ``order`` that it can."""

    firmware: Firmware = Firmware.BIOS
    order: tuple[BootDevice, ...] = (BootDevice.DISK,)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderBoot:
    """A boot loader outside the guest reads the guest's disk for its kernel."""

    loader: Loader


Boot = KernelBoot | FirmwareBoot | LoaderBoot


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSource:
    """A volume of a libvirt storage pool of the guest's host.

    Drivers that cannot refer to a volume (libxl) are given its path by the door, and a path that
    lies in a known pool is read back as the volume: above the door there are only volumes.
    """

    pool: LibvirtPool
    volume: VolumeName
    format: DiskFormat = DiskFormat.RAW


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """A file of the host that lies in no storage pool."""

    path: str
    format: DiskFormat = DiskFormat.RAW

    @property
    def address(self) -> str:
        """What tells this file from every other source of a disk."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSource:
    """A block device of the host."""

    path: str

    @property
    def address(self) -> str:
        """What tells this device from every other source of a disk."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a server listens; no ``port`` means the one that is usual for it."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        """``host:port``, as in an address; an IPv6 address has its brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NbdSource:
    """An image that a server offers over NBD; an empty ``export`` is the server's only one."""

    server: Endpoint
    export: str
    format: DiskFormat = DiskFormat.RAW

    @property
    def address(self) -> str:
        """What tells this image from every other."""
        return f"nbd://{self.server}/{self.export}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RbdUser:
    """Who reads a Ceph image: a name, and the UUID of the secret that libvirt keeps for it."""

    name: str
    secret: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RbdSource:
    """An image of a Ceph pool; without ``monitors`` the host's own configuration names them.

    ``monitors`` are sorted. ``user`` is None where the cluster asks for none.
    """

    pool: str
    image: str
    monitors: tuple[Endpoint, ...] = ()
    user: RbdUser | None = None

    @property
    def address(self) -> str:
        """What tells this image from every other, of whichever monitor it is asked for."""
        return f"rbd:{self.pool}/{self.image}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSource:
    """A source that domops does not model (iSCSI, vhost-user …); only its digest is kept."""

    digest: str


GivenSource = FileSource | BlockSource | NbdSource | RbdSource
"""What is there without domops, which never makes, grows, wipes or deletes it."""

DiskSource = VolumeSource | GivenSource | OtherSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk or drive; ``source`` is None for an empty drive."""

    target: Target
    bus: Bus
    source: DiskSource | None
    device: DiskDevice = DiskDevice.DISK
    read_only: bool = False
    options: DiskOptions = NO_DISK_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSource:
    """The NIC's other end is a port of this bridge of the host.

    On an Open vSwitch the port may be in the VLAN ``vlan``; a plain bridge knows of none.
    """

    bridge: str
    openvswitch: bool = False
    vlan: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSource:
    """The NIC is connected to a network that libvirt keeps."""

    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNicSource:
    """A connection that domops does not model (direct, user …); only its digest is kept."""

    digest: str


NicSource = BridgeSource | NetworkSource | OtherNicSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """One network card; ``model`` is libvirt's word (``virtio``, ``netfront``, ``e1000``)."""

    mac: MacAddress
    source: NicSource
    model: str | None
    options: NicOptions = NO_NIC_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestDefinition:
    """One guest as a hypervisor would be told of it, or as it tells.

    ``disks`` are sorted by target, ``nics`` by MAC. ``overlay`` are the elements that are there by
    an overlay of ours, as its mark says, sorted. ``mark`` is None where domops has written none.
    """

    name: GuestName
    uuid: UUID
    domain_type: DomainType
    type: GuestType
    arch: Arch
    vcpus: Vcpus
    memory: Memory
    boot: Boot
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    console: bool = True
    agent: bool = False
    options: Options = NO_OPTIONS
    overlay: tuple[OverlayElement, ...] = ()
    mark: Mark | None = None

    def disk(self, target: Target) -> Disk | None:
        """The disk at ``target``, if there is one."""
        return next((disk for disk in self.disks if disk.target == target), None)

    def nic(self, mac: MacAddress) -> Nic | None:
        """The NIC with the address ``mac``, if there is one."""
        return next((nic for nic in self.nics if nic.mac == mac), None)
