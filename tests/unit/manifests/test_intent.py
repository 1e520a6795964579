"""The intent digest changes with each thing that is wanted, and with nothing else."""

from __future__ import annotations

from dataclasses import fields, replace
from uuid import UUID

import pytest

from reconciler.manifests.intent import intent_of
from reconciler.model.definition import (
    Arch,
    BlockSource,
    BootDevice,
    Bus,
    DiskFormat,
    Endpoint,
    FileSource,
    Firmware,
    FirmwareBoot,
    GuestType,
    KernelBoot,
    Loader,
    LoaderBoot,
    Memory,
    NbdSource,
    RbdSource,
    RbdUser,
    Vcpus,
)
from reconciler.model.desired import (
    Autostart,
    CdromDisk,
    DesiredDisk,
    DesiredGuest,
    DesiredNic,
    DesiredSnapshot,
    GivenDisk,
    GuestState,
    ImageRef,
    OpenPort,
    Origin,
    RestartWhen,
    StartAfter,
    VolumeDisk,
)
from reconciler.model.mark import ShutdownPolicy, ThenWhat
from reconciler.model.names import (
    Digest,
    DiskName,
    FieldName,
    GuestName,
    HostName,
    MacAddress,
    NetworkName,
    NicName,
    PoolName,
    SnapshotName,
    StorageName,
    Target,
    VolumeName,
)
from reconciler.model.options import (
    BUS,
    READ_ONLY,
    Cache,
    Discard,
    DiskOptions,
    IoLimits,
    Link,
    NicOptions,
    Options,
)
from reconciler.model.overlay import OverlayElement, XmlElement
from reconciler.model.seed import DesiredCloudInit, SeedData

ROOT = VolumeDisk(
    name=DiskName("root"),
    target=None,
    storage=StorageName("guests"),
    volume=VolumeName("lists-root.raw"),
    size_bytes=1 << 30,
    format=DiskFormat.RAW,
    image=None,
)
DRIVE = CdromDisk(name=DiskName("cd"), target=None, storage=None, volume=None)
RNG = FieldName("rng")
NIC = DesiredNic(
    name=NicName("eth0"),
    network=NetworkName("servers"),
    mac=MacAddress("02:00:00:00:00:01"),
    model="pv",
)
KERNEL = KernelBoot(kernel="/boot/vmlinuz")
GUEST = DesiredGuest(
    name=GuestName("lists"),
    uuid=UUID(int=1),
    pool=PoolName("main"),
    host=None,
    type=GuestType.PV,
    arch=Arch.X86_64,
    state=GuestState.RUNNING,
    cpus=Vcpus(count=1, maximum=2),
    memory=Memory(size_kib=1024, maximum_kib=2048),
    boot=KERNEL,
    disks=(ROOT, DRIVE),
    nics=(NIC,),
    console=True,
    agent=False,
    shutdown=ShutdownPolicy(),
    heal_after_s=60,
    restart=RestartWhen.NEVER,
    autostart=Autostart.AUTO,
    protect=False,
    labels={"service": "mail"},
    intent=Digest(""),
    origin=Origin(path="a.yaml", line=1),
)

TOLD = DesiredCloudInit(
    data=SeedData(digest=Digest("0"), size_bytes=1),
    storage=StorageName("guests"),
    volume=VolumeName("lists-cidata.iso"),
)
OTHER_ROOTS: tuple[DesiredDisk, ...] = (
    replace(ROOT, name=DiskName("data")),
    replace(ROOT, target=Target("xvda")),
    replace(ROOT, storage=StorageName("other")),
    replace(ROOT, volume=VolumeName("other.raw")),
    replace(ROOT, size_bytes=2 << 30),
    replace(ROOT, format=DiskFormat.QCOW2),
    replace(ROOT, image=ImageRef(storage=StorageName("images"), volume=VolumeName("a.raw"))),
    replace(ROOT, image=ImageRef(storage=StorageName("images"), volume=VolumeName("b.raw"))),
    replace(ROOT, image=ImageRef(storage=StorageName("others"), volume=VolumeName("a.raw"))),
    replace(ROOT, adopt=True),
    replace(ROOT, protect=True),
)
OTHER_ROOTS += (
    replace(ROOT, mentioned=(BUS,)),
    replace(ROOT, mentioned=(BUS,), bus=Bus.SCSI),
    replace(ROOT, mentioned=(READ_ONLY,)),
    replace(ROOT, mentioned=(READ_ONLY,), read_only=True),
    *(
        replace(ROOT, mentioned=(FieldName(field),), options=options)
        for field, options in (
            ("cache", DiskOptions()),
            ("cache", DiskOptions(cache=Cache.NONE)),
            ("discard", DiskOptions(discard=Discard.UNMAP)),
            ("limits", DiskOptions()),
            ("limits", DiskOptions(limits=IoLimits(total_iops=1))),
            ("limits", DiskOptions(limits=IoLimits(read_iops=1))),
            ("serial", DiskOptions(serial="1")),
        )
    ),
    *(
        GivenDisk(name=ROOT.name, target=None, source=source)
        for source in (
            BlockSource(path="/dev/sdb"),
            FileSource(path="/dev/sdb"),
            FileSource(path="/srv/b", format=DiskFormat.QCOW2),
            NbdSource(server=Endpoint(host="nas", port=1), export=""),
            NbdSource(server=Endpoint(host="nas", port=2), export=""),
            NbdSource(server=Endpoint(host="nas", port=2), export="a"),
            RbdSource(pool="vms", image="a"),
            RbdSource(pool="vms", image="b"),
            RbdSource(pool="vms", image="b", monitors=(Endpoint(host="a"),)),
            RbdSource(pool="vms", image="b", user=RbdUser(name="a", secret=UUID(int=1))),
            RbdSource(pool="vms", image="b", user=RbdUser(name="a", secret=UUID(int=2))),
        )
    ),
)
OTHER_DRIVES = (
    replace(DRIVE, name=DiskName("dvd")),
    replace(DRIVE, target=Target("hdc")),
    replace(DRIVE, storage=StorageName("isos"), volume=VolumeName("a.iso")),
    replace(DRIVE, storage=StorageName("isos"), volume=VolumeName("b.iso")),
    replace(DRIVE, storage=StorageName("others"), volume=VolumeName("a.iso")),
)
OTHER_NICS = (
    replace(NIC, name=NicName("eth1")),
    replace(NIC, network=NetworkName("other")),
    replace(NIC, mac=MacAddress("02:00:00:00:00:02")),
    replace(NIC, model="e1000"),
    replace(NIC, mentioned=(FieldName("link"),)),
    replace(NIC, mentioned=(FieldName("link"),), options=NicOptions(link=Link.DOWN)),
    replace(NIC, mentioned=(FieldName("queues"),), options=NicOptions(queues=2)),
)
OTHERS: dict[str, tuple[DesiredGuest, ...]] = {
    "name": (replace(GUEST, name=GuestName("web")),),
    "uuid": (replace(GUEST, uuid=UUID(int=2)),),
    "pool": (replace(GUEST, pool=PoolName("other")),),
    "host": (replace(GUEST, host=HostName("dom0-a")),),
    "type": (replace(GUEST, type=GuestType.PVH), replace(GUEST, type=None)),
    "arch": (replace(GUEST, arch=Arch.I686),),
    "state": (replace(GUEST, state=GuestState.STOPPED),),
    "cpus": (
        replace(GUEST, cpus=Vcpus(count=2, maximum=2)),
        replace(GUEST, cpus=Vcpus(count=1, maximum=3)),
    ),
    "memory": (
        replace(GUEST, memory=Memory(size_kib=2048, maximum_kib=2048)),
        replace(GUEST, memory=Memory(size_kib=1024, maximum_kib=4096)),
    ),
    "boot": (
        replace(GUEST, boot=replace(KERNEL, kernel="/boot/other")),
        replace(GUEST, boot=replace(KERNEL, initrd="/boot/initrd")),
        replace(GUEST, boot=replace(KERNEL, cmdline="ro")),
        replace(GUEST, boot=FirmwareBoot()),
        replace(GUEST, boot=FirmwareBoot(firmware=Firmware.UEFI)),
        replace(GUEST, boot=FirmwareBoot(order=(BootDevice.DISK, BootDevice.CDROM))),
        replace(GUEST, boot=FirmwareBoot(order=(BootDevice.CDROM, BootDevice.DISK))),
        replace(GUEST, boot=LoaderBoot(loader=Loader.PVGRUB)),
        replace(GUEST, boot=LoaderBoot(loader=Loader.PYGRUB)),
    ),
    "disks": (
        replace(GUEST, disks=()),
        *(replace(GUEST, disks=(disk, DRIVE)) for disk in OTHER_ROOTS),
        *(replace(GUEST, disks=(ROOT, disk)) for disk in OTHER_DRIVES),
    ),
    "nics": (replace(GUEST, nics=()), *(replace(GUEST, nics=(nic,)) for nic in OTHER_NICS)),
    "console": (replace(GUEST, console=False),),
    "agent": (replace(GUEST, agent=True),),
    "shutdown": (
        replace(GUEST, shutdown=ShutdownPolicy(timeout_s=60)),
        replace(GUEST, shutdown=ShutdownPolicy(then=ThenWhat.DESTROY)),
    ),
    "heal_after_s": (replace(GUEST, heal_after_s=10),),
    "restart": (replace(GUEST, restart=RestartWhen.NOW),),
    "autostart": (replace(GUEST, autostart=Autostart.ON),),
    "protect": (replace(GUEST, protect=True),),
    "adopt": (replace(GUEST, adopt=True),),
    "cloud_init": (
        replace(GUEST, cloud_init=TOLD),
        replace(GUEST, cloud_init=replace(TOLD, data=SeedData(digest=Digest("1"), size_bytes=1))),
        replace(GUEST, cloud_init=replace(TOLD, storage=StorageName("other"))),
        replace(GUEST, cloud_init=replace(TOLD, keep=True)),
        replace(GUEST, cloud_init=replace(TOLD, rerun="again")),
    ),
    "labels": (replace(GUEST, labels={}), replace(GUEST, labels={"service": "web"})),
    "mentioned": (replace(GUEST, mentioned=(RNG,)),),
    "options": (replace(GUEST, mentioned=(RNG,), options=Options(rng=True)),),
    "snapshots": (
        replace(GUEST, snapshots=(DesiredSnapshot(name=SnapshotName("a")),)),
        replace(GUEST, snapshots=(DesiredSnapshot(name=SnapshotName("b")),)),
        replace(GUEST, snapshots=(DesiredSnapshot(name=SnapshotName("a"), quiesced=True),)),
    ),
}
FIRST = StartAfter(guest=GuestName("dns"))
OTHERS["start_after"] = tuple(
    replace(GUEST, start_after=(entry,))
    for entry in (
        FIRST,
        replace(FIRST, guest=GuestName("db")),
        replace(FIRST, agent=True),
        replace(FIRST, timeout_s=60),
        replace(FIRST, port=OpenPort(address="10.0.0.53", port=53)),
        replace(FIRST, port=OpenPort(address="10.0.0.53", port=54)),
    )
)
OTHERS["overlay"] = tuple(
    replace(GUEST, overlay=(OverlayElement(group=group, element=XmlElement(tag=tag)),))
    for group, tag in (("", "pm"), ("devices", "pm"), ("devices", "sound"))
)
OTHERS["ignore_drift"] = (
    replace(GUEST, ignore_drift=("memory",)),
    replace(GUEST, ignore_drift=("cpus", "memory")),
)
NOT_WANTED = {"former", "intent", "origin", "lines", "suspend", "trash", "uuid_said", "warnings"}


def test_every_field_is_either_wanted_or_known_not_to_be() -> None:
    """A field that is added to a guest must be put into the intent, or named here."""
    assert {field.name for field in fields(DesiredGuest)} == OTHERS.keys() | NOT_WANTED


@pytest.mark.parametrize("field", OTHERS)
def test_each_change_of_a_wanted_field_is_another_intent(field: str) -> None:
    others = OTHERS[field]
    assert len({intent_of(guest) for guest in (GUEST, *others)}) == 1 + len(others)


def test_what_is_not_wanted_changes_nothing() -> None:
    elsewhere = replace(
        GUEST,
        intent=Digest("x"),
        origin=Origin(path="b.yaml", line=9),
        uuid_said=True,
        lines={"spec": 1},
        disks=(DRIVE, ROOT),
    )
    assert intent_of(elsewhere) == intent_of(GUEST)


def test_options_that_no_manifest_mentions_are_not_wanted() -> None:
    """So a guest that does without keeps the digest it has always had."""
    assert intent_of(replace(GUEST, options=Options(rng=True))) == intent_of(GUEST)


def test_the_intent_is_that_of_the_first_release() -> None:
    """Pinned: see Note [What the intent holds]. Another value needs another `RENDERER`."""
    assert intent_of(GUEST) == "e1d25d1b1027f895ab4bc5100bbb9099"
