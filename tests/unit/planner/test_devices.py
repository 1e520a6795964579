"""Disks that are there anyway, and the optional fields of disks and cards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import (
    BlockSource,
    Bus,
    Disk,
    DiskFormat,
    Endpoint,
    FileSource,
    GuestType,
    NbdSource,
    RbdSource,
    RbdUser,
    VolumeSource,
)
from reconciler.model.desired import DesiredGuest, DesiredNic, GivenDisk, VolumeDisk
from reconciler.model.names import DiskName, FieldName, GuestName, Target
from reconciler.model.observed import Denial
from reconciler.model.options import (
    BUS,
    READ_ONLY,
    Cache,
    DiskOptions,
    IoLimits,
    Link,
    NicOptions,
)
from reconciler.model.plan import Change, Fate, Label, Plan, Reason
from reconciler.model.steps import DefineGuest, SetDiskLimits
from reconciler.planner.effects import digest_of, with_disk, with_nic
from tests.strategies.worlds import (
    ABLE,
    HOSTS,
    MAIN,
    REPOSITORY,
    Story,
    desired,
    drive,
    given_disk,
    guest,
    host,
    identity,
    nic,
    volume_disk,
)

if TYPE_CHECKING:
    from reconciler.model.observed import ObservedHost

CACHE, LIMITS = FieldName("cache"), FieldName("limits")
SLOW, SLOWER = IoLimits(total_iops=100), IoLimits(read_bytes=1 << 20, write_bytes=1 << 19)
ROOT = Target("vda")
PATH = "/dev/disk/by-id/scsi-1"
SPARE = given_disk("spare", PATH)
WHERE = {HOSTS[0]: MAIN}


def up(wish: DesiredGuest, **capabilities: object) -> Story:
    """The guest, running on one host that can do what ``capabilities`` do not deny."""
    able = replace(ABLE, **capabilities)  # type: ignore[arg-type]
    story = Story.of(desired(wish, hosts=WHERE), host(HOSTS[0], capabilities=able))
    story.passes()
    return story


def commit(story: Story, *wishes: DesiredGuest) -> list[Plan]:
    story.arrive(desired(*wishes, hosts=WHERE))
    return story.passes()


def steps(plans: list[Plan]) -> list[str]:
    return [type(one.step).__name__ for plan in plans for one in plan.steps]


def changes(plans: list[Plan], name: str = "a") -> dict[str, Change]:
    """What is still to be done or cannot be, by field."""
    statuses = plans[-1].statuses
    return {one.field: one for one in statuses[GuestName(name)].changes}


def root(*, bus: Bus | None = None, read_only: bool | None = None, **options: object) -> VolumeDisk:
    """The root disk, of which the manifest mentions what is given here."""
    names = {**options, **({"bus": bus} if bus else {})}
    names |= {"readOnly": read_only} if read_only is not None else {}
    return replace(
        volume_disk(),
        bus=bus,
        read_only=bool(read_only),
        options=DiskOptions(**options),  # type: ignore[arg-type]
        mentioned=tuple(sorted(FieldName(name) for name in names)),
    )


def disk_of(story: Story, *, live: bool = False) -> Disk:
    found = story.find("a")
    definition = found.live if live else found.stored
    assert definition is not None
    disk = definition.disk(ROOT)
    assert disk is not None
    return disk


def marked(story: Story) -> tuple[FieldName, ...]:
    """The fields that the mark remembers of the root disk."""
    mark = story.find("a").mark
    assert mark is not None
    entry = mark.disk(DiskName("root"))
    assert entry is not None
    return entry.fields


def by_hand(story: Story, disk: Disk) -> None:
    """Somebody redefines the guest with the disk, and restarts it."""
    found = story.find("a")
    assert found.stored is not None
    assert found.live is not None
    stored = replace(found.stored, disks=with_disk(found.stored.disks, disk))
    live = replace(found.live, disks=with_disk(found.live.disks, disk))
    story.stage("a", stored=stored, live=live, stored_digest=digest_of(stored))


# ------------------------------------------------------------------------------- optional fields


def test_limits_are_set_while_the_guest_runs_and_taken_out_by_a_revert() -> None:
    story = up(guest("a"))
    before = story.find("a")
    for limits in (SLOW, SLOWER):
        plans = commit(story, guest("a", disks=(root(limits=limits),)))
        assert steps(plans) == ["DefineGuest", "SetDiskLimits"]
        assert disk_of(story).options.limits == limits
        assert disk_of(story, live=True).options.limits == limits
        assert marked(story) == (LIMITS,)
    plans = commit(story, guest("a"))
    assert steps(plans) == ["DefineGuest", "SetDiskLimits", "SetMark"]
    [lifted] = [one.step for plan in plans for one in plan.steps if type(one.step) is SetDiskLimits]
    assert lifted.limits == IoLimits()
    after = story.find("a")
    assert (after.stored, after.live) == (before.stored, before.live)


def test_where_limits_cannot_be_set_live_they_need_a_restart() -> None:
    story = up(guest("a"), disk_limits=False)
    plans = commit(story, guest("a", disks=(root(limits=SLOW),)))
    assert steps(plans) == ["DefineGuest"]
    assert changes(plans)["disks[root].limits"].label is Label.RESTART


def test_another_cache_or_bus_needs_a_restart_and_says_so_until_it_is_reverted() -> None:
    story = up(guest("a"))
    plans = commit(story, guest("a", disks=(root(cache=Cache.NONE, bus=Bus.SCSI),)))
    assert steps(plans) == ["DefineGuest"]
    told = {name: (one.before, one.after) for name, one in changes(plans).items()}
    assert told == {
        "disks[root].bus": ("virtio", "scsi"),
        "disks[root].cache": ("default", "none"),
    }
    assert {one.label for one in changes(plans).values()} == {Label.RESTART}
    assert marked(story) == (BUS, CACHE)
    plans = commit(story, guest("a"))
    assert changes(plans) == {}
    assert marked(story) == ()
    assert disk_of(story).bus is Bus.VIRTIO


def test_what_somebody_set_and_no_manifest_mentions_is_kept() -> None:
    """A cache, a serial number, a bus: through a commit that changes the very same disk."""
    story = up(guest("a"))
    theirs = DiskOptions(cache=Cache.WRITEBACK, serial="THEIRS-1")
    by_hand(story, replace(disk_of(story), bus=Bus.SATA, read_only=True, options=theirs))
    assert steps(story.passes()) == []
    plans = commit(story, guest("a", disks=(root(limits=SLOW),), protect=True))
    assert "DefineGuest" in steps(plans)
    for live in (False, True):
        there = disk_of(story, live=live)
        assert there.options == replace(theirs, limits=SLOW)
        assert (there.bus, there.read_only) == (Bus.SATA, True)
    assert marked(story) == (LIMITS,)
    commit(story, guest("a"))
    assert disk_of(story).options == theirs


def test_what_a_manifest_mentions_is_put_right_when_somebody_changes_it() -> None:
    story = up(guest("a", disks=(root(limits=SLOW, read_only=False),)))
    assert marked(story) == (LIMITS, READ_ONLY)
    by_hand(story, replace(disk_of(story), read_only=True, options=DiskOptions(limits=SLOWER)))
    plans = story.passes()
    assert steps(plans) == ["DefineGuest", "SetDiskLimits"]
    assert disk_of(story, live=True).options.limits == SLOW
    assert changes(plans).keys() == {"disks[root].readOnly"}


def test_what_a_host_cannot_do_with_a_disk_is_refused_and_kept_as_it_is() -> None:
    why = "no cache here"
    story = up(guest("a"), without={(GuestType.HVM, FieldName("disks.cache")): Denial(why=why)})
    plans = commit(story, guest("a", disks=(root(cache=Cache.NONE),), console=False))
    told = changes(plans)["disks[root].cache"]
    assert (told.fate, told.reason, told.message) == (Fate.REFUSED, Reason.NOT_SUPPORTED, why)
    assert disk_of(story).options == DiskOptions()
    found = story.find("a")
    assert found.stored is not None
    assert not found.stored.console


def test_a_disk_is_not_put_on_a_bus_that_the_host_has_not() -> None:
    story = up(
        guest("a"), without={(GuestType.HVM, FieldName("disks.bus.ide")): Denial(why="no IDE")}
    )
    new = replace(volume_disk("data", 1), bus=Bus.IDE, mentioned=(BUS,))
    plans = commit(story, guest("a", disks=(volume_disk(), new)), guest("b", disks=(new,)))
    assert changes(plans)["disks[data].bus"].message == "no IDE"
    assert "no IDE" in changes(plans, "b")[""].message


def test_a_bus_alone_gives_a_disk_its_target() -> None:
    data = replace(volume_disk("data", 1), bus=Bus.SCSI, mentioned=(BUS,))
    story = up(guest("a", disks=(volume_disk(), data)))
    found = story.find("a").stored
    assert found is not None
    assert [(disk.target, disk.bus) for disk in found.disks] == [
        ("sda", Bus.SCSI),
        ("vda", Bus.VIRTIO),
    ]


# ------------------------------------------------------------------------------------- the cards


def card(**options: object) -> DesiredNic:
    mentioned = tuple(sorted(map(FieldName, options)))
    return replace(nic("a"), options=NicOptions(**options), mentioned=mentioned)  # type: ignore[arg-type]


def test_a_cable_is_pulled_while_the_guest_runs_and_put_back_by_a_revert() -> None:
    story = up(guest("a"))
    plans = commit(story, guest("a", nics=(card(link=Link.DOWN),)))
    assert steps(plans) == ["DefineGuest", "ChangeNic"]
    assert steps(commit(story, guest("a"))) == ["DefineGuest", "ChangeNic", "SetMark"]
    found = story.find("a")
    assert found.live is not None
    assert [one.options for one in found.live.nics] == [NicOptions()]


def test_queues_need_a_restart_and_a_network_beside_them_does_not() -> None:
    story = up(guest("a"))
    moved = replace(card(queues=2), network=nic("a", network="dmz").network)
    plans = commit(story, guest("a", nics=(moved,)))
    assert steps(plans) == ["DefineGuest", "ChangeNic"]
    assert {name: one.label for name, one in changes(plans).items()} == {
        "networks[eth0].queues": Label.RESTART
    }


def test_what_somebody_set_on_a_card_is_kept() -> None:
    story = up(guest("a"))
    found = story.find("a")
    assert found.stored is not None
    theirs = replace(found.stored.nics[0], options=NicOptions(queues=8))
    stored = replace(found.stored, nics=with_nic(found.stored.nics, theirs))
    story.stage("a", stored=stored, stored_digest=digest_of(stored))
    assert steps(story.passes()) == []
    commit(story, guest("a", protect=True, nics=(nic("a", network="dmz"),)))
    after = story.find("a").stored
    assert after is not None
    assert after.nics[0].options == NicOptions(queues=8)


def test_a_model_that_the_host_does_not_emulate_is_refused() -> None:
    story = up(guest("a"), nic_models=frozenset({"e1000", "virtio"}))
    odd = replace(nic("a"), model="ne2k_isa")
    plans = commit(
        story, guest("a", nics=(odd,)), guest("b", nics=(replace(odd, model="rtl8139"),))
    )
    told = changes(plans)["networks[eth0].model"]
    assert told.fate is Fate.REFUSED
    assert told.message.endswith("emulates no ne2k_isa; there are e1000, virtio")
    assert "emulates no rtl8139" in changes(plans, "b")[""].message
    found = story.find("a").stored
    assert found is not None
    assert [one.model for one in found.nics] == ["virtio"]


# ------------------------------------------------------------------- what is there without domops


def test_a_device_is_attached_and_detached_and_never_made() -> None:
    story = up(guest("a"))
    plans = commit(story, guest("a", disks=(volume_disk(), SPARE)))
    assert steps(plans) == ["DefineGuest", "AttachDisk"]
    mark = story.find("a").mark
    assert mark is not None
    entry = mark.disk(DiskName("spare"))
    assert entry is not None
    assert (entry.source, entry.ours, entry.volume) == (PATH, False, None)
    assert steps(commit(story, guest("a"))) == ["DefineGuest", "DetachDisk"]
    mark = story.find("a").mark
    assert mark is not None
    entry = mark.disk(DiskName("spare"))
    assert entry is not None
    assert entry.detached is not None
    other = GivenDisk(name=DiskName("spare"), target=None, source=BlockSource(path="/dev/other"))
    assert steps(commit(story, guest("a", disks=(volume_disk(), other)))) == [
        "DefineGuest",
        "AttachDisk",
    ]


NBD = NbdSource(server=Endpoint(host="nas", port=10809), export="a")
RBD = RbdSource(pool="vms", image="a", user=RbdUser(name="vms", secret=REPOSITORY))


@pytest.mark.parametrize("source", [FileSource(path="/srv/a.raw"), NBD, RBD])
def test_every_sort_of_it_begins_as_it_is(source: FileSource | NbdSource | RbdSource) -> None:
    story = up(guest("a", disks=(GivenDisk(name=DiskName("data"), target=None, source=source),)))
    found = story.find("a")
    assert found.live is not None
    assert [disk.source for disk in found.live.disks] == [source]
    assert steps(story.passes()) == []


def test_the_way_to_an_image_may_change_and_the_image_may_not() -> None:
    disk = GivenDisk(name=DiskName("data"), target=None, source=RBD)
    story = up(guest("a", disks=(disk,)))
    monitors = (Endpoint(host="ceph-b"),)
    plans = commit(
        story, guest("a", disks=(replace(disk, source=replace(RBD, monitors=monitors)),))
    )
    assert steps(plans) == ["DefineGuest"]
    assert changes(plans)["disks[data]"].label is Label.RESTART
    other = replace(disk, source=replace(RBD, image="b", monitors=monitors))
    plans = commit(story, guest("a", disks=(other,)))
    assert steps(plans) == ["SetMark"]
    told = changes(plans)["disks[data]"]
    assert told.reason in (Reason.CREATE_ONLY, Reason.NEEDS_RESTART)


@pytest.mark.parametrize("after", [drive(), replace(SPARE, source=BlockSource(path="/dev/sdz"))])
def test_a_disk_does_not_become_another_sort_or_another_device(after: object) -> None:
    story = up(guest("a", disks=(volume_disk(), SPARE)))
    before = story.find("a").stored
    assert before is not None
    other = replace(after, name=SPARE.name)  # type: ignore[type-var]
    plans = commit(story, guest("a", disks=(volume_disk(), other)))
    told = changes(plans)["disks[spare]"]
    assert (told.fate, told.reason) == (Fate.REFUSED, Reason.CREATE_ONLY)
    now = story.find("a").stored
    assert now is not None
    assert now.disks == before.disks


def test_a_volume_does_not_become_a_device() -> None:
    story = up(guest("a"))
    plans = commit(story, guest("a", disks=(given_disk("root", PATH),)))
    assert changes(plans)["disks[root]"].reason is Reason.CREATE_ONLY
    assert isinstance(disk_of(story).source, VolumeSource)


def test_the_layout_of_a_file_stays_the_one_that_it_was_taken_for() -> None:
    file = FileSource(path="/srv/a.raw")
    disk = GivenDisk(name=DiskName("data"), target=None, source=file)
    story = up(guest("a", disks=(disk,)))
    other = replace(disk, source=replace(file, format=DiskFormat.QCOW2))
    plans = commit(story, guest("a", disks=(other,)))
    told = changes(plans)["disks[data].format"]
    assert (told.fate, told.before, told.after) == (Fate.REFUSED, "raw", "qcow2")
    found = story.find("a").stored
    assert found is not None
    assert [one.source for one in found.disks] == [file]


def test_what_lies_in_a_storage_pool_is_named_by_its_storage() -> None:
    """Also a file that the pool has not noticed yet: its next refresh would make it a volume."""
    story = up(guest("a"))
    pools = story.hosts[HOSTS[0]].observe().pools
    [path] = {one.path for one in pools.values()}
    known = next(one.path for pool in pools.values() for one in pool.volumes.values())
    for taken in (known, f"{path}/not-noticed.raw"):
        disk = GivenDisk(name=DiskName("x"), target=None, source=FileSource(path=taken))
        plans = commit(story, guest("a", disks=(volume_disk(), disk)))
        told = changes(plans)["disks[x]"]
        assert (told.fate, told.reason) == (Fate.REFUSED, Reason.CONFLICT)
        assert "are named by their Storage" in told.message


def theirs(story: Story, *, read_only: bool) -> None:
    """Somebody has a guest on the host, whose disk is the device."""
    found = story.find("a")
    assert found.stored is not None
    disk = Disk(
        target=Target("vdb"), bus=Bus.VIRTIO, source=BlockSource(path=PATH), read_only=read_only
    )
    name, uuid = GuestName("theirs"), identity("theirs")
    stored = replace(found.stored, name=name, uuid=uuid, mark=None, disks=(disk,))
    foreign = replace(found, name=name, uuid=uuid, stored=stored, live=None, mark=None)

    def there(one: ObservedHost) -> ObservedHost:
        return replace(one, guests={**one.guests, uuid: foreign})

    story.hosts[HOSTS[0]].stage(there)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_device_of_somebody_elses_guest_is_shared_only_if_neither_can_write(
    *, read_only: bool
) -> None:
    story = up(guest("a"))
    theirs(story, read_only=read_only)
    reading = replace(SPARE, read_only=True, mentioned=(READ_ONLY,))
    for disk, refused in ((SPARE, True), (reading, not read_only)):
        told = changes(commit(story, guest("a", disks=(volume_disk(), disk)))).get("disks[spare]")
        assert (told is not None and told.reason is Reason.CONFLICT) is refused


def test_a_driver_without_network_disks_refuses_them_before_a_guest_is_made() -> None:
    why = "no NBD here"
    disk = GivenDisk(name=DiskName("data"), target=None, source=NBD)
    story = up(guest("a"), without={(GuestType.HVM, FieldName("disks.nbd")): Denial(why=why)})
    plans = commit(story, guest("a", disks=(volume_disk(), disk)), guest("b", disks=(disk,)))
    assert changes(plans)["disks[data]"].message == why
    assert why in changes(plans, "b")[""].message
    assert not any(isinstance(one.step, DefineGuest) for plan in plans for one in plan.steps)
