"""Nothing is lost on a real host: what is deleted comes back with what was written into it.

One ground for all stories, in their order: four guests, in each of which somebody has written
something, and a controller that is killed half way through a deletion, a revert, and a removal.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.journal.journal import Journal
from reconciler.model.mark import Phase
from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Reason
from tests.demo.stage import guest_manifest
from tests.lab.cache import CHECKOUT
from tests.lab.qemu import Agent, QemuLab
from tests.system.ground import GENEROUS, Ground, begin, clock_ahead, converge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.model.observed import ObservedGuest
    from reconciler.model.plan import Change

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

PLAIN, SNAPPED, ADOPTED, GUARDED = "plain", "snapped", "adopted", "guarded"
ONE_DAY = GENEROUS.replace("mode: enforce", "mode: enforce\n  trash: {keep: 1d}")
LATER = 26.0
"""Hours ahead, at which the day is over, and another one in the calendar."""

NAMESPACE = "urn:domops:mark:1"
BOTH = libvirt.VIR_DOMAIN_AFFECT_CONFIG | libvirt.VIR_DOMAIN_AFFECT_LIVE


def _manifest(name: str) -> str:
    text = guest_manifest(name)
    second = "    - {name: more, size: 16MiB, storage: guests}\n  networks:"
    match name:
        case "plain":  # a second disk, on which the guest makes a file system
            text = text.replace("  networks:", second).replace(" quiet", " quiet lab.format=vdb")
        case "snapped":
            text = text.replace("image:", "format: qcow2, image:") + "  snapshots: [one]\n"
        case "guarded":
            text += "  protect: true\n"
        case _:
            pass
    return text


MANIFESTS = {f"guests/{name}.yaml": _manifest(name) for name in (PLAIN, SNAPPED, ADOPTED, GUARDED)}
DISKS = {PLAIN: ("vda", "vdb"), SNAPPED: ("vda",), ADOPTED: ("vda",), GUARDED: ("vda",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """The ground, and the folder in which a controller of another process finds it."""

    ground: Ground
    folder: Path

    def killed_at(self, class_: str, call: str, *, number: int = 1, hours: float = 0) -> None:
        """Let a controller work until it would make that call, and kill it there."""
        command = [sys.executable, "-m", "tests.system.trash_victim", str(self.folder)]
        ended = subprocess.run(
            [*command, class_, call, str(number), str(hours)],
            check=False,
            capture_output=True,
            text=True,
            cwd=CHECKOUT,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def commit(self, subject: str, files: Mapping[str, str | None]) -> str:
        """Commit ``files``."""
        return self.ground.repository.commit(subject, dict(files))

    def converge(self, hours: float = 0) -> dict[str, ObservedGuest]:
        """Let a new controller work to the end; what the host then has, by name."""
        self.ground.clock = clock_ahead(timedelta(hours=hours))
        with self.ground.controller() as opened:
            observed = converge(opened).last.observed
        assert observed is not None
        [seen] = observed.hosts.values()
        assert isinstance(seen, ObservedHost)
        return {guest.name: guest for guest in seen.guests.values()}

    def change(self, name: str, hours: float = 0) -> Change:
        """The one thing that there is to be said of a guest."""
        self.ground.clock = clock_ahead(timedelta(hours=hours))
        with self.ground.controller() as opened:
            plan = opened.controller.pass_once().plan
        assert plan is not None
        (change,) = plan.statuses[GuestName(name)].changes
        return change

    def said_inside(self, name: str, disk: str) -> str:
        """What is in the file of a guest's disk, read from inside."""
        with self.domain(name) as domain:
            agent = Agent(domain)
            agent.wait_for_mount(disk)
            return agent.run(f"cat /mnt/{disk}/data").strip()

    @contextlib.contextmanager
    def domain(self, name: str) -> Iterator[libvirt.virDomain]:
        """The domain, by another connection than domops'."""
        with contextlib.closing(self.ground.host.connect()) as connection:
            yield connection.lookupByName(name)

    def volumes(self) -> set[str]:
        """The volumes of the pool for guests."""
        with contextlib.closing(self.ground.host.connect()) as connection:
            pool = connection.storagePoolLookupByName("guests")
            return {volume.name() for volume in pool.listAllVolumes()}

    def is_whole(self, *names: str) -> None:
        """Every disk of these guests says inside what was written to it."""
        for name in names:
            for disk in DISKS[name]:
                assert self.said_inside(name, disk) == f"{name} wrote {disk}"


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Four guests that run, with something on each of their disks."""
    folder = tmp_path_factory.mktemp("trash")
    with QemuLab() as lab:
        ground = begin(folder, lab.host, pools=ONE_DAY)
        made = Stand(ground=ground, folder=folder)
        made.commit("Four guests", MANIFESTS)
        made.converge()
        for name, disks in DISKS.items():
            with made.domain(name) as domain:
                agent = Agent(domain)
                for disk in disks:
                    agent.wait_for_mount(disk)
                    agent.write(disk, f"{name} wrote {disk}")
        _adopt(made)
        yield made


def _adopt(stand: Stand) -> None:
    """Somebody takes the mark away, and the guest is taken over as if it had never been ours."""
    with stand.domain(ADOPTED) as domain:
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, None, NAMESPACE, BOTH)
    text = MANIFESTS[f"guests/{ADOPTED}.yaml"].replace(", image: lab.raw", "")
    stand.commit("Adopt it", {f"guests/{ADOPTED}.yaml": f"{text}  adopt: true\n"})
    mark = stand.converge()[ADOPTED].mark
    assert mark is not None
    assert not any(disk.ours for disk in mark.disks)


def test_what_is_deleted_and_reverted_says_what_was_written(stand: Stand) -> None:
    """A second disk, a snapshot and an adopted guest too; a protected one is not even stopped."""
    gone = stand.commit("Delete them all", dict.fromkeys(MANIFESTS))
    binned = stand.converge()
    for name in (PLAIN, SNAPPED, ADOPTED):
        mark = binned[name].mark
        assert mark is not None
        assert (mark.phase, binned[name].active) == (Phase.TRASH, False)
    assert binned[GUARDED].active
    assert stand.change(GUARDED).reason is Reason.PROTECTED
    stand.ground.repository.revert(gone)
    back = stand.converge()
    assert all(guest.active for guest in back.values())
    assert [one.name for one in back[SNAPPED].snapshots] == ["one"]
    stand.is_whole(PLAIN, SNAPPED, ADOPTED, GUARDED)


def test_a_controller_that_is_killed_half_way_through_both_loses_nothing(stand: Stand) -> None:
    """After the mark is written and before it is asked to shut down; before it is started again."""
    file = f"guests/{PLAIN}.yaml"
    gone = stand.commit("Delete one", {file: None})
    stand.killed_at("virDomain", "shutdown")
    assert not stand.converge()[PLAIN].active
    stand.ground.repository.revert(gone)
    stand.killed_at("virDomain", "createWithFlags")
    assert stand.converge()[PLAIN].active
    stand.is_whole(PLAIN)


def test_a_revert_that_comes_too_late_says_what_is_gone_and_makes_no_empty_disk(
    stand: Stand,
) -> None:
    """Killed between the two disks, and before the domain goes; adopted volumes stay."""
    files = {f"guests/{name}.yaml" for name in (PLAIN, SNAPPED, ADOPTED)}
    gone = stand.commit("Delete three", dict.fromkeys(files))
    stand.converge()
    before = stand.volumes()
    stand.killed_at("virStorageVol", "delete", number=2, hours=LATER)
    stand.killed_at("virDomain", "undefineFlags", hours=LATER)
    left = stand.converge(LATER)
    assert set(left) == {GUARDED}
    lost = {"plain-data.raw", "plain-more.raw", "snapped-data.qcow2"}
    assert before - stand.volumes() == lost
    stand.ground.repository.revert(gone)
    assert set(stand.converge(LATER)) == {GUARDED}
    assert stand.change(ADOPTED, LATER).reason is Reason.NOTHING_TO_ADOPT
    change = stand.change(PLAIN, LATER)
    assert change.reason is Reason.EMPTIED
    assert "disk data, disk more (80 MiB)" in change.message
    assert gone[:10] in change.message
    assert stand.change(SNAPPED, LATER).reason is Reason.EMPTIED
    assert before - stand.volumes() == lost
    journal = Journal.for_reading(stand.ground.state / "journal.sqlite")
    told = " ".join(event.text for event in journal.events(limit=200, guest=GuestName(PLAIN)))
    assert "delete volume guests/plain-data.raw with 64 MiB, out of the trash" in told
    stand.commit("Begin anew", {f"guests/{PLAIN}.yaml": _manifest(PLAIN) + "  trash: discard\n"})
    assert stand.converge(LATER)[PLAIN].active
    assert stand.said_inside(PLAIN, "vda") == "made from the image"
