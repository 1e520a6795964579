"""The queue of names: what says that it is worth looking again, and nothing else.

A name carries no data, so a lost, doubled or late one does no harm: the next pass looks for itself.
``put`` is one call into a queue made for it; signal handlers and libvirt's callbacks may use it.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue


class WakeUps:
    """Names put in by any thread, taken out together by the one that makes passes."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[str] = SimpleQueue()

    def put(self, name: str) -> None:
        """Say that something happened to ``name``; never blocks."""
        self._queue.put_nowait(name)

    def take(self, timeout_s: float) -> frozenset[str]:
        """Wait for the first name, and take all that are there; empty if none came in time."""
        names: set[str] = set()
        try:
            names.add(self._queue.get(timeout=max(timeout_s, 0.001)))
            while True:
                names.add(self._queue.get_nowait())
        except Empty:
            return frozenset(names)
