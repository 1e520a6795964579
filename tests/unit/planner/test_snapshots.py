"""Snapshots: taken while named, kept when not, never somebody else's, and what they pin."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.model.definition import BootDevice, Bus, Disk, FileSource, Firmware, FirmwareBoot
from reconciler.model.desired import (
    DesiredGuest,
    DesiredSnapshot,
    DesiredWorld,
    GuestState,
    PoolMode,
)
from reconciler.model.mark import (
    Consistency,
    MarkedOperation,
    OperationKind,
    Phase,
    ShutdownPolicy,
)
from reconciler.model.memory import Failure
from reconciler.model.names import SnapshotName, Target
from reconciler.model.observed import ObservedSnapshot, RunState, StateReason
from reconciler.model.plan import Change, Fate, Label, Plan, Reason, Sync
from reconciler.model.steps import CreateSnapshot, ResumeGuest, SetMark
from tests.strategies.worlds import (
    HOSTS,
    MAIN,
    START,
    UNABLE,
    Story,
    desired,
    drive,
    guest,
    host,
    pool,
    told,
    volume_disk,
)

QCOW2 = (volume_disk(qcow2=True),)
BEFORE, AFTER = SnapshotName("before-upgrade"), SnapshotName("after-upgrade")
ASKED = (DesiredSnapshot(name=BEFORE),)


def _wish(*wishes: DesiredGuest, mode: PoolMode = PoolMode.ENFORCE) -> DesiredWorld:
    return desired(*wishes, hosts={HOSTS[0]: MAIN}, pools=(pool(MAIN, mode=mode),))


def _guest(**fields: object) -> DesiredGuest:
    return guest("a", **{"disks": QCOW2, "agent": True, "snapshots": ASKED, **fields})


def _up(**fields: object) -> Story:
    """A guest that is as its manifest wants it, alone on one host."""
    story = Story.of(_wish(_guest(**fields)), host(HOSTS[0]))
    story.passes()
    assert not story.refused
    return story


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _then(story: Story, **fields: object) -> list[str]:
    """The steps that the next commit, with ``fields``, brings about."""
    story.arrive(_wish(_guest(**fields)))
    return _steps(story.passes())


def _change(story: Story, field: str) -> Change:
    changes = story.plan().statuses[guest("a").name].changes
    return next(change for change in changes if change.field == field)


def _theirs(name: SnapshotName = BEFORE) -> ObservedSnapshot:
    return ObservedSnapshot(name=name, taken=START, disks=(Target("vda"),), memory=False)


def test_a_named_snapshot_is_taken_once_the_guest_runs_and_is_written_into_the_mark() -> None:
    story = _up()
    found = story.find("a")
    (snapshot,) = found.snapshots
    assert snapshot.signature is not None
    assert snapshot.signature.consistency is Consistency.QUIESCED
    mark = found.mark
    assert mark is not None
    (entry,) = mark.snapshots
    assert (entry.name, entry.taken, entry.removed) == (BEFORE, snapshot.taken, None)
    assert entry.consistency is Consistency.QUIESCED
    assert mark.operation is None
    assert story.plan().statuses[found.name].stored is Sync.YES


def test_before_a_running_guest_is_held_still_its_mark_says_so() -> None:
    """The mark that is written first is the guest's own, with the operation and its instant."""
    story = _up(snapshots=())
    story.arrive(_wish(_guest()))
    steps = [planned for outcome in story.passes() for planned in outcome.steps]
    planned = next(one for one in steps if isinstance(one.step, CreateSnapshot))
    step = planned.step
    assert isinstance(step, CreateSnapshot)
    assert step.mark.operation is not None
    assert step.mark.operation.kind is OperationKind.SNAPSHOT
    assert planned.disruptive


def test_it_is_taken_before_the_running_guest_is_changed() -> None:
    """A name like before-upgrade is worth something only then."""
    story = _up(snapshots=())
    steps = _then(story, cpus=replace(guest("a").cpus, count=2))
    assert steps.index("CreateSnapshot") < steps.index("SetVcpus")


def test_a_name_taken_out_is_dated_and_the_snapshot_stays() -> None:
    story = _up()
    taken = story.find("a").snapshots
    assert _then(story, snapshots=()) == ["SetMark"]
    found = story.find("a")
    assert found.snapshots == taken
    assert found.mark is not None
    (entry,) = found.mark.snapshots
    assert entry.removed is not None
    story.now += timedelta(days=400)
    assert not _steps(story.passes())
    assert story.find("a").snapshots == taken


def test_a_name_put_back_is_the_same_snapshot_again() -> None:
    story = _up()
    taken = story.find("a").snapshots
    _then(story, snapshots=())
    assert _then(story) == ["SetMark"]
    found = story.find("a")
    assert found.snapshots == taken
    assert found.mark is not None
    assert [entry.removed for entry in found.mark.snapshots] == [None]


def test_a_second_name_takes_a_second_snapshot_and_leaves_the_first() -> None:
    story = _up()
    first = story.find("a").snapshots
    steps = _then(story, snapshots=(*ASKED, DesiredSnapshot(name=AFTER)))
    assert steps.count("CreateSnapshot") == 1
    assert [one.name for one in story.find("a").snapshots] == [AFTER, BEFORE]
    assert set(first) < set(story.find("a").snapshots)


def test_a_foreign_snapshot_of_that_name_is_left_and_the_wish_refused() -> None:
    story = _up(snapshots=())
    story.stage("a", snapshots=(_theirs(),))
    assert not [step for step in _then(story) if step != "SetMark"]
    change = _change(story, "snapshots[before-upgrade]")
    assert (change.label, change.reason) == (Label.REFUSED, Reason.CONFLICT)
    assert "not ours" in change.message
    found = story.find("a")
    assert found.snapshots == (_theirs(),)
    assert found.mark is not None
    assert found.mark.snapshots == ()


def test_what_is_signed_for_another_repository_is_foreign() -> None:
    story = _up()
    (ours,) = story.find("a").snapshots
    assert ours.signature is not None
    other = replace(ours, signature=replace(ours.signature, owner=HOST_UUID))
    story.stage("a", snapshots=(other,))
    story.passes()
    assert _change(story, "snapshots[before-upgrade]").reason is Reason.CONFLICT
    found = story.find("a")
    assert found.snapshots == (other,)
    assert found.mark is not None
    assert found.mark.snapshots == ()


HOST_UUID = host().uuid


def test_a_snapshot_that_a_person_deleted_is_taken_anew_while_it_is_named() -> None:
    story = _up()
    story.stage("a", snapshots=())
    assert "CreateSnapshot" in _steps(story.passes())


def test_what_the_mark_has_forgotten_is_read_from_the_snapshot() -> None:
    """A person who goes back to an older snapshot gets the mark of then as well."""
    story = _up()
    found = story.find("a")
    assert found.mark is not None
    assert found.stored is not None
    assert found.live is not None
    older = replace(found.mark, snapshots=())
    stored, live = replace(found.stored, mark=older), replace(found.live, mark=older)
    story.stage("a", mark=older, stored=stored, live=live)
    assert _steps(story.passes()) == ["SetMark"]
    assert story.find("a").mark == found.mark


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"disks": (volume_disk(),)}, "disk root (vda) is not qcow2"),
        ({"disks": (*QCOW2, volume_disk("data", 1))}, "disk data (vdb) is not qcow2"),
        ({"disks": ()}, "no disk that a snapshot could be inside"),
        ({"disks": (drive("one.iso"),)}, "no disk that a snapshot could be inside"),
        (
            {"boot": FirmwareBoot(firmware=Firmware.UEFI, order=(BootDevice.CDROM,))},
            "UEFI",
        ),
        (
            {"agent": False, "snapshots": (DesiredSnapshot(name=BEFORE, quiesced=True),)},
            "agent: true",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason_and_the_guest_runs(
    fields: dict[str, object], says: str
) -> None:
    story = _up(**fields)
    change = _change(story, "snapshots[before-upgrade]")
    assert (change.label, change.reason) == (Label.REFUSED, Reason.NOT_SUPPORTED)
    assert says in change.message
    assert story.find("a").active
    assert story.plan().statuses[guest("a").name].stored is Sync.NO


def test_a_disk_that_no_manifest_names_counts_too() -> None:
    """All writable disks must be able to hold a snapshot, whosever they are."""
    story = _up(snapshots=())
    found = story.find("a")
    assert found.live is not None
    raw = Disk(target=Target("vdz"), bus=Bus.VIRTIO, source=FileSource(path="/srv/theirs.raw"))
    story.stage("a", live=replace(found.live, disks=(*found.live.disks, raw)))
    story.arrive(_wish(_guest()))
    assert "the disk at vdz is not qcow2" in _change(story, "snapshots[before-upgrade]").message


def test_a_host_that_takes_no_snapshots_refuses_them() -> None:
    story = Story.of(_wish(_guest()), host(HOSTS[0], capabilities=UNABLE))
    story.passes()
    assert _change(story, "snapshots[before-upgrade]").reason is Reason.NOT_SUPPORTED
    assert not story.refused


def test_an_agent_is_given_its_time_after_the_start_and_then_done_without() -> None:
    story = _up(snapshots=())
    story.stage("a", agent_connected=False)
    story.arrive(_wish(_guest()))
    story.carry_out(story.plan())
    outcome = story.plan()
    assert not outcome.steps
    change = _change(story, "snapshots[before-upgrade]")
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.NOT_QUIESCED)
    assert change.until is not None
    assert outcome.wake_at == change.until
    story.now = change.until
    (planned,) = story.plan().steps
    assert isinstance(planned.step, CreateSnapshot)


def test_where_only_a_quiesced_one_is_wanted_it_waits_for_the_agent_without_end() -> None:
    story = _up(snapshots=())
    story.stage("a", agent_connected=False)
    assert _then(story, snapshots=(DesiredSnapshot(name=BEFORE, quiesced=True),)) == ["SetMark"]
    assert _change(story, "snapshots[before-upgrade]").reason is Reason.NOT_QUIESCED
    story.stage("a", agent_connected=True)
    assert "CreateSnapshot" in _steps(story.passes())


def test_of_a_stopped_guest_it_is_worth_what_its_stop_was() -> None:
    story = _up(snapshots=())
    _then(story, state=GuestState.STOPPED)
    (snapshot,) = story.find("a").snapshots
    assert snapshot.signature is not None
    assert snapshot.signature.consistency is Consistency.OFFLINE
    story.stage("a", snapshots=(), reason=StateReason.CRASHED)
    story.passes()
    (snapshot,) = story.find("a").snapshots
    assert snapshot.signature is not None
    assert snapshot.signature.consistency is Consistency.CRASH_CONSISTENT


def test_a_guest_that_shall_stop_is_stopped_first() -> None:
    """An offline snapshot is the better one, and a stop must not wait for it."""
    steps = _then(_up(snapshots=()), state=GuestState.STOPPED)
    assert steps.index("ShutDownGuest") < steps.index("CreateSnapshot")


def test_a_quiesced_one_of_a_guest_that_crashed_waits() -> None:
    story = _up(snapshots=())
    story.arrive(_wish(_guest(snapshots=(), state=GuestState.STOPPED)))
    story.passes()
    story.stage("a", reason=StateReason.CRASHED)
    wish = _guest(snapshots=(DesiredSnapshot(name=BEFORE, quiesced=True),))
    story.arrive(_wish(replace(wish, state=GuestState.STOPPED)))
    assert "CreateSnapshot" not in _steps(story.passes())
    assert _change(story, "snapshots[before-upgrade]").reason is Reason.NOT_QUIESCED


def test_a_disk_with_snapshots_inside_keeps_its_size() -> None:
    story = _up()
    steps = _then(story, disks=(volume_disk(size_gib=5, qcow2=True),))
    assert "GrowDisk" not in steps
    change = _change(story, "disks[root].size")
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.PINNED_BY_SNAPSHOTS)
    assert "snapshot before-upgrade" in change.message
    story.stage("a", snapshots=())
    story.arrive(_wish(_guest(snapshots=(), disks=(volume_disk(size_gib=5, qcow2=True),))))
    assert "GrowDisk" in _steps(story.passes())


def test_a_disk_with_snapshots_inside_stays_plugged_in_when_its_manifest_lets_it_go() -> None:
    """Also somebody else's snapshots: without the disk they would be worth nothing."""
    story = _up(snapshots=(), disks=(*QCOW2, volume_disk("data", 1, qcow2=True)))
    story.stage("a", snapshots=(replace(_theirs(), disks=(Target("vda"), Target("vdb"))),))
    steps = _then(story, snapshots=())
    assert "DetachDisk" not in steps
    assert "DefineGuest" not in steps
    change = _change(story, "disks[data]")
    assert (change.label, change.reason) == (Label.REFUSED, Reason.PINNED_BY_SNAPSHOTS)
    found = story.find("a")
    assert found.stored is not None
    assert found.stored.disk(Target("vdb")) is not None
    story.stage("a", snapshots=())
    assert "DetachDisk" in _steps(story.passes())


def test_snapshots_survive_the_trash_and_the_way_back() -> None:
    story = _up(shutdown=ShutdownPolicy(timeout_s=1))
    before = story.find("a")
    assert before.mark is not None
    story.arrive(_wish())
    story.passes()
    found = story.find("a")
    assert found.mark is not None
    assert found.mark.phase is Phase.TRASH
    assert (found.snapshots, found.mark.snapshots) == (before.snapshots, before.mark.snapshots)
    assert "CreateSnapshot" not in _then(story, shutdown=ShutdownPolicy(timeout_s=1))
    found = story.find("a")
    assert found.active
    assert found.mark is not None
    assert (found.snapshots, found.mark.snapshots) == (before.snapshots, before.mark.snapshots)


# ------------------------------------------------------------------------- what is interrupted


def _interrupted(story: Story, **changes: object) -> None:
    """What a controller leaves that is killed while it holds the guest still."""
    found = story.find("a")
    assert found.mark is not None
    assert found.stored is not None
    operation = MarkedOperation(kind=OperationKind.SNAPSHOT, id="killed", since=story.now)
    mark = replace(found.mark, operation=operation)
    live = found.live and replace(found.live, mark=mark)
    stored = replace(found.stored, mark=mark)
    story.stage("a", **{"mark": mark, "stored": stored, "live": live, **changes})


def test_an_interrupted_snapshot_is_undone_before_anything_else() -> None:
    """Also where somebody's job, or a pause, would have the guest left alone."""
    story = _up()
    held = {"state": RunState.PAUSED, "reason": StateReason.BUSY, "job": "snapshot"}
    _interrupted(story, **held)
    story.arrive(_wish(_guest(cpus=replace(guest("a").cpus, count=2))))
    (planned,) = story.plan().steps
    assert isinstance(planned.step, ResumeGuest)
    story.carry_out(story.plan())
    found = story.find("a")
    assert found.state is RunState.RUNNING
    assert found.mark is not None
    assert found.mark.operation is None


def test_it_is_undone_in_a_pool_that_only_warns() -> None:
    story = _up()
    _interrupted(story)
    story.arrive(_wish(_guest(), mode=PoolMode.WARN))
    (planned,) = story.plan().steps
    assert isinstance(planned.step, ResumeGuest)


def test_it_is_undone_before_a_deletion() -> None:
    story = _up()
    _interrupted(story)
    story.arrive(_wish())
    steps = _steps(story.passes())
    assert steps[0] == "ResumeGuest"
    assert "ShutDownGuest" in steps


def test_of_a_guest_that_is_off_only_the_mark_is_put_right() -> None:
    story = _up()
    _interrupted(story)
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.CRASHED)
    (planned,) = story.plan().steps
    assert isinstance(planned.step, SetMark)
    assert planned.step.mark.operation is None
    assert "StartGuest" in _steps(story.passes())


@pytest.mark.parametrize("deleted", [False, True])
def test_an_agent_that_does_not_thaw_is_asked_again_and_given_up_in_the_end(
    *, deleted: bool
) -> None:
    """Nothing waits without an end: after ten minutes the guest is free for other steps."""
    story = _up()
    _interrupted(story)
    if deleted:
        story.arrive(_wish())
    intent = None if deleted else story.desired.guests[guest("a").name].intent
    failure = Failure(
        message="the agent is silent",
        count=1,
        retry_at=story.now + timedelta(seconds=5),
        stalled=False,
        intent=intent,
    )
    story.memory = replace(story.memory, failures={guest("a").name: failure})
    outcome = story.plan()
    assert not outcome.steps
    (change,) = {one for one in outcome.statuses[guest("a").name].changes if one.until}
    assert (change.reason, change.until) == (Reason.FROZEN, failure.retry_at)
    story.now += timedelta(seconds=5)
    assert isinstance(story.plan().steps[0].step, ResumeGuest)
    story.now += timedelta(minutes=10)
    (planned,) = story.plan().steps
    assert isinstance(planned.step, SetMark)
    assert planned.step.mark.operation is None


@pytest.mark.parametrize("stalled", [False, True])
def test_a_snapshot_that_fails_waits_alone(*, stalled: bool) -> None:
    """The guest is healed and changed meanwhile, and let go on at once if it was held."""
    story = _up(snapshots=())
    story.arrive(_wish(_guest()))
    failure = Failure(
        message="a device cannot be saved",
        count=1,
        retry_at=story.now + timedelta(minutes=5),
        stalled=stalled,
        intent=story.desired.guests[guest("a").name].intent,
        optional=True,
    )
    story.memory = replace(story.memory, failures={guest("a").name: failure})
    story.carry_out(story.plan())
    assert not story.plan().steps
    change = _change(story, "snapshots[before-upgrade]")
    assert change.reason is (Reason.STALLED if stalled else Reason.BACKOFF)
    assert change.message == failure.message
    assert change.until == (None if stalled else failure.retry_at)
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.CRASHED)
    story.passes(wait=False)
    story.now += timedelta(seconds=10)
    story.passes(wait=False)
    assert story.find("a").active
    _interrupted(story)
    (planned,) = story.plan().steps
    assert isinstance(planned.step, ResumeGuest)


def test_a_snapshot_waits_until_the_seed_of_cloud_init_is_gone() -> None:
    """Who goes back gets the disks of then; a seed that is kept is one of them."""
    story = Story.of(_wish(_guest(cloud_init=told())), host(HOSTS[0]))
    story.passes(wait=False)
    change = _change(story, "snapshots[before-upgrade]")
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.NOT_QUIESCED)
    assert change.until is not None
    assert change.until > story.now
    steps = _steps(story.passes())
    assert steps.index("RemoveSeed") < steps.index("CreateSnapshot")
    kept = Story.of(_wish(_guest(cloud_init=told(keep=True))), host(HOSTS[0]))
    assert "CreateSnapshot" in _steps(kept.passes(wait=False))
