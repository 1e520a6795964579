"""What every implementation promises of disks and cards: whatever they are, however connected.

The stand-in and a real QEMU host are asked the same; the latter opens every source for real.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import RefusedError, TransientError
from reconciler.model.definition import (
    BlockSource,
    BridgeSource,
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
from tests.lab.qemu.sources import EXPORT, FILE, NBD_HOST, NBD_PORT, Sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.definition import GivenSource
    from tests.contract.grounds import Ground
    from tests.contract.places import QemuGround

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NBD = NbdSource(server=Endpoint(host=NBD_HOST, port=NBD_PORT), export=EXPORT)
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


@pytest.fixture
def sources(qemu: QemuGround) -> Iterator[Sources]:
    made = Sources(qemu.lab)
    try:
        yield made
    finally:
        qemu.destroy()
        made.clear()


_SERIALS = "for disk in /sys/block/vd*; do echo $(cat $disk/serial); done"


def _given(sources: Sources) -> tuple[GivenSource, ...]:
    """Each sort of source, as a manifest would name it."""
    file = FileSource(path=FILE, format=DiskFormat.QCOW2)
    return (BlockSource(path=sources.device), file, NBD)


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
        for letter, source in zip("bcd", _given(sources), strict=True)
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
            _given(sources),
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


def test_a_port_of_an_open_vswitch_is_kept_as_it_was_told(qemu: QemuGround) -> None:
    """Libvirt gives it an id of its own, which another tag leaves alone."""
    card = replace(qemu.nic(1), source=BridgeSource(bridge="ovs0", openvswitch=True, vlan=120))
    wanted = qemu.define(replace(qemu.definition(), nics=(card,)))
    assert qemu.guest().stored == wanted
    [told] = re.findall("interfaceid='([^']+)'", qemu.domain().XMLDesc())
    moved = replace(card, source=BridgeSource(bridge="ovs0", openvswitch=True, vlan=130))
    again = qemu.define(replace(wanted, nics=(moved,)))
    assert qemu.guest().stored == again
    assert told in qemu.domain().XMLDesc()
    plain = replace(card, source=BridgeSource(bridge="br0"))
    last = qemu.define(replace(wanted, nics=(plain,)))
    assert qemu.guest().stored == last
    assert "virtualport" not in qemu.domain().XMLDesc()
