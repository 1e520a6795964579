"""A controller in a process of its own that is killed while it holds a guest frozen.

``python -m tests.system.frozen_victim FOLDER``: it converges the ground in that folder, and is
killed at the very call that would take the snapshot: the mark is written, the guest is frozen.
"""

import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import libvirt

from reconciler.bootstrap import open_controller
from reconciler.settings import Settings


def _die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError  # nobody comes here


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    libvirt.virDomain.snapshotCreateXML = _die
    settings = Settings(
        repository=str(folder / "manifests"),
        state_dir=folder / "state",
        patience_s=30,
        kernel_prefixes=("/boot",),
    )
    with open_controller(settings, writing=True) as opened:
        opened.controller.converge(
            within=timedelta(seconds=300), stop=threading.Event(), tell=lambda _: None
        )
    print("it was not killed", file=sys.stderr)
