"""Snapshots of a real guest: taken while named, kept when not, and a guest that a kill left frozen.

The guest has a file system on a qcow2 disk and an agent that freezes it.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from reconciler.bootstrap import Opened
from reconciler.errors import DomopsError
from reconciler.model.mark import Consistency, Mark, Phase
from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedSnapshot
from reconciler.model.plan import Change, Reason
from tests.demo.stage import guest_manifest
from tests.lab.cache import CHECKOUT
from tests.lab.qemu import Agent, QemuHost, QemuLab
from tests.system.ground import Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

NAME = "wiki"
FILE = f"guests/{NAME}.yaml"


def _manifest(*snapshots: str, disk: int = 64) -> str:
    text = guest_manifest(NAME, disk=disk).replace("image:", "format: qcow2, image:")
    return f"{text}  snapshots: [{', '.join(snapshots)}]\n"


@pytest.fixture(scope="module")
def host() -> Iterator[QemuHost]:
    with QemuLab() as lab:
        yield lab.host


@pytest.fixture
def ground(host: QemuHost, tmp_path: Path) -> Iterator[Ground]:
    """A guest that runs, whose agent answers, and in which somebody has written something."""
    ground = begin(tmp_path, host)
    ground.repository.commit("A wiki", {FILE: _manifest()})
    with ground.controller() as opened:
        converge(opened)
    with _domain(host) as domain:
        agent = Agent(domain)
        agent.wait_for_mount("vda")
        agent.write("vda", "before the upgrade")
    yield ground
    with _domain(host) as domain:
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
    with contextlib.closing(host.connect()) as connection:
        connection.storagePoolLookupByName("guests").storageVolLookupByName(
            f"{NAME}-data.qcow2"
        ).delete()


@contextlib.contextmanager
def _domain(host: QemuHost) -> Iterator[libvirt.virDomain]:
    with contextlib.closing(host.connect()) as connection:
        yield connection.lookupByName(NAME)


def _freeze_status(host: QemuHost) -> str:
    with _domain(host) as domain:
        return Agent(domain).freeze_status()


def _commit(ground: Ground, opened: Opened, text: str | None) -> tuple[ObservedGuest, Mark]:
    """Commit the guest's manifest, converge, and return the guest as it then is."""
    ground.repository.commit("A change", {FILE: text})
    return _converged(opened)


def _converged(opened: Opened) -> tuple[ObservedGuest, Mark]:
    observed = converge(opened).last.observed
    assert observed is not None
    [seen] = observed.hosts.values()
    assert isinstance(seen, ObservedHost)
    [guest] = seen.guests.values()
    assert guest.mark is not None
    return guest, guest.mark


def _change(opened: Opened, field: str) -> Change:
    plan = opened.controller.pass_once().plan
    assert plan is not None
    changes = plan.statuses[GuestName(NAME)].changes
    return next(change for change in changes if change.field == field)


def _named(guest: ObservedGuest, name: str) -> ObservedSnapshot:
    return next(one for one in guest.snapshots if one.name == name)


def test_a_snapshot_exists_while_it_is_named_and_what_is_not_ours_is_left(ground: Ground) -> None:
    """Taken quiesced, let go, taken back, through the trash, beside one that a person took."""
    with _domain(ground.host) as domain:
        by_hand = domain.snapshotCreateXML("<domainsnapshot><name>by-hand</name></domainsnapshot>")
        theirs = by_hand.getXMLDesc()
    with ground.controller() as opened:
        guest, mark = _commit(ground, opened, _manifest("before-upgrade"))
        taken = _named(guest, "before-upgrade")
        assert taken.signature is not None
        assert taken.signature.consistency is Consistency.QUIESCED
        [entry] = mark.snapshots
        assert (entry.name, entry.taken, entry.removed) == (taken.name, taken.taken, None)
        assert mark.operation is None
        assert _freeze_status(ground.host) == "thawed"

        guest, mark = _commit(ground, opened, _manifest())
        assert _named(guest, "before-upgrade") == taken
        assert mark.snapshots[0].removed is not None

        guest, mark = _commit(ground, opened, _manifest("before-upgrade"))
        assert _named(guest, "before-upgrade") == taken
        assert mark.snapshots == (entry,)

        _commit(ground, opened, _manifest("before-upgrade", "by-hand", disk=128))
        refused = _change(opened, "disks[data].size")
        assert refused.reason is Reason.PINNED_BY_SNAPSHOTS
        assert "before-upgrade, by-hand" in refused.message
        assert _change(opened, "snapshots[by-hand]").reason is Reason.CONFLICT

        guest, mark = _commit(ground, opened, None)
        assert (mark.phase, guest.active) == (Phase.TRASH, False)
        assert mark.snapshots == (entry,)
        guest, mark = _commit(ground, opened, _manifest("before-upgrade"))
        assert guest.active
        assert [one.name for one in guest.snapshots] == ["before-upgrade", "by-hand"]
        assert (_named(guest, "before-upgrade"), mark.snapshots) == (taken, (entry,))
    with _domain(ground.host) as domain:
        assert domain.snapshotLookupByName("by-hand").getXMLDesc() == theirs


def _be_killed_while_frozen(ground: Ground) -> None:
    folder = ground.repository.folder.parent
    command = [sys.executable, "-m", "tests.system.frozen_victim", str(folder)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert _freeze_status(ground.host) == "frozen"


def test_a_guest_that_a_killed_controller_left_frozen_is_thawed_first(ground: Ground) -> None:
    """Before git is read; and where the local state is gone, as soon as git says where it is."""
    manifests, hidden = ground.repository.folder, ground.repository.folder.with_name("hidden")
    ground.repository.commit("A snapshot", {FILE: _manifest("one")})
    _be_killed_while_frozen(ground)
    manifests.rename(hidden)
    with pytest.raises(DomopsError), ground.controller():
        pass  # there is no repository, and so there is nothing to open
    assert _freeze_status(ground.host) == "thawed"
    hidden.rename(manifests)
    with ground.controller() as opened:
        guest, mark = _converged(opened)
        assert [one.name for one in guest.snapshots] == ["one"]
        assert mark.operation is None

    ground.repository.commit("Another snapshot", {FILE: _manifest("one", "two")})
    _be_killed_while_frozen(ground)
    shutil.rmtree(ground.state)
    with ground.controller() as opened:
        guest, mark = _converged(opened)
        assert [one.name for one in guest.snapshots] == ["one", "two"]
        assert mark.operation is None
    assert _freeze_status(ground.host) == "thawed"
    with _domain(ground.host) as domain:
        Agent(domain).write("vda", "still taking writes")
