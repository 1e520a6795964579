"""The life of a seed: made before the first start, read, taken away; and told only once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import DesiredGuest, DesiredWorld, GuestState, RestartWhen
from reconciler.model.mark import Phase
from reconciler.model.memory import Memory
from reconciler.model.names import GuestName, LibvirtPool, VolumeName
from reconciler.model.observed import RunState
from reconciler.model.plan import Change, Fate, Reason
from reconciler.model.steps import CreateSeed, DefineGuest
from tests.strategies.stories import copied
from tests.strategies.worlds import (
    ABLE,
    HOSTS,
    MAIN,
    VOLUMES,
    Story,
    desired,
    guest,
    host,
    identity,
    pool,
    told,
    volume,
    volume_disk,
)

if TYPE_CHECKING:
    from reconciler.model.mark import Mark
    from reconciler.model.plan import Plan

SEED = VolumeName("a-cidata.iso")


def _wish(*wishes: DesiredGuest) -> DesiredWorld:
    return desired(*wishes, hosts={HOSTS[0]: MAIN}, pools=(pool(MAIN),))


def _one(wish: DesiredGuest, *, wait: bool = True, **changes: object) -> Story:
    story = Story.of(_wish(wish), replace(host(HOSTS[0]), **changes))  # type: ignore[arg-type]
    story.passes(wait=wait)
    assert not story.refused
    return story


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _changes(story: Story) -> dict[str, Change]:
    status = story.plan().statuses[guest("a").name]
    return {change.field: change for change in status.changes}


def _mark(story: Story) -> Mark:
    mark = story.find("a").mark
    assert mark is not None
    return mark


def _volumes(story: Story) -> set[str]:
    return set(story.hosts[HOSTS[0]].observe().pools[VOLUMES].volumes)


def _seed_in(story: Story) -> tuple[bool, bool]:
    """Whether the stored and the running definition have the seed."""
    source = VolumeSource(pool=VOLUMES, volume=SEED)
    found = story.find("a")
    return (
        found.stored is not None and any(disk.source == source for disk in found.stored.disks),
        found.live is not None and any(disk.source == source for disk in found.live.disks),
    )


def test_a_seed_is_made_after_the_disks_and_before_the_first_start() -> None:
    story = Story.of(_wish(guest("a", cloud_init=told())), host(HOSTS[0]))
    plans = story.passes(wait=False)
    assert _steps(plans) == [
        "DefineGuest",
        "CreateVolume",
        "CreateSeed",
        "DefineGuest",
        "StartGuest",
        "SetMark",
    ]
    [made] = [one.step for each in plans for one in each.steps if isinstance(one.step, CreateSeed)]
    assert made.instance == str(guest("a").uuid)
    assert made.data == told().data
    assert _seed_in(story) == (True, True)
    found = story.find("a")
    assert found.live is not None
    disk = next(disk for disk in found.live.disks if disk.target == "vdb")
    assert disk.read_only
    mark = _mark(story)
    assert mark.cloud_init == told().data.digest


def test_on_xen_the_seeds_disk_is_not_read_only() -> None:
    """QEMU serves a paravirtual guest no file that is."""
    story = Story.of(_wish(guest("a", cloud_init=told(keep=True))), host(HOSTS[0], xen=True))
    story.passes()
    found = story.find("a")
    assert found.live is not None
    assert [(disk.target, disk.read_only) for disk in found.live.disks] == [
        ("xvda", False),
        ("xvdb", False),
    ]


def test_a_seed_goes_when_its_guest_has_been_running_for_a_while() -> None:
    """Stored, then live, then the volume, then its name; what was told stays known."""
    story = _one(guest("a", cloud_init=told()), wait=False)
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.SETTLING)
    assert change.until is not None
    story.now = change.until - timedelta(seconds=1)
    assert not story.plan().steps
    story.now = change.until
    assert _steps(story.passes()) == ["DefineGuest", "DetachDisk", "RemoveSeed", "SetMark"]
    assert not story.refused
    assert _seed_in(story) == (False, False)
    assert SEED not in _volumes(story)
    mark = _mark(story)
    assert (mark.seed, mark.cloud_init) == (None, told().data.digest)
    assert not _changes(story)


def test_a_guest_that_crashed_meanwhile_is_given_its_time_anew() -> None:
    story = _one(guest("a", cloud_init=told()), wait=False)
    until = _changes(story)["cloudInit"].until
    assert until is not None
    story.now = until - timedelta(seconds=1)
    story.stage("a", state_since=None)
    story.since.clear()
    again = _changes(story)["cloudInit"].until
    assert again is not None
    assert again > until


def test_a_seed_that_is_kept_stays_until_the_manifest_lets_it_go() -> None:
    story = _one(guest("a", cloud_init=told(keep=True)))
    assert _seed_in(story) == (True, True)
    assert not _changes(story)
    story.desired = _wish(guest("a", cloud_init=told()))
    assert _steps(story.passes()) == [
        "SetMark",
        "DefineGuest",
        "DetachDisk",
        "RemoveSeed",
        "SetMark",
    ]
    assert SEED not in _volumes(story)


def test_where_nothing_is_unplugged_a_seed_leaves_with_the_next_start() -> None:
    """Nobody restarts a guest for it, not even where the manifest lets restarts be."""
    able = replace(ABLE, disk_hotplug=False)
    wish = guest("a", cloud_init=told(), restart=RestartWhen.NOW)
    story = _one(wish, capabilities=able)
    assert _seed_in(story) == (False, True)
    assert SEED in _volumes(story)
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.NOT_SUPPORTED)
    story.desired = _wish(replace(wish, state=GuestState.STOPPED))
    story.passes()
    assert SEED not in _volumes(story)
    assert not story.refused


def test_a_half_made_seed_is_removed_and_made_again() -> None:
    """After a kill the hosts alone say that it is not complete."""
    story = Story.of(_wish(guest("a", cloud_init=told())), host(HOSTS[0]))
    for _ in range(3):
        story.carry_out(story.plan())
    assert SEED in _volumes(story)
    story.memory = Memory(
        departed=(),
        filled=frozenset(one for one in story.memory.filled if one[2] != SEED),
    )
    assert _steps(story.passes(wait=False)) == [
        "RemoveSeed",
        "CreateSeed",
        "DefineGuest",
        "StartGuest",
        "SetMark",
    ]


def test_data_that_changed_before_the_first_start_are_made_anew() -> None:
    story = Story.of(_wish(guest("a", cloud_init=told())), host(HOSTS[0]))
    for _ in range(3):
        story.carry_out(story.plan())
    story.desired = _wish(guest("a", cloud_init=told("two")))
    plans = story.passes(wait=False)
    assert _steps(plans)[1:4] == ["RemoveSeed", "SetMark", "CreateSeed"]
    assert _mark(story).cloud_init == told("two").data.digest
    assert not story.refused


def test_a_wish_that_was_dropped_before_the_first_start_leaves_nothing() -> None:
    story = Story.of(_wish(guest("a", cloud_init=told())), host(HOSTS[0]))
    for _ in range(3):
        story.carry_out(story.plan())
    story.desired = _wish(guest("a"))
    story.passes()
    assert SEED not in _volumes(story)
    assert (_mark(story).seed, _mark(story).cloud_init) == (None, None)
    assert story.find("a").active


@pytest.mark.parametrize("first", [None, told(), told(keep=True)], ids=["none", "some", "kept"])
def test_other_data_are_refused_once_the_guest_is_made(first: object) -> None:
    story = _one(guest("a", cloud_init=first))
    before = story.find("a")
    story.desired = _wish(guest("a", cloud_init=told("two", keep=True), protect=True))
    story.passes()
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.CREATE_ONLY)
    assert "cloudInit.rerun" in change.message
    assert "two" not in f"{change.before} {change.after}"
    assert _mark(story).protected
    assert before.stored is not None
    after = story.find("a").stored
    assert after is not None
    assert after.disks == before.stored.disks


def test_data_that_are_taken_out_of_a_manifest_ask_for_nothing() -> None:
    """Secrets may leave the repository; put back, the same ones are known."""
    story = _one(guest("a", cloud_init=told()))
    for wish in (guest("a"), guest("a", cloud_init=told())):
        story.desired = _wish(wish)
        assert _steps(story.passes()) == ["SetMark"]
        assert not _changes(story)


def test_a_new_token_tells_the_guest_once_more_at_its_next_start() -> None:
    """The token is in the mark before the first byte; another instance runs everything again."""
    story = _one(guest("a", cloud_init=told()))
    story.desired = _wish(guest("a", cloud_init=told("two", rerun="once")))
    first = story.plan()
    [planned] = first.steps
    assert isinstance(planned.step, DefineGuest)
    mark = planned.step.definition.mark
    assert mark is not None
    assert mark.tokens == ("cloudInit:once",)
    assert SEED not in _volumes(story)
    assert mark.seed is not None
    assert (mark.seed.filled, mark.seed.instance) == (False, f"{guest('a').uuid}-once")
    story.passes()
    assert _seed_in(story) == (True, False)
    assert _changes(story)["cloudInit"].reason is Reason.NEEDS_RESTART
    story.desired = _wish(guest("a", cloud_init=told("two", rerun="once"), restart=RestartWhen.NOW))
    story.passes()
    assert _seed_in(story) == (False, False)
    assert SEED not in _volumes(story)
    assert _mark(story).cloud_init == told("two").data.digest
    assert not _changes(story)
    assert not story.refused


def test_a_token_that_was_used_does_nothing_and_its_revert_says_so() -> None:
    story = _one(guest("a", cloud_init=told(rerun="once")))
    assert _mark(story).tokens == ("cloudInit:once",)
    story.desired = _wish(guest("a", cloud_init=told("two", rerun="once")))
    story.passes()
    assert _changes(story)["cloudInit"].reason is Reason.CREATE_ONLY
    story.desired = _wish(guest("a", cloud_init=told()))
    story.passes()
    assert not _changes(story)
    assert _seed_in(story) == (False, False)


def test_a_token_whose_seed_was_not_finished_serves_other_data_too() -> None:
    story = _one(guest("a", cloud_init=told()))
    story.desired = _wish(guest("a", cloud_init=told("two", rerun="once")))
    for _ in range(2):
        story.carry_out(story.plan())
    story.forget()
    story.desired = _wish(guest("a", cloud_init=told("three", rerun="once")))
    story.passes()
    assert _mark(story).cloud_init == told("three").data.digest
    assert _mark(story).tokens == ("cloudInit:once",)


def test_a_token_that_was_taken_back_in_time_leaves_nothing() -> None:
    story = _one(guest("a", cloud_init=told()))
    story.desired = _wish(guest("a", cloud_init=told("two", rerun="once")))
    for _ in range(2):
        story.carry_out(story.plan())
    story.forget()
    story.desired = _wish(guest("a", cloud_init=told()))
    story.passes()
    assert (_mark(story).seed, _mark(story).cloud_init) == (None, told().data.digest)
    assert not _changes(story)


def test_a_guest_that_comes_back_from_the_trash_is_not_told_again() -> None:
    story = _one(guest("a", cloud_init=told()))
    story.desired = _wish()
    story.passes()
    assert _mark(story).phase is Phase.TRASH
    story.desired = _wish(guest("a", cloud_init=told()))
    plans = story.passes()
    assert "CreateSeed" not in _steps(plans)
    assert story.find("a").active
    assert not _changes(story)


def test_a_volume_in_the_seeds_place_is_never_taken() -> None:
    theirs = volume(SEED)
    story = _one(guest("a"))
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen,
            pools={
                name: replace(one, volumes={**one.volumes, SEED: theirs})
                for name, one in seen.pools.items()
            },
        )
    )
    story.desired = _wish(guest("a", cloud_init=told(rerun="once")))
    story.passes()
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.CONFLICT)
    assert _mark(story).tokens == ()
    assert story.hosts[HOSTS[0]].observe().pools[VOLUMES].volumes[SEED] == theirs


def test_a_guest_is_not_made_where_its_seed_cannot_be() -> None:
    able = replace(ABLE, volume_upload=False)
    story = Story.of(_wish(guest("a", cloud_init=told())), host(HOSTS[0], capabilities=able))
    story.passes()
    [change] = story.plan().statuses[guest("a").name].changes
    assert change.reason is Reason.NO_PLACE
    assert "lets no volume be written" in change.message


def test_a_seed_in_a_pool_that_is_off_waits_and_its_guest_is_healed() -> None:
    story = _one(guest("a", cloud_init=told()), wait=False)
    change = _changes(story)["cloudInit"]
    assert change.until is not None
    story.now = change.until
    for _ in range(2):
        story.carry_out(story.plan())
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen, pools={name: replace(one, active=False) for name, one in seen.pools.items()}
        )
    )
    assert not story.plan().steps
    assert _changes(story)["cloudInit"].reason is Reason.NO_PLACE


def test_a_seed_that_a_copy_of_its_guest_has_too_stays() -> None:
    """Who copies a definition copies its disks; what another guest has is not taken from it."""
    story = _one(guest("a", cloud_init=told()), wait=False)
    found = story.find("a")
    assert found.stored is not None
    uuid = identity("copy")
    copied = replace(found.stored, name=GuestName("copy"), uuid=uuid)
    copy = replace(found, name=GuestName("copy"), uuid=uuid, stored=copied, live=None)
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen, guests={**seen.guests, uuid: replace(copy, state=RunState.SHUT_OFF)}
        )
    )
    story.passes()
    assert not story.refused
    assert SEED in _volumes(story)
    assert _seed_in(story) == (False, False)
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.CONFLICT)
    assert "copy has the seed too" in change.message


def test_a_disk_that_is_added_does_not_get_the_seeds_place() -> None:
    story = _one(guest("a", cloud_init=told(keep=True)))
    disks = (volume_disk(), volume_disk("data"))
    story.desired = _wish(guest("a", cloud_init=told(keep=True), disks=disks))
    story.passes()
    found = story.find("a")
    assert found.stored is not None
    assert [disk.target for disk in found.stored.disks] == ["vda", "vdb", "vdc"]
    assert _seed_in(story) == (True, True)
    assert LibvirtPool("default") == VOLUMES


def test_a_seed_that_a_copy_of_the_guest_uses_stays_until_it_is_let_go() -> None:
    """Somebody copied the definition: the volume is his as well, and the guest goes on."""
    story = _one(guest("a", cloud_init=told()), wait=False)
    copied(story, story.find("a"))
    story.passes()
    assert SEED in _volumes(story)
    change = _changes(story)["cloudInit"]
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.CONFLICT)
    assert "a-copy has the seed" in change.message
    uuid = story.find("a-copy").uuid
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen, guests={key: one for key, one in seen.guests.items() if key != uuid}
        )
    )
    story.passes()
    assert SEED not in _volumes(story)
