"""Differences between two definitions of a guest, field by field, in the manifest's words.

Only what the manifest owns is compared: disks and NICs that are in neither the mark nor the
manifest belong to somebody else and are not looked at. What a difference costs the guest is a table
here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import (
    BlockSource,
    BridgeSource,
    Bus,
    DiskDevice,
    FileSource,
    FirmwareBoot,
    KernelBoot,
    LoaderBoot,
    NbdSource,
    NetworkSource,
    OtherNicSource,
    OtherSource,
    RbdSource,
    VolumeSource,
)
from reconciler.model.options import BUS, OPENVSWITCH, READ_ONLY
from reconciler.model.plan import Label
from reconciler.planner import words
from reconciler.planner.hostdevices import differing_devices
from reconciler.planner.options import differing_options, kept_options

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.model.definition import Boot, Disk, GuestDefinition, Nic, NicSource
    from reconciler.model.names import DiskName, FieldName, MacAddress, NicName, Target
    from reconciler.model.observed import Capabilities

KIB_PER_MIB = 1024
_HOTPLUG_BUSES = frozenset({Bus.VIRTIO, Bus.XEN, Bus.SCSI, Bus.USB})


class Kind(Enum):
    """What sort of thing differs; each has a row in ``cost``."""

    CPU_COUNT = auto()
    CPU_MAXIMUM = auto()
    MEMORY_SIZE = auto()
    MEMORY_MAXIMUM = auto()
    BOOT = auto()
    DISK_NEW = auto()
    DISK_GONE = auto()
    DISK_MEDIUM = auto()
    DISK_LIMITS = auto()
    DISK_OTHER = auto()
    SEED_NEW = auto()
    SEED_GONE = auto()
    NIC_NEW = auto()
    NIC_GONE = auto()
    NIC_NETWORK = auto()
    NIC_LINK = auto()
    NIC_OTHER = auto()
    CONSOLE = auto()
    AGENT = auto()
    OPTION = auto()
    OVERLAY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field that differs; ``disk`` and ``nic`` are the wanted ones (if gone, the actual)."""

    kind: Kind
    field: str
    before: str
    after: str
    disk: Disk | None = None
    nic: Nic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What the manifest owns: devices by key, with their names in it, and optional fields.

    ``seed`` is the place of cloud-init's seed, as long as one is wanted or there.
    """

    disks: Mapping[Target, DiskName]
    nics: Mapping[MacAddress, NicName]
    fields: frozenset[FieldName]
    of_disks: Mapping[Target, frozenset[FieldName]]
    of_nics: Mapping[MacAddress, frozenset[FieldName]]
    seed: Target | None = None
    ignored: frozenset[str] = frozenset()
    """The fields that are neither compared nor put right, see ``planner.ignoring``."""


def differences(
    wanted: GuestDefinition, actual: GuestDefinition, owned: Owned, *, slack_kib: int = 0
) -> tuple[Difference, ...]:
    """Every owned field in which ``actual`` is not as ``wanted``, but for the ignored ones."""
    found = (
        *_cpus(wanted, actual),
        *_memory(wanted, actual, slack_kib),
        *_boot(wanted.boot, actual.boot),
        *_disks(wanted, actual, owned),
        *_nics(wanted, actual, owned),
        *_channels(wanted, actual),
        *_options(wanted, actual, owned),
        *_seed(wanted, actual, owned.seed),
        *_overlay(wanted, actual),
    )
    return tuple(one for one in found if one.field not in owned.ignored)


def cost(  # noqa: C901 - one row a sort of difference
    difference: Difference,
    wanted: GuestDefinition,
    live: GuestDefinition,
    capabilities: Capabilities,
) -> Label:
    """Whether a running guest can have the difference put right without a restart."""
    match difference.kind:
        case Kind.CPU_COUNT:
            if wanted.vcpus.count < live.vcpus.count:
                return _live_if(capabilities.vcpu_unplug)
            fits = wanted.vcpus.count <= live.vcpus.maximum
            return _live_if(capabilities.vcpu_hotplug and fits)
        case Kind.MEMORY_SIZE:
            fits = wanted.memory.size_kib <= live.memory.maximum_kib
            return _live_if(capabilities.memory_balloon and fits)
        case Kind.DISK_NEW | Kind.DISK_GONE:
            disk = difference.disk
            pluggable = (
                disk is not None and disk.device is DiskDevice.DISK and disk.bus in _HOTPLUG_BUSES
            )
            return _live_if(capabilities.disk_hotplug and pluggable)
        case Kind.SEED_GONE:
            # Nobody restarts a guest to be rid of a seed: it leaves with the next start.
            return Label.LIVE if capabilities.disk_hotplug else Label.NONE
        case Kind.DISK_LIMITS:
            return _live_if(capabilities.disk_limits)
        case Kind.DISK_MEDIUM:
            return _live_if(capabilities.media_change)
        case Kind.NIC_NEW | Kind.NIC_GONE:
            return _live_if(capabilities.nic_hotplug)
        case Kind.NIC_NETWORK | Kind.NIC_LINK:
            return _live_if(capabilities.nic_change)
        case Kind.OPTION:
            return _live_if(_changes_live(difference.field, wanted, live, capabilities))
        case (
            Kind.CPU_MAXIMUM
            | Kind.MEMORY_MAXIMUM
            | Kind.BOOT
            | Kind.DISK_OTHER
            | Kind.SEED_NEW  # a guest that is given it live has not been started with it
            | Kind.NIC_OTHER
            | Kind.CONSOLE
            | Kind.AGENT
            | Kind.OVERLAY
        ):
            return Label.RESTART
        case _:
            assert_never(difference.kind)


def _changes_live(
    field: str, wanted: GuestDefinition, live: GuestDefinition, capabilities: Capabilities
) -> bool:
    """Whether an option of a running guest can be changed.

    A pin can be given to a virtual CPU that is there, and be another. It cannot be taken away:
    libvirt would remember one to all processors, which is not the same as none.
    """
    match field:
        case "cpus.pin":
            before = {pin.vcpu: pin for pin in live.options.pin}
            after = {pin.vcpu: pin for pin in wanted.options.pin}
            moved = {vcpu for vcpu, pin in after.items() if before.get(vcpu) != pin}
            there = all(vcpu < live.vcpus.count for vcpu in moved)
            return capabilities.pin_running and before.keys() <= after.keys() and there
        case "cpus.weight" | "cpus.cap":
            return capabilities.share_running
        case _:
            return False


def _live_if(possible: bool) -> Label:  # noqa: FBT001 - reads as a sentence where it is called
    return Label.LIVE if possible else Label.RESTART


def _cpus(wanted: GuestDefinition, actual: GuestDefinition) -> Iterator[Difference]:
    if wanted.vcpus.count != actual.vcpus.count:
        yield Difference(
            kind=Kind.CPU_COUNT,
            field="cpus",
            before=str(actual.vcpus.count),
            after=str(wanted.vcpus.count),
        )
    if wanted.vcpus.maximum != actual.vcpus.maximum:
        yield Difference(
            kind=Kind.CPU_MAXIMUM,
            field="cpus.max",
            before=str(actual.vcpus.maximum),
            after=str(wanted.vcpus.maximum),
        )


def _memory(
    wanted: GuestDefinition, actual: GuestDefinition, slack_kib: int
) -> Iterator[Difference]:
    if abs(wanted.memory.size_kib - actual.memory.size_kib) > slack_kib:
        yield Difference(
            kind=Kind.MEMORY_SIZE,
            field="memory",
            before=words.memory(actual.memory.size_kib),
            after=words.memory(wanted.memory.size_kib),
        )
    if _started_with(wanted, slack_kib) != _started_with(actual, slack_kib):
        yield Difference(
            kind=Kind.MEMORY_MAXIMUM,
            field="memory.max",
            before=words.memory(actual.memory.maximum_kib),
            after=words.memory(wanted.memory.maximum_kib),
        )


def _started_with(definition: GuestDefinition, slack_kib: int) -> int:
    """The maximum; of a guest that runs up to the next MiB, to which QEMU rounds what it starts."""
    maximum = definition.memory.maximum_kib
    return -(-maximum // KIB_PER_MIB) if slack_kib else maximum


def _boot(wanted: Boot, actual: Boot) -> Iterator[Difference]:
    before, after = _boot_words(actual), _boot_words(wanted)
    for field in sorted(before.keys() | after.keys()):
        if before.get(field) != after.get(field):
            yield Difference(
                kind=Kind.BOOT,
                field=f"boot.{field}",
                before=before.get(field) or "none",
                after=after.get(field) or "none",
            )


def _boot_words(boot: Boot) -> dict[str, str | None]:
    match boot:
        case KernelBoot():
            return {"kernel": boot.kernel, "initrd": boot.initrd, "cmdline": boot.cmdline}
        case FirmwareBoot():
            return {"firmware": boot.firmware, "order": ", ".join(boot.order)}
        case LoaderBoot():
            return {"loader": boot.loader}
        case _:
            assert_never(boot)


def _disks(wanted: GuestDefinition, actual: GuestDefinition, owned: Owned) -> Iterator[Difference]:
    for target in sorted(owned.disks):
        field = f"disks[{owned.disks[target]}]"
        new, old = wanted.disk(target), actual.disk(target)
        if new is None and old is not None:
            yield Difference(
                kind=Kind.DISK_GONE, field=field, before=disk_words(old), after="none", disk=old
            )
        elif new is not None and old is None:
            yield Difference(
                kind=Kind.DISK_NEW, field=field, before="none", after=disk_words(new), disk=new
            )
        elif new is not None and old is not None:
            fields = owned.of_disks.get(target, frozenset())
            yield from _within_disk(field, _as_owned(new, old, fields), old, fields)


def _as_owned(new: Disk, old: Disk, owned: Collection[FieldName]) -> Disk:
    """The disk that is wanted, with each optional field that is not ours as it is."""
    return replace(
        new,
        bus=new.bus if BUS in owned else old.bus,
        read_only=new.read_only if READ_ONLY in owned else old.read_only,
        options=kept_options(new.options, old.options, owned),
    )


def _within_disk(
    field: str, new: Disk, old: Disk, owned: Collection[FieldName]
) -> Iterator[Difference]:
    """Where one disk is not as wanted: what lies in it, how it is connected, its options."""
    if (new.device, new.source) != (old.device, old.source):
        medium = new.device is old.device is DiskDevice.CDROM and (new.bus, new.read_only) == (
            old.bus,
            old.read_only,
        )
        yield Difference(
            kind=Kind.DISK_MEDIUM if medium else Kind.DISK_OTHER,
            field=field,
            before=disk_words(old),
            after=disk_words(new),
            disk=new,
        )
    told = [("bus", old.bus.value, new.bus.value)]
    told += [("readOnly", "yes" if old.read_only else "no", "yes" if new.read_only else "no")]
    told += differing_options(new.options, old.options, owned)
    for part, before, after in told:
        if before != after:
            yield Difference(
                kind=Kind.DISK_LIMITS if part == "limits" else Kind.DISK_OTHER,
                field=f"{field}.{part}",
                before=before,
                after=after,
                disk=new,
            )


def _seed(
    wanted: GuestDefinition, actual: GuestDefinition, target: Target | None
) -> Iterator[Difference]:
    """The seed comes and goes whole."""
    if target is None:
        return
    new, old = wanted.disk(target), actual.disk(target)
    if new == old:
        return
    yield Difference(
        kind=Kind.SEED_GONE if new is None else Kind.SEED_NEW,
        field="cloudInit",
        before="no seed" if old is None else f"seed at {disk_words(old)}",
        after="no seed" if new is None else f"seed at {disk_words(new)}",
        disk=new or old,
    )


def disk_words(disk: Disk) -> str:
    """``vdb: guests/lists-data.raw``, with whatever stands out."""
    match disk.source:
        case None:
            source = "empty"
        case VolumeSource():
            source = f"{disk.source.pool}/{disk.source.volume}"
        case FileSource() | BlockSource() | NbdSource() | RbdSource():
            source = disk.source.address
        case OtherSource():
            source = "a source of its own"
        case _:
            assert_never(disk.source)
    return f"{disk.target}: {source} on {disk.bus}"


def _nics(wanted: GuestDefinition, actual: GuestDefinition, owned: Owned) -> Iterator[Difference]:
    for mac in sorted(owned.nics):
        field = f"networks[{owned.nics[mac]}]"
        new, old = wanted.nic(mac), actual.nic(mac)
        if new is None and old is not None:
            yield Difference(
                kind=Kind.NIC_GONE, field=field, before=nic_words(old), after="none", nic=old
            )
        elif new is not None and old is None:
            yield Difference(
                kind=Kind.NIC_NEW, field=field, before="none", after=nic_words(new), nic=new
            )
        elif new is not None and old is not None:
            fields = owned.of_nics.get(mac, frozenset())
            yield from _within_nic(field, _nic_as_owned(new, old, fields), old, fields)


def _nic_as_owned(new: Nic, old: Nic, owned: Collection[FieldName]) -> Nic:
    """The card that is wanted, with each optional field that is not ours as it is."""
    source, there = new.source, old.source
    if isinstance(source, BridgeSource) and isinstance(there, BridgeSource):
        ours = OPENVSWITCH in owned
        kept = replace(source, openvswitch=there.openvswitch, vlan=there.vlan)
        source = source if ours else kept
    options = kept_options(new.options, old.options, owned)
    return replace(new, source=source, options=options)


def _within_nic(
    field: str, new: Nic, old: Nic, owned: Collection[FieldName]
) -> Iterator[Difference]:
    """Where one card is not as wanted: what it is plugged into, what it is, its options."""
    if new.source != old.source:
        yield Difference(
            kind=Kind.NIC_NETWORK if _same_port(new.source, old.source) else Kind.NIC_OTHER,
            field=field,
            before=nic_words(old),
            after=nic_words(new),
            nic=new,
        )
    told = [("model", old.model or "default", new.model or "default")]
    told += differing_options(new.options, old.options, owned)
    for part, before, after in told:
        if before != after:
            yield Difference(
                kind=Kind.NIC_LINK if part == "link" else Kind.NIC_OTHER,
                field=f"{field}.{part}",
                before=before,
                after=after,
                nic=new,
            )


def _same_port(new: NicSource, old: NicSource) -> bool:
    """Whether only the place changes: what sort of port a card has, its start decides."""
    ports = [
        (one.openvswitch, one.vlan) if isinstance(one, BridgeSource) else (False, None)
        for one in (new, old)
    ]
    return ports[0] == ports[1]


def nic_words(nic: Nic) -> str:
    """``02:…:01 on br120 (virtio)``, and ``VLAN 120`` where the port is tagged."""
    match nic.source:
        case BridgeSource():
            tag = f" VLAN {nic.source.vlan}" if nic.source.vlan else ""
            source = f"{nic.source.bridge}{tag}{' (Open vSwitch)' * nic.source.openvswitch}"
        case NetworkSource():
            source = nic.source.network
        case OtherNicSource():
            source = "a connection of its own"
        case _:
            assert_never(nic.source)
    return f"{nic.mac} on {source} ({nic.model or 'default model'})"


def _channels(wanted: GuestDefinition, actual: GuestDefinition) -> Iterator[Difference]:
    for kind, field, new, old in (
        (Kind.CONSOLE, "console", wanted.console, actual.console),
        (Kind.AGENT, "agent", wanted.agent, actual.agent),
    ):
        if new != old:
            yield Difference(
                kind=kind, field=field, before="on" if old else "off", after="on" if new else "off"
            )


def _options(
    wanted: GuestDefinition, actual: GuestDefinition, owned: Owned
) -> Iterator[Difference]:
    for told in (differing_options, differing_devices):
        for field, before, after in told(wanted.options, actual.options, owned.fields):
            yield Difference(kind=Kind.OPTION, field=field, before=before, after=after)


def _overlay(wanted: GuestDefinition, actual: GuestDefinition) -> Iterator[Difference]:
    if wanted.overlay != actual.overlay:
        yield Difference(
            kind=Kind.OVERLAY,
            field="xml",
            before=words.overlay(actual.overlay),
            after=words.overlay(wanted.overlay),
        )
