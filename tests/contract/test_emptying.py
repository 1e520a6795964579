"""What waited in the trash is removed piece by piece, and nothing that anybody else could need."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

import pytest

from reconciler.errors import RefusedError, TransientError
from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.mark import MarkedSeed, MarkedSnapshot, Phase, Trash
from reconciler.model.names import (
    Digest,
    DiskName,
    GuestName,
    LibvirtPool,
    Sha,
    SnapshotName,
    Target,
    VolumeName,
)
from reconciler.model.seed import SeedData
from reconciler.model.steps import (
    CreateSeed,
    CreateSnapshot,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    SetMark,
    StartGuest,
    UndefineGuest,
)
from tests.contract.grounds import GUESTS, MIB, NAME, mark, marked_disk, now
from tests.contract.test_host import (
    do,
    do_without_writing,
    on_all_but_xen,
    where_guests_live,
    where_seeds_are_made,
)

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.mark import Mark
    from tests.contract.grounds import Ground

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

OTHER = GuestName("contract-other")
ONE = SnapshotName("one")


class _Volume(TypedDict):
    pool: LibvirtPool
    volume: VolumeName
    capacity_bytes: int


ROOT = _Volume(pool=GUESTS, volume=VolumeName("contract-root"), capacity_bytes=16 * MIB)


def _defined(ground: Ground, format_: DiskFormat = DiskFormat.RAW) -> GuestDefinition:
    """A guest with a disk that its mark calls ours."""
    ground.create_volume("contract-root", format=format_)
    definition = replace(ground.definition(), disks=(ground.disk(0, "contract-root", format_),))
    disk = marked_disk("contract-root", filled=False)
    own = mark(NAME, definition.uuid, replace(disk, filled=True))
    ground.define(replace(definition, mark=None))  # a mark may only claim what is not there yet
    do(ground, SetMark, mark=own)
    return replace(definition, mark=own)


def _binned(own: Mark) -> Mark:
    """The mark of a guest that is being emptied."""
    since = now() - timedelta(days=31)
    until = since + timedelta(days=30)
    trash = Trash(since=since, until=until, commit=Sha("0123456"), emptying=now())
    return replace(own, phase=Phase.TRASH, trash=trash)


def _being_emptied(ground: Ground) -> Mark:
    own = ground.guest().mark
    assert own is not None
    binned = _binned(own)
    do(ground, SetMark, mark=binned)
    return binned


def _volumes(ground: Ground) -> set[VolumeName]:
    return set(ground.host.observe().pools[GUESTS].volumes)


@where_seeds_are_made
def test_a_guest_is_removed_piece_by_piece_and_the_domain_goes_last(ground: Ground) -> None:
    _defined(ground)
    binned = _being_emptied(ground)
    with pytest.raises(RefusedError, match="still there"):
        do(ground, UndefineGuest, keep_firmware=False, mark=binned)
    do(ground, DeleteVolume, **ROOT)
    assert ROOT["volume"] not in _volumes(ground)
    do_without_writing(ground, DeleteVolume, **ROOT)
    do(ground, UndefineGuest, keep_firmware=False, mark=binned)
    assert ground.host.observe().guests == {}
    do_without_writing(ground, UndefineGuest, keep_firmware=False, mark=binned)


@where_guests_live
def test_nothing_goes_of_a_guest_whose_mark_does_not_say_so(ground: Ground) -> None:
    """Neither of a living one, nor of one that is only in the trash, nor of one that runs."""
    definition = _defined(ground)
    own = definition.mark
    assert own is not None
    binned = _binned(own)
    assert binned.trash is not None
    resting = replace(binned, trash=replace(binned.trash, emptying=None))
    for said in (own, resting):
        do(ground, SetMark, mark=said)
        with pytest.raises(RefusedError, match="being emptied"):
            do(ground, DeleteVolume, **ROOT)
        with pytest.raises(RefusedError, match="being emptied"):
            do(ground, UndefineGuest, keep_firmware=False, mark=said)
    do(ground, SetMark, mark=binned)
    do(ground, StartGuest)
    with pytest.raises(TransientError, match="running"):
        do(ground, DeleteVolume, **ROOT)
    with pytest.raises(TransientError, match="running"):
        do(ground, UndefineGuest, keep_firmware=False, mark=binned)
    do(ground, DestroyGuest)
    assert ROOT["volume"] in _volumes(ground)


@where_guests_live
def test_a_volume_that_was_adopted_or_that_no_mark_names_is_not_deleted(ground: Ground) -> None:
    definition = _defined(ground)
    own = definition.mark
    assert own is not None
    adopted = replace(own, disks=tuple(replace(disk, ours=False) for disk in own.disks))
    protected = replace(own, disks=tuple(replace(disk, protected=True) for disk in own.disks))
    for said in (adopted, protected, replace(own, disks=())):
        do(ground, SetMark, mark=_binned(said))
        with pytest.raises(RefusedError, match="ours"):
            do(ground, DeleteVolume, **ROOT)
    assert ROOT["volume"] in _volumes(ground)


@where_guests_live
def test_the_volume_of_an_expired_disk_goes_once_its_guest_has_it_no_more(ground: Ground) -> None:
    """The guest lives, and goes on running without it; a snapshot of it can be deleted, too."""
    definition = _defined(ground, DiskFormat.QCOW2)
    own = definition.mark
    assert own is not None
    do(ground, CreateSnapshot, name=ONE, quiesced=False, mark=own)
    ground.create_volume("contract-data", format=DiskFormat.QCOW2)
    data = ground.disk(1, "contract-data", DiskFormat.QCOW2)
    entry = replace(
        marked_disk("contract-data", filled=True),
        name=DiskName("more"),
        target=data.target,
        detached=now(),
        expired=now(),
    )
    ground.define(replace(definition, disks=(*definition.disks, data)))
    do(ground, SetMark, mark=replace(own, disks=(*own.disks, entry)))
    volume = _Volume(pool=GUESTS, volume=VolumeName("contract-data"), capacity_bytes=16 * MIB)
    with pytest.raises(RefusedError, match="still has"):
        do(ground, DeleteVolume, **volume)
    with pytest.raises(RefusedError, match="being emptied"):
        do(ground, DeleteVolume, **ROOT)
    ground.define(replace(definition, mark=replace(own, disks=(*own.disks, entry))))
    do(ground, StartGuest)
    do(ground, DeleteVolume, **volume)
    assert volume["volume"] not in _volumes(ground)
    do(ground, DeleteSnapshot, name=ONE)
    assert ground.guest().snapshots == ()
    assert ground.guest().active
    do(ground, DestroyGuest)


@where_guests_live
def test_a_volume_that_another_domain_names_is_not_deleted(ground: Ground) -> None:
    definition = _defined(ground)
    _being_emptied(ground)
    other = replace(ground.definition(OTHER), disks=definition.disks, mark=None)
    ground.define(other)
    with pytest.raises(RefusedError, match="contract-other"):
        do(ground, DeleteVolume, **ROOT)
    assert ROOT["volume"] in _volumes(ground)


@where_guests_live
def test_the_seed_of_a_guest_goes_with_it(ground: Ground) -> None:
    data = SeedData(digest=Digest("00"), size_bytes=14, user_data="#cloud-config\n")
    seed = MarkedSeed(
        target=Target("vdb"),
        pool=GUESTS,
        volume=VolumeName("contract-cidata.iso"),
        digest=data.digest,
        instance="contract",
        filled=False,
    )
    definition = ground.define(ground.definition())
    do(ground, SetMark, mark=replace(mark(NAME, definition.uuid), seed=seed))
    place = {"pool": seed.pool, "volume": seed.volume}
    do(ground, CreateSeed, **place, instance="contract", data=data)
    source = VolumeSource(pool=seed.pool, volume=seed.volume)
    disk = replace(ground.disk(1, seed.volume), source=source, read_only=True)
    own = replace(mark(NAME, definition.uuid), seed=replace(seed, filled=True))
    ground.define(replace(definition, disks=(disk,), mark=own))
    _being_emptied(ground)
    do(ground, DeleteVolume, **place, capacity_bytes=1)
    assert seed.volume not in _volumes(ground)


@on_all_but_xen
def test_a_snapshot_of_ours_is_deleted_and_others_stay(ground: Ground) -> None:
    _defined(ground, DiskFormat.QCOW2)
    own = ground.guest().mark
    assert own is not None
    for name in (ONE, SnapshotName("two")):
        do(ground, CreateSnapshot, name=name, quiesced=False, mark=own)
    ground.snapshot_by_hand("theirs")
    do(ground, DeleteSnapshot, name=ONE)
    assert {one.name for one in ground.guest().snapshots} == {"theirs", "two"}
    do_without_writing(ground, DeleteSnapshot, name=ONE)
    with pytest.raises(RefusedError, match="not ours"):
        do(ground, DeleteSnapshot, name=SnapshotName("theirs"))
    assert {one.name for one in ground.guest().snapshots} == {"theirs", "two"}


@where_guests_live
def test_a_snapshot_one_of_whose_disks_is_not_there_is_refused(ground: Ground) -> None:
    """Libvirt 9.0 would die of it. With its guest it is only forgotten."""
    definition = _defined(ground, DiskFormat.QCOW2)
    own = definition.mark
    assert own is not None
    ground.create_volume("contract-data", format=DiskFormat.QCOW2)
    data = ground.disk(1, "contract-data", DiskFormat.QCOW2)
    ground.define(replace(definition, disks=(*definition.disks, data)))
    do(ground, CreateSnapshot, name=ONE, quiesced=False, mark=own)
    taken = ground.guest().snapshots[0]
    assert taken.signature is not None
    entry = MarkedSnapshot(name=ONE, taken=taken.taken, consistency=taken.signature.consistency)
    own = replace(own, snapshots=(entry,))
    ground.define(replace(definition, mark=own))
    with pytest.raises(RefusedError, match="is not there"):
        do(ground, DeleteSnapshot, name=ONE)
    binned = _being_emptied(ground)
    do(ground, DeleteVolume, **ROOT)
    do(ground, UndefineGuest, keep_firmware=False, mark=binned)
    assert ground.host.observe().guests == {}


@on_all_but_xen
def test_a_guest_with_a_snapshot_of_somebody_else_is_not_undefined(ground: Ground) -> None:
    definition = _defined(ground, DiskFormat.QCOW2)
    own = definition.mark
    assert own is not None
    ground.snapshot_by_hand("theirs")
    binned = _binned(replace(own, disks=()))
    do(ground, SetMark, mark=binned)
    with pytest.raises(RefusedError, match="theirs"):
        do(ground, UndefineGuest, keep_firmware=False, mark=binned)
    assert ground.guest().mark == binned
