"""Run libvirt's event loop: once a process, in a thread of its own, before any connection opens.

Without a running loop keepalive closes the connections that it shall keep, and no event arrives.
The thread runs to the end of the process: libvirt has no way to take its loop back.
"""

from __future__ import annotations

import threading

import libvirt

_starting = threading.Lock()
_threads: list[threading.Thread] = []


def run_event_loop() -> None:
    """Have the loop run; also silence libvirt, which would print every error to the terminal."""
    with _starting:
        if _threads:
            return
        libvirt.registerErrorHandler(_say_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        thread.start()
        _threads.append(thread)


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _say_nothing(_context: object, _error: object) -> None:
    """Errors reach us as exceptions."""
