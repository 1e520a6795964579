"""What a host has to emulate is allowed, and its cost is told at its line."""

from __future__ import annotations

import pytest

from reconciler.manifests.problems import Severity
from tests.unit.manifests.world import guest, resolved

KVM_HOST = b"""\
apiVersion: domops/v1
kind: Pool
metadata: {name: kvm}
spec: {}
---
apiVersion: domops/v1
kind: Host
metadata: {name: kvm-a}
spec: {uri: "qemu+tls://kvm-a.example.org/system", pool: kvm}
"""

KVM = "pool: kvm\ncpus: 1\nmemory: 1GiB\n"
XEN = "pool: main\ncpus: 1\nmemory: 1GiB\n"
KERNEL = "boot: {kernel: /boot/vmlinuz}\n"


def warned(spec: str) -> list[str]:
    """The warnings of a guest with ``spec``, without their places."""
    found = resolved(lists=guest(spec), kvm=KVM_HOST)
    assert found.problems == ()
    assert found.world is not None
    [made] = found.world.guests.values()
    assert [f"spec.{one.field}: {one.message}" for one in made.warnings] == [
        one.sentence for one in found.warnings
    ]
    assert {one.severity for one in found.warnings} <= {Severity.WARNING}
    return [f"{one.line}:{one.column} {one.sentence}" for one in found.warnings]


def nic(model: str) -> str:
    return f"networks:\n  - {{name: eth0, network: servers, model: {model}}}\n"


def disk(target: str) -> str:
    return f"disks:\n  - {{name: root, size: 1GiB, storage: guests, target: {target}}}\n"


def test_an_emulated_card_is_told_with_what_it_costs() -> None:
    [told] = warned(KVM + nic("e1000"))
    assert "spec.networks[eth0].model: e1000 is emulated: in 2008, on Xen," in told
    assert "50 Mb/s where netfront carried 920; take the line out" in told


def test_an_emulated_disk_is_told_with_what_it_costs() -> None:
    [told] = warned(KVM + disk("hda"))
    assert "spec.disks[root].target: ide is emulated: in 2008, on Xen," in told
    assert "wrote 40 MB/s and read 80 where a partition given to a PV driver did about 100" in told


@pytest.mark.parametrize("model", ["pv", "virtio", "virtio-non-transitional"])
def test_what_is_not_emulated_is_not_warned_of(model: str) -> None:
    assert warned(KVM + nic(model) + disk("vda")) == []


def test_a_drive_for_cds_is_emulated_always_and_nobody_is_told() -> None:
    assert warned(KVM + "disks:\n  - {name: cd, target: sda, cdrom: {}}\n") == []


def test_a_guest_without_an_emulated_machine_has_nothing_emulated() -> None:
    """PV guests may call their disks sda, and pvh is what auto is on Xen."""
    for guest_type in ("pv", "pvh", "auto"):
        assert warned(XEN + KERNEL + f"type: {guest_type}\n" + disk("sda")) == []
    assert warned(XEN + KERNEL + "type: hvm\n" + disk("hda")) != []
