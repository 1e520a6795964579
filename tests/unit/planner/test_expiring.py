"""What a living guest let go goes after its time, and a disk that comes back is never empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import Budget, DesiredSnapshot
from reconciler.model.names import DiskName, SnapshotName, Target, VolumeName
from reconciler.model.plan import Fate, Plan, Reason
from reconciler.model.steps import DeleteSnapshot, DeleteVolume
from reconciler.planner.effects import digest_of
from tests.strategies.worlds import (
    HOSTS,
    MAIN,
    VOLUMES,
    Story,
    desired,
    foreigner,
    guest,
    host,
    pool,
    volume_disk,
)

if TYPE_CHECKING:
    from reconciler.model.mark import MarkedDisk

ONE_HOST = {HOSTS[0]: MAIN}
ROOT, DATA = volume_disk("root", qcow2=True), volume_disk("data", qcow2=True)
WHOLE = guest("a", disks=(ROOT, DATA))
LESS = guest("a", disks=(ROOT,))


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _let_go() -> Story:
    """A guest that runs without the second of its disks, whose volume is kept."""
    many = (pool(budget=Budget(deletions=9)),)
    story = Story.of(desired(WHOLE, hosts=ONE_HOST, pools=many), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(LESS, hosts=ONE_HOST, pools=many))
    story.passes()
    return story


def _entry(story: Story) -> MarkedDisk:
    mark = story.find("a").mark
    assert mark is not None
    entry = mark.disk(DiskName("data"))
    assert entry is not None
    return entry


def _volumes(story: Story) -> set[str]:
    return set(story.hosts[HOSTS[0]].observe().pools[VOLUMES].volumes)


def test_a_disk_that_was_let_go_is_removed_after_its_time_and_said_to_be_so_first() -> None:
    story = _let_go()
    assert _entry(story).detached is not None
    story.days(29)
    assert not _steps(story.passes())
    story.days(1)
    assert _steps(story.passes()) == ["SetMark", "DeleteVolume"]
    assert not story.refused
    assert "a-data.raw" not in _volumes(story)
    assert "a-root.raw" in _volumes(story)
    assert _entry(story).expired is not None
    assert story.find("a").active


def test_a_clock_that_is_wrong_removes_no_disk() -> None:
    story = _let_go()
    story.now += timedelta(days=365)
    assert not _steps(story.passes())


def test_a_disk_that_comes_back_after_its_volume_went_is_refused_and_the_rest_goes_on() -> None:
    story = _let_go()
    story.days(30)
    story.passes()
    more = replace(WHOLE, cpus=replace(WHOLE.cpus, count=2))
    story.arrive(desired(replace(more, intent=guest("a", heal_after_s=9).intent), hosts=ONE_HOST))
    story.passes()
    changes = story.plan().statuses[WHOLE.name].changes
    refused = next(one for one in changes if one.field == "disks[data]")
    assert (refused.fate, refused.reason) == (Fate.REFUSED, Reason.EMPTIED)
    assert "another name" in refused.message
    assert "a-data.raw" not in _volumes(story)
    found = story.find("a")
    assert found.live is not None
    assert found.live.vcpus.count == 2


def test_a_disk_whose_removal_was_only_announced_comes_back_whole() -> None:
    story = _let_go()
    story.days(30)
    story.carry_out(story.plan())
    assert _entry(story).expired is not None
    story.arrive(desired(WHOLE, hosts=ONE_HOST))
    story.passes()
    entry = _entry(story)
    assert (entry.expired, entry.detached) == (None, None)
    assert "a-data.raw" in _volumes(story)
    found = story.find("a")
    assert found.live is not None
    assert len(found.live.disks) == 2


def test_an_adopted_disk_is_let_go_and_never_removed() -> None:
    story = _let_go()
    _mark(story, ours=False)
    story.days(60)
    assert not _steps(story.passes())
    assert "a-data.raw" in _volumes(story)


def _mark(story: Story, **changes: object) -> None:
    """Say something else in the mark of the disk that was let go."""
    found = story.find("a")
    assert found.mark is not None
    assert found.stored is not None
    disks = tuple(
        replace(one, **changes) if one.name == "data" else one  # type: ignore[arg-type]
        for one in found.mark.disks
    )
    mark = replace(found.mark, disks=disks)
    stored = replace(found.stored, mark=mark)
    story.stage("a", mark=mark, stored=stored, stored_digest=digest_of(stored))


def test_a_disk_that_somebody_has_plugged_in_meanwhile_is_held() -> None:
    """Be it somebody else's domain, or the guest itself, by hand."""
    story = _let_go()
    story.days(30)
    source = VolumeSource(pool=VOLUMES, volume=VolumeName("a-data.raw"))
    other = foreigner()
    assert other.stored is not None
    disk = replace(other.stored.disks[0], source=source, target=Target("vdq"))
    thief = replace(other, stored=replace(other.stored, disks=(disk,)), live=None)
    home = story.hosts[HOSTS[0]]
    home.stage(lambda seen: replace(seen, guests={**seen.guests, thief.uuid: thief}))
    assert _why(story) == (Fate.HELD, Reason.CONFLICT)
    home.stage(
        lambda seen: replace(
            seen, guests={uuid: one for uuid, one in seen.guests.items() if uuid != thief.uuid}
        )
    )
    found = story.find("a")
    assert found.stored is not None
    stored = replace(found.stored, disks=(*found.stored.disks, disk))
    story.stage("a", stored=stored, stored_digest=digest_of(stored))
    assert _why(story) == (Fate.HELD, Reason.CONFLICT)


def _why(story: Story) -> tuple[Fate, Reason | None]:
    outcome = story.plan()
    assert not outcome.steps
    changes = outcome.statuses[WHOLE.name].changes
    return next((one.fate, one.reason) for one in changes if one.field == "disks[data]")


def test_disks_go_at_the_pace_of_the_budget() -> None:
    story = _let_go()
    story.days(30)
    story.arrive(desired(LESS, hosts=ONE_HOST, pools=(pool(budget=Budget(deletions=0)),)))
    assert _why(story) == (Fate.WAITING, Reason.BUDGET)


def test_a_snapshot_that_is_named_no_more_is_deleted_after_its_time() -> None:
    named = guest("a", disks=(ROOT,), snapshots=(DesiredSnapshot(name=SnapshotName("one")),))
    many = (pool(budget=Budget(deletions=9)),)
    story = Story.of(desired(named, hosts=ONE_HOST, pools=many), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(LESS, hosts=ONE_HOST, pools=many))
    story.passes()
    assert [one.name for one in story.find("a").snapshots] == ["one"]
    story.days(29)
    assert not _steps(story.passes())
    story.days(1)
    steps = [one.step for plan in story.passes() for one in plan.steps]
    assert any(isinstance(one, DeleteSnapshot) for one in steps)
    assert not any(isinstance(one, DeleteVolume) for one in steps)
    found = story.find("a")
    assert not found.snapshots
    assert found.mark is not None
    assert not found.mark.snapshots
    assert not story.refused
