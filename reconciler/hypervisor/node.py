"""What a host is: its driver, its own UUID, the guests that it can run, its size, its networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, UUID, uuid5

import libvirt

from reconciler.hypervisor.capabilities import Driver, driver_called
from reconciler.hypervisor.parsing import parse
from reconciler.model.definition import Arch, DomainType, GuestType

if TYPE_CHECKING:
    from collections.abc import Mapping

_KIB_PER_MIB = 1024
_BYTES_PER_KIB = 1024
_NO_CALL = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
_GUEST_ENDS = ("vnet", "vif", "tap")
"""Names that libvirt and Xen give to the hosts' ends of guests' cards: none is a bridge."""

_OS_TYPES = {
    "hvm": GuestType.HVM,
    "xen": GuestType.PV,
    "linux": GuestType.PV,
    "xenpvh": GuestType.PVH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What does not change while a connection stands."""

    driver: Driver
    uuid: UUID
    domain_type: DomainType
    guest_types: frozenset[tuple[GuestType, Arch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What the host has, and what of its memory is free."""

    cpus: int
    memory_kib: int
    free_memory_kib: int


def ask_identity(connection: libvirt.virConnect) -> Identity:
    """Who the host is and what it can run."""
    driver = driver_called(connection.getType())
    text = connection.getCapabilities()
    found = parse(text, "capabilities").findtext("host/uuid")
    return read_capabilities(
        text, driver, uuid=_ask_uuid(connection, driver) if found is None else UUID(found)
    )


def _ask_uuid(connection: libvirt.virConnect, driver: Driver) -> UUID:
    """The UUID of a host whose capabilities name none.

    libxl leaves it to the machine's firmware. Where that has none worth the name, as on boards
    whose maker filled in nothing, the host's own name must do: two hosts of one name then count as
    one, which makes both unknown and nothing worse. The test driver has no machine: its URI stands
    for it.
    """
    if driver is Driver.TEST:
        return uuid5(NAMESPACE_URL, connection.getURI())
    try:
        found = read_sysinfo(connection.getSysinfo())
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _NO_CALL:
            raise
        found = None
    return found or uuid5(NAMESPACE_URL, f"host:{connection.getHostname()}")


def read_sysinfo(text: str) -> UUID | None:
    """The machine's UUID as its firmware tells it; None if that is missing or no real one."""
    told = parse(text, "sysinfo").findtext("system/entry[@name='uuid']", "")
    try:
        uuid = UUID(told)
    except ValueError:
        return None
    return None if len(set(uuid.hex)) == 1 else uuid


def read_capabilities(text: str, driver: Driver, *, uuid: UUID) -> Identity:
    """Read libvirt's capabilities; guest types that domops does not know are left out."""
    root = parse(text, "capabilities")
    guest_types: set[tuple[GuestType, Arch]] = set()
    domain_types: set[str] = set()
    for guest in root.iterfind("guest"):
        guest_type = _OS_TYPES.get(guest.findtext("os_type", ""))
        for arch in guest.iterfind("arch"):
            name = arch.get("name", "")
            if guest_type is not None and name in tuple(Arch):
                guest_types.add((guest_type, Arch(name)))
                domain_types.update(kind.get("type", "") for kind in arch.iterfind("domain"))
    return Identity(
        driver=driver,
        uuid=uuid,
        domain_type=_domain_type(driver, domain_types),
        guest_types=frozenset(guest_types),
    )


def _domain_type(driver: Driver, domain_types: set[str]) -> DomainType:
    match driver:
        case Driver.XEN:
            return DomainType.XEN
        case Driver.TEST:
            return DomainType.TEST
        case Driver.QEMU:
            # Without hardware help QEMU emulates: slower, and the same in everything else.
            return DomainType.KVM if DomainType.KVM in domain_types else DomainType.QEMU


def ask_size(connection: libvirt.virConnect, driver: Driver) -> Size:
    """How big the host is, and how much of its memory guests could have."""
    info = connection.getInfo()
    cpus, memory_kib = int(info[2]), int(info[1]) * _KIB_PER_MIB
    if driver is Driver.QEMU:
        # Linux gives its caches back when a guest wants the memory: they count as free.
        statistics = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        free = sum(int(statistics.get(part, 0)) for part in ("free", "buffers", "cached"))
        memory_kib = int(statistics["total"])
    else:
        free = int(connection.getFreeMemory()) // _BYTES_PER_KIB
    return Size(cpus=cpus, memory_kib=memory_kib, free_memory_kib=free)


def ask_networks(connection: libvirt.virConnect) -> Mapping[str, bool]:
    """The networks that libvirt keeps, and whether each is active; none where it keeps none."""
    try:
        active = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE)
        known = connection.listAllNetworks()
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_CALL:
            return {}
        raise
    running = {network.name() for network in active}
    return {name: name in running for name in sorted(network.name() for network in known)}


class BridgeMemo:
    """What interfaces are, by name and address, for as long as they are there."""

    def __init__(self) -> None:
        """Remember nothing."""
        self.known: dict[tuple[str, str], bool] = {}


def ask_bridges(connection: libvirt.virConnect, memo: BridgeMemo) -> frozenset[str] | None:
    """The host's bridges; None where the driver cannot say.

    An interface is asked what it is when it is seen for the first time, or with another address.
    """
    try:
        interfaces = connection.listAllInterfaces()
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_CALL:
            return None
        raise
    before, memo.known = memo.known, {}
    for interface in interfaces:
        if interface.name().startswith(_GUEST_ENDS):
            continue
        key = (interface.name(), interface.MACString())
        known = before.get(key)
        memo.known[key] = _is_bridge(interface) if known is None else known
    return frozenset(name for (name, _), bridge in memo.known.items() if bridge)


def _is_bridge(interface: libvirt.virInterface) -> bool:
    try:
        text = interface.XMLDesc()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_INTERFACE:
            return False  # it went away since it was listed
        raise
    return parse(text, "interface").get("type") == "bridge"
