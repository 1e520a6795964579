"""Effects: what each step does to a world, what it leaves alone, and when it counts as reached."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.desired import DesiredSnapshot, DesiredWorld, GuestState
from reconciler.model.mark import MarkedOperation, OperationKind, ShutdownPolicy, ThenWhat
from reconciler.model.memory import Memory
from reconciler.model.names import (
    FieldName,
    LibvirtPool,
    MacAddress,
    SnapshotName,
    Target,
    VolumeName,
)
from reconciler.model.observed import ObservedHost, ObservedSnapshot, ObservedWorld, RunState
from reconciler.model.options import DiskOptions, IoLimits, Options, Pin
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateSnapshot,
    CreateVolume,
    DefineGuest,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    ResumeGuest,
    SetAutostart,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    Step,
    UndefineGuest,
)
from reconciler.planner.case import On
from reconciler.planner.effects import after, reached, remembered
from tests.strategies.stories import held_still
from tests.strategies.worlds import (
    GIB,
    HOSTS,
    MIB,
    START,
    UNABLE,
    Story,
    desired,
    drive,
    guest,
    host,
    intended,
    nic,
    their_disk,
    their_nic,
    told,
    volume_disk,
)

POOL = LibvirtPool("default")


def _up() -> Story:
    story = Story.of(
        desired(guest("a", disks=(volume_disk(), drive()))), host(HOSTS[0]), host(HOSTS[1])
    )
    story.passes()
    old = ObservedSnapshot(name=SnapshotName("old"), taken=START, disks=(), memory=False)
    story.stage("a", snapshots=(old,))
    return story


def _steps(story: Story) -> tuple[Step, ...]:
    """One step of every kind, each with something to change on the running guest or its host."""
    found = story.find("a")
    assert found.live is not None
    assert found.stored is not None
    assert found.mark is not None
    on = On(host=story.host_of("a").name, guest=found.name, uuid=found.uuid)
    cd = next(disk for disk in found.live.disks if disk.source is None)
    medium = replace(cd, source=VolumeSource(pool=POOL, volume=VolumeName("one.iso")))
    card = found.live.nics[0]
    operation = MarkedOperation(kind=OperationKind.SNAPSHOT, id="1", since=START)
    held = replace(found.mark, operation=operation)
    return (
        DefineGuest(
            **on,
            definition=replace(found.stored, console=False),
            replaces=found.stored_digest,
        ),
        SetMark(**on, mark=replace(found.mark, generation=2)),
        CreateVolume(
            **on,
            pool=POOL,
            volume=VolumeName("new.raw"),
            capacity_bytes=GIB,
            format=DiskFormat.RAW,
            image=None,
        ),
        DiscardVolume(**on, pool=POOL, volume=VolumeName("one.iso")),
        CreateSeed(
            **on,
            pool=POOL,
            volume=VolumeName("a-cidata.iso"),
            instance="a",
            data=told().data,
        ),
        RemoveSeed(**on, pool=POOL, volume=VolumeName("two.iso")),
        GrowVolume(**on, pool=POOL, volume=VolumeName("one.iso"), capacity_bytes=9 * GIB),
        DeleteVolume(**on, pool=POOL, volume=VolumeName("one.iso"), capacity_bytes=GIB),
        UndefineGuest(**on, keep_firmware=False, mark=found.mark),
        GrowDisk(**on, target=Target("vda"), capacity_bytes=9 * GIB),
        ShutDownGuest(**on, timeout_s=1),
        DestroyGuest(**on),
        SetVcpus(**on, count=3),
        SetMemory(**on, size_kib=700 * MIB),
        PinVcpus(**on, pin=(Pin(vcpu=0, cpus="1"),)),
        SetShares(**on, weight=512, cap=50),
        AttachDisk(**on, disk=their_disk()),
        DetachDisk(**on, disk=found.live.disks[0]),
        ChangeMedium(**on, disk=medium),
        SetDiskLimits(**on, target=Target("vda"), limits=IoLimits(read_iops=100)),
        AttachNic(**on, nic=their_nic()),
        DetachNic(**on, nic=card),
        ChangeNic(**on, nic=replace(card, source=their_nic().source)),
        SetAutostart(**on, on=True),
        CreateSnapshot(**on, name=SnapshotName("one"), quiesced=False, mark=held),
        DeleteSnapshot(**on, name=SnapshotName("old")),
        ResumeGuest(**on, mark=replace(found.mark, generation=3)),
    )


def test_every_step_changes_its_host_and_is_then_reached_and_changes_nothing_more() -> None:
    story = _up()
    world = story.look()
    steps = _steps(story)
    kinds = {type(step) for step in steps}
    assert kinds | {StartGuest} == set(get_args(Step))
    for step in steps:
        assert not reached(step, world), step
        changed = after(step, world, START)
        assert changed != world, step
        assert reached(step, changed), step
        assert after(step, changed, START) is changed
        others = {name: one for name, one in changed.hosts.items() if name != step.host}
        assert others == {name: world.hosts[name] for name in others}


def test_a_step_is_not_reached_where_what_it_would_change_is_not_there() -> None:
    """Neither on a silent host, nor without the guest, nor while it is off."""
    story = _up()
    steps = _steps(story)
    home = story.host_of("a")
    lone = replace(story.find("a"), live=None, state=RunState.SHUT_OFF)
    bare = home.observe()
    off = ObservedWorld(hosts={bare.name: replace(bare, guests={lone.uuid: lone})})
    gone = ObservedWorld(hosts={bare.name: replace(bare, guests={}, pools={})})
    story.silent = {bare.name}
    silent = story.look()
    stopped = (ShutDownGuest, DestroyGuest, UndefineGuest)
    for step in steps:
        assert not reached(step, silent)
        if not isinstance(step, stopped):
            assert not reached(step, gone), step
            assert after(step, gone, START) is gone or isinstance(step, DefineGuest)
        if isinstance(step, SetVcpus | SetMemory | AttachDisk | DetachDisk | AttachNic | DetachNic):
            assert not reached(step, off), step
    start = StartGuest(host=bare.name, guest=lone.name, uuid=lone.uuid)
    assert not reached(start, off)
    assert not reached(start, gone)
    assert reached(start, after(start, off, START))


def test_a_device_that_is_not_there_cannot_be_changed() -> None:
    story = _up()
    world = story.look()
    found = story.find("a")
    assert found.live is not None
    on = On(host=story.host_of("a").name, guest=found.name, uuid=found.uuid)
    card = replace(found.live.nics[0], mac=MacAddress("02:00:00:00:00:99"))
    for step in (
        ChangeMedium(**on, disk=their_disk()),
        ChangeNic(**on, nic=card),
        GrowDisk(**on, target=Target("vdy"), capacity_bytes=GIB),
    ):
        assert after(step, world, START) is world
        assert not reached(step, world)


def test_memory_is_taken_from_the_host_and_given_back() -> None:
    story = _up()
    home = story.host_of("a")
    free = home.observe().free_memory_kib
    found = story.find("a")
    on = On(host=home.name, guest=found.name, uuid=found.uuid)

    def left(step: Step, world: ObservedWorld) -> tuple[ObservedWorld, int]:
        changed = after(step, world, START)
        seen = changed.hosts[home.name]
        assert isinstance(seen, ObservedHost)
        return changed, seen.free_memory_kib

    world, after_growth = left(SetMemory(**on, size_kib=600 * MIB), story.look())
    assert after_growth == free - 88 * MIB
    world, after_stop = left(DestroyGuest(**on), world)
    assert after_stop == free + 512 * MIB
    _, after_start = left(StartGuest(**on), world)
    assert after_start == free


def test_a_balloon_within_the_slack_counts_as_reached() -> None:
    story = _up()
    found = story.find("a")
    on = On(host=story.host_of("a").name, guest=found.name, uuid=found.uuid)
    assert reached(SetMemory(**on, size_kib=512 * MIB + 1024), story.look())
    assert not reached(SetMemory(**on, size_kib=512 * MIB + 1025), story.look())


def test_memory_of_a_filled_volume_goes_with_the_volume() -> None:
    create, discard = _steps(_up())[2:4]
    assert isinstance(create, CreateVolume)
    assert isinstance(discard, DiscardVolume)
    full = remembered(create, Memory())
    assert full.filled == {(create.host, POOL, create.volume)}
    assert not remembered(replace(discard, volume=create.volume), full).filled


def test_every_kind_of_step_is_planned_by_some_story() -> None:
    """A step that no plan ever holds is dead, or a rule forgot it."""
    seen: set[type] = set()

    def passed(story: Story, *wishes: DesiredWorld) -> None:
        for wish in wishes:
            story.arrive(wish)
            for outcome in story.passes(200):
                seen.update(type(planned.step) for planned in outcome.steps)
        assert not story.refused

    limited = replace(
        volume_disk(),
        mentioned=(FieldName("limits"),),
        options=DiskOptions(limits=IoLimits(total_iops=9)),
    )
    small = guest("a", disks=(limited, drive("one.iso")))
    large = guest(
        "a",
        disks=(volume_disk(size_gib=3), volume_disk("data"), drive("two.iso")),
        nics=(nic("a", network="dmz"), nic("a", "eth1")),
        cpus=replace(small.cpus, count=2),
        memory=replace(small.memory, size_kib=700 * MIB),
    )
    stopped = replace(small, state=GuestState.STOPPED)
    grown = guest("a", state=GuestState.STOPPED, disks=(volume_disk(size_gib=5),))
    story = Story.of(desired(), host(HOSTS[0]), host(HOSTS[1]))
    passed(story, desired(small), desired(large), desired(small), desired(stopped), desired(grown))
    passed(story, desired(guest("a", host=story.host_of("a").name)))
    deaf = ShutdownPolicy(timeout_s=5, then=ThenWhat.DESTROY)
    passed(story, desired(guest("a", shutdown=deaf)))
    story.host_of("a").stage_deaf(story.find("a").uuid)
    passed(story, desired(guest("a", shutdown=deaf, state=GuestState.STOPPED)))
    passed(
        Story.of(desired(), host(HOSTS[0]), host(HOSTS[1])),
        desired(guest("a", cloud_init=told())),
    )
    tuned = Options(pin=(Pin(vcpu=0, cpus="1"),), weight=512)
    mentioned = (FieldName("cpus.pin"), FieldName("cpus.weight"))
    shared = Story.of(desired(guest("a")), host(HOSTS[0]), host(HOSTS[1]))
    passed(shared, desired(guest("a")), desired(guest("a", mentioned=mentioned, options=tuned)))
    half = Story.of(desired(small), host(HOSTS[0]), host(HOSTS[1], capabilities=UNABLE))
    for _ in range(2):
        half.carry_out(half.plan())
    half.forget()
    passed(half, desired(small))
    held = replace(small, agent=True, disks=(volume_disk(qcow2=True),))
    named = replace(held, snapshots=(DesiredSnapshot(name=SnapshotName("one")),))
    frozen = Story.of(desired(), host(HOSTS[0]), host(HOSTS[1]))
    passed(frozen, desired(intended(held)), desired(intended(named)))
    held_still(frozen, frozen.find("a"))
    passed(frozen, desired(intended(named)))
    passed(half, desired(small))
    passed(frozen, desired())
    frozen.days(30)
    passed(frozen, desired())
    assert seen == set(get_args(Step))
