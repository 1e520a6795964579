"""Guest definitions: only such as a hypervisor could be told of, from tiny alphabets.

Volumes have the paths of ``PATHS``; no other source lies at one of these, so that what is read by
``volume_at`` is what was written.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from uuid import UUID

from hypothesis import strategies as st

from reconciler.domxml import canonical
from reconciler.model.definition import (
    Arch,
    BlockSource,
    Boot,
    BootDevice,
    BridgeSource,
    Bus,
    Disk,
    DiskDevice,
    DiskFormat,
    DomainType,
    Endpoint,
    FileSource,
    Firmware,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    KernelBoot,
    Loader,
    LoaderBoot,
    Memory,
    NbdSource,
    NetworkSource,
    Nic,
    RbdSource,
    RbdUser,
    Vcpus,
    VolumeSource,
)
from reconciler.model.mark import Mark
from reconciler.model.names import GuestName, LibvirtPool, MacAddress, Target, VolumeName
from reconciler.model.options import (
    HOST_MODEL,
    HOST_PASSTHROUGH,
    NO_DISK_OPTIONS,
    NO_LIMITS,
    NO_OPTIONS,
    Cache,
    Discard,
    DiskOptions,
    Graphics,
    HostBus,
    HostDevice,
    HugePages,
    IoLimits,
    Link,
    NicOptions,
    Options,
    Pin,
    Topology,
    Tpm,
    Watchdog,
    WatchdogAction,
)
from tests.strategies.marks import (
    MACS,
    NAMES,
    POOLS,
    TARGETS,
    UUIDS,
    VOLUMES,
    marks,
    sayable,
    words,
)

Kind = tuple[GuestName, UUID, DomainType, GuestType, Arch]

PATHS: Mapping[tuple[LibvirtPool, VolumeName], str] = {
    (LibvirtPool(pool), VolumeName(volume)): f"{folder}/{volume}"
    for pool, folder in zip(POOLS, ("/var/lib/libvirt/images", "/dev/vg0"), strict=True)
    for volume in VOLUMES
}
"""A pool of files and a pool of block devices, on every host."""

_LIMITS = tuple(field.name for field in fields(IoLimits))
_VOLUMES = {path: VolumeSource(pool=pool, volume=name) for (pool, name), path in PATHS.items()}


def volume_at(path: str) -> VolumeSource | None:
    """The volume of ``PATHS`` that lies at ``path``."""
    return _VOLUMES.get(path)


@cache
def kinds() -> st.SearchStrategy[Kind]:
    """What is fixed at a guest's making, in the combinations that exist."""
    machines = [(DomainType.XEN, guest_type) for guest_type in GuestType]
    machines += [(one, GuestType.HVM) for one in DomainType if one is not DomainType.XEN]
    return st.tuples(
        st.sampled_from(NAMES).map(GuestName),
        st.sampled_from(UUIDS),
        st.sampled_from(machines),
        st.sampled_from(Arch),
    ).map(lambda drawn: (drawn[0], drawn[1], *drawn[2], drawn[3]))


@cache
def _boots(guest_type: GuestType) -> st.SearchStrategy[Boot]:
    lines = sayable.filter(bool) | words.filter(bool)
    kernel = st.builds(
        KernelBoot,
        kernel=st.sampled_from(("/boot/vmlinuz", "/boot/a & <b>")),
        initrd=st.sampled_from((None, "/boot/initrd.img")),
        cmdline=st.none() | lines,
    )
    if guest_type is not GuestType.HVM:
        return kernel | st.just(LoaderBoot(loader=Loader.PYGRUB))
    order = st.lists(st.sampled_from(BootDevice), min_size=1, max_size=3, unique=True)
    firmware = st.builds(FirmwareBoot, firmware=st.sampled_from(Firmware), order=order.map(tuple))
    return kernel | firmware


@cache
def disks() -> st.SearchStrategy[Disk]:
    """One disk or drive; the target does not bind the bus, as libvirt does not either."""
    formats = st.sampled_from(DiskFormat)
    volumes = st.builds(
        VolumeSource,
        pool=st.sampled_from(POOLS).map(LibvirtPool),
        volume=st.sampled_from(VOLUMES).map(VolumeName),
        format=formats,
    )
    files = st.builds(
        FileSource, path=st.sampled_from(("/srv/a&b.img", "/srv/c d")), format=formats
    )
    blocks = st.builds(BlockSource, path=st.just("/dev/disk/by-id/scsi-36001-part3"))
    return st.builds(
        Disk,
        target=st.sampled_from(TARGETS).map(Target),
        bus=st.sampled_from(Bus),
        source=st.none() | volumes | files | blocks | _images(),
        device=st.sampled_from(DiskDevice),
        read_only=st.booleans(),
        options=st.just(NO_DISK_OPTIONS) | _disk_options(),
    )


def _images() -> st.SearchStrategy[NbdSource | RbdSource]:
    """Images on the network, with and without what may be left out."""
    ports = st.sampled_from((None, 6789))
    endpoints = st.builds(Endpoint, host=st.sampled_from(("a.example", "::1")), port=ports)
    nbd = st.builds(
        NbdSource,
        server=st.builds(Endpoint, host=st.just("nas"), port=st.sampled_from((10809, 10810))),
        export=st.sampled_from(("", "lists/data")),
        format=st.sampled_from(DiskFormat),
    )
    users = st.builds(
        RbdUser, name=st.sampled_from(("libvirt", "vms")), secret=st.sampled_from(UUIDS)
    )
    rbd = st.builds(
        RbdSource,
        pool=st.sampled_from(("vms", "fast")),
        image=st.sampled_from(("root", "data")),
        monitors=st.lists(endpoints, max_size=2, unique=True).map(
            lambda drawn: tuple(sorted(drawn, key=str))
        ),
        user=st.none() | users,
    )
    return nbd | rbd


def _disk_options() -> st.SearchStrategy[DiskOptions]:
    amounts = st.sampled_from((0, 1, 1 << 20))
    limits = st.builds(IoLimits, **dict.fromkeys(_LIMITS, amounts)).filter(NO_LIMITS.__ne__)
    return st.builds(
        DiskOptions,
        cache=st.none() | st.sampled_from(Cache),
        discard=st.none() | st.sampled_from(Discard),
        limits=st.none() | limits,
        serial=st.sampled_from((None, "LISTS-01", "a.b+c")),
    )


@cache
def nics() -> st.SearchStrategy[Nic]:
    """One network card."""
    bridges = st.builds(
        BridgeSource,
        bridge=st.sampled_from(("br0", "br120")),
        openvswitch=st.booleans(),
        vlan=st.sampled_from((None, 1, 4094)),
    )
    networks = st.builds(NetworkSource, network=st.sampled_from(("default", "isolated")))
    return st.builds(
        Nic,
        mac=st.sampled_from(MACS).map(MacAddress),
        source=bridges | networks,
        model=st.sampled_from((None, "virtio", "netfront", "e1000")),
        options=st.builds(
            NicOptions,
            link=st.none() | st.sampled_from(Link),
            queues=st.sampled_from((None, 1, 4)),
        ),
    )


_cpus = st.sampled_from((None, HOST_MODEL, HOST_PASSTHROUGH, "Nehalem", "EPYC-v2"))
_topologies = st.none() | st.builds(
    Topology, sockets=st.integers(1, 2), cores=st.integers(1, 2), threads=st.integers(1, 2)
)
_pins = st.lists(
    st.builds(Pin, vcpu=st.integers(0, 2), cpus=st.sampled_from(("0", "2-3", "0,2-3,7"))),
    max_size=2,
    unique_by=lambda pin: pin.vcpu,
).map(lambda pins: tuple(sorted(pins, key=lambda pin: pin.vcpu)))
_tuning = st.sampled_from((None, None, 2, 150, 256))
_devices = st.tuples(
    st.sampled_from((None, HugePages(), HugePages(size_kib=2048))),
    st.booleans(),
    st.sampled_from(
        (None, Graphics(), Graphics(type="spice", listen="10.0.0.1"), Graphics(listen=""))
    ),
    st.none()
    | st.builds(
        Watchdog,
        model=st.sampled_from(("i6300esb", "ib700")),
        action=st.sampled_from(WatchdogAction),
    ),
    st.sampled_from((None, Tpm(), Tpm(version="1.2"))),
    st.lists(
        st.sampled_from(
            (
                HostDevice(bus=HostBus.PCI, address="0000:03:00.0"),
                HostDevice(bus=HostBus.PCI, address="0001:ab:1f.7"),
                HostDevice(bus=HostBus.USB, address="046d:c52b"),
                HostDevice(bus=HostBus.USB, address="1.14"),
            )
        ),
        max_size=2,
        unique=True,
    ).map(lambda devices: tuple(sorted(devices))),
)
_options = st.builds(
    lambda cpu, topology, pin, weight, cap, devices: Options(
        cpu=cpu,
        topology=topology,
        pin=pin,
        weight=weight,
        cap=cap,
        huge_pages=devices[0],
        rng=devices[1],
        graphics=devices[2],
        watchdog=devices[3],
        tpm=devices[4],
        host_devices=devices[5],
    ),
    _cpus,
    _topologies,
    _pins,
    _tuning,
    _tuning,
    _devices,
)


@cache
def options() -> st.SearchStrategy[Options]:
    """What a guest may have beyond what every guest has; many have nothing."""
    return st.just(NO_OPTIONS) | _options


_parts = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted)
_vcpus = _parts.map(lambda part: Vcpus(count=part[0], maximum=part[1]))
_memories = _parts.map(lambda part: Memory(size_kib=part[0] << 16, maximum_kib=part[1] << 16))
_disk_lists = st.lists(disks(), max_size=4, unique_by=lambda one: one.target).map(tuple)
_nic_lists = st.lists(nics(), max_size=3, unique_by=lambda one: one.mac).map(tuple)
_optional_marks = st.none() | marks()


@st.composite
def definitions(
    draw: st.DrawFn,
    kind: Kind | None = None,
    mark: st.SearchStrategy[Mark | None] | None = None,
) -> GuestDefinition:
    """Return a definition in the form in which it is read back; of ``kind``, if one is given."""
    name, uuid, domain_type, guest_type, arch = kind or draw(kinds())
    drawn = GuestDefinition(
        name=name,
        uuid=uuid,
        domain_type=domain_type,
        type=guest_type,
        arch=arch,
        vcpus=draw(_vcpus),
        memory=draw(_memories),
        boot=draw(_boots(guest_type)),
        disks=draw(_disk_lists),
        nics=draw(_nic_lists),
        console=draw(st.booleans()),
        agent=domain_type is not DomainType.XEN and draw(st.booleans()),
        options=draw(options()),
        mark=draw(marks() if mark is None else mark),
    )
    overlay = tuple(
        entry.element for entry in (drawn.mark.overlay if drawn.mark else ()) if draw(st.booleans())
    )
    return canonical(replace(drawn, overlay=overlay))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[GuestDefinition, GuestDefinition]:
    """Two definitions of one guest: what a text says and what it shall say."""
    kind = draw(kinds())
    return draw(definitions(kind, _optional_marks)), draw(definitions(kind, _optional_marks))
