"""A controller in a process of its own that stops while it makes a seed, to be killed there.

``python -m tests.system.seed_victim REPOSITORY STATE before|half``: it applies the repository to
its real hosts, says ``HERE`` when the seed's turn has come or when half of its bytes are written,
and waits.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from reconciler.bootstrap import open_controller
from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.model.steps import CreateSeed
from reconciler.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reconciler.model.desired import DesiredHost
    from reconciler.model.steps import Step


def _wait_for_the_end() -> None:
    print("HERE", flush=True)
    threading.Event().wait()


class HalfStream:
    """A stream that is libvirt's own, until everything is to be sent."""

    def __init__(self, stream: libvirt.virStream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def sendAll(self, give: Callable[..., bytes], opaque: object) -> None:  # noqa: N802 - libvirt's name
        """Send as much as libvirt asks for at once, and no more."""
        piece = give(self._stream, 1 << 16, opaque)
        while piece:
            piece = piece[self._stream.send(piece) :]
        _wait_for_the_end()


class HalfConnection:
    """A connection that is libvirt's own, but for its streams."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def newStream(self, flags: int) -> HalfStream:  # noqa: N802 - libvirt's name
        """A stream that stops half way."""
        return HalfStream(self._connection.newStream(flags))


class StoppingHost(LibvirtHost):
    """A real host that stops the controller when a seed is about to be made."""

    def carry_out(self, step: Step) -> None:
        """Stop before the seed, carry out everything else."""
        if isinstance(step, CreateSeed):
            _wait_for_the_end()
        super().carry_out(step)


def _host(host: DesiredHost, clock: Callable[[], datetime]) -> LibvirtHost:
    if sys.argv[3] == "before":
        return StoppingHost(name=host.name, uri=host.uri, clock=clock)
    return LibvirtHost(
        name=host.name,
        uri=host.uri,
        clock=clock,
        open_connection=lambda uri: HalfConnection(libvirt.open(uri)),
    )


if __name__ == "__main__":
    settings = Settings(
        repository=sys.argv[1],
        state_dir=Path(sys.argv[2]),
        patience_s=30,
        kernel_prefixes=("/boot",),
    )
    with open_controller(settings, writing=True, host_for=_host) as opened:
        opened.controller.converge(
            within=timedelta(seconds=120), stop=threading.Event(), tell=lambda _: None
        )
    print("DONE", flush=True)
