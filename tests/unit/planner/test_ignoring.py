"""What a manifest says to ignore is neither compared nor put right, and told all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import Boot, FirmwareBoot, KernelBoot, Memory, Vcpus
from reconciler.model.options import Options
from reconciler.model.plan import Reason, Sync
from reconciler.planner.effects import digest_of
from reconciler.planner.ignoring import left_alone
from tests.strategies.worlds import HOSTS, MAIN, MIB, Story, desired, guest, host

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredWorld


def _wish(*ignored: str, **changes: object) -> DesiredWorld:
    return desired(guest("a", ignore_drift=ignored, **changes), hosts={HOSTS[0]: MAIN})


def _drifted(*ignored: str) -> Story:
    """A guest that is up, and whose memory somebody has changed by hand, stored and live."""
    story = Story.of(_wish(*ignored), host(HOSTS[0]))
    story.passes()
    found = story.find("a")
    assert found.stored is not None
    assert found.live is not None
    other = Memory(size_kib=300 * MIB, maximum_kib=1024 * MIB)
    stored = replace(found.stored, memory=other)
    live = replace(found.live, memory=other)
    story.stage("a", stored=stored, live=live, stored_digest=digest_of(stored))
    return story


def _definition(story: Story) -> GuestDefinition:
    found = story.find("a")
    assert found.stored is not None
    return found.stored


def test_drift_that_is_not_ignored_is_put_right() -> None:
    story = _drifted()
    story.passes()
    assert _definition(story).memory.size_kib == 512 * MIB


def test_drift_that_is_ignored_stays_and_is_told() -> None:
    story = _drifted("memory")
    before = story.writes
    plans = story.passes()
    assert story.writes == before
    status = plans[-1].statuses[guest("a").name]
    assert (status.stored, status.live, status.changes) == (Sync.YES, Sync.YES, ())
    [told] = status.ignored
    assert (told.field, told.before, told.after) == ("memory", "300 MiB", "512 MiB")
    assert told.reason is Reason.IGNORED


def test_what_is_not_ignored_is_put_right_beside_it() -> None:
    story = _drifted("memory")
    story.desired = _wish("memory", console=False)
    story.passes()
    assert not _definition(story).console
    assert _definition(story).memory.size_kib == 300 * MIB


def test_a_field_that_is_ignored_no_more_is_put_right() -> None:
    story = _drifted("memory")
    story.passes()
    story.desired = _wish()
    story.passes()
    assert _definition(story).memory.size_kib == 512 * MIB


def test_a_new_guest_is_made_as_its_manifest_says() -> None:
    """There is no drift before there is a guest."""
    story = Story.of(_wish("memory", "cpus", "console"), host(HOSTS[0]))
    story.passes()
    assert _definition(story).memory.size_kib == 512 * MIB
    assert story.plan().statuses[guest("a").name].ignored == ()


KERNEL = KernelBoot(kernel="/boot/vmlinuz", cmdline="ro")
OTHER_KERNEL = KernelBoot(kernel="/boot/other", cmdline="rw")


@pytest.mark.parametrize(
    ("field", "left"),
    [
        ("cpus", {"vcpus": Vcpus(count=2, maximum=4)}),
        ("cpus.max", {"vcpus": Vcpus(count=1, maximum=8)}),
        ("memory", {"memory": Memory(size_kib=300, maximum_kib=500)}),
        ("memory.max", {"memory": Memory(size_kib=200, maximum_kib=900)}),
        ("boot.kernel", {"boot": replace(KERNEL, kernel="/boot/other")}),
        ("boot.cmdline", {"boot": replace(KERNEL, cmdline="rw")}),
        ("boot.order", {"boot": KERNEL}),
        ("console", {"console": False}),
        ("agent", {"agent": True}),
        ("rng", {"options": Options(rng=True)}),
    ],
)
def test_each_field_is_left_alone_by_itself(field: str, left: dict[str, object]) -> None:
    story = Story.of(_wish(), host(HOSTS[0]))
    story.passes()
    wanted = replace(
        _definition(story),
        vcpus=Vcpus(count=1, maximum=4),
        memory=Memory(size_kib=200, maximum_kib=500),
        boot=KERNEL,
    )
    stored = replace(
        wanted,
        vcpus=Vcpus(count=2, maximum=8),
        memory=Memory(size_kib=300, maximum_kib=900),
        boot=OTHER_KERNEL,
        console=False,
        agent=True,
        options=Options(rng=True),
    )
    assert left_alone(wanted, stored, {field}) == replace(wanted, **left)  # type: ignore[arg-type]


@pytest.mark.parametrize("stored", [FirmwareBoot(), OTHER_KERNEL])
def test_a_guest_that_boots_in_another_way_keeps_all_of_it(stored: Boot) -> None:
    story = Story.of(_wish(), host(HOSTS[0]))
    story.passes()
    there = replace(_definition(story), boot=stored)
    kept = left_alone(_definition(story), there, {"boot.kernel", "boot.cmdline"})
    assert kept.boot == stored


def test_what_is_left_alone_never_exceeds_what_the_manifest_says_is_the_most() -> None:
    story = Story.of(_wish(), host(HOSTS[0]))
    story.passes()
    wanted = replace(_definition(story), vcpus=Vcpus(count=1, maximum=2))
    stored = replace(wanted, vcpus=Vcpus(count=4, maximum=4))
    assert left_alone(wanted, stored, {"cpus"}).vcpus == Vcpus(count=2, maximum=2)
