"""A guest is what its manifest says, filled in from its class, then from the defaults."""

from __future__ import annotations

from uuid import UUID

from reconciler.manifests import Allowed, load
from reconciler.manifests.derive import derive_mac, derive_uuid
from reconciler.model.definition import (
    Arch,
    BootDevice,
    DiskFormat,
    Firmware,
    FirmwareBoot,
    GuestType,
    KernelBoot,
    Memory,
    Vcpus,
)
from reconciler.model.desired import (
    Autostart,
    CdromDisk,
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
    DiskName,
    GuestName,
    HostName,
    MacAddress,
    PoolName,
    StorageName,
    Target,
    VolumeName,
)
from tests.unit.manifests.world import (
    BASE,
    COMMIT,
    PLAIN,
    REPOSITORY,
    guest,
    guest_of,
    resolved,
    world_of,
)

SMALL = guest(
    """
pool: main
cpus: {count: 1, max: 4}
memory: {size: 1GiB, max: 4GiB}
boot: {kernel: /boot/vmlinuz, initrd: /boot/initrd, cmdline: ro}
networks:
  - {name: eth0, network: servers}
  - {name: eth1, network: servers, model: e1000}
shutdown: {timeout: 10m}
""",
    name="small",
    kind="GuestClass",
)


def test_what_a_guest_does_not_say_has_the_documented_default() -> None:
    found = guest_of(PLAIN)
    assert found.uuid == derive_uuid(UUID(REPOSITORY), "lists")
    assert (found.pool, found.host) == (PoolName("main"), None)
    assert (found.arch, found.state) == (Arch.X86_64, GuestState.RUNNING)
    assert found.cpus == Vcpus(count=1, maximum=1)
    assert found.memory == Memory(size_kib=1 << 20, maximum_kib=1 << 20)
    assert found.boot == FirmwareBoot(firmware=Firmware.BIOS, order=(BootDevice.DISK,))
    assert (found.disks, found.nics) == ((), ())
    assert (found.console, found.agent, found.protect) == (True, False, False)
    assert found.shutdown == ShutdownPolicy(timeout_s=300, then=ThenWhat.WAIT)
    assert found.heal_after_s == 60
    assert (found.restart, found.autostart) == (RestartWhen.NEVER, Autostart.AUTO)
    assert found.labels == {}


def test_type_auto_is_left_to_the_host() -> None:
    assert guest_of(PLAIN + "boot: {kernel: /boot/vmlinuz}").type is GuestType.HVM
    assert guest_of("pool: main\ncpus: 1\nmemory: 1GiB\nboot: {kernel: /boot/k}").type is None


def test_a_class_fills_in_what_is_not_said() -> None:
    found = guest_of("class: small", small=SMALL)
    assert found.cpus == Vcpus(count=1, maximum=4)
    assert found.boot == KernelBoot(kernel="/boot/vmlinuz", initrd="/boot/initrd", cmdline="ro")
    assert [nic.model for nic in found.nics] == ["pv", "e1000"]
    assert found.shutdown.timeout_s == 600


def test_maps_are_filled_in_field_by_field_and_short_forms_are_maps() -> None:
    found = guest_of(
        "class: small\ncpus: 2\nmemory: {size: 2GiB}\nboot: {cmdline: quiet}\n"
        "shutdown: {then: destroy}",
        small=SMALL,
    )
    assert found.cpus == Vcpus(count=2, maximum=4)
    assert found.memory == Memory(size_kib=2 << 20, maximum_kib=4 << 20)
    assert found.boot == KernelBoot(kernel="/boot/vmlinuz", initrd="/boot/initrd", cmdline="quiet")
    assert found.shutdown == ShutdownPolicy(timeout_s=600, then=ThenWhat.DESTROY)


def test_another_way_to_boot_drops_the_one_of_the_class() -> None:
    found = guest_of("class: small\ntype: hvm\nboot: {firmware: uefi}", small=SMALL)
    assert found.boot == FirmwareBoot(firmware=Firmware.UEFI)


def test_an_entry_of_a_list_is_replaced_whole_by_its_name() -> None:
    spec = "class: small\nnetworks:\n  - {name: eth1, network: servers}\n"
    assert [(nic.name, nic.model) for nic in guest_of(spec, small=SMALL).nics] == [
        ("eth0", "pv"),
        ("eth1", "pv"),
    ]


def test_a_pinned_guest_takes_the_pool_of_its_host_and_not_of_its_class() -> None:
    far = guest("pool: far\ncpus: 1\nmemory: 1GiB\ntype: hvm", name="far", kind="GuestClass")
    pool = guest("mode: warn", name="far", kind="Pool")
    found = guest_of("class: far\nhost: dom0-a", far=far, pool=pool)
    assert (found.pool, found.host) == (PoolName("main"), HostName("dom0-a"))


def test_a_disk_is_the_volume_that_guest_and_disk_name() -> None:
    found = guest_of(
        PLAIN + "disks:\n"
        "  - {name: root, target: xvda, size: 20GiB, storage: guests, image: debian-12.raw}\n"
        "  - {name: data, size: 1GB, storage: guests, format: qcow2, volume: old.qcow2}\n"
    )
    assert found.disks == (
        VolumeDisk(
            name=DiskName("root"),
            target=Target("xvda"),
            storage=StorageName("guests"),
            volume=VolumeName("lists-root.raw"),
            size_bytes=20 << 30,
            format=DiskFormat.RAW,
            image=ImageRef(storage=StorageName("images"), volume=VolumeName("debian-12.raw")),
            volume_said=False,
        ),
        VolumeDisk(
            name=DiskName("data"),
            target=None,
            storage=StorageName("guests"),
            volume=VolumeName("old.qcow2"),
            size_bytes=10**9,
            format=DiskFormat.QCOW2,
            image=None,
        ),
    )


def test_the_disk_with_an_image_comes_first_and_drives_last_whatever_the_order() -> None:
    """Their order means nothing, yet the first without a target is what the guest boots from."""
    entries = [
        "  - {name: a-drive, cdrom: {}}\n",
        "  - {name: data, size: 1GiB, storage: guests}\n",
        "  - {name: root, size: 1GiB, storage: guests, image: debian-12.raw}\n",
    ]
    one = guest_of(PLAIN + "disks:\n" + "".join(entries))
    other = guest_of(PLAIN + "disks:\n" + "".join(reversed(entries)))
    assert [disk.name for disk in one.disks] == ["root", "data", "a-drive"]
    assert one == other


def test_a_drive_holds_a_volume_or_nothing() -> None:
    found = guest_of(
        PLAIN + "disks:\n  - {name: cd, cdrom: {storage: images, volume: debian.iso}}\n"
        "  - {name: empty, cdrom: {}}\n"
    )
    assert found.disks == (
        CdromDisk(
            name=DiskName("cd"),
            target=None,
            storage=StorageName("images"),
            volume=VolumeName("debian.iso"),
        ),
        CdromDisk(name=DiskName("empty"), target=None, storage=None, volume=None),
    )


def test_an_address_is_derived_or_said_in_any_case() -> None:
    found = guest_of(
        PLAIN + "networks:\n  - {name: eth0, network: servers}\n"
        "  - {name: eth1, network: servers, mac: 00:16:3E:AB:CD:EF}\n"
    )
    assert [nic.mac for nic in found.nics] == [
        derive_mac(UUID(REPOSITORY), "lists", "eth0"),
        MacAddress("00:16:3e:ab:cd:ef"),
    ]


def test_a_field_knows_its_line_and_an_inherited_one_that_of_the_class() -> None:
    found = guest_of("class: small\ncpus: 2\ndisks:\n  - {name: cd, cdrom: {}}", small=SMALL)
    assert found.origin == Origin(path="lists.yaml", line=1)
    assert found.where("spec.cpus.count") == Origin(path="lists.yaml", line=6)
    assert found.where("spec.disks[cd].cdrom") == Origin(path="lists.yaml", line=8)
    assert found.where("spec.memory.size") == Origin(path="lists.yaml", line=5)
    assert found.where("spec.heal") == Origin(path="lists.yaml", line=4)
    assert len(found.lines) == len(list(found.lines))


def test_a_kernel_must_lie_where_the_controller_allows_it() -> None:
    files = {**BASE, "a.yaml": guest(PLAIN + "boot: {kernel: /boot/guest/vmlinuz}")}
    for prefixes, problems in (
        (None, 0),
        (("/boot/guest",), 0),
        (("/boot/guest/",), 0),
        (("/boot/gue",), 1),
        ((), 1),
    ):
        found = load(files, commit=COMMIT, allowed=Allowed(kernel_prefixes=prefixes))
        assert len(found.problems) == problems, prefixes


def test_a_guest_of_a_class_that_is_nowhere_is_told_that_alone() -> None:
    (problem,) = resolved(lists=guest("class: smal\ntype: pv"), small=SMALL).problems
    assert problem.sentence == 'spec.class: no GuestClass "smal"; did you mean "small"?'


def test_labels_and_uuid_stand_in_the_metadata() -> None:
    text = guest(PLAIN).replace(
        b"{name: lists}",
        b"{name: lists, labels: {service: mail}, uuid: 11111111-2222-4333-8444-55555555555A}",
    )
    found = world_of(lists=text).guests[GuestName("lists")]
    assert found.labels == {"service": "mail"}
    assert found.uuid == UUID("11111111-2222-4333-8444-55555555555a")


def test_a_guest_may_have_all_of_its_maximum() -> None:
    found = guest_of(
        "pool: main\ntype: hvm\ncpus: {count: 2, max: 2}\nmemory: {size: 1GiB, max: 1GiB}"
    )
    assert (found.cpus.maximum, found.memory.maximum_kib) == (2, 1 << 20)


def test_what_is_wrong_in_an_inherited_entry_is_told_where_the_class_is_named() -> None:
    large = guest(
        "pool: main\ntype: hvm\ncpus: 1\nmemory: 1GiB\n"
        "disks:\n  - {name: data, size: 1GiB, storage: nowhere}",
        name="large",
        kind="GuestClass",
    )
    own = guest("class: large\ndisks:\n  - {name: root, size: 1GiB, storage: guests}")
    (problem,) = resolved(large=large, lists=own).problems
    assert str(problem).startswith(
        'lists.yaml:5:10  spec.disks[data].storage: no Storage "nowhere" (class "large" says so)'
    )


def test_a_host_that_has_left_makes_no_pool_a_xen_pool() -> None:
    files = {
        "pool": guest("mode: warn", name="mixed", kind="Pool"),
        "gone": guest("uri: xen:///system\npool: mixed\nstate: retired", name="gone", kind="Host"),
        "kvm": guest("uri: qemu:///system\npool: mixed", name="kvm", kind="Host"),
    }
    spec = "pool: mixed\ntype: pv\ncpus: 1\nmemory: 1GiB\nboot: {kernel: /boot/k}"
    (problem,) = resolved(lists=guest(spec), **files).problems
    assert problem.sentence.startswith("spec.type: pv guests need Xen")


def test_a_class_that_a_broken_file_may_define_is_not_missed() -> None:
    broken = guest("memry: 1GiB", name="large", kind="GuestClass")
    found = resolved(large=broken, lists=guest("class: large\npool: main"))
    assert {problem.path for problem in found.problems} == {"large.yaml"}


DNS = guest(PLAIN + "agent: true", name="dns")
WAITING = guest(
    "pool: main\ncpus: 1\nmemory: 1GiB\nstartAfter: [dns]", name="last", kind="GuestClass"
)


def test_a_guest_that_comes_first_may_be_said_in_one_word_or_in_full() -> None:
    short = guest_of(PLAIN + "startAfter: [dns]", dns=DNS)
    full = guest_of(
        PLAIN + "startAfter: [{guest: dns, ready: {state: running}, timeout: 5m}]", dns=DNS
    )
    assert short.start_after == (StartAfter(guest=GuestName("dns")),)
    assert short.intent == full.intent


def test_a_guest_may_wait_for_an_agent_and_a_port() -> None:
    ready = "{guest: dns, ready: {state: agent, tcp: 53, address: 'FD00::0:53'}, timeout: 1m}"
    port = OpenPort(address="fd00::53", port=53)
    assert guest_of(PLAIN + f"startAfter: [{ready}]", dns=DNS).start_after == (
        StartAfter(guest=GuestName("dns"), agent=True, port=port, timeout_s=60),
    )
    assert str(port) == "[fd00::53]:53"


def test_what_a_guest_says_of_its_order_replaces_what_its_class_says() -> None:
    for said, waits in (("", ("dns",)), ("startAfter: []", ()), ("startAfter: [db]", ("db",))):
        found = guest_of(
            f"class: last\ntype: hvm\n{said}", last=WAITING, dns=DNS, db=guest(PLAIN, name="db")
        )
        assert tuple(one.guest for one in found.start_after) == waits


def test_every_circle_of_guests_that_wait_for_each_other_is_told_once() -> None:
    circles = {"a": "b", "b": "a", "c": "d", "d": "e", "e": "c", "f": "c"}
    files = {
        name: guest(PLAIN + f"startAfter: [{first}]", name=name) for name, first in circles.items()
    }
    problems = resolved(**files).problems
    assert [(problem.path, problem.sentence.count("→")) for problem in problems] == [
        ("a.yaml", 2),
        ("c.yaml", 3),
    ]
    for name in "cde":
        assert f'"{name}" ({name}.yaml:9)' in problems[1].sentence


def test_a_circle_is_told_also_of_guests_that_have_other_mistakes() -> None:
    files = {
        "a": guest(PLAIN + "host: nowhere\nstartAfter: [b]", name="a"),
        "b": guest(PLAIN + "startAfter: [a]", name="b"),
    }
    assert len(resolved(**files).problems) == 2


def test_a_long_line_of_guests_is_no_circle() -> None:
    files = {
        f"g{number}": guest(PLAIN + f"startAfter: [g{number + 1}]", name=f"g{number}")
        for number in range(1500)
    }
    found = world_of(**files, g1500=guest(PLAIN, name="g1500"))
    assert len(found.guests) == 1501


def test_a_guest_that_a_broken_file_may_define_is_not_missed() -> None:
    broken = guest("memry: 1GiB", name="dns")
    found = resolved(dns=broken, lists=guest(PLAIN + "startAfter: [dns]"))
    assert {problem.path for problem in found.problems} == {"dns.yaml"}
