"""Snapshots: taken once, signed, worth what they say, and a guest that is never left standing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.model.definition import DiskFormat
from reconciler.model.mark import Consistency, Mark, MarkedOperation, OperationKind
from reconciler.model.names import SnapshotName
from reconciler.model.observed import RunState, Signature
from reconciler.model.steps import (
    CreateSnapshot,
    ResumeGuest,
    SetMark,
    ShutDownGuest,
    StartGuest,
)
from tests.contract.grounds import OWNER, now
from tests.contract.places import QemuGround
from tests.contract.test_host import do, do_without_writing, on_all_but_xen
from tests.lab.qemu import Agent

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition
    from tests.contract.grounds import Ground

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NAME, OTHER = SnapshotName("before-upgrade"), SnapshotName("after-upgrade")
on_xen = pytest.mark.parametrize(
    "ground", [pytest.param("xen", marks=pytest.mark.xen)], indirect=True
)


def _defined(ground: Ground, format_: DiskFormat = DiskFormat.QCOW2) -> GuestDefinition:
    """A guest with one disk of its own, on which there is a file system to be frozen."""
    ground.create_volume("contract-root", mib=64, image=ground.image, format=format_)
    disk = ground.disk(0, "contract-root", format_)
    return ground.define(replace(ground.definition(), disks=(disk,)))


def _start(ground: Ground) -> None:
    """Start it, and wait for its file system where it has a real one."""
    do(ground, StartGuest)
    ground.wait_until_up()
    if isinstance(ground, QemuGround):
        Agent(ground.domain()).wait_for_mount("vda")


def _held(ground: Ground) -> Mark:
    """The guest's mark with a snapshot under way."""
    operation = MarkedOperation(kind=OperationKind.SNAPSHOT, id="contract", since=now())
    mark = ground.guest().mark
    assert mark is not None
    return replace(mark, operation=operation)


def _take(ground: Ground, name: SnapshotName = NAME, *, quiesced: bool = False) -> None:
    do(ground, CreateSnapshot, name=name, quiesced=quiesced, mark=_held(ground))


@on_all_but_xen
def test_a_snapshot_of_a_stopped_guest_is_taken_once_and_signed(ground: Ground) -> None:
    """It was never shut down in good order, and the snapshot claims no more than that."""
    definition = _defined(ground)
    before = now() - timedelta(seconds=1)
    _take(ground)
    guest = ground.guest()
    (snapshot,) = guest.snapshots
    assert snapshot.name == NAME
    assert before <= snapshot.taken <= now()
    assert not snapshot.memory
    assert snapshot.signature == Signature(owner=OWNER, consistency=Consistency.CRASH_CONSISTENT)
    assert guest.stored == definition
    do_without_writing(ground, CreateSnapshot, name=NAME, quiesced=False, mark=_held(ground))
    _take(ground, OTHER)
    assert [one.name for one in ground.guest().snapshots] == [OTHER, NAME]


@on_all_but_xen
def test_a_running_guest_is_quiesced_and_goes_on(ground: Ground) -> None:
    """Its memory is kept too, and its mark says nothing of the snapshot when it is over."""
    definition = _defined(ground)
    _start(ground)
    _take(ground, quiesced=True)
    guest = ground.guest()
    (snapshot,) = guest.snapshots
    assert snapshot.memory
    assert snapshot.signature == Signature(owner=OWNER, consistency=Consistency.QUIESCED)
    assert guest.state is RunState.RUNNING
    assert guest.stored is not None
    assert guest.live is not None
    assert guest.stored == definition
    assert guest.live.mark == definition.mark


@on_all_but_xen
def test_a_snapshot_of_somebody_else_is_seen_and_never_taken_for_ours(ground: Ground) -> None:
    _defined(ground)
    ground.snapshot_by_hand(NAME)
    (theirs,) = ground.guest().snapshots
    assert (theirs.name, theirs.signature) == (NAME, None)
    writes = ground.host.writes
    with pytest.raises(StalledError, match="not ours"):
        _take(ground)
    assert ground.host.writes == writes
    assert ground.guest().snapshots == (theirs,)


@on_all_but_xen
def test_what_was_held_still_is_let_go_on_and_then_the_mark_is_written(ground: Ground) -> None:
    """Also where nothing was held: whoever finds the mark cannot know."""
    _defined(ground)
    _start(ground)
    mark = ground.guest().mark
    assert mark is not None
    do(ground, SetMark, mark=_held(ground))
    do(ground, ResumeGuest, mark=mark)
    guest = ground.guest()
    assert guest.live is not None
    assert (guest.state, guest.mark, guest.live.mark) == (RunState.RUNNING, mark, mark)


@on_xen
def test_a_driver_without_snapshots_refuses_without_a_try(ground: Ground) -> None:
    """And observing a guest there asks for none."""
    ground.define(ground.definition())
    assert ground.guest().snapshots == ()
    writes = ground.host.writes
    with pytest.raises(RefusedError, match="libxl has no snapshots"):
        _take(ground)
    assert ground.host.writes == writes


# ---------------------------------------------------------------------- what only QEMU can show


def test_a_guest_without_an_answering_agent_gets_what_its_memory_makes_whole(
    qemu: QemuGround,
) -> None:
    """Where only a quiesced one is wanted, none is taken, and nothing is left behind."""
    qemu.create_volume("contract-root", format=DiskFormat.QCOW2)
    disk = qemu.disk(0, "contract-root", DiskFormat.QCOW2)
    definition = qemu.define(replace(qemu.definition(), disks=(disk,), agent=False))
    do(qemu, StartGuest)
    with pytest.raises(TransientError, match="agent"):
        _take(qemu, quiesced=True)
    guest = qemu.guest()
    assert guest.snapshots == ()
    assert guest.mark == definition.mark
    assert guest.state is RunState.RUNNING
    _take(qemu)
    (snapshot,) = qemu.guest().snapshots
    assert snapshot.signature == Signature(owner=OWNER, consistency=Consistency.WITH_MEMORY)
    assert snapshot.disks == (disk.target,)


def test_a_snapshot_that_fails_leaves_the_guest_thawed_and_its_mark_as_it_was(
    qemu: QemuGround,
) -> None:
    """A raw disk holds none: QEMU says so only after the file systems are frozen."""
    definition = _defined(qemu, DiskFormat.RAW)
    _start(qemu)
    with pytest.raises(StalledError, match="vda"):
        _take(qemu)
    assert qemu.guest().mark == definition.mark
    assert _fsfreeze_status(qemu) == "thawed"


def test_a_guest_that_a_person_paused_stays_paused(qemu: QemuGround) -> None:
    _defined(qemu)
    do(qemu, StartGuest)
    mark = qemu.guest().mark
    qemu.domain().suspend()
    for kind, arguments in (
        (CreateSnapshot, {"name": NAME, "quiesced": False, "mark": _held(qemu)}),
        (ResumeGuest, {"mark": mark}),
    ):
        with pytest.raises(TransientError, match="paused"):
            do(qemu, kind, **arguments)
    assert qemu.guest().state is RunState.PAUSED
    assert qemu.guest().snapshots == ()


def test_what_somebody_else_froze_stays_frozen(qemu: QemuGround) -> None:
    """A backup's freeze is not ours to end; the snapshot claims no more than its memory makes."""
    _defined(qemu)
    _start(qemu)
    qemu.domain().fsFreeze()
    _take(qemu)
    assert _fsfreeze_status(qemu) == "frozen"
    qemu.domain().fsThaw()
    (snapshot,) = qemu.guest().snapshots
    assert snapshot.signature == Signature(owner=OWNER, consistency=Consistency.WITH_MEMORY)


def test_what_an_interruption_leaves_frozen_is_thawed(qemu: QemuGround) -> None:
    definition = _defined(qemu)
    _start(qemu)
    do(qemu, SetMark, mark=_held(qemu))
    qemu.domain().fsFreeze()
    assert _fsfreeze_status(qemu) == "frozen"
    do(qemu, ResumeGuest, mark=definition.mark)
    assert _fsfreeze_status(qemu) == "thawed"
    assert qemu.guest().mark == definition.mark


def test_a_guest_that_is_brought_back_to_a_snapshot_says_that_it_is_held_still(
    qemu: QemuGround,
) -> None:
    """The snapshot has the mark inside that was there while it was taken, and frozen memory."""
    _defined(qemu)
    _start(qemu)
    _take(qemu, quiesced=True)
    after = qemu.guest().mark
    qemu.domain().revertToSnapshot(qemu.domain().snapshotLookupByName(NAME))
    guest = qemu.guest()
    assert guest.mark is not None
    assert guest.mark.operation is not None
    assert guest.mark.operation.kind is OperationKind.SNAPSHOT
    assert _fsfreeze_status(qemu) == "frozen"
    do(qemu, ResumeGuest, mark=replace(guest.mark, operation=None))
    assert _fsfreeze_status(qemu) == "thawed"
    assert qemu.guest().mark == after


def test_a_stop_in_good_order_makes_an_offline_snapshot(qemu: QemuGround) -> None:
    _defined(qemu)
    with pytest.raises(StalledError, match="good order"):
        _take(qemu, quiesced=True)
    _start(qemu)
    do(qemu, ShutDownGuest, timeout_s=60)
    qemu.wait(lambda guest: not guest.active, "the end of the guest")
    _take(qemu, quiesced=True)
    (snapshot,) = qemu.guest().snapshots
    assert snapshot.signature == Signature(owner=OWNER, consistency=Consistency.OFFLINE)


def test_a_disk_with_a_snapshot_inside_cannot_grow(qemu: QemuGround) -> None:
    """That is why the planner does not try: neither QEMU nor qemu-img does it."""
    _defined(qemu)
    qemu.snapshot_by_hand("mine")
    volume = qemu.hand.storagePoolLookupByName("guests").storageVolLookupByName("contract-root")
    with pytest.raises(libvirt.libvirtError, match="snapshots"):
        volume.resize(96 << 20)
    do(qemu, StartGuest)
    with pytest.raises(libvirt.libvirtError, match="snapshots"):
        qemu.domain().blockResize("vda", 96 << 20, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def _fsfreeze_status(qemu: QemuGround) -> str:
    """What the agent says of the guest's file systems."""
    return Agent(qemu.domain()).freeze_status()
