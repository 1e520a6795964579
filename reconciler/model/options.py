"""What a guest, a disk or a card may have or do without, beyond what every one has.

An option that is at its default is not there. Which options a manifest owns is the mark's matter:
see Note [Owned fields] in ``planner.options``. What a plan shows of a value is its text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.names import FieldName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HOST_MODEL = "host-model"
"""The processor that is nearest to the host's and can be named, so that guests can be moved."""

HOST_PASSTHROUGH = "host-passthrough"
"""The host's own processor, whatever it is."""

LOOPBACK = "127.0.0.1"
"""Where a screen can be seen from the host itself alone."""

HOST_DEVICES = FieldName("hostDevices")

CAP_PERIOD_US = 100_000
"""The period over which a cap on processor time is kept, in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """How a guest's virtual CPUs look to it; their product is their maximum number."""

    sockets: int = 1
    cores: int = 1
    threads: int = 1

    def __str__(self) -> str:
        """Return ``2 x 4 x 1``: sockets, cores of each, threads of each."""
        return f"{self.sockets} x {self.cores} x {self.threads}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The virtual CPU ``vcpu`` runs on the host's ``cpus`` only: ascending ranges, ``0,2-3``."""

    vcpu: int
    cpus: str

    def __str__(self) -> str:
        """Return ``1 on 2-3``."""
        return f"{self.vcpu} on {self.cpus}"


def pins_of_present(pins: tuple[Pin, ...], count: int) -> tuple[Pin, ...]:
    """The pins of the ``count`` virtual CPUs that a guest has, and not of those that it can get.

    libxl forgets the others when a guest is defined (seen on libvirt 9.0).
    """
    return tuple(pin for pin in pins if pin.vcpu < count)


@dataclass(frozen=True, slots=True, kw_only=True)
class HugePages:
    """Memory in large pages of the host: of ``size_kib``, or of the size that it favours."""

    size_kib: int | None = None

    def __str__(self) -> str:
        """Return ``pages of 2048 KiB``."""
        return "yes" if self.size_kib is None else f"pages of {self.size_kib} KiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics:
    """A screen: how it is shown (``vnc``, ``spice``) and on which address of the host.

    ``listen`` is empty where the host's own settings decide. Passwords are no part of it: they stay
    with the host.
    """

    type: str = "vnc"
    listen: str = LOOPBACK

    def __str__(self) -> str:
        """Return ``vnc on 127.0.0.1``."""
        return f"{self.type} on {self.listen or 'an address of the host'}"


class WatchdogAction(StrEnum):
    """What happens to a guest that has stopped to reassure its watchdog."""

    RESET = "reset"
    SHUTDOWN = "shutdown"
    POWEROFF = "poweroff"
    PAUSE = "pause"
    NONE = "none"
    DUMP = "dump"
    INJECT_NMI = "inject-nmi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """A device that acts when the guest's own system hangs; ``model`` is libvirt's word."""

    model: str = "i6300esb"
    action: WatchdogAction = WatchdogAction.RESET

    def __str__(self) -> str:
        """Return ``i6300esb, then reset``."""
        return f"{self.model}, then {self.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tpm:
    """A trusted platform module; ``version`` is empty where it is the host's own."""

    version: str = "2.0"

    def __str__(self) -> str:
        """Return ``version 2.0``."""
        return f"version {self.version}" if self.version else "the host's own"


class HostBus(StrEnum):
    """Where on the host a device is that a guest has for itself."""

    PCI = "pci"
    USB = "usb"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class HostDevice:
    """A device of the host that the guest has for itself, driven by the guest's own driver.

    ``address`` is ``0000:03:00.0`` for PCI; for USB ``046d:c52b`` (vendor and product) or ``1.4``
    (bus and device).
    """

    bus: HostBus
    address: str

    def __str__(self) -> str:
        """Return ``pci/0000:03:00.0``, as in the controller's settings."""
        return f"{self.bus}/{self.address}"

    @property
    def field(self) -> FieldName:
        """The name by which a mark remembers whose the device is: by its address, not its name."""
        return FieldName(f"{HOST_DEVICES}[{self}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one guest, wanted or found.

    ``cpu``: which processor it sees, a mode or the name of a model; None is the hypervisor's own
    default. ``weight``: its share of processor time; ``cap``: the most of it, in percent of one
    processor. ``rng``: there is a device that gives its kernel random numbers of the host.
    ``host_devices`` are sorted; each is owned for itself.
    """

    cpu: str | None = None
    topology: Topology | None = None
    pin: tuple[Pin, ...] = ()
    weight: int | None = None
    cap: int | None = None
    huge_pages: HugePages | None = None
    rng: bool = False
    graphics: Graphics | None = None
    watchdog: Watchdog | None = None
    tpm: Tpm | None = None
    host_devices: tuple[HostDevice, ...] = ()


NO_OPTIONS = Options()


def cpu_ranges(cpus: Iterable[int]) -> str:
    """A set of processors as ascending ranges, ``0,2-3``, as libvirt tells it."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


FIELDS: Mapping[FieldName, str] = {
    FieldName("cpus.mode"): "cpu",
    FieldName("cpus.topology"): "topology",
    FieldName("cpus.pin"): "pin",
    FieldName("cpus.weight"): "weight",
    FieldName("cpus.cap"): "cap",
    FieldName("memory.hugePages"): "huge_pages",
    FieldName("rng"): "rng",
    FieldName("graphics"): "graphics",
    FieldName("watchdog"): "watchdog",
    FieldName("tpm"): "tpm",
}
"""What a manifest calls each option that is one thing, and the attribute that holds it."""


class Cache(StrEnum):
    """How the host keeps a disk's bytes on their way; libvirt's words."""

    NONE = "none"
    WRITETHROUGH = "writethrough"
    WRITEBACK = "writeback"
    DIRECTSYNC = "directsync"
    UNSAFE = "unsafe"


class Discard(StrEnum):
    """What becomes of blocks that the guest no longer needs."""

    UNMAP = "unmap"
    IGNORE = "ignore"


class Link(StrEnum):
    """Whether the cable is in."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True, kw_only=True)
class IoLimits:
    """The most that a disk does in a second; 0 is no limit."""

    total_bytes: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    total_iops: int = 0
    read_iops: int = 0
    write_iops: int = 0


NO_LIMITS = IoLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """The options of one disk; ``limits`` is None where there are none at all."""

    cache: Cache | None = None
    discard: Discard | None = None
    limits: IoLimits | None = None
    serial: str | None = None


NO_DISK_OPTIONS = DiskOptions()

BUS, READ_ONLY = FieldName("bus"), FieldName("readOnly")
"""Optional fields of a disk that are no options: every disk has a bus, and is writable or not."""

DISK_FIELDS: Mapping[FieldName, str] = {
    FieldName("cache"): "cache",
    FieldName("discard"): "discard",
    FieldName("limits"): "limits",
    FieldName("serial"): "serial",
}
"""What a manifest calls each option of a disk, below the disk's entry."""


OPENVSWITCH = FieldName("openvswitch")
"""Optional field of a card that is no option: its Network says it, and the VLAN with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicOptions:
    """The options of one network card."""

    link: Link | None = None
    queues: int | None = None


NO_NIC_OPTIONS = NicOptions()

NIC_FIELDS: Mapping[FieldName, str] = {FieldName("link"): "link", FieldName("queues"): "queues"}
"""What a manifest calls each option of a network card, below the card's entry."""

AnyOptions = Options | DiskOptions | NicOptions

_TABLES: Mapping[type[AnyOptions], Mapping[FieldName, str]] = {
    Options: FIELDS,
    DiskOptions: DISK_FIELDS,
    NicOptions: NIC_FIELDS,
}


def fields_of(options: AnyOptions) -> Mapping[FieldName, str]:
    """The names and attributes of options of that sort."""
    return _TABLES[type(options)]


def value_of(options: AnyOptions, field: FieldName) -> object:
    """What ``options`` say of the field that a manifest calls ``field``."""
    return getattr(options, _TABLES[type(options)][field])
