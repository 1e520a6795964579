"""What every implementation promises of disks and cards: whatever they are, however connected.

The stand-in and a real QEMU host are asked the same; the latter opens every source for real.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import RefusedError, TransientError
from reconciler.model.definition import (
    BlockSource,
    Bus,
    Disk,
    DiskFormat,
    Endpoint,
    FileSource,
    NbdSource,
    VolumeSource,
)
from reconciler.model.names import Target, VolumeName
from reconciler.model.options import (
    NO_LIMITS,
    Cache,
    Discard,
    DiskOptions,
    IoLimits,
    Link,
    NicOptions,
)
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeNic,
    DetachDisk,
    SetDiskLimits,
    StartGuest,
)
from tests.contract.grounds import GUESTS, MIB, awaited
from tests.contract.test_host import (
    do,
    do_without_writing,
    on_every_ground,
    on_the_test_driver,
    where_guests_live,
)
from tests.lab.qemu import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.definition import GivenSource
    from tests.contract.grounds import Ground
    from tests.contract.places import QemuGround

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

FOLDER = "/srv/shared/contract"
NBD_PORT = 10809
NBD = NbdSource(server=Endpoint(host="127.0.0.1", port=NBD_PORT), export="data")
OPTIONS = DiskOptions(
    cache=Cache.NONE,
    discard=Discard.UNMAP,
    limits=IoLimits(read_bytes=8 * MIB, write_bytes=4 * MIB, total_iops=500),
    serial="DATA-01",
)


@where_guests_live
def test_a_disk_is_attached_with_its_options_and_its_limits_are_changed_live(
    ground: Ground,
) -> None:
    definition = ground.define(ground.definition())
    ground.create_volume("contract-data")
    do(ground, StartGuest)
    ground.wait_until_up()
    disk = replace(ground.disk(1, "contract-data"), options=OPTIONS)
    do(ground, AttachDisk, disk=disk)
    for limits in (IoLimits(write_iops=100, total_bytes=1 * MIB), IoLimits(read_iops=7), NO_LIMITS):
        do(ground, SetDiskLimits, target=disk.target, limits=limits)
        guest = ground.guest()
        assert guest.live is not None
        wanted = replace(OPTIONS, limits=None if limits == NO_LIMITS else limits)
        assert guest.live.disk(disk.target) == replace(disk, options=wanted)
        assert guest.stored == definition
        do_without_writing(ground, SetDiskLimits, target=disk.target, limits=limits)
    do(ground, DetachDisk, disk=disk)
    ground.wait(lambda guest: guest.live is not None and not guest.live.disks, "the detachment")
    with pytest.raises(TransientError):
        do(ground, SetDiskLimits, target=disk.target, limits=NO_LIMITS)


@on_every_ground
def test_what_a_driver_cannot_do_with_disks_is_refused_before_it_is_defined(ground: Ground) -> None:
    capabilities = ground.host.observe().capabilities
    definition = ground.define(ground.definition())
    bus = next(one for one in Bus if f"disks.bus.{one}" not in _denied(ground))
    for denied in _denied(ground):
        options, source = DiskOptions(), VolumeSource(pool=GUESTS, volume=VolumeName("contract-x"))
        disk = Disk(target=Target("vdz"), bus=bus, source=source, options=options)
        match denied.split("."):
            case ["disks", "bus", word]:
                disk = replace(disk, bus=Bus(word))
            case ["disks", "nbd"]:
                disk = replace(disk, source=NBD)
            case ["disks", ("cache" | "discard" | "limits" | "serial") as field]:
                said = {field: getattr(OPTIONS, field)}
                disk = replace(disk, options=replace(options, **said))
            case _:
                continue
        writes = ground.host.writes
        with pytest.raises(RefusedError):
            ground.define(replace(definition, disks=(disk,)))
        assert ground.host.writes == writes
    assert ground.guest().stored == definition
    assert capabilities == ground.host.observe().capabilities


def _denied(ground: Ground) -> set[str]:
    without = ground.host.observe().capabilities.without
    return {field for guest_type, field in without if guest_type is ground.guest_type}


@on_the_test_driver
def test_limits_are_not_set_where_nothing_is_limited(ground: Ground) -> None:
    ground.define(ground.definition())
    do(ground, StartGuest)
    with pytest.raises(RefusedError):
        do(ground, SetDiskLimits, target=Target("vda"), limits=NO_LIMITS)


@where_guests_live
def test_a_cable_is_pulled_and_put_back_and_nothing_else_of_the_card_changes(
    ground: Ground,
) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    ground.wait_until_up()
    card = replace(ground.nic(9), options=NicOptions(queues=2))
    do(ground, AttachNic, nic=card)
    for link in (Link.DOWN, Link.UP):
        changed = replace(card, model="e1000", options=NicOptions(link=link))
        do(ground, ChangeNic, nic=changed)
        guest = ground.guest()
        assert guest.live is not None
        assert guest.live.nic(card.mac) == replace(card, options=NicOptions(link=link, queues=2))
        assert guest.stored == definition
        do_without_writing(ground, ChangeNic, nic=changed)


# ---------------------------------------------------------------------------- real sources, on QEMU


class Sources:
    """Images of 16 MiB on the host that no storage pool holds, until the test is over."""

    def __init__(self, ground: QemuGround) -> None:
        """Make a file, a block device and a server, each with an image of its own."""
        self._run = ground.lab.run
        raw, qcow2 = f"{FOLDER}/exported.raw", f"{FOLDER}/data.qcow2"
        self._run("mkdir", FOLDER)
        self._run("truncate", "--size=16M", raw, f"{FOLDER}/device.raw")
        self._run("qemu-img", "create", "-q", "-f", "qcow2", qcow2, "16M")
        self._loop = self._run("losetup", "--find", "--show", f"{FOLDER}/device.raw").strip()
        server = ["qemu-nbd", "--fork", "--persistent", "--bind=127.0.0.1", f"--port={NBD_PORT}"]
        server += ["--export-name=data", "--format=raw", f"--pid-file={FOLDER}/nbd.pid", raw]
        self._run(*server)
        self.all: tuple[GivenSource, ...] = (
            BlockSource(path=self._loop),
            FileSource(path=qcow2, format=DiskFormat.QCOW2),
            NbdSource(server=Endpoint(host="127.0.0.1", port=NBD_PORT), export="data"),
        )

    def clear(self) -> None:
        """Take them away."""
        self._run("losetup", "--detach", self._loop)
        self._run("sh", "-c", f"kill $(cat {FOLDER}/nbd.pid)")
        self._run("rm", "-r", FOLDER)


@pytest.fixture
def sources(qemu: QemuGround) -> Iterator[Sources]:
    made = Sources(qemu)
    try:
        yield made
    finally:
        qemu.destroy()
        made.clear()


_SERIALS = "for disk in /sys/block/vd*; do echo $(cat $disk/serial); done"


def test_every_sort_of_source_is_opened_and_let_go(qemu: QemuGround, sources: Sources) -> None:
    """A block device, a file, an export: plugged in, seen by the guest, and plugged out."""
    definition = qemu.define(qemu.definition())
    do(qemu, StartGuest)
    qemu.wait_until_up()
    disks = [
        Disk(
            target=Target(f"vd{letter}"),
            bus=Bus.VIRTIO,
            source=source,
            options=DiskOptions(serial=f"GIVEN-{letter}", discard=Discard.UNMAP),
        )
        for letter, source in zip("bcd", sources.all, strict=True)
    ]
    for disk in disks:
        do(qemu, AttachDisk, disk=disk)
        do_without_writing(qemu, AttachDisk, disk=disk)
    guest = qemu.guest()
    assert guest.live is not None
    assert guest.live.disks == tuple(disks)
    assert guest.disk_sizes == {disk.target: 16 * MIB for disk in disks}
    agent, serials = Agent(qemu.domain()), [disk.options.serial for disk in disks]
    awaited(
        lambda: agent.run(_SERIALS).split() == serials or None,
        "all three disks in the guest",
    )
    for disk in disks:
        do(qemu, DetachDisk, disk=disk)
    qemu.wait(lambda guest: guest.live is not None and not guest.live.disks, "the detachment")
    assert qemu.guest().stored == definition


def test_a_guest_starts_with_every_sort_of_source_bus_and_option(
    qemu: QemuGround, sources: Sources
) -> None:
    """What is stored is what runs, word for word; nothing of it drifts."""
    buses = (Bus.SCSI, Bus.SATA, Bus.USB)
    disks = [
        Disk(target=Target(f"sd{letter}"), bus=bus, source=source, options=options)
        for letter, bus, source, options in zip(
            "abc",
            buses,
            sources.all,
            (OPTIONS, DiskOptions(cache=Cache.WRITEBACK), OPTIONS),
            strict=True,
        )
    ]
    cards = (
        replace(qemu.nic(1), options=NicOptions(queues=2)),
        replace(qemu.nic(2), options=NicOptions(link=Link.DOWN)),
    )
    wanted = replace(qemu.definition(), disks=tuple(disks), nics=cards)
    qemu.define(wanted)
    do(qemu, StartGuest)
    guest = qemu.guest()
    assert guest.live is not None
    assert guest.stored == wanted
    assert (guest.live.disks, guest.live.nics) == (wanted.disks, wanted.nics)
    assert guest.disk_sizes == {disk.target: 16 * MIB for disk in disks}
