"""A real controller in a process of its own, which kills itself at one crossing.

``python -m tests.matrix.victim FOLDER CROSSING GUEST [FAILING]``: it converges the repository in
FOLDER. Half way through a call in which domops itself only waits, it dies when the host shows that
the call is under way. At the crossing FAILING, if it is told one, the call fails.
"""

import contextlib
import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path

import libvirt

from reconciler.bootstrap import open_controller
from reconciler.errors import TransientError
from reconciler.model.crossing import Crossing, Side
from reconciler.model.policy import Policy
from reconciler.settings import Settings
from tests.lab.qemu.host import GUESTS_POOL
from tests.matrix.points import LONG

URI = "DOMOPS_MATRIX_URI"
POLICY = Policy(settle_qemu_s=0, seed_after_s=3600)


def settings(folder: Path) -> Settings:
    """The settings of every controller of the matrix."""
    return Settings(
        repository=str(folder / "manifests"),
        state_dir=folder / "state",
        patience_s=30,
        kernel_prefixes=("/boot",),
    )


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Watcher:
    """Waits for the crossing at which to die."""

    def __init__(self, crossing: str, guest: str, failing: str | None) -> None:
        self._crossing = crossing
        self._guest = guest
        self._failing = failing

    def __call__(self, crossing: Crossing) -> None:
        """Die, or fail, or look out for the middle of the call that begins."""
        name = str(crossing)
        if name == self._crossing:
            _die()
        if name == self._failing:
            self._failing = None
            raise TransientError("staged")
        if crossing.side is Side.BEFORE and crossing.act in LONG:
            middle = Crossing(step=crossing.step, side=Side.AMID, act=crossing.act)
            if str(middle) == self._crossing:
                threading.Thread(target=self._die_amid, args=(crossing.act,), daemon=True).start()

    def _die_amid(self, act: str) -> None:
        with contextlib.closing(libvirt.open(os.environ[URI])) as connection:
            pool = connection.storagePoolLookupByName(GUESTS_POOL)
            domain = connection.lookupByName(self._guest)
            while True:
                if act == "createXMLFrom":
                    under_way = f"{self._guest}-data.raw" in pool.listVolumes()
                else:
                    under_way = domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED
                if under_way:
                    _die()


if __name__ == "__main__":
    folder, crossing, guest, *failing = sys.argv[1:]
    watcher = _Watcher(crossing, guest, failing[0] if failing else None)
    with open_controller(
        settings(Path(folder)), writing=True, policy=POLICY, crossed=watcher
    ) as opened:
        opened.controller.converge(
            within=timedelta(seconds=120), stop=threading.Event(), tell=lambda _: None
        )
