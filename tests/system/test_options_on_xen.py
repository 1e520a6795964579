"""On a real dom0: processors for a PV guest, as the scheduler itself tells of them."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.bootstrap import open_controller
from reconciler.hypervisor.eventloop import run_event_loop
from reconciler.model.plan import Fate
from reconciler.settings import Settings
from tests.demo.stage import HOST, Repository
from tests.lab.xen import recipe
from tests.lab.xen.dom0 import Dom0
from tests.system.ground import GENEROUS, STORED, converge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.xen, pytest.mark.timeout(600)]

FILE = "guests/web.yaml"
GUEST = f"""\
apiVersion: domops/v1
kind: Guest
metadata: {{name: web}}
spec:
  pool: main
  type: pv
  cpus: {{count: 2CPUS}}
  memory: 128MiB
  boot:
    kernel: {recipe.GUEST_KERNEL}
    initrd: {recipe.GUEST_INITRD}
    cmdline: "console=hvc0 loglevel=4"
"""


@pytest.fixture
def dom0() -> Iterator[Dom0]:
    run_event_loop()
    with Dom0(number=1) as dom0:
        yield dom0


@contextmanager
def _domain(dom0: Dom0) -> Iterator[Callable[[], libvirt.virDomain]]:
    with closing(libvirt.open(dom0.uri)) as connection:
        yield lambda: connection.lookupByName("web")


def _guest(cpus: str = "", more: str = "") -> str:
    return GUEST.replace("CPUS", cpus) + more


def _shares(dom0: Dom0) -> tuple[int, int]:
    """The guest's weight and cap, in the scheduler's own words."""
    [line] = re.findall(r"^web\s+\d+\s+(\d+)\s+(\d+)", dom0.run("xl sched-credit2"), re.MULTILINE)
    return int(line[0]), int(line[1])


def _affinities(dom0: Dom0) -> list[str]:
    """Where each virtual CPU may run."""
    return re.findall(r"^web .*?(\S+) / \S+\s*$", dom0.run("xl vcpu-list web"), re.MULTILINE)


def test_a_pv_guest_is_pinned_weighed_and_capped(dom0: Dom0, tmp_path: Path) -> None:
    """Shares change while it runs, and come back after a start; what Xen ignores is refused."""
    repository = Repository(tmp_path / "manifests")
    around = {"pools/main.yaml": GENEROUS, "hosts/dom0-a.yaml": HOST.format(uri=dom0.uri)}
    first = _guest(', pin: {0: "1", 1: "0-1"}, weight: 512, cap: 150')
    repository.commit("A guest with a share of its own", {**around, FILE: first})
    settings = Settings(
        repository=str(repository.folder),
        state_dir=tmp_path / "state",
        patience_s=60,
        kernel_prefixes=(recipe.GUEST_BOOT,),
    )
    with open_controller(settings, writing=True) as opened, _domain(dom0) as domain:
        converge(opened)
        assert _affinities(dom0) == ["1", "all"]
        assert _shares(dom0) == (512, 150)
        number = domain().ID()

        second = _guest(', pin: {0: "1", 1: "0-1"}, weight: 300')
        repository.commit("Another share, and no cap any more", {FILE: second})
        converge(opened)
        assert _shares(dom0) == (300, 0)

        bold = _guest(', pin: {0: "1", 1: "0-1"}, weight: 300, cap: 40', "  rng: true\n")
        repository.commit("A cap again, and what Xen has not", {FILE: bold})
        done = converge(opened).last
        assert _shares(dom0) == (300, 40)
        assert domain().ID() == number
        assert done.plan is not None
        [status] = done.plan.statuses.values()
        [refused] = [one for one in status.changes if one.fate is Fate.REFUSED]
        assert (refused.field, "libxl" in refused.message) == ("rng", True)

        dom0.run("xl sched-credit2 -d web -w 999 -c 0")
        converge(opened)
        assert _shares(dom0) == (300, 40)

        repository.commit("An ordinary guest again", {FILE: _guest()})
        converge(opened)
        assert _shares(dom0) == (256, 0)
        stored = str(domain().XMLDesc(STORED))
        assert "shares" not in stored
        # libvirt cannot unpin a running guest on Xen: that waits, and says so.
        assert _affinities(dom0) == ["1", "all"]
        assert "name='cpus.pin'" in stored.replace('"', "'")
