"""Snapshots as manifests name them: short or long, and a warning where there can be none."""

from __future__ import annotations

from reconciler.manifests.quantities import render_size
from reconciler.model.desired import DesiredSnapshot
from reconciler.model.names import GuestName, SnapshotName
from tests.unit.manifests.test_emulated import KERNEL, KVM, KVM_HOST, XEN, warned
from tests.unit.manifests.world import guest, resolved

NAMED = "snapshots: [before-upgrade]\n"


def _disk(name: str, *, qcow2: bool) -> str:
    form = ", format: qcow2" if qcow2 else ""
    return f"  - {{name: {name}, size: {render_size(1 << 30)}, storage: guests{form}}}\n"


def test_the_short_form_means_the_long_one_and_order_means_nothing() -> None:
    wanted = (
        DesiredSnapshot(name=SnapshotName("a")),
        DesiredSnapshot(name=SnapshotName("b"), quiesced=True),
    )
    for written in ("[a, {name: b, quiesced: true}]", "[{name: b, quiesced: true}, {name: a}]"):
        found = resolved(lists=guest(f"{KVM}snapshots: {written}\n"), kvm=KVM_HOST)
        assert found.world is not None
        assert found.world.guests[GuestName("lists")].snapshots == wanted


def test_a_raw_disk_is_warned_of_and_a_guest_of_qcow2_is_not() -> None:
    good = f"disks:\n{_disk('root', qcow2=True)}"
    assert warned(KVM + NAMED + good) == []
    [told] = warned(KVM + NAMED + good + _disk("data", qcow2=False))
    assert "spec.snapshots: disk data is raw and can hold none" in told
    assert warned(KVM + "snapshots: []\n" + good + _disk("data", qcow2=False)) == []


def test_on_xen_alone_there_are_none() -> None:
    [told] = warned(f"{XEN}{KERNEL}{NAMED}")
    assert "spec.snapshots: Xen has no snapshots through libvirt" in told
