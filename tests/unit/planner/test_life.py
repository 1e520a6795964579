"""A guest's life, step by step: made, changed, stopped, healed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from reconciler.model.definition import Arch, DiskFormat, GuestType, Vcpus
from reconciler.model.definition import Memory as GuestMemory
from reconciler.model.desired import (
    Autostart,
    DesiredGuest,
    DesiredWorld,
    GuestState,
    PoolMode,
    RestartWhen,
)
from reconciler.model.mark import OperationKind, Phase, ShutdownPolicy, ThenWhat
from reconciler.model.memory import Failure
from reconciler.model.names import Digest, HostName, LibvirtPool, StorageName, VolumeName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.plan import Change, Fate, Health, Label, Plan, Reason, Sync
from reconciler.model.steps import DefineGuest
from reconciler.planner.effects import digest_of, with_disk, with_nic
from tests.strategies.worlds import (
    HOSTS,
    MAIN,
    MIB,
    UNABLE,
    Story,
    desired,
    drive,
    guest,
    host,
    nic,
    pool,
    their_disk,
    their_nic,
    volume,
    volume_disk,
)


def _one(wish: DesiredGuest) -> Story:
    """A guest that is up, alone on one host."""
    story = Story.of(_wish(wish), host(HOSTS[0]))
    story.passes()
    assert not story.refused
    return story


def _wish(*wishes: DesiredGuest, mode: PoolMode = PoolMode.ENFORCE) -> DesiredWorld:
    return desired(*wishes, hosts={HOSTS[0]: MAIN}, pools=(pool(MAIN, mode=mode),))


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _after(story: Story, wish: DesiredGuest) -> list[str]:
    """The steps by which the guest becomes what it shall be."""
    story.desired = _wish(wish)
    steps = _steps(story.passes())
    assert not story.refused
    return steps


def _changes(story: Story) -> dict[str, Change]:
    status = story.plan().statuses[guest("a").name]
    return {change.field: change for change in status.changes}


def test_a_guest_is_defined_then_given_volumes_then_ready_then_started() -> None:
    """The definition is the journal: each step can be told from the host alone."""
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    plans = story.passes()
    assert _steps(plans) == ["DefineGuest", "CreateVolume", "DefineGuest", "StartGuest", "SetMark"]
    first, second = (
        planned.step
        for outcome in plans
        for planned in outcome.steps
        if isinstance(planned.step, DefineGuest)
    )
    assert isinstance(first, DefineGuest)
    assert isinstance(second, DefineGuest)
    assert first.definition.mark is not None
    assert second.definition.mark is not None
    assert first.definition.mark.phase is Phase.CREATING
    assert not first.definition.disks
    assert second.definition.mark.phase is Phase.READY
    assert second.definition.mark.operation is not None
    assert second.definition.mark.operation.kind is OperationKind.START
    found = story.find("a")
    assert found.state is RunState.RUNNING
    assert found.mark is not None
    assert found.mark.operation is None
    status = plans[-1].statuses[guest("a").name]
    assert (status.stored, status.live, status.healthy) == (Sync.YES, Sync.YES, Health.YES)


def test_a_guest_that_shall_be_stopped_is_made_and_not_started() -> None:
    story = Story.of(_wish(guest("a", state=GuestState.STOPPED)), host(HOSTS[0]))
    assert _steps(story.passes()) == ["DefineGuest", "CreateVolume", "DefineGuest"]


def test_a_half_made_volume_goes_only_while_the_mark_says_that_it_is_not_filled() -> None:
    """The outcome of the first attempt is not known: it is made again."""
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    for _ in range(2):
        story.carry_out(story.plan())
    story.forget()
    steps = _steps(story.passes())
    assert steps == ["DiscardVolume", "CreateVolume", "DefineGuest", "StartGuest", "SetMark"]
    story.forget()
    assert not _steps(story.passes())


def test_vcpus_and_memory_are_added_live() -> None:
    story = _one(guest("a"))
    wish = guest(
        "a",
        cpus=Vcpus(count=2, maximum=4),
        memory=GuestMemory(size_kib=768 * MIB, maximum_kib=1024 * MIB),
    )
    assert _after(story, wish) == ["DefineGuest", "SetVcpus", "SetMemory"]


def test_memory_that_somebody_changed_is_put_right() -> None:
    story = _one(guest("a"))
    live = story.find("a").live
    assert live is not None
    smaller = replace(live, memory=replace(live.memory, size_kib=300 * MIB))
    story.stage("a", live=smaller)
    assert _steps(story.passes()) == ["SetMemory"]


def test_a_grown_disk_is_offered_live_and_keeps_its_size_over_a_stop() -> None:
    story = _one(guest("a"))
    assert _after(story, guest("a", disks=(volume_disk(size_gib=3),))) == [
        "SetMark",
        "GrowDisk",
    ]
    stopped = guest("a", disks=(volume_disk(size_gib=3),), state=GuestState.STOPPED)
    assert "GrowVolume" not in _after(story, stopped)
    assert set(story.find("a").disk_sizes.values()) == {3 * 1024**3}
    bigger = guest("a", disks=(volume_disk(size_gib=4),), state=GuestState.STOPPED)
    assert _after(story, bigger) == ["SetMark", "GrowVolume"]


def test_disks_never_shrink() -> None:
    story = _one(guest("a"))
    story.desired = _wish(guest("a", disks=(volume_disk(size_gib=1),)))
    story.passes()
    change = _changes(story)["disks[root].size"]
    assert (change.label, change.fate, change.reason) == (
        Label.REFUSED,
        Fate.REFUSED,
        Reason.NEVER_SHRINKS,
    )


def test_disks_and_cards_come_and_go_live() -> None:
    story = _one(guest("a"))
    more = guest(
        "a",
        disks=(volume_disk(), volume_disk("data")),
        nics=(nic("a"), nic("a", "eth1", "dmz")),
    )
    assert _after(story, more) == [
        "DefineGuest",
        "CreateVolume",
        "DefineGuest",
        "AttachDisk",
        "AttachNic",
    ]
    assert _after(story, guest("a")) == ["DefineGuest", "DetachDisk", "DetachNic", "SetMark"]
    mark = story.find("a").mark
    assert mark is not None
    assert [entry.name for entry in mark.disks if entry.detached] == ["data"]
    pools = story.hosts[HOSTS[0]].observe().pools
    assert "a-data.raw" in {name for one in pools.values() for name in one.volumes}
    steps = _after(story, more)
    assert "CreateVolume" not in steps
    assert "AttachDisk" in steps


def test_a_medium_and_a_network_are_changed_live() -> None:
    story = _one(guest("a", disks=(volume_disk(), drive("one.iso"))))
    moved = guest("a", disks=(volume_disk(), drive("two.iso")), nics=(nic("a", network="dmz"),))
    assert _after(story, moved) == ["DefineGuest", "ChangeMedium", "ChangeNic"]


def test_every_cause_of_a_restart_is_listed_until_it_is_reverted() -> None:
    """Taking vCPUs away counts as one; nothing happens while update.restart is never."""
    story = _one(guest("a", cpus=Vcpus(count=2, maximum=4)))
    wish = guest("a", cpus=Vcpus(count=1, maximum=2), console=False)
    assert _after(story, wish) == ["DefineGuest"]
    causes = {
        field: change
        for field, change in _changes(story).items()
        if change.reason is Reason.NEEDS_RESTART
    }
    assert set(causes) == {"cpus", "cpus.max", "console"}
    assert all(change.fate is Fate.WAITING for change in causes.values())
    assert _after(story, guest("a", cpus=Vcpus(count=2, maximum=4))) == ["DefineGuest"]
    assert not _changes(story)


def test_a_restart_that_is_wished_now_is_marked_and_then_done() -> None:
    story = _one(guest("a", cpus=Vcpus(count=2, maximum=4)))
    assert _after(story, guest("a", restart=RestartWhen.NOW)) == [
        "DefineGuest",
        "SetMark",
        "ShutDownGuest",
        "StartGuest",
        "SetMark",
    ]
    assert story.find("a").active
    assert not _changes(story)


def test_a_host_that_cannot_do_it_live_needs_a_restart() -> None:
    story = Story.of(_wish(guest("a")), host(HOSTS[0], capabilities=UNABLE))
    story.passes()
    wish = guest(
        "a",
        cpus=Vcpus(count=2, maximum=4),
        memory=GuestMemory(size_kib=768 * MIB, maximum_kib=1024 * MIB),
        disks=(volume_disk(size_gib=3),),
        nics=(),
    )
    story.desired = _wish(wish)
    story.passes()
    assert not story.refused
    changes = _changes(story)
    assert {changes[field].reason for field in ("cpus", "memory", "networks[eth0]")} == {
        Reason.NEEDS_RESTART
    }
    assert changes["disks[root].size"].reason is Reason.NOT_SUPPORTED


def test_memory_beyond_what_the_guest_was_started_with_needs_a_restart() -> None:
    story = _one(guest("a"))
    story.desired = _wish(guest("a", memory=GuestMemory(size_kib=2**21, maximum_kib=2**21)))
    story.passes()
    assert not story.refused
    assert {"memory", "memory.max"} <= {
        field for field, one in _changes(story).items() if one.reason is Reason.NEEDS_RESTART
    }


def test_a_guest_is_stopped_and_started_at_once_as_its_manifest_says() -> None:
    """The stop was ours, so the start need not wait."""
    story = _one(guest("a"))
    assert _after(story, guest("a", state=GuestState.STOPPED)) == [
        "SetMark",
        "SetMark",
        "ShutDownGuest",
        "SetMark",
    ]
    found = story.find("a")
    assert not found.active
    assert found.mark is not None
    assert found.mark.operation is not None
    assert found.mark.operation.kind is OperationKind.STOPPED
    begin = story.now
    steps = _after(story, guest("a"))
    assert "StartGuest" in steps
    assert story.now - begin < timedelta(seconds=10)


@pytest.mark.parametrize("reason", [StateReason.CRASHED, StateReason.FAILED])
def test_a_crashed_guest_is_started_once_its_stop_is_believed(reason: StateReason) -> None:
    story = _one(guest("a"))
    story.hosts[HOSTS[0]].stage_stop(story.find("a").uuid, reason)
    first = story.plan()
    assert not first.steps
    assert _changes(story)["state"].reason is Reason.SETTLING
    assert first.wake_at == story.now + timedelta(seconds=2)
    assert _steps(story.passes()) == ["StartGuest"]


def test_on_xen_a_stop_is_believed_later() -> None:
    story = Story.of(_wish(guest("a")), host(HOSTS[0], xen=True))
    story.passes()
    story.hosts[HOSTS[0]].stage_stop(story.find("a").uuid, StateReason.CRASHED)
    assert story.plan().wake_at == story.now + timedelta(seconds=10)


@pytest.mark.parametrize("reason", [StateReason.SHUT_DOWN, StateReason.DESTROYED])
def test_a_guest_that_was_stopped_by_others_is_started_after_its_delay(
    reason: StateReason,
) -> None:
    story = _one(guest("a", heal_after_s=60))
    story.hosts[HOSTS[0]].stage_stop(story.find("a").uuid, reason)
    stopped_at = story.now
    story.plan()
    story.now += timedelta(seconds=2)
    outcome = story.plan()
    assert outcome.wake_at == stopped_at + timedelta(seconds=60)
    assert _changes(story)["state"].reason is Reason.HEAL_DELAY
    story.now += timedelta(seconds=57)
    assert not story.plan().steps
    story.now += timedelta(seconds=1)
    assert _steps(story.passes()) == ["StartGuest"]


def test_a_guest_that_keeps_crashing_waits_longer_and_then_stalls() -> None:
    story = _one(guest("a"))
    story.hosts[HOSTS[0]].stage_stop(story.find("a").uuid, StateReason.CRASHED)
    story.plan()
    story.now += timedelta(seconds=2)
    name = guest("a").name

    def crashed(count: int) -> Change:
        crashes = {name: (story.now,) * count}
        story.memory = replace(story.memory, crashes=crashes)
        return _changes(story)["state"]

    assert crashed(1).fate is Fate.NOW
    assert crashed(2).reason is Reason.BACKOFF
    assert crashed(2).until == story.now + timedelta(seconds=10)
    assert crashed(3).until == story.now + timedelta(seconds=20)
    assert crashed(5).reason is Reason.CRASH_LOOP


def test_a_guest_that_crashes_at_its_first_start_is_not_started_without_pause() -> None:
    """The mark still says that it shall be started; its crashes count all the same."""
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    for _ in range(4):
        story.carry_out(story.plan())
    found = story.find("a")
    assert found.active
    assert found.mark is not None
    assert found.mark.operation is not None
    story.hosts[HOSTS[0]].stage_stop(found.uuid, StateReason.CRASHED)
    story.memory = replace(story.memory, crashes={guest("a").name: (story.now,) * 5})
    story.plan()
    story.now += timedelta(seconds=2)
    assert not story.plan().steps
    assert _changes(story)["state"].reason is Reason.CRASH_LOOP


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({"state": RunState.PAUSED, "reason": StateReason.USER}, Reason.PAUSED),
        ({"state": RunState.PAUSED, "reason": StateReason.IO_ERROR}, Reason.PAUSED),
        ({"state": RunState.SUSPENDED}, Reason.PAUSED),
        ({"managed_save": True}, Reason.SAVED),
        ({"job": "backup"}, Reason.BUSY),
    ],
)
def test_what_others_do_to_a_guest_is_reported_and_not_touched(
    seen: dict[str, object], reason: Reason
) -> None:
    story = _one(guest("a"))
    story.stage("a", **seen)
    story.desired = _wish(guest("a", cpus=Vcpus(count=2, maximum=4)))
    assert not story.plan().steps
    assert {change.reason for change in _changes(story).values()} == {reason}


def test_a_deaf_guest_is_destroyed_only_where_its_manifest_says_so() -> None:
    for then, kinds in (
        (ThenWhat.WAIT, {"SetMark", "ShutDownGuest"}),
        (ThenWhat.DESTROY, {"SetMark", "ShutDownGuest", "DestroyGuest"}),
    ):
        policy = ShutdownPolicy(timeout_s=30, then=then)
        story = _one(guest("a", shutdown=policy))
        story.hosts[HOSTS[0]].stage_deaf(story.find("a").uuid)
        story.desired = _wish(guest("a", shutdown=policy, state=GuestState.STOPPED))
        seen = set()
        for _ in range(100):
            outcome = story.plan()
            seen.update(_steps([outcome]))
            story.carry_out(outcome)
            story.now += timedelta(seconds=1)
        assert seen == kinds
        assert story.find("a").active is (then is ThenWhat.WAIT)


def test_a_shutdown_that_failed_and_a_balloon_that_did_not_follow_have_their_own_reasons() -> None:
    story = _one(guest("a"))
    name = guest("a").name
    wish = guest("a", memory=GuestMemory(size_kib=256 * MIB, maximum_kib=1024 * MIB))
    story.desired = _wish(wish)
    story.carry_out(story.plan())
    failure = Failure(
        message="it did not follow",
        count=1,
        retry_at=story.now + timedelta(seconds=30),
        stalled=False,
        intent=wish.intent,
    )
    story.memory = replace(story.memory, failures={name: failure})
    assert not story.plan().steps
    assert _changes(story)["memory"].reason is Reason.BALLOON_NOT_FOLLOWED
    assert story.plan().wake_at == failure.retry_at
    story.now = failure.retry_at
    assert _steps([story.plan()]) == ["SetMemory"]


def test_a_stalled_guest_waits_for_another_commit() -> None:
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    failure = Failure(
        message="no", count=1, retry_at=story.now, stalled=True, intent=guest("a").intent
    )
    story.memory = replace(story.memory, failures={guest("a").name: failure})
    assert not story.plan().steps
    assert _changes(story)[""].reason is Reason.STALLED
    story.desired = _wish(guest("a", console=False))
    assert _steps([story.plan()]) == ["DefineGuest"]


OTHER = StorageName("other")


def _with_disk(**changes: object) -> DesiredGuest:
    one = guest("a")
    disks = tuple(replace(disk, **changes) for disk in one.disks)  # type: ignore[arg-type]
    return replace(one, disks=disks, intent=Digest("another"))


_CREATE_ONLY: dict[str, DesiredGuest] = {
    "disks[root].image": guest("a", disks=(volume_disk(image=True),)),
    "disks[root].storage": _with_disk(storage=OTHER),
    "disks[root].volume": _with_disk(volume=VolumeName("another.raw")),
    "disks[root].format": _with_disk(format=DiskFormat.QCOW2, volume=VolumeName("a-root.qcow2")),
    "type": guest("a", type=GuestType.PVH),
    "arch": guest("a", arch=Arch.I686),
    "uuid": guest("a", uuid=UUID(int=1), uuid_said=True),
}


@pytest.mark.parametrize("field", _CREATE_ONLY)
def test_what_acts_at_creation_only_is_refused_afterwards(field: str) -> None:
    """One sentence and no step for it; what else the commit asks for is done."""
    story = _one(guest("a"))
    before = story.find("a")
    world = _wish(replace(_CREATE_ONLY[field], protect=True))
    guests = world.storages[StorageName("guests")]
    other = replace(guests, name=OTHER, libvirt_pool=LibvirtPool("other"))
    story.desired = replace(world, storages={**world.storages, OTHER: other})
    story.passes()
    [refused] = [one for one in _changes(story).values() if one.fate is Fate.REFUSED]
    assert (refused.field, refused.reason) == (field, Reason.CREATE_ONLY)
    assert refused.message
    found = story.find("a")
    assert found.mark is not None
    assert found.mark.protected
    assert found.stored is not None
    assert found.stored == replace(before.stored or found.stored, mark=found.mark)
    assert found.live == replace(before.live or found.stored, mark=found.mark)
    assert not story.refused


def test_a_uuid_that_no_manifest_writes_asks_for_nothing() -> None:
    """A guest that was adopted keeps its own, and the derived one is not wished for it."""
    story = _one(guest("a"))
    story.desired = _wish(guest("a", uuid=UUID(int=1)))
    story.passes()
    assert not _changes(story)


def test_autostart_is_on_for_pinned_guests_on_local_storage() -> None:
    assert _one(guest("a", host=HOSTS[0])).find("a").autostart
    assert not _one(guest("a")).find("a").autostart
    assert _one(guest("a", autostart=Autostart.ON)).find("a").autostart
    assert not _one(guest("a", host=HOSTS[0], autostart=Autostart.OFF)).find("a").autostart


def test_in_mode_warn_everything_is_held_until_apply() -> None:
    story = Story.of(_wish(guest("a"), mode=PoolMode.WARN), host(HOSTS[0]))
    assert not story.plan().steps
    change = _changes(story)[""]
    assert (change.fate, change.reason) == (Fate.HELD, Reason.WARN_MODE)
    story.policy = replace(story.policy, enforce=True)
    assert story.plan().steps


def test_a_host_that_is_full_or_lacks_something_is_passed_over_with_its_reason() -> None:
    giant = guest("a", memory=GuestMemory(size_kib=2**24, maximum_kib=2**24))
    many = guest("b", cpus=Vcpus(count=99, maximum=99))
    elsewhere = guest("c", host=HostName("h9"))
    story = Story.of(_wish(giant, many, elsewhere), host(HOSTS[0]))
    outcome = story.plan()
    assert not outcome.steps
    messages = [outcome.statuses[one.name].changes[0].message for one in (giant, many, elsewhere)]
    assert "of memory free" in messages[0]
    assert "virtual CPUs" in messages[1]
    assert "no active host" in messages[2]


def test_guests_of_one_pass_do_not_count_on_the_same_memory() -> None:
    half = {"memory": GuestMemory(size_kib=5120 * MIB, maximum_kib=5120 * MIB)}
    story = Story.of(_wish(guest("a", **half), guest("b", **half)), host(HOSTS[0]))
    outcome = story.plan()
    assert [planned.step.guest for planned in outcome.steps] == ["a"]
    assert outcome.statuses[guest("b").name].changes[0].reason is Reason.NO_PLACE


def test_so_many_steps_at_once_and_no_more_begin_on_a_host() -> None:
    story = Story.of(_wish(guest("a"), guest("b"), guest("c")), host(HOSTS[0]), steps_per_host=2)
    outcome = story.plan()
    assert len(outcome.steps) == 2
    assert outcome.statuses[guest("c").name].changes[0].reason is Reason.ORDER
    assert outcome.statuses[guest("c").name].changes[0].message.startswith("its turn comes: ")


def test_a_full_host_does_not_start_or_enlarge_a_guest() -> None:
    story = _one(guest("a"))
    story.hosts[HOSTS[0]].stage(lambda seen: replace(seen, free_memory_kib=0))
    story.desired = _wish(
        guest("a", memory=GuestMemory(size_kib=1024 * MIB, maximum_kib=1024 * MIB))
    )
    story.passes()
    assert not story.refused
    assert _changes(story)["memory"].reason is Reason.NO_PLACE


def test_the_mark_of_the_first_step_names_what_shall_be_made() -> None:
    """After a kill the host alone tells what is ours to make again."""
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    (planned,) = story.plan().steps
    assert isinstance(planned.step, DefineGuest)
    mark = planned.step.definition.mark
    assert mark is not None
    assert [(one.name, one.ours, one.filled) for one in mark.disks] == [("root", True, False)]
    assert mark.generation == 1


def test_what_the_manifest_does_not_name_stays_in_the_definition() -> None:
    story = _one(guest("a"))
    found = story.find("a")
    assert found.stored is not None
    stored = replace(
        found.stored,
        disks=with_disk(found.stored.disks, their_disk()),
        nics=with_nic(found.stored.nics, their_nic()),
    )
    story.stage("a", stored=stored, stored_digest=digest_of(stored))
    assert not story.plan().steps
    assert _after(story, guest("a", console=False)) == ["DefineGuest"]
    kept = story.find("a").stored
    assert kept is not None
    assert their_disk() in kept.disks
    assert their_nic() in kept.nics


def test_a_memory_of_a_volume_that_is_gone_is_not_believed() -> None:
    """A guest of that name was there before; its volume was full and is no more."""
    story = Story.of(_wish(guest("a")), host(HOSTS[0]))
    place = (HOSTS[0], LibvirtPool("default"), VolumeName("a-root.raw"))
    story.memory = replace(story.memory, filled=frozenset({place}))
    story.carry_out(story.plan())
    assert _steps([story.plan()]) == ["CreateVolume"]


def test_a_guest_is_not_made_over_a_volume_that_is_there() -> None:
    story = Story.of(_wish(guest("a")), host(HOSTS[0], volumes=(volume("a-root.raw"),)))
    assert not story.plan().steps
    change = _changes(story)[""]
    assert change.reason is Reason.NO_PLACE
    assert "never takes" in change.message
