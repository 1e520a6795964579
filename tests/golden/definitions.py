"""The guests whose XML is kept as golden files, one for each way in which a guest can be told.

Together they exercise every field and every word of the model; ``test_domxml.py`` fails if not.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from reconciler.domxml import canonical
from reconciler.model.definition import (
    Arch,
    BlockSource,
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
from reconciler.model.mark import (
    Consistency,
    Mark,
    MarkedDisk,
    MarkedElement,
    MarkedNic,
    MarkedOperation,
    MarkedRestart,
    MarkedSeed,
    MarkedSnapshot,
    OperationKind,
    Phase,
    ShutdownPolicy,
    ThenWhat,
    Trash,
)
from reconciler.model.names import (
    Digest,
    DiskName,
    FieldName,
    GuestName,
    LibvirtPool,
    MacAddress,
    NicName,
    PlanId,
    Sha,
    SnapshotName,
    Target,
    VolumeName,
)
from reconciler.model.options import (
    HOST_MODEL,
    HOST_PASSTHROUGH,
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
from reconciler.model.overlay import OverlayElement, XmlElement
from reconciler.model.suspension import Covered, Scope, Suspension

PATHS: Mapping[tuple[LibvirtPool, VolumeName], str] = {
    (
        LibvirtPool("default"),
        VolumeName("lists-root.raw"),
    ): "/var/lib/libvirt/images/lists-root.raw",
    (
        LibvirtPool("default"),
        VolumeName("web-root.qcow2"),
    ): "/var/lib/libvirt/images/web-root.qcow2",
    (LibvirtPool("vg0"), VolumeName("lists-data")): "/dev/vg0/lists-data",
    (LibvirtPool("isos"), VolumeName("debian.iso")): "/srv/isos/debian.iso",
}
"""Where the volumes of the guests below lie."""

MIB = 1024
_NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_LATER = datetime(2026, 3, 31, 12, 0, 0, 250000, tzinfo=UTC)
_MARKED_DISK = MarkedDisk(
    name=DiskName("root"),
    target=Target("vda"),
    pool=LibvirtPool("default"),
    volume=VolumeName("lists-root.raw"),
    ours=True,
    filled=True,
    image="images/debian-12",
)

MARK = Mark(
    owner=UUID("6a0e1c5e-5c2b-4d0e-9a59-3d1f0c9c0001"),
    guest=GuestName("lists"),
    uuid=UUID("9f1c2b7e-0000-4000-8000-000000000001"),
    generation=1,
    phase=Phase.READY,
    commit=Sha("8c2f1e4d5a6b7c8d9e0f1a2b3c4d5e6f70819203"),
    intent=Digest("5d1c90ab5d1c90ab5d1c90ab5d1c90ab"),
    renderer=1,
    shutdown=ShutdownPolicy(),
    disks=(_MARKED_DISK,),
    nics=(MarkedNic(name=NicName("eth0"), mac=MacAddress("52:54:00:00:00:01")),),
)
_CREATING = replace(
    MARK,
    phase=Phase.CREATING,
    protected=True,
    shutdown=ShutdownPolicy(timeout_s=60, then=ThenWhat.DESTROY),
    disks=(replace(_MARKED_DISK, ours=False, filled=False, image=None),),
    nics=(),
)
_TRASHED = replace(
    MARK,
    owner=UUID("6a0e1c5e-5c2b-4d0e-9a59-3d1f0c9c0002"),
    guest=GuestName("web"),
    uuid=UUID("9f1c2b7e-0000-4000-8000-000000000002"),
    nics=(MarkedNic(name=NicName("uplink"), mac=MacAddress("52:54:00:00:00:02")),),
    generation=3,
    commit=Sha("folder:/srv/site"),
    intent=Digest("00"),
    phase=Phase.TRASH,
    disks=(
        _MARKED_DISK,
        MarkedDisk(
            name=DiskName("data"),
            target=Target("xvdb"),
            pool=LibvirtPool("vg0"),
            volume=VolumeName("lists-data"),
            ours=True,
            filled=True,
            detached=_NOON,
            expired=_LATER,
            approval=PlanId("5d1c-90ab"),
        ),
        MarkedDisk(
            name=DiskName("archive"),
            target=Target("xvdc"),
            pool=LibvirtPool("vg0"),
            volume=VolumeName("lists-archive"),
            ours=False,
            filled=True,
            protected=True,
        ),
        MarkedDisk(
            name=DiskName("cd"),
            target=Target("xvdd"),
            pool=None,
            volume=None,
            ours=False,
            filled=True,
        ),
    ),
    trash=Trash(since=_NOON, until=_LATER, commit=Sha("8c2f1e4"), approval=PlanId("5d1c-90ab")),
    tokens=("reinstall 2026", 'a "quoted" <token>'),
)
_SEED = MarkedSeed(
    target=Target("vdb"),
    pool=LibvirtPool("default"),
    volume=VolumeName("lists-cidata.iso"),
    digest=Digest("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
    instance="9f1c2b7e-0000-4000-8000-000000000001",
    filled=True,
)
_SEEDED = replace(MARK, seed=_SEED, cloud_init=_SEED.digest)
_SEED_LEAVES = replace(
    MARK,
    seed=MarkedSeed(
        target=Target("xvdc"),
        pool=LibvirtPool("vg0"),
        volume=VolumeName("web-cidata.iso"),
        digest=Digest("00ff"),
        instance="9f1c2b7e-0000-4000-8000-000000000001-2026-03-02",
        filled=True,
        done=True,
    ),
    cloud_init=Digest("00ff"),
    tokens=("cloudInit:2026-03-02",),
)
_SUSPENDED = replace(
    MARK,
    suspended=(
        Suspension(
            covered=Covered(scope=Scope.GUEST, name="lists"),
            who="anna",
            why='the nightly "backup" & a look',
            since=_NOON,
            until=_LATER,
        ),
        Suspension(covered=Covered(scope=Scope.POOL, name="main"), who="b", why="c", since=_NOON),
        Suspension(covered=Covered(scope=Scope.ALL), who="b", why="c", since=_NOON),
    ),
)
_SEED_BEGUN = replace(MARK, seed=replace(_SEED, filled=False))
_NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
_BINNED_AGAIN = Trash(since=_LATER, until=_NEW_YEAR, commit=Sha("1"), emptying=_NEW_YEAR)


def _operation(kind: OperationKind, since: datetime = _NOON) -> Mark:
    operation = MarkedOperation(kind=kind, id=f"{kind}-1", since=since)
    return replace(MARK, operation=operation)


_SNAPSHOTTED = replace(
    _operation(OperationKind.SNAPSHOT),
    snapshots=(
        MarkedSnapshot(
            name=SnapshotName("before-upgrade"),
            taken=_NOON,
            consistency=Consistency.QUIESCED,
        ),
        MarkedSnapshot(
            name=SnapshotName("crashed"),
            taken=_NOON,
            consistency=Consistency.CRASH_CONSISTENT,
            removed=_LATER,
        ),
        MarkedSnapshot(name=SnapshotName("off"), taken=_LATER, consistency=Consistency.OFFLINE),
        MarkedSnapshot(
            name=SnapshotName("on"),
            taken=_LATER,
            consistency=Consistency.WITH_MEMORY,
            removed=datetime(2027, 1, 1, tzinfo=UTC),
            approval=PlanId("5d1c-90ab"),
        ),
    ),
    restarts=(
        MarkedRestart(since=_NOON, intent=Digest("00ff"), approval=PlanId("77aa-0001")),
        MarkedRestart(since=_LATER, intent=Digest("00ee")),
    ),
)


def _bridge(last: int, bridge: str, model: str | None) -> Nic:
    mac = MacAddress(f"52:54:00:00:00:{last:02x}")
    return Nic(mac=mac, source=BridgeSource(bridge=bridge), model=model)


def _network(last: int, network: str, model: str | None) -> Nic:
    mac = MacAddress(f"52:54:00:00:00:{last:02x}")
    return Nic(mac=mac, source=NetworkSource(network=network), model=model)


def _disk(
    target: str, bus: Bus, pool: str, volume: str, format_: DiskFormat = DiskFormat.RAW
) -> Disk:
    source = VolumeSource(pool=LibvirtPool(pool), volume=VolumeName(volume), format=format_)
    return Disk(target=Target(target), bus=bus, source=source)


def _drive(target: str, bus: Bus, volume: str | None) -> Disk:
    disk = _disk(target, bus, "isos", volume or "")
    empty = replace(disk, device=DiskDevice.CDROM, read_only=True, source=None)
    return empty if volume is None else replace(empty, source=disk.source)


_KVM = GuestDefinition(
    name=GuestName("lists"),
    uuid=MARK.uuid,
    domain_type=DomainType.KVM,
    type=GuestType.HVM,
    arch=Arch.X86_64,
    vcpus=Vcpus(count=2, maximum=8),
    memory=Memory(size_kib=2048 * MIB, maximum_kib=4096 * MIB),
    boot=FirmwareBoot(),
    disks=(_disk("vda", Bus.VIRTIO, "default", "lists-root.raw"),),
    nics=(_bridge(1, "br120", "virtio"),),
    agent=True,
    options=Options(cpu=HOST_MODEL),
    mark=MARK,
)
_QEMU = replace(_KVM, domain_type=DomainType.QEMU, options=NO_OPTIONS)
_KERNEL = KernelBoot(
    kernel="/boot/guest/vmlinuz",
    initrd="/boot/guest/initrd.img",
    cmdline="root=LABEL=root ro console=hvc0",
)
_XEN = replace(
    _KVM,
    domain_type=DomainType.XEN,
    type=GuestType.PV,
    vcpus=Vcpus(count=1, maximum=2),
    boot=_KERNEL,
    disks=(_disk("xvda", Bus.XEN, "default", "lists-root.raw"),),
    nics=(_bridge(1, "br120", "netfront"),),
    agent=False,
    options=NO_OPTIONS,
)
_TEST = replace(
    _KVM,
    domain_type=DomainType.TEST,
    arch=Arch.I686,  # the only one that libvirt's test driver has
    vcpus=Vcpus(count=1, maximum=1),
    memory=Memory(size_kib=128 * MIB, maximum_kib=128 * MIB),
    options=NO_OPTIONS,
)


def _watched(action: WatchdogAction, model: str = "i6300esb") -> Options:
    return Options(watchdog=Watchdog(model=model, action=action))


_OVERLAY = tuple(
    MarkedElement(element=OverlayElement(group=group, element=element), let_go=let_go)
    for group, element, let_go in (
        ("", XmlElement(tag="iothreads", text="2"), False),
        (
            "",
            XmlElement(
                tag="pm",
                children=(XmlElement(tag="suspend-to-mem", attributes=(("enabled", "no"),)),),
            ),
            False,
        ),
        (
            "clock",
            XmlElement(tag="timer", attributes=(("name", "hpet"), ("present", "no"))),
            False,
        ),
        ("devices", XmlElement(tag="sound", attributes=(("model", "ich9"),)), False),
        ("devices", XmlElement(tag="sound", attributes=(("model", "ac97"),)), True),
        (
            "features",
            XmlElement(
                tag="hyperv",
                attributes=(("mode", "custom"),),
                children=(
                    XmlElement(tag="relaxed", attributes=(("state", "on"),)),
                    XmlElement(tag="vapic", attributes=(("state", "on"),)),
                ),
            ),
            False,
        ),
    )
)

DEFINITIONS: Mapping[str, GuestDefinition] = {
    name: canonical(definition)
    for name, definition in {
        "kvm-bios": _KVM,
        "kvm-with-a-seed": replace(
            _KVM,
            disks=(
                *_KVM.disks,
                replace(_disk("vdb", Bus.VIRTIO, "default", "lists-cidata.iso"), read_only=True),
            ),
            mark=_SEEDED,
        ),
        "kvm-suspended": replace(_KVM, mark=_SUSPENDED),
        "kvm-with-a-seed-begun": replace(_KVM, mark=_SEED_BEGUN),
        "xen-after-its-seed": replace(_XEN, mark=_SEED_LEAVES),
        "kvm-without-anything": replace(
            _KVM, disks=(), nics=(), agent=False, console=False, mark=None
        ),
        "kvm-uefi": replace(
            _KVM,
            boot=FirmwareBoot(
                firmware=Firmware.UEFI,
                order=(BootDevice.NETWORK, BootDevice.CDROM, BootDevice.DISK),
            ),
            disks=(*_KVM.disks, _drive("sda", Bus.SATA, "debian.iso")),
            options=replace(_watched(WatchdogAction.RESET), cpu=HOST_MODEL),
            mark=_CREATING,
        ),
        "kvm-many-disks": replace(
            _KVM,
            name=GuestName("web"),
            uuid=UUID("9f1c2b7e-0000-4000-8000-000000000002"),
            disks=(
                _drive("sda", Bus.SATA, None),
                Disk(
                    target=Target("sdb"),
                    bus=Bus.SCSI,
                    source=BlockSource(path="/dev/disk/by-id/scsi-36001-part3"),
                ),
                Disk(
                    target=Target("sdc"),
                    bus=Bus.USB,
                    source=FileSource(path="/srv/a & b.qcow2", format=DiskFormat.QCOW2),
                    read_only=True,
                ),
                _disk("vda", Bus.VIRTIO, "default", "web-root.qcow2", DiskFormat.QCOW2),
                Disk(
                    target=Target("vdb"),
                    bus=Bus.VIRTIO,
                    source=FileSource(path="/srv/exports/data.raw"),
                ),
            ),
            nics=(_bridge(1, "br120", "virtio"), _network(2, "default", "e1000")),
            options=_watched(WatchdogAction.DUMP),
            mark=_TRASHED,
        ),
        "kvm-disk-options": replace(
            _KVM,
            disks=(
                replace(
                    _disk("sda", Bus.SCSI, "default", "web-root.qcow2", DiskFormat.QCOW2),
                    options=DiskOptions(
                        cache=Cache.NONE, discard=Discard.UNMAP, serial="WEB-ROOT-01"
                    ),
                ),
                replace(_KVM.disks[0], options=DiskOptions(limits=IoLimits(total_bytes=1 << 20))),
                Disk(
                    target=Target("vdb"),
                    bus=Bus.VIRTIO,
                    source=NbdSource(server=Endpoint(host="nas", port=10809), export=""),
                    options=DiskOptions(
                        cache=Cache.WRITEBACK,
                        discard=Discard.IGNORE,
                        limits=IoLimits(
                            read_bytes=2 << 20, write_bytes=1 << 20, read_iops=200, write_iops=100
                        ),
                    ),
                ),
                Disk(
                    target=Target("vdc"),
                    bus=Bus.VIRTIO,
                    source=NbdSource(
                        server=Endpoint(host="2001:db8::1", port=10810),
                        export="exports/data",
                        format=DiskFormat.QCOW2,
                    ),
                    read_only=True,
                    options=DiskOptions(cache=Cache.DIRECTSYNC, limits=IoLimits(total_iops=500)),
                ),
                Disk(
                    target=Target("vdd"),
                    bus=Bus.VIRTIO,
                    source=RbdSource(
                        pool="vms",
                        image="lists",
                        monitors=(
                            Endpoint(host="ceph-a.example.org"),
                            Endpoint(host="ceph-b.example.org", port=6789),
                        ),
                        user=RbdUser(
                            name="libvirt", secret=UUID("5d1c90ab-0000-4000-8000-000000000001")
                        ),
                    ),
                    options=DiskOptions(cache=Cache.UNSAFE),
                ),
                Disk(
                    target=Target("vde"),
                    bus=Bus.VIRTIO,
                    source=RbdSource(pool="fast", image="scratch"),
                    options=DiskOptions(cache=Cache.WRITETHROUGH),
                ),
                Disk(
                    target=Target("vdf"),
                    bus=Bus.VIRTIO,
                    source=RbdSource(
                        pool="fast",
                        image="other",
                        user=RbdUser(
                            name="vms", secret=UUID("5d1c90ab-0000-4000-8000-000000000002")
                        ),
                    ),
                ),
            ),
            nics=(
                replace(_bridge(1, "br120", "virtio"), options=NicOptions(queues=4)),
                replace(
                    _bridge(2, "ovs0", "virtio"),
                    source=BridgeSource(bridge="ovs0", openvswitch=True, vlan=120),
                    options=NicOptions(link=Link.DOWN),
                ),
                replace(_bridge(3, "br120", "e1000"), options=NicOptions(link=Link.UP)),
            ),
            mark=replace(
                MARK,
                disks=(
                    replace(
                        _MARKED_DISK,
                        pool=None,
                        volume=None,
                        ours=False,
                        image=None,
                        source="nbd://nas:10809/",
                        fields=(FieldName("cache"), FieldName("limits")),
                    ),
                ),
                nics=(replace(MARK.nics[0], fields=(FieldName("queues"),)),),
            ),
        ),
        "kvm-options": replace(
            _KVM,
            vcpus=Vcpus(count=2, maximum=8),
            options=Options(
                cpu=HOST_PASSTHROUGH,
                topology=Topology(sockets=2, cores=2, threads=2),
                pin=(Pin(vcpu=0, cpus="2-3"), Pin(vcpu=5, cpus="0,4-7")),
                weight=512,
                cap=150,
                huge_pages=HugePages(size_kib=2048),
                rng=True,
                graphics=Graphics(),
                watchdog=Watchdog(action=WatchdogAction.INJECT_NMI),
                tpm=Tpm(),
                host_devices=(
                    HostDevice(bus=HostBus.PCI, address="0000:03:00.0"),
                    HostDevice(bus=HostBus.USB, address="046d:c52b"),
                    HostDevice(bus=HostBus.USB, address="1.4"),
                ),
            ),
            mark=replace(MARK, fields=(FieldName("cpus.mode"), FieldName("rng"))),
        ),
        "qemu-options": replace(
            _QEMU,
            options=Options(
                cpu="Nehalem",
                topology=Topology(cores=8),
                weight=2,
                cap=5,
                huge_pages=HugePages(),
                graphics=Graphics(type="spice", listen="10.0.0.1"),
                watchdog=Watchdog(model="ib700", action=WatchdogAction.NONE),
                tpm=Tpm(version="1.2"),
            ),
        ),
        "qemu-overlay": replace(
            _QEMU,
            overlay=tuple(entry.element for entry in _OVERLAY if not entry.let_go),
            mark=replace(MARK, overlay=_OVERLAY),
        ),
        "qemu-kernel": replace(
            _QEMU,
            options=_watched(WatchdogAction.SHUTDOWN),
            boot=_KERNEL,
            mark=_operation(OperationKind.RESTART),
        ),
        "qemu-i686": replace(
            _QEMU,
            options=_watched(WatchdogAction.POWEROFF),
            arch=Arch.I686,
            nics=(_network(3, "isolated", None),),
            mark=_operation(OperationKind.START, _LATER),
        ),
        "qemu-snapshots": replace(_QEMU, boot=_KERNEL, mark=_SNAPSHOTTED),
        "xen-pv": _XEN,
        "xen-pv-i686-pygrub": replace(
            _XEN,
            arch=Arch.I686,
            boot=LoaderBoot(loader=Loader.PYGRUB),
            disks=(*_XEN.disks, _disk("xvdb", Bus.XEN, "vg0", "lists-data")),
            mark=_operation(OperationKind.STOP),
        ),
        "xen-pv-drive": replace(
            _XEN, disks=(*_XEN.disks, _drive("xvdd", Bus.XEN, "debian.iso")), nics=()
        ),
        "xen-pv-options": replace(
            _XEN,
            options=Options(
                cpu=HOST_PASSTHROUGH,
                pin=(Pin(vcpu=1, cpus="1"),),
                weight=512,
                cap=50,
                graphics=Graphics(),
            ),
        ),
        "xen-pvh": replace(
            _XEN,
            type=GuestType.PVH,
            boot=KernelBoot(kernel="/boot/guest/vmlinux"),
            mark=_operation(OperationKind.STOPPED),
        ),
        "xen-hvm-bios": replace(
            _XEN,
            type=GuestType.HVM,
            boot=FirmwareBoot(order=(BootDevice.CDROM, BootDevice.DISK)),
            disks=(
                Disk(
                    target=Target("hda"),
                    bus=Bus.IDE,
                    source=BlockSource(path="/dev/vg1/other"),
                ),
                _drive("hdc", Bus.IDE, None),
                *_XEN.disks,
            ),
            nics=(_bridge(1, "br120", "netfront"), _bridge(2, "br0", None)),
        ),
        "xen-hvm-uefi": replace(
            _XEN, type=GuestType.HVM, boot=FirmwareBoot(firmware=Firmware.UEFI), mark=None
        ),
        "xen-hvm-kernel": replace(_XEN, type=GuestType.HVM, console=False),
        "test-bios": _TEST,
        "test-everything": replace(
            _TEST,
            vcpus=Vcpus(count=1, maximum=2),
            memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB),
            boot=_KERNEL,
            options=_watched(WatchdogAction.PAUSE),
            disks=(
                _drive("hdc", Bus.IDE, "debian.iso"),
                _disk("vda", Bus.VIRTIO, "default", "lists-root.raw"),
                _disk("vdb", Bus.VIRTIO, "vg0", "lists-data"),
            ),
            nics=(_bridge(1, "br0", "e1000"), _network(2, "default", "virtio")),
            mark=replace(_TRASHED, renderer=2, trash=_BINNED_AGAIN),
        ),
    }.items()
}
