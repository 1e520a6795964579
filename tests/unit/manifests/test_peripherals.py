"""Disks and cards are what their entries say, and a thing is not given to two guests."""

from __future__ import annotations

from uuid import UUID

import pytest

from reconciler.manifests import Allowed, load
from reconciler.model.definition import (
    BlockSource,
    Bus,
    DiskFormat,
    Endpoint,
    FileSource,
    NbdSource,
    RbdSource,
    RbdUser,
)
from reconciler.model.desired import CdromDisk, DesiredDisk, GivenDisk, VolumeDisk
from reconciler.model.options import Cache, Discard, DiskOptions, IoLimits, Link, NicOptions
from tests.unit.manifests.world import BASE, COMMIT, PLAIN, guest, guest_of, resolved

BY_PATH = "/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part3"
MONITORS = "[ceph-b:6789, ceph-a, '[2001:db8::1]:3300']"
SECRET = UUID("5d1c90ab-0000-4000-8000-000000000001")


def disk_of(entry: str) -> DesiredDisk:
    """The one disk of a guest with ``entry``."""
    [disk] = guest_of(PLAIN + f"disks: [{{name: data, {entry}}}]").disks
    return disk


@pytest.mark.parametrize(
    ("entry", "source"),
    [
        (f"device: {BY_PATH}", BlockSource(path=BY_PATH)),
        ("file: /srv/a.raw", FileSource(path="/srv/a.raw")),
        (
            "file: /srv/a.qcow2, format: qcow2",
            FileSource(path="/srv/a.qcow2", format=DiskFormat.QCOW2),
        ),
        (
            "nbd: {host: nas.example.org}",
            NbdSource(server=Endpoint(host="nas.example.org", port=10809), export=""),
        ),
        (
            "nbd: {host: '2001:db8::1', port: 10810, export: lists/data}, format: qcow2",
            NbdSource(
                server=Endpoint(host="2001:db8::1", port=10810),
                export="lists/data",
                format=DiskFormat.QCOW2,
            ),
        ),
        ("rbd: {pool: vms, image: data}", RbdSource(pool="vms", image="data")),
        (
            f"rbd: {{pool: vms, image: data, monitors: {MONITORS}, user: me, secret: {SECRET}}}",
            RbdSource(
                pool="vms",
                image="data",
                monitors=(
                    Endpoint(host="2001:db8::1", port=3300),
                    Endpoint(host="ceph-a"),
                    Endpoint(host="ceph-b", port=6789),
                ),
                user=RbdUser(name="me", secret=SECRET),
            ),
        ),
    ],
)
def test_what_is_there_already_is_named_by_its_address(entry: str, source: object) -> None:
    disk = disk_of(entry)
    assert isinstance(disk, GivenDisk)
    assert (disk.source, disk.target, disk.mentioned) == (source, None, ())


def test_only_the_optional_fields_that_are_written_are_mentioned() -> None:
    """Also at their defaults: to write a field is to own it."""
    plain = disk_of("size: 1GiB, storage: guests")
    assert isinstance(plain, VolumeDisk)
    assert (plain.mentioned, plain.bus, plain.options) == ((), None, DiskOptions())
    assert disk_of("size: 1GiB, storage: guests, readOnly: false").mentioned == ("readOnly",)
    assert disk_of("cdrom: {}, bus: scsi").mentioned == ("bus",)
    full = disk_of(
        "device: /dev/sdb, bus: scsi, readOnly: true, cache: none, discard: unmap, serial: S-1,"
        " limits: {readBytes: 2MiB, writeBytes: 1MiB, iops: 500}"
    )
    assert full.mentioned == ("bus", "cache", "discard", "limits", "readOnly", "serial")
    assert (full.bus, full.read_only) == (Bus.SCSI, True)
    assert full.options == DiskOptions(
        cache=Cache.NONE,
        discard=Discard.UNMAP,
        limits=IoLimits(read_bytes=2 << 20, write_bytes=1 << 20, total_iops=500),
        serial="S-1",
    )


def test_limits_without_any_are_the_wish_for_none() -> None:
    disk = disk_of("size: 1GiB, storage: guests, limits: {}")
    assert (disk.mentioned, disk.options.limits) == (("limits",), None)


def test_a_card_mentions_its_optional_fields_too() -> None:
    [plain] = guest_of(PLAIN + "networks: [{name: eth0, network: servers}]").nics
    assert (plain.mentioned, plain.options) == ((), NicOptions())
    entry = "{name: eth0, network: servers, queues: 4, link: down}"
    [full] = guest_of(PLAIN + f"networks: [{entry}]").nics
    assert full.mentioned == ("link", "queues")
    assert full.options == NicOptions(link=Link.DOWN, queues=4)


def test_disks_get_targets_volumes_first_and_drives_last() -> None:
    disks = "[{name: a, device: /dev/sdb}, {name: b, cdrom: {}}, {name: c, size: 1GiB,"
    disks += " storage: guests, image: i.raw}]"
    found = guest_of(PLAIN + f"disks: {disks}").disks
    assert [type(disk) for disk in found] == [VolumeDisk, GivenDisk, CdromDisk]


# ------------------------------------------------------------------------- what may be named at all


@pytest.mark.parametrize(
    ("entry", "setting", "allowed", "forbidden"),
    [
        (
            "device: /dev/disk/by-id/a",
            "device_prefixes",
            Allowed(device_prefixes=("/dev/disk/by-id",)),
            Allowed(
                device_prefixes=("/dev/disk/by-i", "/dev/mapper"),
                file_prefixes=("/dev",),
                kernel_prefixes=("/dev",),
            ),
        ),
        (
            "file: /srv/guests/a.raw",
            "file_prefixes",
            Allowed(file_prefixes=("/srv/guests/",)),
            Allowed(
                file_prefixes=("/srv/guest",),
                device_prefixes=("/srv",),
                kernel_prefixes=("/srv",),
            ),
        ),
    ],
)
def test_a_path_must_lie_where_the_controller_allows_it(
    entry: str, setting: str, allowed: Allowed, forbidden: Allowed
) -> None:
    files = {**BASE, "a.yaml": guest(PLAIN + f"disks: [{{name: raw, {entry}}}]")}
    for settings in (None, allowed):
        assert load(files, commit=COMMIT, allowed=settings).problems == ()
    for settings in (forbidden, Allowed(device_prefixes=(), file_prefixes=())):
        [problem] = load(files, commit=COMMIT, allowed=settings).problems
        assert "is not below a path that the controller allows" in problem.message
        assert problem.hint.endswith(f"see its setting {setting}")


# ----------------------------------------------------------------------------- one thing, one guest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("device: /dev/sdb", "device: /dev/sdb"),
        ("file: /srv/a.raw", "file: /srv/a.raw, format: qcow2"),
        ("nbd: {host: nas, export: a}", "nbd: {host: nas, port: 10809, export: a}"),
        ("rbd: {pool: vms, image: a}", "rbd: {pool: vms, image: a, monitors: [ceph-a]}"),
    ],
)
def test_two_guests_share_what_is_there_only_if_neither_can_write(one: str, other: str) -> None:
    def shared(first: str, second: str) -> list[str]:
        found = resolved(
            a=guest(PLAIN + f"disks: [{{name: x, {one}{first}}}]", name="a"),
            b=guest(PLAIN + f"disks: [{{name: x, {other}{second}}}]", name="b"),
        )
        return [problem.sentence for problem in found.problems]

    reading = ", readOnly: true"
    assert shared(reading, reading) == []
    for first, second in (("", ""), (reading, ""), ("", reading)):
        [sentence] = shared(first, second)
        assert 'is already that of guest "a", a.yaml:' in sentence
        assert sentence.endswith("name another, or write readOnly: true for both")


def test_other_exports_and_images_are_other_things() -> None:
    entries = (
        "nbd: {host: nas, export: a}",
        "nbd: {host: nas, export: b}",
        "nbd: {host: nas, port: 1, export: a}",
        "rbd: {pool: vms, image: a}",
        "rbd: {pool: other, image: a}",
    )
    disks = ", ".join(f"{{name: d{n}, {entry}}}" for n, entry in enumerate(entries))
    assert len(guest_of(PLAIN + f"disks: [{disks}]").disks) == len(entries)
