"""A controller in a process of its own that is killed in the middle of the trash.

``python -m tests.system.trash_victim FOLDER CLASS CALL NUMBER HOURS``: it converges the ground in
that folder, so many hours ahead, and is killed instead of its call number NUMBER (from 1) of
libvirt's ``CLASS.CALL``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from reconciler.bootstrap import open_controller
from reconciler.settings import Settings
from tests.system.ground import clock_ahead

if TYPE_CHECKING:
    from collections.abc import Callable


def _dies(call: Callable[..., object], number: int) -> Callable[..., object]:
    """The call, which kills this process when it is made for that time."""
    made = 0

    def made_or_killed(*arguments: object) -> object:
        nonlocal made
        made += 1
        if made == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)

    return made_or_killed


def main(folder: Path, class_: str, call: str, number: int, span: timedelta) -> None:
    """Converge the ground in ``folder`` until the call comes."""
    owner = getattr(libvirt, class_)
    setattr(owner, call, _dies(getattr(owner, call), number))
    settings = Settings(
        repository=str(folder / "manifests"),
        state_dir=folder / "state",
        patience_s=30,
        kernel_prefixes=("/boot",),
    )
    with open_controller(settings, writing=True, clock=clock_ahead(span)) as opened:
        opened.controller.converge(
            within=timedelta(seconds=300), stop=threading.Event(), tell=lambda _: None
        )


if __name__ == "__main__":
    _, where, of, what, count, hours = sys.argv
    main(Path(where), of, what, int(count), timedelta(hours=float(hours)))
    print("it was not killed", file=sys.stderr)
