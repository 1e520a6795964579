"""On a real host: a field that a manifest says to ignore stays as somebody made it, and is told."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.results import PassResult
from reconciler.model.names import GuestName
from reconciler.model.plan import Reason
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

STOPPED = guest_manifest("web") + "  state: stopped\n"
IGNORING = STOPPED + "  ignoreDrift: [memory, memory.max]\n"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with QemuLab() as lab:
        yield begin(tmp_path, lab.host)


def _give_by_hand(ground: Ground, kib: int) -> None:
    """Somebody gives the stopped guest another size of memory."""
    with contextlib.closing(ground.host.connect()) as connection:
        text, size = ground.stored()["web"], connection.lookupByName("web").maxMemory()
        assert f">{size}<" in text
        connection.defineXML(text.replace(f">{size}<", f">{kib}<"))


def _ignored(result: PassResult) -> dict[str, Reason | None]:
    assert result.plan is not None
    status = result.plan.statuses[GuestName("web")]
    return {change.field: change.reason for change in status.ignored}


def test_drift_is_left_alone_as_long_as_the_manifest_says_so(ground: Ground) -> None:
    ground.repository.commit("One guest", {"guests/web.yaml": IGNORING})
    with ground.controller() as opened:
        assert _ignored(converge(opened).last) == {}
        _give_by_hand(ground, 128 * 1024)
        drifted, writes = ground.stored(), ground.writes
        last = converge(opened).last
        assert set(_ignored(last)) == {"memory", "memory.max"}
        assert set(_ignored(last).values()) == {Reason.IGNORED}
        assert ground.stored() == drifted
        assert ground.writes == writes

        ground.repository.commit("Ignore nothing", {"guests/web.yaml": STOPPED})
        assert _ignored(converge(opened).last) == {}
        assert ">131072<" not in ground.stored()["web"]
