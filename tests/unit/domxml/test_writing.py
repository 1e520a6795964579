"""What is changed in an existing text, and what is not, case by case."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from lxml import etree

from reconciler.domxml import (
    canonical,
    extract_disk,
    extract_nic,
    merge,
    merge_disk,
    merge_nic,
    read,
    render,
    render_disk,
    render_mark,
)
from reconciler.errors import RefusedError, StalledError
from reconciler.model.definition import (
    Arch,
    BootDevice,
    BridgeSource,
    Bus,
    Disk,
    DiskDevice,
    DomainType,
    FileSource,
    Firmware,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    KernelBoot,
    Loader,
    LoaderBoot,
    OtherNicSource,
    OtherSource,
    Vcpus,
    VolumeSource,
)
from reconciler.model.mark import Trash
from reconciler.model.names import GuestName, LibvirtPool, MacAddress, Sha, Target, VolumeName
from tests.golden.definitions import DEFINITIONS, MARK, PATHS

RECORDED = Path(__file__).parents[2] / "golden" / "recorded"
BY_HAND = (RECORDED / "qemu/by-hand.stored.xml").read_text()
FULL = (RECORDED / "qemu/full.live.xml").read_text()
KVM = DEFINITIONS["kvm-bios"]
PV = DEFINITIONS["xen-pv"]
HVM_ON_XEN = DEFINITIONS["xen-hvm-bios"]


def count(text: str, path: str) -> int:
    return len(etree.fromstring(text).findall(path))


def canonical_form(text: str) -> str:
    return etree.tostring(etree.fromstring(text), method="c14n").decode()


def lost_lines(before: str, after: str) -> set[str]:
    """The lines of the canonical form that are gone: quotes, blanks and indentation aside."""

    def lines(text: str) -> set[str]:
        return {line.strip() for line in canonical_form(text).splitlines()}

    return lines(before) - lines(after)


def test_a_changed_field_changes_its_own_lines_only() -> None:
    """The rest of a text made by hand, secrets and all, is there line for line."""
    there = read(BY_HAND).definition
    after = merge(BY_HAND, replace(there, vcpus=Vcpus(count=2, maximum=4)))
    gone = {line for line in lost_lines(BY_HAND, after) if not line.startswith("<vcpu ")}
    assert gone == {"<vcpus>", "</vcpus>"}, "the list of single CPUs would contradict the count"
    assert 'passwd="secret"' in after


def test_taking_a_guest_over_adds_the_mark_alone() -> None:
    there = read(BY_HAND).definition
    after = merge(BY_HAND, replace(there, mark=MARK))
    assert not lost_lines(BY_HAND, after)
    assert canonical_form(merge(after, there)) == canonical_form(BY_HAND)


def test_a_boot_order_replaces_numbers_at_devices() -> None:
    """A text with both would be refused by libvirt."""
    there = read(BY_HAND).definition
    after = merge(BY_HAND, replace(there, boot=FirmwareBoot(order=(BootDevice.CDROM,))))
    assert count(after, "devices/*/boot") == 0
    assert count(after, "os/boot") == 1


def test_a_class_of_devices_that_no_field_models_is_still_tried() -> None:
    text = render(KVM).replace('<boot dev="hd"/>', '<boot dev="fd"/><boot dev="hd"/>')
    boot = FirmwareBoot(order=(BootDevice.NETWORK, BootDevice.DISK))
    after = merge(text, replace(KVM, boot=boot))
    words = [element.get("dev") for element in etree.fromstring(after).findall("os/boot")]
    assert words == ["network", "hd", "fd"]


@pytest.mark.parametrize("guest", [KVM, HVM_ON_XEN], ids=["kvm", "xen"])
def test_firmware_can_be_changed_there_and_back(guest: GuestDefinition) -> None:
    text = render(guest, paths=PATHS)
    assert isinstance(guest.boot, FirmwareBoot)
    uefi = replace(guest, boot=replace(guest.boot, firmware=Firmware.UEFI))
    changed = merge(text, uefi, paths=PATHS)
    assert read(changed).definition.boot == uefi.boot
    assert merge(changed, guest, paths=PATHS) == text


def test_a_kernel_takes_the_place_of_a_boot_loader() -> None:
    there = replace(PV, boot=LoaderBoot(loader=Loader.PYGRUB))
    text = merge(render(there, paths=PATHS), PV, paths=PATHS)
    assert "bootloader" not in text
    assert read(text).definition.boot == PV.boot


def test_a_medium_comes_and_goes_in_the_slot_of_its_drive() -> None:
    """Ejecting and inserting keep the drive, its address, and how it takes a missing medium."""
    drive = Disk(
        target=Target("sda"),
        bus=Bus.SATA,
        source=FileSource(path="/srv/a.iso"),
        device=DiskDevice.CDROM,
        read_only=True,
    )
    full = merge_disk(FULL, drive)
    assert full is not None
    assert "<address " in full
    assert 'file="/srv/a.iso"' in full
    picky = FULL.replace(
        "<target dev='sda'", "<source file='/b' startupPolicy='optional'/><target dev='sda'"
    )
    changed = merge_disk(picky, drive)
    assert changed is not None
    assert 'startupPolicy="optional"' in changed
    empty = merge_disk(picky, replace(drive, source=None))
    assert empty is not None
    assert "<source" not in empty


def test_a_disk_that_changes_its_bus_leaves_its_slot() -> None:
    """An address on the old bus would be refused on the new one."""
    there = read(FULL).definition
    disks = tuple(
        replace(disk, bus=Bus.SATA) if disk.target == "vda" else disk for disk in there.disks
    )
    after = extract_disk(merge(FULL, replace(there, disks=disks)), Target("vda"))
    assert after is not None
    assert "<address" not in after
    assert 'bus="sata"' in after


def test_a_card_that_changes_its_bridge_stays_in_its_slot() -> None:
    (nic,) = read(FULL).definition.nics
    moved = merge_nic(FULL, replace(nic, source=BridgeSource(bridge="br7")))
    assert moved is not None
    assert "<address " in moved
    assert "<alias " in moved
    other = merge_nic(FULL, replace(nic, source=BridgeSource(bridge="br7"), model="e1000"))
    assert other is not None
    assert "<address " not in other


def test_a_device_that_is_not_there_has_no_text() -> None:
    disk = Disk(target=Target("vdz"), bus=Bus.VIRTIO, source=None)
    nic = replace(KVM.nics[0], mac=MacAddress("52:54:00:99:99:99"))
    assert extract_disk(FULL, Target("vdz")) is None
    assert extract_nic(FULL, nic.mac) is None
    assert merge_disk(FULL, disk) is None
    assert merge_nic(FULL, nic) is None


def test_a_volume_told_by_its_path_is_not_told_anew() -> None:
    """A guest that somebody made with paths is not rewritten because domops thinks in volumes."""
    (disk,) = KVM.disks
    assert isinstance(disk.source, VolumeSource)
    path = PATHS[(disk.source.pool, disk.source.volume)]
    by_path = render(replace(KVM, disks=(replace(disk, source=FileSource(path=path)),)))
    assert merge(by_path, KVM, paths=PATHS) == by_path
    assert merge(by_path, KVM) != by_path


def test_a_block_device_on_xen_is_served_by_blkback() -> None:
    """And files by QEMU; see the facts recorded of a real dom0."""
    source = VolumeSource(pool=LibvirtPool("vg0"), volume=VolumeName("lists-data"))
    disk = Disk(target=Target("xvdb"), bus=Bus.XEN, source=source)
    assert '<driver name="phy" type="raw"/>' in render_disk(disk, PV, paths=PATHS)
    assert '<driver name="qemu" type="raw"/>' in render_disk(PV.disks[0], PV, paths=PATHS)


def test_a_volume_without_a_path_stalls_where_only_paths_are_known() -> None:
    with pytest.raises(StalledError, match="domain lists: volume lists-root"):
        render(PV)


def test_a_new_guest_has_free_slots_to_plug_into() -> None:
    """Eight more than disks, cards and what libvirt itself puts into slots."""
    ports = "devices/controller[@model='pcie-root-port']"
    assert count(render(replace(KVM, disks=(), nics=())), ports) == 12
    assert count(render(KVM), ports) == 14


def test_scsi_disks_get_a_controller_that_linux_can_drive_but_only_one() -> None:
    disk = Disk(target=Target("sda"), bus=Bus.SCSI, source=FileSource(path="/a"))
    other = replace(disk, target=Target("sdb"))
    text = merge(render(KVM), replace(KVM, disks=(disk,)))
    text = merge(text, replace(KVM, disks=(disk, other)))
    assert count(text, "devices/controller[@model='virtio-scsi']") == 1


def test_what_hypervisors_give_unasked_is_canonical() -> None:
    """Or a guest would be said to drift from what it can never be."""
    bare = replace(PV, console=False, nics=(replace(PV.nics[0], model=None),))
    assert canonical(bare) == PV
    drive = Disk(target=Target("sda"), bus=Bus.SATA, source=None, device=DiskDevice.CDROM)
    (read_only,) = canonical(replace(KVM, disks=(drive,))).disks
    assert read_only.read_only
    assert not canonical(replace(KVM, console=False)).console


REFUSED = {
    "another name": (KVM, replace(KVM, name=GuestName("web"))),
    "another architecture": (KVM, replace(KVM, arch=Arch.I686)),
    "another hypervisor": (KVM, replace(KVM, domain_type=DomainType.QEMU)),
    "pvgrub": (PV, replace(PV, boot=LoaderBoot(loader=Loader.PVGRUB))),
    "pygrub for hvm": (KVM, replace(KVM, boot=LoaderBoot(loader=Loader.PYGRUB))),
    "firmware for pv": (PV, replace(PV, boot=FirmwareBoot())),
    "nothing to boot from": (KVM, replace(KVM, boot=FirmwareBoot(order=()))),
    "an agent on Xen": (PV, replace(PV, agent=True)),
    "a source that is not modelled": (
        KVM,
        replace(KVM, disks=(replace(KVM.disks[0], source=OtherSource(digest="00")),)),
    ),
    "a connection that is not modelled": (
        KVM,
        replace(KVM, nics=(replace(KVM.nics[0], source=OtherNicSource(digest="00")),)),
    ),
    "half a character": (KVM, replace(KVM, boot=KernelBoot(kernel="/\ud800"))),
    "a control character": (KVM, replace(KVM, boot=KernelBoot(kernel="/\x00"))),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_told_is_refused(name: str) -> None:
    """With the guest's name in the sentence, and before anything reaches a host."""
    there, wanted = REFUSED[name]
    with pytest.raises(RefusedError, match=r"domain '?lists"):
        merge(render(there, paths=PATHS), wanted, paths=PATHS)


def test_pv_guests_are_refused_anywhere_but_on_xen() -> None:
    with pytest.raises(RefusedError, match="exist on Xen only"):
        render(replace(KVM, type=GuestType.PV, boot=KernelBoot(kernel="/k")))


def test_a_target_that_a_device_of_another_sort_has_is_refused() -> None:
    """A floppy or a passed-through SCSI device is not ours to replace."""
    there = read(BY_HAND).definition
    disk = Disk(target=Target("fda"), bus=Bus.SATA, source=None)
    with pytest.raises(RefusedError, match="fda is taken"):
        merge(BY_HAND, replace(there, disks=(*there.disks, disk)))


def test_a_mark_with_a_time_of_no_zone_is_refused() -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the point of the test
    trash = Trash(since=naive, until=naive, commit=Sha("1"))
    with pytest.raises(RefusedError, match="without a zone"):
        render_mark(replace(MARK, trash=trash))


def test_a_console_that_no_hypervisor_would_take_away_is_left_alone() -> None:
    """Neither is one written into a text that has none and need not have one."""
    text = render(PV, paths=PATHS)
    assert merge(text, replace(PV, console=False), paths=PATHS) == text
    bare = text.replace('<console type="pty">', '<console type="tcp">')
    assert not read(bare).definition.console
    assert merge(bare, replace(PV, console=False), paths=PATHS) == bare
