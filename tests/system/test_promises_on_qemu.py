"""On a real host: what is right is left alone, and what is foreign is never touched.

Writing calls are counted at the door, and the stored XML is compared to the byte.
"""

import contextlib
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.bootstrap import Opened
from reconciler.controller.results import PassResult
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Reason
from reconciler.recording.status import STATUS_FILE
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import FOREIGN, Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

GUESTS = ("dns", "lists")

MARK = """
<domops:guest xmlns:domops="urn:domops:mark:1" owner="{owner}" name="{name}" uuid="{uuid}"
  generation="1" phase="ready" commit="8c2f1e4d5a6b7c8d9e0f1a2b3c4d5e6f70819203"
  intent="5d1c90ab5d1c90ab5d1c90ab5d1c90ab" renderer="1" protected="no">
  <domops:shutdown timeout="300" then="wait"/>
</domops:guest>
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def ground(lab: QemuLab, tmp_path: Path) -> Iterator[Ground]:
    """A repository of its own for the lab's host, which is empty again afterwards."""
    yield begin(tmp_path, lab.host)
    with contextlib.closing(lab.host.connect()) as connection:
        for domain in connection.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        pool = connection.storagePoolLookupByName("guests")
        for volume in pool.listAllVolumes():
            volume.delete()


def _looked(result: PassResult) -> ObservedHost:
    """The one host, which must have answered: a silent one would not be written to either."""
    assert result.observed is not None
    [host] = result.observed.hosts.values()
    assert isinstance(host, ObservedHost), host.why
    return host


def _finds_nothing_to_do(ground: Ground) -> None:
    """One pass and a whole apply of a new controller: no step, no operation, no writing call."""
    stored, running = ground.stored(), ground.running()
    assert set(GUESTS) <= set(running)
    with ground.controller() as opened:
        first = opened.controller.pass_once(enforce=True)
        assert first.plan is not None
        assert {one.name for one in _looked(first).guests.values()} == set(stored)
        assert first.plan.steps == ()
        assert first.plan.held == ()
        assert first.operations == ()
        again = converge(opened).last
        assert again.plan is not None
        assert again.plan.steps == ()
        assert ground.writes == 0
    assert ground.stored() == stored
    assert ground.running() == running


def test_what_is_as_it_should_be_is_left_alone(ground: Ground) -> None:
    """Right after it was made, after a restart of the controller, and without its state."""
    ground.repository.commit(
        "Two guests", {f"guests/{name}.yaml": guest_manifest(name) for name in GUESTS}
    )
    with ground.controller() as opened:
        converge(opened)
        assert ground.writes > 0
        assert set(ground.running()) == set(GUESTS)
        stored, made = ground.stored(), ground.writes
        second = converge(opened).last
        assert second.plan is not None
        assert second.plan.steps == ()
        assert ground.writes == made
        assert ground.stored() == stored
    _finds_nothing_to_do(ground)
    shutil.rmtree(ground.state)
    _finds_nothing_to_do(ground)
    _finds_nothing_to_do(ground)


def _define_foreign_guests(ground: Ground) -> None:
    """Three guests made by hand: another tool's, another repository's, and one with a copied mark.

    The copied mark is what ``virsh dumpxml`` and an editor make of a guest of this very repository:
    another name and UUID around a mark that says the old ones.
    """
    [ours] = re.findall(
        r"id: *([0-9a-f-]{36})", (ground.repository.folder / "domops.yaml").read_text()
    )
    theirs = str(uuid.uuid4())
    marks = {
        "old-mail": (str(uuid.uuid4()), '<app:info xmlns:app="urn:example:app" note="keep"/>'),
        "theirs": (theirs, MARK.format(owner=uuid.uuid4(), uuid=theirs, name="theirs")),
        "copied": (str(uuid.uuid4()), MARK.format(owner=ours, uuid=uuid.uuid4(), name="lists")),
    }
    with contextlib.closing(ground.host.connect()) as connection:
        for name, (own, metadata) in marks.items():
            connection.defineXML(FOREIGN.format(name=name, uuid=own, metadata=metadata))
        connection.lookupByName("old-mail").create()


@pytest.mark.parametrize("wanted", [(), ("old-mail",)], ids=["no-guest", "a-guest-of-that-name"])
def test_a_host_full_of_foreign_guests_is_not_written_to(
    ground: Ground, wanted: tuple[str, ...]
) -> None:
    """Neither by the first ``domops run`` nor by an apply, even where a manifest has their name."""
    _define_foreign_guests(ground)
    ground.repository.commit(
        "What is wanted", {f"guests/{name}.yaml": guest_manifest(name) for name in wanted}
    )
    stored, running = ground.stored(), ground.running()
    assert set(stored) == {"old-mail", "theirs", "copied"}
    with ground.controller() as opened:
        _run_until_recorded(opened, ground)
        assert ground.writes == 0
        last = converge(opened).last
        assert len(_looked(last).guests) == 3
        assert last.plan is not None
        assert last.plan.steps == ()
        assert last.plan.held == ()
        assert [one.name for one in last.plan.foreign if "copy of the mark" in one.message] == [
            "copied"
        ]
        assert {name: status.changes[0].reason for name, status in last.plan.statuses.items()} == (
            dict.fromkeys(wanted, Reason.FOREIGN)
        )
        assert ground.writes == 0
    assert ground.stored() == stored
    assert ground.running() == running


def _run_until_recorded(opened: Opened, ground: Ground) -> None:
    """Let the loop run, as ``domops run`` does, until a pass in which the host answered is over."""
    stop = threading.Event()
    loop = threading.Thread(target=opened.controller.run, args=(stop, lambda _: None))
    loop.start()
    try:
        status = ground.state / STATUS_FILE
        deadline = time.monotonic() + 60
        while not status.exists():
            assert time.monotonic() < deadline, "no pass was recorded"
            time.sleep(0.05)
    finally:
        stop.set()
        loop.join()
