"""Counted acts of every class: asked for, held together, let through, and counted from marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.model.counted import Act, Counted, Verb
from reconciler.model.definition import Memory, Vcpus
from reconciler.model.desired import (
    Budget,
    DesiredGuest,
    DesiredSnapshot,
    DesiredWorld,
    RestartWhen,
    VolumeDisk,
)
from reconciler.model.mark import Mark, Phase
from reconciler.model.names import DiskName, PlanId, SnapshotName
from reconciler.model.observed import StateReason
from reconciler.model.plan import Change, Fate, Held, Plan, Reason, Sync
from reconciler.model.steps import ShutDownGuest, StartGuest
from reconciler.planner.budget import allowance
from tests.strategies.worlds import HOSTS, MIB, Story, desired, given_disk, guest, host, pool
from tests.strategies.worlds import volume_disk as disk

BEFORE = SnapshotName("before")
TEN = tuple("abcdefghij")


def _world(*guests: DesiredGuest, **budget: int) -> DesiredWorld:
    return desired(*guests, pools=(pool(budget=Budget(**budget)),))


def _up(*guests: DesiredGuest, **budget: int) -> Story:
    wish = _world(*guests, **budget)
    story = Story.of(wish, host(HOSTS[0]), host(HOSTS[1]), steps_per_host=99)
    story.passes()
    return story


def _two_disks(name: str = "a", *, protect: bool = False, **changes: object) -> DesiredGuest:
    data: VolumeDisk = replace(disk("data"), protect=protect)
    return guest(name, disks=(disk(), data), **changes)


def _restarting(name: str, maximum: int = 4) -> DesiredGuest:
    """A guest that a change of its maximum restarts."""
    return guest(name, cpus=Vcpus(count=1, maximum=maximum), restart=RestartWhen.NOW)


def _held(story: Story) -> Held:
    (held,) = story.plan().held
    return held


def _mark(story: Story, name: str) -> Mark:
    mark = story.find(name).mark
    assert mark is not None
    return mark


def _change(outcome: Plan, name: str, field: str) -> Change:
    status = next(one for one in outcome.statuses.values() if one.guest == name)
    return next(change for change in status.changes if change.field == field)


def _approve(story: Story, *ids: PlanId, lifted: bool = False) -> None:
    given = frozenset(ids)
    story.desired = replace(story.desired, approvals=given, lifted=given if lifted else frozenset())


def _plugged_in(story: Story, name: str) -> int:
    found = story.find(name)
    assert found.stored is not None
    assert found.live is not None
    assert len(found.stored.disks) == len(found.live.disks)
    return len(found.live.disks)


# ------------------------------------------------------------------------------------- disks


def test_disks_beyond_the_budget_stay_plugged_in_and_everything_else_goes_on() -> None:
    """A disk counts like a guest; the id that lets two of them through is that of any commit."""
    story = _up(_two_disks("a"), _two_disks("b"))
    more = Memory(size_kib=768 * MIB, maximum_kib=1024 * MIB)
    story.arrive(_world(guest("a", memory=more), guest("b")))
    story.passes()
    held = _held(story)
    assert [str(act) for act in held.acts] == [
        "detach disks[data] of a",
        "detach disks[data] of b",
    ]
    assert held.message == "budget: 1 deletion in 24 h, 2 asked"
    assert (_plugged_in(story, "a"), _plugged_in(story, "b")) == (2, 2)
    live = story.find("a").live
    assert live is not None
    assert live.memory.size_kib == 768 * MIB
    outcome = story.plan()
    change = _change(outcome, "b", "disks[data]")
    assert (change.fate, change.reason, change.plan_id) == (
        Fate.HELD,
        Reason.BUDGET,
        held.plan_id,
    )
    assert all(status.stored is Sync.NO for status in outcome.statuses.values())
    story.arrive(_world(guest("a", memory=more), guest("b", labels={"a": "b"})))
    story.passes()
    assert _held(story).plan_id == held.plan_id
    _approve(story, held.plan_id)
    story.passes()
    assert (_plugged_in(story, "a"), _plugged_in(story, "b")) == (1, 1)
    entry = _mark(story, "a").disk(DiskName("data"))
    assert entry is not None
    assert entry.approval == held.plan_id
    assert not story.plan().held


def test_a_disk_within_the_budget_goes_and_leaves_no_room_for_a_guest() -> None:
    story = _up(_two_disks("a"), guest("b"))
    story.arrive(_world(guest("a"), guest("b")))
    story.passes()
    assert _plugged_in(story, "a") == 1
    story.arrive(_world(guest("a")))
    story.passes(wait=False)
    held = _held(story)
    assert held.message == "budget: 1 deletion in 24 h, 1 asked, 1 done"
    entry = _mark(story, "a").disk(DiskName("data"))
    assert entry is not None
    assert entry.detached is not None
    assert held.until == entry.detached + timedelta(hours=24)
    story.passes()  # at that instant the budget covers it
    assert _mark(story, "b").phase is Phase.TRASH


def test_a_disk_that_is_put_back_counts_no_more_and_keeps_no_approval() -> None:
    story = _up(_two_disks("a"), deletions=0)
    story.arrive(_world(guest("a"), deletions=0))
    held = _held(story)
    _approve(story, held.plan_id)
    story.passes()
    story.arrive(_world(_two_disks("a"), deletions=0))
    story.passes()
    entry = _mark(story, "a").disk(DiskName("data"))
    assert entry is not None
    assert (entry.detached, entry.approval) == (None, None)
    assert _plugged_in(story, "a") == 2


def test_a_device_counts_and_what_was_never_filled_does_not() -> None:
    spare = given_disk("spare", "/dev/disk/by-id/scsi-1")
    story = _up(guest("a", disks=(disk(), spare)), deletions=0)
    story.arrive(_world(guest("a"), deletions=0))
    assert _held(story).acts == (
        Act(
            guest=guest("a").name,
            verb=Verb.DETACH,
            part="disks[spare]",
            before="/dev/disk/by-id/scsi-1",
        ),
    )


def test_a_new_disk_does_not_take_the_place_of_one_that_stays() -> None:
    story = _up(_two_disks("a"), deletions=0)
    target = next(entry.target for entry in _mark(story, "a").disks if entry.name == "data")
    other = replace(disk("other"), target=target)
    story.arrive(_world(guest("a", disks=(disk(), other)), deletions=0))
    story.passes()
    change = _change(story.plan(), "a", "disks[other].target")
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.CONFLICT)
    assert _plugged_in(story, "a") == 2
    _approve(story, _held(story).plan_id)
    story.passes()
    assert _plugged_in(story, "a") == 2
    assert not story.plan().steps


# -------------------------------------------------------------------------------- protection


def test_a_protected_disk_stays_plugged_in_until_a_commit_of_its_own_lifted_that() -> None:
    story = _up(_two_disks(protect=True), deletions=5)
    story.arrive(_world(guest("a"), deletions=5))
    story.passes()
    outcome = story.plan()
    change = _change(outcome, "a", "disks[data]")
    assert (change.fate, change.reason) == (Fate.HELD, Reason.PROTECTED)
    assert change.message.startswith("disk data is protected; put it back with protect: false")
    assert _plugged_in(story, "a") == 2
    _approve(story, _held(story).plan_id)
    story.policy = replace(story.policy, approvals=frozenset({_held(story).plan_id}))
    story.passes()
    assert _plugged_in(story, "a") == 2
    story.arrive(_world(_two_disks(), deletions=5))
    story.passes()
    story.arrive(_world(guest("a"), deletions=5))
    story.passes()
    assert _plugged_in(story, "a") == 1


def test_an_empty_commit_that_names_the_plan_lifts_a_protection() -> None:
    story = _up(_two_disks(protect=True))
    story.arrive(_world(guest("a")))
    _approve(story, _held(story).plan_id, lifted=True)
    story.passes()
    assert _plugged_in(story, "a") == 1
    entry = _mark(story, "a").disk(DiskName("data"))
    assert entry is not None
    assert not entry.protected


def test_a_guest_with_a_protected_disk_goes_to_the_trash_and_the_disk_stays_protected() -> None:
    """Nothing is lost by that: what the disk holds is not removed while the mark says so."""
    story = _up(_two_disks(protect=True))
    story.arrive(_world())
    story.passes()
    mark = _mark(story, "a")
    assert mark.phase is Phase.TRASH
    assert [entry.name for entry in mark.disks if entry.protected] == ["data"]


def test_protection_lifted_and_guest_deleted_in_one_commit_is_held_beside_the_others() -> None:
    """What is protected is held by itself, so that the rest needs no protection lifted."""
    story = _up(guest("a", protect=True), guest("b"), guest("c"))
    story.arrive(_world())
    outcome = story.plan()
    assert not outcome.steps
    assert {(one.protected, one.guests) for one in outcome.held} == {
        (True, ("a",)),
        (False, ("b", "c")),
    }


# --------------------------------------------------------------------------------- snapshots


def test_a_snapshot_that_is_named_no_more_counts() -> None:
    qcow2 = (disk(qcow2=True),)
    named = guest("a", disks=qcow2, snapshots=(DesiredSnapshot(name=BEFORE),))
    story = _up(named, deletions=0)
    assert _mark(story, "a").snapshot(BEFORE) is not None
    story.arrive(_world(guest("a", disks=qcow2), deletions=0))
    story.passes()
    held = _held(story)
    assert [str(act) for act in held.acts] == ["let go snapshots[before] of a"]
    entry = _mark(story, "a").snapshot(BEFORE)
    assert entry is not None
    assert entry.removed is None
    assert _change(story.plan(), "a", "snapshots[before]").plan_id == held.plan_id
    _approve(story, held.plan_id)
    story.passes()
    entry = _mark(story, "a").snapshot(BEFORE)
    assert entry is not None
    assert entry.removed is not None
    assert entry.approval == held.plan_id
    assert not story.plan().held
    assert not story.plan().steps


# ---------------------------------------------------------------------------------- restarts


def test_more_restarts_than_the_budget_allows_are_held_and_what_crashed_is_started() -> None:
    """The stored definitions are written all the same: they touch no running guest."""
    names = tuple("abcde")
    story = _up(*[_restarting(name) for name in names])
    story.arrive(_world(*[_restarting(name, 6) for name in names]))
    story.host_of("c").stage_stop(story.find("c").uuid, StateReason.CRASHED)
    plans = story.passes()
    steps = [planned.step for outcome in plans for planned in outcome.steps]
    assert not any(isinstance(step, ShutDownGuest) for step in steps)
    assert [step.guest for step in steps if isinstance(step, StartGuest)] == ["c"]
    held = _held(story)
    assert (held.counted, held.message) == (
        Counted.RESTART,
        "budget: 3 restarts in 24 h, 4 asked",
    )
    change = _change(story.plan(), "a", "cpus.max")
    assert (change.fate, change.plan_id) == (Fate.HELD, held.plan_id)
    _approve(story, held.plan_id)
    story.passes()
    for name in names:
        live = story.find(name).live
        assert live is not None
        assert live.vcpus.maximum == 6
    assert [len(_mark(story, name).restarts) for name in names] == [1, 1, 0, 1, 1]
    assert not story.plan().steps


def test_every_restart_of_the_day_counts_also_of_one_guest() -> None:
    story = _up(_restarting("a"), restarts=2)
    for maximum in (5, 6):
        story.arrive(_world(_restarting("a", maximum), restarts=2))
        story.passes()
    story.arrive(_world(_restarting("a", 7), restarts=2))
    story.passes(wait=False)
    first, _second = _mark(story, "a").restarts
    held = _held(story)
    assert held.message == "budget: 2 restarts in 24 h, 1 asked, 2 done"
    assert held.until == first.since + timedelta(hours=24)
    story.passes()
    live = story.find("a").live
    assert live is not None
    assert live.vcpus.maximum == 7
    assert len(_mark(story, "a").restarts) == 2, "what is older than a day is forgotten"


def test_an_approval_lets_each_restart_through_once() -> None:
    """A guest that needs another one for the same wish is not restarted for ever."""
    story = _up(_restarting("a"), restarts=0)
    story.arrive(_world(_restarting("a", 6), restarts=0))
    story.passes()
    _approve(story, _held(story).plan_id)
    story.passes()
    live = story.find("a").live
    assert live is not None
    story.stage("a", live=replace(live, vcpus=Vcpus(count=1, maximum=5)))
    assert not story.plan().steps
    assert _held(story).guests == ("a",)


def test_a_restart_that_began_goes_on_though_the_budget_is_spent() -> None:
    story = _up(_restarting("a"), restarts=1)
    story.arrive(_world(_restarting("a", 6), restarts=1))
    for _ in range(2):  # the definition, then the mark
        story.carry_out(story.plan())
        story.now += timedelta(seconds=1)
    assert _mark(story, "a").restarts
    assert not story.plan().held
    (planned,) = story.plan().steps
    assert isinstance(planned.step, ShutDownGuest)
    assert not planned.counted


def test_the_step_that_begins_a_counted_act_says_so() -> None:
    story = _up(_restarting("a"), _two_disks("b"), guest("c"), restarts=1, deletions=2)
    story.arrive(_world(_restarting("a", 6), guest("b"), restarts=1, deletions=2))
    counted = {
        act.verb for outcome in story.passes() for one in outcome.steps for act in one.counted
    }
    assert counted == {Verb.RESTART, Verb.DETACH, Verb.DELETE}


def test_restarts_and_deletions_are_approved_apart() -> None:
    story = _up(_restarting("a"), guest("b"), restarts=0, deletions=0)
    story.arrive(_world(_restarting("a", 6), restarts=0, deletions=0))
    story.passes()
    held = {one.counted: one.plan_id for one in story.plan().held}
    _approve(story, held[Counted.DELETION])
    story.passes()
    assert _mark(story, "b").phase is Phase.TRASH
    assert not _mark(story, "a").restarts
    assert _held(story).plan_id == held[Counted.RESTART]


def test_while_a_host_is_silent_nothing_can_be_counted_and_nothing_begins() -> None:
    story = _up(_restarting("a"), _two_disks("b"))
    away = next(name for name in HOSTS[:2] if name != story.host_of("a").name)
    story.silent = {away}
    story.arrive(_world(_restarting("a", 6), guest("b")))
    plans = story.passes()
    assert not any(planned.counted for outcome in plans for planned in outcome.steps)
    assert all(
        one.message == f"budget: what was begun on {away} cannot be counted, it is silent"
        for one in story.plan().held
    )
    assert story.plan().held


def test_each_class_has_a_number_of_its_own_and_the_percentage_is_for_all() -> None:
    budget = Budget(deletions=2, restarts=9, percent=30)
    few, many = 9, 20
    assert [allowance(budget, one, few) for one in Counted] == [2, 2, 9, 0]
    assert [allowance(budget, one, many) for one in Counted] == [2, 2, 6, 0]


# ------------------------------------------------------------------------------------ stories


def test_an_emptied_folder_deletes_nothing_and_heals_on() -> None:
    """As a wrong path, a wrong branch or a wrong rename would: all guests gone at once."""
    story = _up(*[guest(name, disks=(), nics=()) for name in TEN])
    story.arrive(_world())
    outcome = story.plan()
    assert not outcome.steps
    assert _held(story).guests == TEN
    story.arrive(_world(*[guest(name, disks=(), nics=()) for name in TEN[3:]]))
    story.host_of("e").stage_stop(story.find("e").uuid, StateReason.CRASHED)
    story.passes()
    assert story.find("e").active
    assert _held(story).guests == TEN[:3]
    assert all(story.find(name).active for name in TEN)
