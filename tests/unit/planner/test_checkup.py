"""The check-up: what a host lacks is found, what cannot be seen is never called well."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.checkup import Check, Finding, Inspection, Judgement
from reconciler.model.definition import DomainType, GuestType
from reconciler.model.desired import HostState, PoolMode
from reconciler.model.memory import DepartedHost, Memory
from reconciler.model.names import HostName
from reconciler.model.observed import ObservedHost, ObservedWorld, SilentHost
from reconciler.planner.checkup import check_up, paths_of
from tests.strategies.worlds import (
    GIB,
    HOSTS,
    MAIN,
    START,
    VOLUMES,
    Story,
    desired,
    drive,
    foreigner,
    guest,
    host,
    pool,
    volume_disk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.desired import DesiredWorld

HOME = HOSTS[0]
SOUND = Inspection(
    libvirt="9.0.0",
    hypervisor="QEMU 7.2.0",
    dom0_memory_kib=None,
    files={"/boot/vmlinuz": True},
)


def _world() -> DesiredWorld:
    """One guest with an image, a medium and a card, on one host whose machine is known."""
    wish = guest("a", disks=(volume_disk(image=True), drive("one.iso")))
    return desired(wish, hosts={HOME: MAIN})


def _found(
    world: DesiredWorld | None = None,
    seen: ObservedHost | SilentHost | None = None,
    inspection: Inspection | str = SOUND,
    memory: Memory | None = None,
) -> dict[Check, Finding]:
    """What is said of the only host, and of the repository where the host has no such check."""
    there = replace(host(HOME), domain_type=DomainType.KVM) if seen is None else seen
    findings = check_up(
        world or _world(),
        ObservedWorld(hosts={HOME: there}),
        inspections={HOME: inspection},
        memory=memory or Memory(departed=()),
        now=START + timedelta(minutes=1),
    )
    about = {one.check: one for one in findings if one.host is None}
    return about | {one.check: one for one in findings if one.host == HOME}


def test_a_sound_host_has_no_problem_and_what_cannot_be_seen_is_not_called_ok() -> None:
    found = _found()
    by_judgement = {
        judgement: {check for check, one in found.items() if one.judgement is judgement}
        for judgement in Judgement
    }
    assert not by_judgement[Judgement.PROBLEM]
    assert not by_judgement[Judgement.NOTICE]
    assert by_judgement[Judgement.NOT_CHECKED] == {Check.SERVICES, Check.CLOCK}


def test_every_finding_that_is_not_well_says_what_to_do() -> None:
    """Be it a problem, a notice, or something that a person has to look at."""
    bare = replace(host(HOME), pools={}, networks={}, bridges=frozenset())
    for found in (
        _found(),
        _found(seen=bare),
        _found(inspection="it hung"),
        _found(memory=Memory()),
    ):
        for one in found.values():
            assert bool(one.advice) is (one.judgement is not Judgement.OK), one


def _without_volume(name: str) -> Callable[[ObservedHost], ObservedHost]:
    def change(seen: ObservedHost) -> ObservedHost:
        there = seen.pools[VOLUMES]
        left = {key: one for key, one in there.volumes.items() if key != name}
        return replace(seen, pools={VOLUMES: replace(there, volumes=left)})

    return change


@pytest.mark.parametrize(
    ("change", "check", "judgement", "words"),
    [
        (lambda seen: replace(seen, pools={}), Check.STORAGE, Judgement.PROBLEM, "no storage pool"),
        (
            lambda seen: replace(
                seen, pools={VOLUMES: replace(seen.pools[VOLUMES], active=False, volumes={})}
            ),
            Check.STORAGE,
            Judgement.PROBLEM,
            "not active",
        ),
        (_without_volume("debian.raw"), Check.IMAGES, Judgement.PROBLEM, "default/debian.raw"),
        (_without_volume("one.iso"), Check.IMAGES, Judgement.PROBLEM, "default/one.iso"),
        (
            lambda seen: replace(seen, bridges=frozenset()),
            Check.NETWORKS,
            Judgement.PROBLEM,
            "no bridge br0",
        ),
        (
            lambda seen: replace(seen, bridges=None),
            Check.NETWORKS,
            Judgement.NOT_CHECKED,
            "br0",
        ),
        (
            lambda seen: replace(seen, domain_type=DomainType.QEMU),
            Check.ACCELERATION,
            Judgement.NOTICE,
            "no KVM",
        ),
        (
            lambda seen: replace(seen, guest_types=frozenset()),
            Check.GUEST_TYPES,
            Judgement.NOTICE,
            "hvm for x86_64 (as a)",
        ),
        (
            lambda seen: replace(seen, guests={foreigner().uuid: foreigner()}),
            Check.FOREIGN,
            Judgement.NOTICE,
            "1 guest that this repository does not own",
        ),
    ],
)
def test_what_a_host_lacks_is_found(
    change: Callable[[ObservedHost], ObservedHost],
    check: Check,
    judgement: Judgement,
    words: str,
) -> None:
    found = _found(seen=change(replace(host(HOME), domain_type=DomainType.KVM)))[check]
    assert found.judgement is judgement, found
    assert words in found.message


@pytest.mark.parametrize(
    ("inspection", "check", "judgement"),
    [
        (replace(SOUND, libvirt="7.6.0"), Check.VERSIONS, Judgement.NOTICE),
        (replace(SOUND, libvirt="10.0.0"), Check.VERSIONS, Judgement.OK),
        (replace(SOUND, files={"/boot/vmlinuz": False}), Check.BOOT_FILES, Judgement.PROBLEM),
        (replace(SOUND, files={"/boot/vmlinuz": None}), Check.BOOT_FILES, Judgement.NOT_CHECKED),
        (replace(SOUND, idle_pools=frozenset({VOLUMES})), Check.STORAGE, Judgement.PROBLEM),
        (replace(SOUND, dom0_memory_kib=(GIB, GIB)), Check.DOM0_MEMORY, Judgement.OK),
        (replace(SOUND, dom0_memory_kib=(GIB, 2 * GIB)), Check.DOM0_MEMORY, Judgement.PROBLEM),
        ("it hung", Check.VERSIONS, Judgement.NOT_CHECKED),
        ("it hung", Check.BOOT_FILES, Judgement.NOT_CHECKED),
        ("it hung", Check.STORAGE, Judgement.NOT_CHECKED),
    ],
)
def test_what_a_host_says_for_a_check_up_alone_is_judged(
    inspection: Inspection | str, check: Check, judgement: Judgement
) -> None:
    assert _found(inspection=inspection)[check].judgement is judgement


def test_a_network_of_libvirts_must_be_there_active_and_start_with_the_host() -> None:
    wish = guest("a")
    world = desired(replace(wish, nics=(replace(wish.nics[0], network="dmz"),)), hosts={HOME: MAIN})  # type: ignore[arg-type]
    for networks, idle, judgement in (
        ({"dmz": True}, frozenset[str](), Judgement.OK),
        ({"dmz": True}, frozenset({"dmz"}), Judgement.PROBLEM),
        ({"dmz": False}, frozenset[str](), Judgement.PROBLEM),
        ({}, frozenset[str](), Judgement.PROBLEM),
    ):
        found = _found(
            world,
            replace(host(HOME), networks=networks),
            replace(SOUND, idle_networks=idle),
        )
        assert found[Check.NETWORKS].judgement is judgement


def test_a_silent_host_is_a_problem_and_nothing_else_is_said_of_it() -> None:
    silent = SilentHost(name=HOME, why="connection refused", since=None)
    about = [
        one
        for one in check_up(
            _world(),
            ObservedWorld(hosts={HOME: silent}),
            inspections={},
            memory=Memory(departed=()),
            now=START,
        )
        if one.host == HOME
    ]
    assert [(one.check, one.judgement) for one in about] == [(Check.ANSWERS, Judgement.PROBLEM)]
    assert "connection refused" in about[0].message


def test_a_retired_host_is_not_examined() -> None:
    world = _world()
    gone = replace(world.hosts[HOME], state=HostState.RETIRED)
    findings = check_up(
        replace(world, hosts={HOME: gone}),
        ObservedWorld(hosts={}),
        inspections={},
        memory=Memory(departed=()),
        now=START,
    )
    assert {one.host for one in findings} == {None}


@pytest.mark.parametrize("answers", [True, False])
def test_a_fenced_host_is_a_problem_only_when_it_answers(*, answers: bool) -> None:
    world = _world()
    fenced = replace(world.hosts[HOME], state=HostState.FENCED)
    silent = SilentHost(name=HOME, why="no route", since=None)
    findings = check_up(
        replace(world, hosts={HOME: fenced}),
        ObservedWorld(hosts={HOME: host(HOME) if answers else silent}),
        inspections={HOME: "not asked"},
        memory=Memory(departed=()),
        now=START,
    )
    [found] = [one for one in findings if one.check is Check.FENCED]
    assert found.judgement is (Judgement.PROBLEM if answers else Judgement.OK)


def test_a_machine_that_no_manifest_names_is_a_notice_with_its_uuid() -> None:
    world = _world()
    nameless = replace(world.hosts[HOME], uuid=None)
    found = _found(replace(world, hosts={HOME: nameless}))[Check.ANSWERS]
    assert found.judgement is Judgement.NOTICE
    assert str(host(HOME).uuid) in found.advice


def test_what_the_repository_is_told_of() -> None:
    warned = desired(guest("a"), hosts={HOME: MAIN}, pools=(pool(mode=PoolMode.WARN),))
    assert _found(warned)[Check.MODES].judgement is Judgement.NOTICE
    assert _found(memory=Memory())[Check.DEPARTED].judgement is Judgement.NOT_CHECKED
    left = Memory(departed=(DepartedHost(name=HostName("old"), pool=MAIN),))
    assert _found(memory=left)[Check.DEPARTED].judgement is Judgement.PROBLEM
    world = _world()
    ahead = replace(world.commit, committed_at=START + timedelta(hours=2))
    findings = check_up(
        replace(world, commit=ahead),
        ObservedWorld(hosts={HOME: host(HOME)}),
        inspections={HOME: SOUND},
        memory=Memory(departed=()),
        now=START,
    )
    [clock] = [one for one in findings if one.check is Check.CLOCK and one.host is None]
    assert clock.judgement is Judgement.PROBLEM


def test_a_guest_that_a_host_starts_though_it_was_deleted_is_a_problem() -> None:
    story = Story.of(desired(guest("a", host=HOME), hosts={HOME: MAIN}), host(HOME))
    story.passes()
    assert story.find("a").autostart
    seen = story.hosts[HOME].observe()
    assert _found(story.desired, seen)[Check.AUTOSTART].judgement is Judgement.OK
    deleted = _found(desired(hosts={HOME: MAIN}), seen)[Check.AUTOSTART]
    assert deleted.judgement is Judgement.PROBLEM
    shared = replace(
        story.desired,
        storages={name: replace(one, shared=True) for name, one in story.desired.storages.items()},
    )
    found = _found(shared, seen)
    assert found[Check.AUTOSTART].judgement is Judgement.PROBLEM
    assert found[Check.LOCKING].judgement is Judgement.NOT_CHECKED


def test_a_copied_mark_is_a_problem() -> None:
    story = Story.of(desired(guest("a"), hosts={HOME: MAIN}), host(HOME))
    story.passes()
    seen = story.hosts[HOME].observe()
    [original] = seen.guests.values()
    twin = replace(original, uuid=foreigner().uuid)
    found = _found(story.desired, replace(seen, guests={**seen.guests, twin.uuid: twin}))
    assert found[Check.FOREIGN].judgement is Judgement.PROBLEM
    assert "copy of the mark" in found[Check.FOREIGN].message


def test_the_files_of_a_host_are_those_of_the_guests_that_it_may_get() -> None:
    world = desired(guest("a"), guest("b", host=HOSTS[1]), hosts={HOME: MAIN, HOSTS[1]: MAIN})
    assert paths_of(world, world.hosts[HOME]) == {"/boot/vmlinuz"}
    pinned = desired(guest("b", host=HOSTS[1]), hosts={HOME: MAIN, HOSTS[1]: MAIN})
    assert paths_of(pinned, pinned.hosts[HOME]) == frozenset()


def test_guest_types_are_judged_by_what_the_host_would_choose() -> None:
    """On Xen a guest without a type is PVH."""
    seen = replace(host(HOME, xen=True), domain_type=DomainType.XEN)
    assert _found(seen=seen)[Check.GUEST_TYPES].judgement is Judgement.OK
    kinds = frozenset(one for one in seen.guest_types if one[0] is not GuestType.PVH)
    found = _found(seen=replace(seen, guest_types=kinds))[Check.GUEST_TYPES]
    assert found.judgement is Judgement.NOTICE
