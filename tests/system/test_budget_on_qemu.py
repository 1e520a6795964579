"""On a real host: what a commit would delete, unplug or restart at once is held, and healed on.

One ground for the whole story, since what it is about is a day of one pool.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.model.counted import Counted
from tests.demo.stage import POOLS, guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import Ground, begin, converge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.bootstrap import Opened
    from reconciler.model.plan import Held

pytestmark = [pytest.mark.system, pytest.mark.slow]

MORE = "    - {name: more, size: 8MiB, storage: guests, protect: true}\n"
RESTARTED = "  update: {restart: now}\n"
PROTECTED = "  protect: true\n"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A pool whose budget is a deletion and no restart a day."""
    folder: Path = tmp_path_factory.mktemp("budget")
    pools = POOLS.replace("deletions: 1", "deletions: 1, restarts: 0")
    with QemuLab() as lab:
        yield begin(folder, lab.host, pools=pools)


def _with_more(manifest: str) -> str:
    """The manifest with a second, protected disk."""
    before, networks, after = manifest.partition("  networks:\n")
    return before + MORE + networks + after


def _held(opened: Opened) -> dict[tuple[Counted, bool], Held]:
    """What is held when nothing moves any more, by class and whether it is protected."""
    plan = converge(opened).last.plan
    assert plan is not None
    assert plan.steps == ()
    return {(one.counted, one.protected): one for one in plan.held}


def _crash(ground: Ground, name: str) -> int:
    """Take its process away; the number that it had while it ran."""
    number = ground.running()[name]
    with contextlib.closing(ground.host.connect()) as connection:
        connection.lookupByName(name).destroy()
    assert name not in ground.running()
    return number


def _runs_again(ground: Ground, opened: Opened, name: str, before: int) -> bool:
    """Whether passes start it; domops gives a guest that was stopped by hand a few seconds."""
    deadline = time.monotonic() + 120
    while ground.running().get(name, before) == before and time.monotonic() < deadline:
        converge(opened)
    return ground.running().get(name, before) != before


def test_nothing_that_counts_begins_before_somebody_said_so(ground: Ground) -> None:
    """A folder is emptied, a disk taken out and a restart asked for, while a guest goes down."""
    names = ("dns", "web")
    first = {f"guests/{name}.yaml": guest_manifest(name) + RESTARTED for name in names}
    first["guests/lists.yaml"] = guest_manifest("lists") + PROTECTED
    first["guests/mail.yaml"] = _with_more(guest_manifest("mail") + RESTARTED)
    ground.repository.commit("Four guests", dict(first))
    with ground.controller() as opened:
        assert _held(opened) == {}
        numbers = ground.running()
        assert set(numbers) == {"dns", "web", "lists", "mail"}
        # Only mail is left, with a disk less, and a change that needs a restart.
        mail = (guest_manifest("mail") + RESTARTED).replace("max: 384MiB", "max: 320MiB")
        gone = {f"guests/{name}.yaml": None for name in (*names, "lists")}
        ground.repository.commit("Oops", {**gone, "guests/mail.yaml": mail})
        held = _held(opened)
        assert {key: [str(act) for act in one.acts] for key, one in held.items()} == {
            (Counted.DELETION, False): ["delete dns", "delete web"],
            (Counted.DELETION, True): ["delete lists", "detach disks[more] of mail"],
            (Counted.RESTART, False): ["restart mail"],
        }
        assert ground.running() == numbers
        stored = ground.stored()
        assert "mail-more" in stored["mail"]
        assert all('phase="ready"' in text for text in stored.values())
        before = _crash(ground, "mail")
        assert _runs_again(ground, opened, "mail", before)
        numbers = ground.running()
        # It came up with the maximum that it waited for: nobody needs to restart it now.
        held = _held(opened)
        assert set(held) == {(Counted.DELETION, False), (Counted.DELETION, True)}
        ground.repository.commit(
            "Both servers may go",
            {},
            trailer=f"Domops-Approve: {held[Counted.DELETION, False].plan_id}",
        )
        left = _held(opened)
        assert left == {(Counted.DELETION, True): held[Counted.DELETION, True]}
        assert set(ground.running()) == {"lists", "mail"}
        assert 'phase="trash"' in ground.stored()["web"]
        ground.repository.commit(
            "The protected ones, too",
            {},
            trailer=f"Domops-Approve: {left[Counted.DELETION, True].plan_id}",
        )
        assert _held(opened) == {}
        assert set(ground.running()) == {"mail"}
        assert 'phase="trash"' in ground.stored()["lists"]
        assert ground.running()["mail"] == numbers["mail"]
        with contextlib.closing(ground.host.connect()) as connection:
            running = connection.lookupByName("mail").XMLDesc()
            assert "volume='mail-more" not in running
            pool = connection.storagePoolLookupByName("guests")
            assert "mail-more.raw" in pool.listVolumes(), "what it holds stays"


def test_a_restart_that_was_approved_is_made_once_and_the_mark_says_so(ground: Ground) -> None:
    """A lost state directory frees no second one."""
    mail = (guest_manifest("mail") + RESTARTED).replace("max: 384MiB", "max: 352MiB")
    ground.repository.commit("Another maximum", {"guests/mail.yaml": mail})
    with ground.controller() as opened:
        before = ground.running()["mail"]
        held = _held(opened)[Counted.RESTART, False]
        assert ground.running()["mail"] == before
        ground.repository.commit("Yes", {}, trailer=f"Domops-Approve: {held.plan_id}")
        assert _held(opened) == {}
        assert ground.running()["mail"] != before
    stored = ground.stored()["mail"]
    assert "<domops:restart " in stored
    assert f'approval="{held.plan_id}"' in stored.replace("'", '"')
