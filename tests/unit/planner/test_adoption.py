"""Adopt: take over what is there by writing the mark, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import Bus, Disk, DiskDevice, DiskFormat, FileSource, Memory
from reconciler.model.desired import DesiredGuest, DesiredNic, GuestState, PoolMode
from reconciler.model.mark import Mark, MarkedDisk, MarkedNic, Phase, ShutdownPolicy
from reconciler.model.names import (
    Digest,
    DiskName,
    FieldName,
    GuestName,
    NetworkName,
    NicName,
    Sha,
    Target,
    VolumeName,
)
from reconciler.model.observed import ObservedGuest, RunState, StateReason
from reconciler.model.plan import Change, Fate, Label, Plan, Reason
from reconciler.model.steps import DefineGuest, SetMark
from reconciler.planner import preview
from tests.strategies.worlds import (
    GIB,
    HOSTS,
    MAIN,
    MIB,
    REPOSITORY,
    SIDE,
    VOLUMES,
    Story,
    adopting,
    desired,
    drive,
    foreigner,
    guest,
    host,
    identity,
    pool,
    their_nic,
    volume,
    volume_disk,
)

if TYPE_CHECKING:
    from reconciler.model.observed import ObservedHost

NAME = GuestName("theirs")


def _story(wish: DesiredGuest | None = None, there: ObservedGuest | None = None) -> Story:
    return Story.of(
        desired(adopting() if wish is None else wish),
        host(HOSTS[0], foreigner() if there is None else there),
        host(HOSTS[1]),
    )


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def _changes(story: Story, name: str = NAME) -> dict[str, Change]:
    return {change.field: change for change in story.plan().statuses[GuestName(name)].changes}


def _first(story: Story, name: str = NAME) -> Change:
    return story.plan().statuses[GuestName(name)].changes[0]


def test_a_guest_as_its_manifest_says_is_given_the_mark_and_nothing_else() -> None:
    story = _story()
    before = story.find(NAME)
    assert _steps(story.passes()) == ["SetMark"]
    after = story.find(NAME)
    assert after.mark is not None
    assert before.stored is not None
    assert after.stored == replace(before.stored, mark=after.mark)
    assert after.mark == Mark(
        owner=REPOSITORY,
        guest=NAME,
        uuid=before.uuid,
        generation=1,
        phase=Phase.READY,
        commit=story.desired.commit.sha,
        intent=story.desired.guests[NAME].intent,
        renderer=1,
        shutdown=ShutdownPolicy(),
        disks=(
            MarkedDisk(
                name=DiskName("root"),
                target=Target("vda"),
                pool=VOLUMES,
                volume=VolumeName("theirs.raw"),
                ours=False,
                filled=True,
            ),
        ),
    )
    assert not story.plan().statuses[NAME].changes


def test_the_plan_shows_the_adoption_and_what_will_follow() -> None:
    """The mark comes first, alone; a person reads both before anything else moves."""
    wish = adopting(memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB))
    story = _story(wish)
    outcome = story.plan()
    assert [type(planned.step) for planned in outcome.steps] == [SetMark]
    changes = _changes(story)
    assert (changes[""].label, changes[""].after) == (Label.ADOPT, "adopted")
    assert (changes["memory"].before, changes["memory"].after) == ("256 MiB", "128 MiB")
    assert _steps(story.passes()) == ["SetMark", "DefineGuest", "SetMemory"]


def test_the_preview_goes_on_after_the_adoption() -> None:
    story = _story(adopting(memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB)))
    seen = preview(
        story.desired,
        story.look(),
        operations=(),
        memory=story.memory,
        policy=story.policy,
        now=story.now,
    )
    assert [type(planned.step).__name__ for _, planned in seen.steps] == [
        "SetMark",
        "DefineGuest",
        "SetMemory",
    ]


def test_a_pool_in_mode_warn_shows_an_adoption_and_does_nothing() -> None:
    story = _story(adopting(memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB)))
    pools = {MAIN: pool(MAIN, mode=PoolMode.WARN)}
    story.desired = replace(story.desired, pools={**story.desired.pools, **pools})
    assert not story.plan().steps
    assert {change.fate for change in _changes(story).values()} == {Fate.HELD}
    assert story.writes == 0


def test_without_being_asked_nothing_is_adopted() -> None:
    story = _story(adopting(adopt=False))
    change = _first(story)
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.FOREIGN)
    assert "adopt: true" in change.message
    assert not story.plan().steps


def test_a_domain_is_known_by_the_uuid_that_the_manifest_says_whatever_its_name() -> None:
    wish = adopting("lists", uuid=foreigner().uuid)
    story = _story(wish)
    assert _steps(story.passes()) == ["SetMark"]
    mark = story.find("theirs").mark
    assert mark is not None
    assert mark.guest == GuestName("lists")


def test_a_name_with_another_uuid_than_the_manifest_says_is_a_conflict() -> None:
    story = _story(adopting(uuid=identity("somebody")))
    assert _first(story).reason is Reason.CONFLICT
    assert not story.plan().steps


def test_of_two_that_it_could_be_none_is_adopted() -> None:
    story = Story.of(
        desired(adopting()), host(HOSTS[0], foreigner()), host(HOSTS[1], foreigner(running=False))
    )
    assert _first(story).reason is Reason.CONFLICT
    assert not story.plan().steps


def test_of_two_namesakes_the_pinned_host_has_the_one() -> None:
    other = replace(foreigner(), uuid=identity("another"))
    story = Story.of(
        desired(adopting(host=HOSTS[1])), host(HOSTS[0], other), host(HOSTS[1], foreigner())
    )
    assert [planned.step.host for planned in story.plan().steps] == [HOSTS[1]]


def test_a_domain_on_another_host_than_the_pinned_one_is_left_there() -> None:
    story = _story(adopting(uuid=foreigner().uuid, host=HOSTS[1]))
    assert _first(story).reason is Reason.PINNED_ELSEWHERE
    assert not story.plan().steps


def test_a_domain_in_another_pool_is_left_there() -> None:
    story = Story.of(
        desired(adopting(uuid=foreigner().uuid, pool=SIDE), hosts={HOSTS[0]: MAIN, HOSTS[1]: SIDE}),
        host(HOSTS[0], foreigner()),
        host(HOSTS[1]),
    )
    assert _first(story).reason is Reason.PINNED_ELSEWHERE


def test_two_guests_do_not_adopt_one_domain() -> None:
    story = Story.of(
        desired(adopting(), adopting("lists", uuid=foreigner().uuid)),
        host(HOSTS[0], foreigner()),
        host(HOSTS[1]),
    )
    assert not story.plan().steps
    assert _first(story).reason is Reason.CONFLICT
    assert "lists and theirs" in _first(story, "lists").message


def test_nothing_is_adopted_while_a_host_that_could_have_it_too_is_silent() -> None:
    story = _story()
    story.silent = {HOSTS[1]}
    assert _first(story).reason is Reason.HOST_UNKNOWN
    assert not story.plan().steps
    story.silent = set()
    assert _steps(story.passes()) == ["SetMark"]


def _marked(owner: str, uuid: str | None) -> ObservedGuest:
    there = foreigner()
    mark = Mark(
        owner=identity(owner) if owner else REPOSITORY,
        guest=GuestName("x"),
        uuid=identity(uuid) if uuid else there.uuid,
        generation=1,
        phase=Phase.READY,
        commit=Sha("c"),
        intent=Digest("i"),
        renderer=1,
        shutdown=ShutdownPolicy(),
    )
    return replace(there, mark=mark)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (_marked("another repository", None), "belongs to repository"),
        (_marked("", "another domain"), "copy of the mark of x"),
        (replace(foreigner(), mark_problem="no phase"), "mark cannot be read: no phase"),
    ],
)
def test_a_domain_with_a_mark_of_whatever_kind_is_never_adopted(
    there: ObservedGuest, why: str
) -> None:
    story = _story(None, there)
    change = _first(story)
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.FOREIGN)
    assert why in change.message
    assert not story.plan().steps


def test_a_guest_that_is_nowhere_is_not_made_in_place_of_the_one_to_adopt() -> None:
    story = Story.of(desired(adopting()), host(HOSTS[0]), host(HOSTS[1]))
    change = _first(story)
    assert (change.fate, change.reason) == (Fate.WAITING, Reason.NOTHING_TO_ADOPT)
    assert not story.plan().steps


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        (RunState.PAUSED, StateReason.USER, Reason.PAUSED),
        (RunState.RUNNING, StateReason.BOOTED, Reason.BUSY),
    ],
)
def test_what_somebody_is_at_work_on_is_not_adopted_meanwhile(
    state: RunState, reason: StateReason, why: Reason
) -> None:
    job = "backup" if why is Reason.BUSY else None
    story = _story(None, replace(foreigner(), state=state, reason=reason, job=job))
    assert _first(story).reason is why
    assert not story.plan().steps


def test_a_domain_that_is_only_running_is_not_adopted() -> None:
    story = _story(None, replace(foreigner(), stored=None))
    assert _first(story).reason is Reason.TRANSIENT
    assert not story.plan().steps


def test_autostart_is_not_flipped_unseen() -> None:
    story = _story(adopting(autostart=guest().autostart))
    assert _steps(story.passes()) == ["SetMark", "SetAutostart"]


def test_a_card_that_the_manifest_names_by_its_address_is_ours_and_others_are_not() -> None:
    card = DesiredNic(
        name=NicName("eth0"), network=NetworkName("lan"), mac=their_nic().mac, model="e1000"
    )
    story = _story(adopting(nics=(card,)))
    assert _changes(story)["networks[eth0]"].label is Label.LIVE
    assert _steps(story.passes()) == ["SetMark", "DefineGuest", "ChangeNic"]
    mark = story.find(NAME).mark
    assert mark is not None
    assert mark.nics == (MarkedNic(name=card.name, mac=card.mac),)


def test_a_disk_that_the_domain_does_not_have_is_made_after_the_adoption() -> None:
    more = adopting(disks=(*adopting().disks, replace(volume_disk("data"), volume=VolumeName("n"))))
    story = _story(more)
    first = story.plan().steps[0].step
    assert isinstance(first, SetMark)
    assert [entry.name for entry in first.mark.disks] == ["root"]
    assert _steps(story.passes()) == [
        "SetMark",
        "DefineGuest",
        "CreateVolume",
        "DefineGuest",
        "AttachDisk",
    ]


def test_an_adopted_disk_stays_on_its_bus_and_a_drive_too() -> None:
    there = foreigner()
    assert there.stored is not None
    cd = Disk(
        target=Target("hdc"),
        bus=Bus.IDE,
        source=None,
        device=DiskDevice.CDROM,
        read_only=True,
    )
    disks = (cd, replace(there.stored.disks[0], bus=Bus.SCSI, read_only=True))
    stored = replace(there.stored, disks=disks)
    story = _story(
        adopting(disks=(*adopting().disks, replace(drive(), target=Target("hdc")))),
        replace(there, stored=stored, live=stored),
    )
    assert _steps(story.passes()) == ["SetMark"]
    assert story.find(NAME).stored == replace(stored, mark=story.find(NAME).mark)


def test_what_the_manifest_says_of_a_disk_is_remembered_from_the_first() -> None:
    disk = replace(adopting().disks[0], bus=Bus.VIRTIO, mentioned=(FieldName("bus"),))
    story = _story(adopting(disks=(disk,)))
    assert _steps(story.passes()) == ["SetMark"]
    mark = story.find(NAME).mark
    assert mark is not None
    assert [entry.fields for entry in mark.disks] == [(FieldName("bus"),)]


def test_an_adopted_disk_grows_when_asked_and_is_kept_when_let_go() -> None:
    story = _story()
    story.passes()
    bigger = replace(volume_disk("root", 3), volume=VolumeName("theirs.raw"))
    story.desired = desired(adopting(disks=(bigger,)))
    assert _steps(story.passes()) == ["SetMark", "GrowDisk"]
    story.desired = desired(adopting(disks=()))
    story.passes()
    found = story.hosts[HOSTS[0]].observe()
    assert VolumeName("theirs.raw") in found.pools[VOLUMES].volumes


def test_taking_the_word_out_again_costs_nothing() -> None:
    story = _story()
    story.passes()
    plain = replace(adopting(), adopt=False, intent=Digest("plain"))
    story.desired = desired(plain)
    assert _steps(story.passes()) == ["SetMark"]
    assert not story.plan().statuses[NAME].changes


def test_a_guest_whose_manifest_goes_is_kept_like_any_other() -> None:
    story = _story()
    story.passes()
    story.desired = desired()
    story.passes()
    mark = story.find(NAME).mark
    assert mark is not None
    assert mark.phase is Phase.TRASH
    story.desired = desired(adopting())
    story.passes()
    assert story.find(NAME).state is RunState.RUNNING


# -------------------------------------------------------------------------- a volume by itself


def _taking(**changes: object) -> DesiredGuest:
    disk = replace(volume_disk(), volume=VolumeName("old.raw"), adopt=True, **changes)  # type: ignore[arg-type]
    return guest("a", disks=(disk,))


def _host_with(*guests: ObservedGuest, **changes: object) -> ObservedHost:
    old = replace(volume("old.raw", 2), **changes)  # type: ignore[arg-type]
    return host(HOSTS[0], *guests, volumes=(old,))


def _new(wish: DesiredGuest, *hosts: ObservedHost) -> Story:
    return Story.of(desired(wish, hosts={one.name: MAIN for one in hosts}), *hosts)


def test_a_new_guest_takes_a_volume_that_is_there_as_it_is() -> None:
    story = _new(_taking(), _host_with())
    assert _steps(story.passes()) == ["DefineGuest", "SetMark", "StartGuest", "SetMark"]
    assert not story.refused
    found = story.find("a")
    assert found.mark is not None
    assert [(entry.ours, entry.filled) for entry in found.mark.disks] == [(False, True)]
    assert found.disk_sizes == {Target("vda"): 2 * GIB}


def test_a_guest_gets_another_disk_by_adoption() -> None:
    story = _new(guest("a"), _host_with())
    story.passes()
    disk = replace(volume_disk("data"), volume=VolumeName("old.raw"), adopt=True)
    root = guest("a").disks[0]
    wish = replace(guest("a"), disks=(root, disk), intent=Digest("more"))
    story.desired = desired(wish, hosts={HOSTS[0]: MAIN})
    assert _steps(story.passes()) == ["DefineGuest", "AttachDisk"]
    assert not story.refused


def test_a_disk_of_nobodys_inside_an_owned_guest_becomes_ours_by_adoption() -> None:
    story = _new(guest("a"), _host_with())
    story.passes()
    found = story.find("a")
    assert found.stored is not None
    theirs = Disk(
        target=Target("vdq"),
        bus=Bus.VIRTIO,
        source=foreigner().stored.disks[0].source,  # type: ignore[union-attr]
    )
    stored = replace(found.stored, disks=(*found.stored.disks, theirs))
    story.stage("a", stored=stored, live=stored)
    disk = replace(volume_disk("q", 1), volume=VolumeName("theirs.raw"), adopt=True)
    wish = replace(guest("a"), disks=(guest("a").disks[0], disk), intent=Digest("more"))
    story.desired = desired(wish, hosts={HOSTS[0]: MAIN})
    assert _steps(story.passes()) == ["SetMark"]
    mark = story.find("a").mark
    assert mark is not None
    assert mark.disk(DiskName("q")).target == "vdq"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (host(HOSTS[0]), "has no volume default/old.raw that could be adopted"),
        (_host_with(format=DiskFormat.QCOW2), "in format qcow2, the manifest says raw"),
    ],
)
def test_a_volume_that_is_not_there_or_of_another_format_is_not_adopted(
    there: ObservedHost, why: str
) -> None:
    story = _new(_taking(), there)
    change = _first(story, "a")
    assert change.reason is Reason.NO_PLACE
    assert why in change.message
    assert not story.plan().steps


def test_a_volume_that_another_domain_has_is_not_adopted() -> None:
    """Two guests on one volume would destroy it."""
    wish = guest("a", disks=(replace(volume_disk(), volume=VolumeName("theirs.raw"), adopt=True),))
    story = _new(wish, host(HOSTS[0], foreigner(running=False)))
    assert "has theirs, which has default/theirs.raw" in _first(story, "a").message
    assert not story.plan().steps


def test_an_adopted_volume_that_vanishes_is_not_made_again() -> None:
    story = _new(_taking(), _host_with())
    story.passes()
    story.hosts[HOSTS[0]].stage(
        lambda seen: replace(
            seen,
            pools={VOLUMES: replace(seen.pools[VOLUMES], volumes={})},
        )
    )
    story.desired = desired(
        replace(_taking(), state=GuestState.STOPPED, intent=Digest("x")), hosts={HOSTS[0]: MAIN}
    )
    steps = _steps(story.passes())
    assert "CreateVolume" not in steps
    assert "DiscardVolume" not in steps


def test_a_file_that_lies_in_no_pool_stays_nobodys() -> None:
    there = foreigner()
    assert there.stored is not None
    other = Disk(target=Target("vdz"), bus=Bus.VIRTIO, source=FileSource(path="/srv/x.raw"))
    stored = replace(there.stored, disks=(*there.stored.disks, other))
    story = _story(adopting(), replace(there, stored=stored, live=stored))
    assert _steps(story.passes()) == ["SetMark"]
    story.desired = desired(
        adopting(memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB)), sha="next"
    )
    define = story.plan().steps[0].step
    assert isinstance(define, DefineGuest)
    assert other in define.definition.disks
