"""What single pieces of domain XML mean; the texts are those of real hosts where there is one."""

from pathlib import Path

import pytest

from reconciler.domxml import digest, digest_without_mark, read, read_mark, render, render_mark
from reconciler.errors import StalledError
from reconciler.model.definition import (
    BootDevice,
    Bus,
    DiskDevice,
    DiskFormat,
    Endpoint,
    Firmware,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    LoaderBoot,
    Memory,
    NetworkSource,
    OtherNicSource,
    OtherSource,
    RbdSource,
    Vcpus,
    VolumeSource,
)
from reconciler.model.names import LibvirtPool, MacAddress, Target, VolumeName
from tests.golden.definitions import DEFINITIONS, MARK, PATHS

RECORDED = Path(__file__).parents[2] / "golden" / "recorded"
UUID_TEXT = "11111111-2222-3333-4444-555555555501"


def recorded(name: str) -> GuestDefinition:
    return read((RECORDED / f"{name}.xml").read_text()).definition


def domain(
    inside: str = "",
    *,
    kind: str = "qemu",
    os: str = "<type arch='x86_64'>hvm</type>",
    memory: str = "<memory>4096</memory>",
    mark: str = "",
) -> GuestDefinition:
    return read(
        f"<domain type='{kind}'><name>lists</name><uuid>{UUID_TEXT}</uuid>{mark}{memory}"
        f"<os>{os}</os><devices>{inside}</devices></domain>"
    ).definition


RBD_BY_HAND = RbdSource(
    pool="pool", image="image", monitors=(Endpoint(host="192.0.2.1", port=6789),)
)


def test_a_guest_made_by_hand_on_qemu_is_read_in_full() -> None:
    """Per-device boot order, sources and cards that no field models, drives, empty and full."""
    guest = recorded("qemu/by-hand.stored")
    assert guest.vcpus == Vcpus(count=1, maximum=4)
    assert guest.memory == Memory(size_kib=585938, maximum_kib=1024 * 1024)
    order = (BootDevice.NETWORK, BootDevice.DISK, BootDevice.CDROM)
    assert guest.boot == FirmwareBoot(firmware=Firmware.BIOS, order=order)
    assert [disk.target for disk in guest.disks] == ["hda", "hdc", "vda", "vdb"]
    vmdk, empty, rbd, volume = guest.disks
    assert isinstance(vmdk.source, OtherSource)
    assert rbd.source == RBD_BY_HAND
    assert (empty.device, empty.source, empty.read_only) == (DiskDevice.CDROM, None, True)
    assert volume.source == VolumeSource(
        pool=LibvirtPool("default"), volume=VolumeName("data.qcow2"), format=DiskFormat.QCOW2
    )
    user, direct, network = guest.nics
    assert user.mac == "52:54:00:00:00:0a"
    assert isinstance(user.source, OtherNicSource)
    assert isinstance(direct.source, OtherNicSource)
    assert network.source == NetworkSource(network="default")
    assert not guest.console, "its serial line goes to a file"
    assert guest.agent
    assert guest.mark is None


@pytest.mark.parametrize("name", ["qemu/full", "xen/pv-full", "xen/pvh-full"])
def test_a_running_guest_is_read_as_its_definition(name: str) -> None:
    """What a run adds to a text is no difference; the balloon's size is, for it is achieved."""
    live, stored = recorded(f"{name}.live"), recorded(f"{name}.stored")
    assert live.disks == stored.disks
    assert live.nics == stored.nics
    assert (live.boot, live.vcpus, live.console) == (stored.boot, stored.vcpus, stored.console)
    assert live.memory.maximum_kib == stored.memory.maximum_kib


def test_the_balloon_of_a_running_guest_is_what_it_achieved() -> None:
    """The stored text says 48 MiB; the guest, which ran no driver, still had all of its 64."""
    assert recorded("qemu/full.stored").memory.size_kib == 48 * 1024
    assert recorded("qemu/full.live").memory.size_kib == 64 * 1024


def test_a_volume_is_found_by_its_path_on_xen() -> None:
    """Above the door there are only volumes."""
    root = VolumeSource(pool=LibvirtPool("default"), volume=VolumeName("root"))
    paths = {"/var/lib/libvirt/images/root": root}
    text = (RECORDED / "xen/pv-full.stored.xml").read_text()
    disk = read(text, volumes=paths.get).definition.disk(Target("xvda"))
    assert disk is not None
    assert disk.source == root


def test_a_pv_guest_without_a_word_on_its_card_has_netfront() -> None:
    """The word is left out by libvirt; there is no other card."""
    assert {nic.model for nic in recorded("xen/pv-full.stored").nics} == {"netfront"}
    assert {nic.model for nic in recorded("xen/hvm-full.stored").nics} == {None}


@pytest.mark.parametrize(
    ("amount", "kib"),
    [
        ("<memory>4096</memory>", 4096),
        ("<memory unit='bytes'>1025</memory>", 2),
        ("<memory unit='KB'>1000</memory>", 977),
        ("<memory unit='MiB'>2</memory>", 2048),
        ("<memory unit='G'>1</memory>", 1024 * 1024),
        ("<memory unit='TiB'>1</memory>", 1024**3),
    ],
)
def test_memory_is_read_in_every_unit_of_libvirt(amount: str, kib: int) -> None:
    assert domain(memory=amount).memory == Memory(size_kib=kib, maximum_kib=kib)


def test_a_goal_above_the_maximum_is_the_maximum() -> None:
    memory = "<memory>4096</memory><currentMemory>9000</currentMemory>"
    assert domain(memory=memory).memory == Memory(size_kib=4096, maximum_kib=4096)


@pytest.mark.parametrize(
    ("kind", "os", "uefi"),
    [
        ("qemu", "<loader type='pflash' readonly='yes'>/usr/share/code.fd</loader>", True),
        ("qemu", "<loader type='rom'>/usr/share/ovmf/OVMF.fd</loader>", True),
        ("xen", "<loader type='rom'>/usr/lib/xen-4.17/boot/hvmloader</loader>", False),
        ("xen", "<loader type='pflash'>/usr/lib/xen/boot/ovmf.bin</loader>", True),
    ],
)
def test_firmware_is_known_by_its_loader(kind: str, os: str, uefi: bool) -> None:  # noqa: FBT001
    boot = domain(kind=kind, os=f"<type arch='x86_64'>hvm</type>{os}").boot
    assert isinstance(boot, FirmwareBoot)
    assert (boot.firmware is Firmware.UEFI) is uefi


def test_automatic_firmware_means_nothing_on_xen() -> None:
    """Its libxl driver takes the attribute and boots a BIOS all the same."""
    texts = {
        kind: f"<domain type='{kind}'><name>n</name><uuid>{UUID_TEXT}</uuid>"
        for kind in ("xen", "kvm")
    }
    rest = "<memory>1</memory><os firmware='efi'><type arch='x86_64'>hvm</type></os></domain>"
    boots = {kind: read(text + rest).definition.boot for kind, text in texts.items()}
    assert boots["xen"] == FirmwareBoot(firmware=Firmware.BIOS)
    assert boots["kvm"] == FirmwareBoot(firmware=Firmware.UEFI)


def test_a_pv_guest_without_a_kernel_is_booted_by_pygrub() -> None:
    guest = domain(kind="xen", os="<type arch='x86_64'>linux</type>")
    assert guest.type is GuestType.PV
    assert isinstance(guest.boot, LoaderBoot)


@pytest.mark.parametrize(("target", "bus"), [("vda", Bus.VIRTIO), ("xvda", Bus.XEN)])
def test_a_disk_without_a_bus_is_on_that_of_its_name(target: str, bus: Bus) -> None:
    guest = domain(f"<disk><source file='/a'/><target dev='{target}'/></disk>")
    assert [disk.bus for disk in guest.disks] == [bus]


def test_sources_that_no_field_models_are_told_apart_but_not_by_their_run() -> None:
    """Their digest stays the same while the guest runs and moves when they do."""

    def source(inside: str) -> object:
        disk = f"<disk type='network'>{inside}<target dev='vda' bus='virtio'/></disk>"
        return domain(disk).disks[0].source

    stored = source("<source protocol='rbd' name='a'><host name='h'/></source>")
    live = source("<source protocol='rbd' name='a' index='4'>\n <host name='h'/>\n</source>")
    other = source("<source protocol='rbd' name='b'><host name='h'/></source>")
    assert stored == live != other


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ("<domain", "cannot be read"),
        ("<network/>", "not of a domain"),
        ("<domain type='kvm'/>", "names no domain"),
        ("<domain type='lxc'><name>lists</name></domain>", "domain lists: .*'lxc'"),
        ("<domain type='kvm'><name>lists</name></domain>", "domain lists: .*operating system"),
        ("<!DOCTYPE d []><domain/>", "document type"),
    ],
)
def test_what_cannot_be_read_stalls_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(StalledError, match=says):
        read(text)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"os": "<type arch='x86_64'>exe</type>"}, "operating system type 'exe'"),
        ({"os": "<type arch='aarch64'>hvm</type>"}, "architecture 'aarch64'"),
        ({"memory": "<memory unit='furlong'>1</memory>"}, "memory"),
        ({"memory": "<memory>many</memory>"}, "memory"),
        ({"memory": "<memory>1</memory><vcpu current='²'>2</vcpu>"}, "virtual CPUs"),
    ],
)
def test_a_domain_that_cannot_be_read_is_named(changed: dict[str, str], says: str) -> None:
    with pytest.raises(StalledError, match=f"domain lists: .*{says}"):
        domain(**changed)


def _problem(mark: str) -> str | None:
    text = render(DEFINITIONS["kvm-without-anything"])
    marked = text.replace("<memory ", f"<metadata>{mark}</metadata><memory ", 1)
    reading = read(marked)
    assert reading.definition.mark is None
    return reading.mark_problem


def test_a_mark_of_another_grammar_is_a_problem_and_not_absent() -> None:
    """A guest of a newer domops must never look like nobody's."""
    assert "newer" in (_problem("<d:guest xmlns:d='urn:domops:mark:2'/>") or "")
    assert "newer" in (_problem("<d:host xmlns:d='urn:domops:mark:1'/>") or "")
    assert "lacks owner" in (_problem("<d:guest xmlns:d='urn:domops:mark:1'/>") or "")
    assert "more than one" in (_problem("<guest xmlns='urn:domops:mark:1'/>" * 2) or "")
    assert _problem("<guest xmlns='urn:example:other'/>") is None


def test_a_mark_that_libvirt_set_is_the_one_that_was_defined() -> None:
    """``setMetadata`` puts our prefix on all of it, ``metadata()`` takes it from all of it."""
    text = render_mark(MARK)
    assert "domops" not in text
    assert read_mark(text) == MARK
    with_prefix = text.replace("</", "</domops:").replace("<shut", "<domops:shut")
    for tag in ("disk", "nic", "guest"):
        with_prefix = with_prefix.replace(f"<{tag} ", f"<domops:{tag} ")
    with_prefix = with_prefix.replace(
        "<domops:guest ", '<domops:guest xmlns:domops="urn:domops:mark:1" '
    )
    assert read_mark(with_prefix) == MARK


def test_an_agent_is_connected_where_the_running_guest_has_opened_its_channel() -> None:
    text = (RECORDED / "qemu" / "full.live.xml").read_text()
    assert not read(text).agent_connected
    assert read(text.replace("state='disconnected'", "state='connected'")).agent_connected
    other = text.replace("org.qemu.guest_agent.0", "org.example.0")
    assert not read(other.replace("state='disconnected'", "state='connected'")).agent_connected


def test_the_digest_without_the_mark_is_careful_where_the_mark_is_not_surely_ours() -> None:
    """Two elements that look like it, or one in a comment: then every byte counts."""
    text = render(DEFINITIONS["kvm-bios"], paths=PATHS)
    assert digest_without_mark(text) != digest(text)
    for doubtful in (text + text, text.replace("<os>", "<!-- here --><os>")):
        assert digest_without_mark(doubtful) == digest(doubtful)


def test_cards_are_known_by_their_address_in_lower_case() -> None:
    """Manifests write it in lower case, people in either."""
    inside = "<mac address='52:54:00:AB:CD:EF'/><source bridge='b'/>"
    nic = f"<interface type='bridge'>{inside}</interface>"
    guest = domain(nic)
    assert guest.nic(MacAddress("52:54:00:ab:cd:ef")) is not None


@pytest.mark.parametrize("tag", ["devices", "os", "memory", "metadata"])
def test_a_text_that_says_a_thing_twice_is_not_believed(tag: str) -> None:
    """Reading one and writing the other would change a guest that nobody asked to change."""
    text = (
        f"<domain type='qemu'><name>lists</name><uuid>{UUID_TEXT}</uuid><metadata/>"
        "<memory>4096</memory><os><type arch='x86_64'>hvm</type></os><devices/>"
        "{more}</domain>"
    )
    read(text.replace("{more}", ""))
    with pytest.raises(StalledError, match=f"more than one <{tag}>"):
        read(text.replace("{more}", f"<{tag}/>"))
