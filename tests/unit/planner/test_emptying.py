"""The trash is emptied late, slowly, in an order that a kill cannot break, and never of others'."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import Budget, ImageRef, TrashChoice
from reconciler.model.mark import Consistency
from reconciler.model.names import SnapshotName, StorageName, Target, VolumeName
from reconciler.model.observed import ObservedSnapshot, Signature
from reconciler.model.plan import Fate, Plan, Reason
from reconciler.model.steps import DeleteSnapshot, DeleteVolume, SetMark, UndefineGuest
from reconciler.planner.budget import emptying, plan_id
from reconciler.planner.effects import digest_of
from reconciler.planner.keeping import days_needed
from tests.strategies.worlds import (
    HOSTS,
    MAIN,
    REPOSITORY,
    SIDE,
    START,
    VOLUMES,
    Story,
    desired,
    foreigner,
    guest,
    host,
    pool,
    told,
    volume_disk,
)

ONE_HOST = {HOSTS[0]: MAIN}
NAME = guest("a").name


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _deleted(*names: str, **fields: object) -> Story:
    """Guests on one host that were deleted and are off."""
    guests = [guest(name, **fields) for name in names or ("a",)]
    many = (pool(budget=Budget(deletions=len(guests))),)
    story = Story.of(desired(*guests, hosts=ONE_HOST, pools=many), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(hosts=ONE_HOST, pools=many, sha="gone"))
    story.passes()
    return story


def _volumes(story: Story) -> set[str]:
    return set(story.hosts[HOSTS[0]].observe().pools[VOLUMES].volumes)


def _guests(story: Story) -> set[str]:
    return {one.name for one in story.hosts[HOSTS[0]].observe().guests.values()}


def test_it_is_emptied_after_the_date_and_the_days_and_the_domain_goes_last() -> None:
    story = _deleted(disks=(volume_disk("root"), volume_disk("data")))
    story.days(29)
    assert not _steps(story.passes())
    story.days(1)
    plans = story.passes()
    assert _steps(plans) == ["SetMark", "DeleteVolume", "DeleteVolume", "UndefineGuest"]
    assert not story.refused
    assert "a-root.raw" not in _volumes(story)
    assert "theirs.raw" in _volumes(story)
    assert _guests(story) == set()
    first = plans[0].steps[0].step
    assert isinstance(first, SetMark)
    assert first.mark.trash is not None
    assert first.mark.trash.emptying is not None


def test_a_guest_with_a_protected_disk_stays_until_that_is_lifted() -> None:
    disks = (volume_disk("root"), replace(volume_disk("data"), protect=True))
    story = _deleted(disks=disks)
    story.days(60)
    plans = story.passes()
    assert not _steps(plans)
    (change,) = plans[-1].statuses[NAME].changes
    assert (change.fate, change.reason) == (Fate.HELD, Reason.PROTECTED)
    assert change.message.startswith("its disk data is protected")
    unprotected = guest("a", disks=(volume_disk("root"), volume_disk("data")))
    away = story.desired
    story.arrive(replace(away, guests={NAME: unprotected}))
    story.passes()
    story.arrive(away)
    story.passes()
    story.days(30)
    assert "UndefineGuest" in _steps(story.passes())


def test_a_clock_a_year_ahead_empties_nothing() -> None:
    """It makes the date come, and counts as one day."""
    story = _deleted()
    story.now += timedelta(days=365)
    assert not _steps(story.passes())
    story.now -= timedelta(days=364)
    assert not _steps(story.passes())
    story.days(28)
    assert not _steps(story.passes())


def test_days_on_which_nobody_looked_do_not_count() -> None:
    story = _deleted()
    story.days(10)
    story.now += timedelta(days=200)
    assert not _steps(story.passes())
    story.days(19)
    assert _steps(story.passes())


def test_the_day_on_which_it_was_deleted_does_not_count() -> None:
    """So a day on which nobody looked is made up for by a later one."""
    story = _deleted()
    story.days(28)
    story.now += timedelta(days=2)
    assert not _steps(story.passes())
    story.days(1)
    assert _steps(story.passes())


def test_a_lost_journal_begins_counting_anew() -> None:
    story = _deleted()
    story.days(29)
    story.forget()
    story.days(29)
    assert not _steps(story.passes())
    story.days(1)
    assert _steps(story.passes())


def test_a_revert_begins_the_time_anew() -> None:
    story = _deleted()
    story.days(20)
    wish = desired(guest("a"), hosts=ONE_HOST)
    story.arrive(wish)
    story.passes()
    story.arrive(replace(wish, guests={}))
    story.passes()
    story.days(29)
    assert not _steps(story.passes())


def test_the_budget_of_deletions_is_the_pace() -> None:
    story = _deleted("a", "b", "c")
    slow = (pool(budget=Budget(deletions=1)),)
    story.arrive(desired(hosts=ONE_HOST, pools=slow))
    story.days(30)
    story.passes(wait=False)
    assert _guests(story) == {"b", "c"}
    (change,) = story.plan().statuses[guest("b").name].changes
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.BUDGET)
    assert change.until is not None
    story.now = change.until
    story.passes(wait=False)
    assert _guests(story) == {"c"}
    story.arrive(desired(hosts=ONE_HOST, pools=(pool(budget=Budget(deletions=0)),)))
    story.days(30)
    (change,) = story.plan().statuses[guest("c").name].changes
    assert (change.fate, change.reason, change.until) == (Fate.WAITING, Reason.BUDGET, None)


def test_a_person_need_not_wait_for_the_day() -> None:
    story = _deleted()
    mark = story.find("a").mark
    assert mark is not None
    story.policy = replace(story.policy, approvals=frozenset({plan_id([emptying(mark)])}))
    assert _steps(story.passes()) == ["SetMark", "DeleteVolume", "UndefineGuest"]


def test_what_is_half_emptied_is_finished_from_the_host_alone() -> None:
    story = _deleted(disks=(volume_disk("root"), volume_disk("data")))
    story.days(30)
    for _ in range(2):
        story.carry_out(story.plan())
    assert _volumes(story) & {"a-root.raw", "a-data.raw"} == {"a-root.raw"}
    story.forget()
    assert _steps(story.passes()) == ["DeleteVolume", "UndefineGuest"]


def test_a_revert_before_the_first_removal_brings_it_back_whole() -> None:
    story = _deleted()
    story.days(30)
    story.carry_out(story.plan())
    found = story.find("a")
    assert found.mark is not None
    assert found.mark.trash is not None
    assert found.mark.trash.emptying is not None
    story.arrive(desired(guest("a"), hosts=ONE_HOST))
    story.passes()
    found = story.find("a")
    assert found.active
    assert found.mark is not None
    assert found.mark.trash is None


def test_a_revert_after_the_first_removal_stops_it_and_says_what_is_gone() -> None:
    story = _deleted(disks=(volume_disk("root"), volume_disk("data")))
    story.days(30)
    for _ in range(2):
        story.carry_out(story.plan())
    wish = guest("a", disks=(volume_disk("root"), volume_disk("data")))
    story.arrive(desired(wish, hosts=ONE_HOST))
    writes = story.writes
    story.passes()
    assert story.writes == writes
    (change,) = story.plan().statuses[NAME].changes
    assert (change.fate, change.reason) == (Fate.HELD, Reason.EMPTIED)
    assert "disk data" in change.message
    assert "disk root" not in change.message
    story.arrive(desired(replace(wish, trash=TrashChoice.DISCARD), hosts=ONE_HOST))
    assert _steps(story.passes())[:3] == ["DeleteVolume", "UndefineGuest", "DefineGuest"]
    assert story.find("a").active


def test_a_manifest_that_comes_back_too_late_is_held_until_a_person_writes_discard() -> None:
    story = _deleted()
    story.days(30)
    story.passes()
    assert _guests(story) == set()
    story.arrive(desired(guest("a"), hosts=ONE_HOST))
    assert not _steps(story.passes())
    (change,) = story.plan().statuses[NAME].changes
    assert (change.fate, change.reason) == (Fate.HELD, Reason.EMPTIED)
    assert "disk root" in change.message
    assert "trash: discard" in change.message
    story.arrive(desired(guest("a", trash=TrashChoice.DISCARD), hosts=ONE_HOST))
    story.passes()
    assert story.find("a").active


def test_a_manifest_that_evidently_means_another_guest_is_held() -> None:
    """And what is in the trash stays there as long as nobody has said what it is to be."""
    story = _deleted()
    other = guest("a", disks=(volume_disk("root", image=True),))
    story.arrive(desired(other, hosts=ONE_HOST))
    story.days(40)
    assert not _steps(story.passes())
    (change,) = story.plan().statuses[NAME].changes
    assert (change.fate, change.reason) == (Fate.HELD, Reason.NAME_TAKEN)
    assert "disks[root].image" in change.message
    restored = replace(other, trash=TrashChoice.RESTORE)
    story.arrive(desired(restored, hosts=ONE_HOST))
    story.passes()
    assert story.find("a").active
    assert "a-root.raw" in _volumes(story)


def test_a_new_guest_of_that_name_waits_until_the_old_one_is_removed() -> None:
    story = _deleted()
    other = guest("a", trash=TrashChoice.DISCARD, disks=(volume_disk("root", image=True),))
    story.arrive(desired(other, hosts=ONE_HOST))
    assert not _steps(story.passes())
    (change,) = story.plan().statuses[NAME].changes
    assert change.reason is Reason.NAME_TAKEN
    story.days(30)
    steps = _steps(story.passes())
    assert steps[:4] == ["SetMark", "DeleteVolume", "UndefineGuest", "DefineGuest"]
    assert story.find("a").active


def test_an_adopted_disk_stays_and_the_firmware_with_it() -> None:
    story = _deleted(disks=(volume_disk("root"), volume_disk("data")))
    found = story.find("a")
    assert found.mark is not None
    assert found.stored is not None
    disks = tuple(replace(one, ours=one.name != "data") for one in found.mark.disks)
    mark = replace(found.mark, disks=disks)
    stored = replace(found.stored, mark=mark)
    story.stage("a", mark=mark, stored=stored, stored_digest=digest_of(stored))
    story.days(30)
    steps = [one.step for plan in story.passes() for one in plan.steps]
    assert [one.volume for one in steps if isinstance(one, DeleteVolume)] == ["a-root.raw"]
    assert [one.keep_firmware for one in steps if isinstance(one, UndefineGuest)] == [True]
    assert "a-data.raw" in _volumes(story)


def test_the_seed_goes_too() -> None:
    story = _deleted(cloud_init=told(keep=True))
    assert "a-cidata.iso" in _volumes(story)
    story.days(30)
    story.passes()
    assert not story.refused
    assert "a-cidata.iso" not in _volumes(story)


def _snapshot(name: str, *targets: str, ours: bool = True) -> ObservedSnapshot:
    signature = Signature(owner=REPOSITORY, consistency=Consistency.OFFLINE) if ours else None
    return ObservedSnapshot(
        name=SnapshotName(name),
        taken=START,
        disks=tuple(map(Target, targets)),
        memory=False,
        signature=signature,
    )


def test_snapshots_of_ours_go_first_and_one_that_lacks_a_disk_is_only_forgotten() -> None:
    """Deleting such a one would kill libvirtd."""
    story = _deleted()
    story.stage("a", snapshots=(_snapshot("lame", "vda", "vdz"), _snapshot("one", "vda")))
    story.days(30)
    steps = [one.step for plan in story.passes() for one in plan.steps]
    assert [type(one) for one in steps] == [SetMark, DeleteSnapshot, DeleteVolume, UndefineGuest]
    assert [one.name for one in steps if isinstance(one, DeleteSnapshot)] == ["one"]
    assert not story.refused


def test_a_snapshot_of_somebody_else_holds_all_of_it_back() -> None:
    story = _deleted()
    story.stage("a", snapshots=(_snapshot("theirs", "vda", ours=False),))
    assert _why(story) == (Fate.HELD, Reason.FOREIGN)


def _why(story: Story) -> tuple[Fate, Reason | None]:
    """Why nothing is removed though the time is over."""
    story.days(30)
    outcome = story.plan()
    assert not outcome.steps
    (change,) = outcome.statuses[NAME].changes
    return change.fate, change.reason


def test_a_volume_that_another_domain_has_holds_all_of_it_back() -> None:
    story = _deleted(disks=(volume_disk("root"), volume_disk("data")))
    other = foreigner()
    assert other.stored is not None
    source = VolumeSource(pool=VOLUMES, volume=VolumeName("a-root.raw"))
    disks = (replace(other.stored.disks[0], source=source),)
    thief = replace(other, stored=replace(other.stored, disks=disks), live=None)
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(seen, guests={**seen.guests, thief.uuid: thief})
    )
    assert _why(story) == (Fate.HELD, Reason.CONFLICT)


def test_a_volume_that_a_manifest_names_holds_all_of_it_back() -> None:
    """Be it as the image of another guest's disk."""
    story = _deleted()
    image = ImageRef(storage=StorageName("guests"), volume=VolumeName("a-root.raw"))
    heir = guest("b", host=HOSTS[0], disks=(replace(volume_disk("root"), image=image),))
    story.arrive(desired(heir, hosts=ONE_HOST))
    story.passes()
    assert _why(story) == (Fate.HELD, Reason.CONFLICT)


def test_what_cannot_be_seen_is_not_removed() -> None:
    story = _deleted()
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen,
            pools={VOLUMES: replace(seen.pools[VOLUMES], active=False, volumes={})},
        )
    )
    assert _why(story) == (Fate.WAITING, Reason.NO_PLACE)


def test_a_volume_on_shared_storage_waits_for_every_host() -> None:
    story = _deleted()
    world = desired(hosts={HOSTS[0]: MAIN, HOSTS[1]: SIDE})
    storages = {name: replace(one, shared=True) for name, one in world.storages.items()}
    story.arrive(replace(world, storages=storages))
    assert _why(story) == (Fate.WAITING, Reason.HOST_UNKNOWN)


def test_days_are_counted_from_the_span_that_the_trash_keeps() -> None:
    assert days_needed(START, START + timedelta(days=30)) == 30
    assert days_needed(START, START + timedelta(hours=1)) == 1
    assert days_needed(START, START) == 1
