"""The queue of names: what says that it is worth looking again, and nothing else.

A name carries no data, so a lost, doubled or late one does no harm: the next pass looks for itself.
``put`` reads a clock that takes no lock, and is one call into a queue made for it; signal handlers
and libvirt's callbacks may use it.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class WakeUps:
    """Names put in by any thread, taken out together by the one that makes passes."""

    def __init__(self, *, tick: Callable[[], float]) -> None:
        """``tick`` is a clock in seconds that only goes forward, from wherever."""
        self._tick = tick
        self._queue: SimpleQueue[tuple[str, float]] = SimpleQueue()
        self._taken = 0
        self._hearers: list[Callable[[float], None]] = []

    @property
    def depth(self) -> int:
        """How many names wait."""
        return self._queue.qsize()

    @property
    def adds(self) -> int:
        """How many names were ever put in."""
        return self._taken + self._queue.qsize()

    def hear(self, hear: Callable[[float], None]) -> None:
        """Call ``hear`` with how many seconds a name waited, for each that is taken from now on."""
        self._hearers.append(hear)

    def put(self, name: str) -> None:
        """Say that something happened to ``name``; never blocks."""
        self._queue.put_nowait((name, self._tick()))

    def take(self, timeout_s: float) -> frozenset[str]:
        """Wait for the first name, and take all that are there; empty if none came in time."""
        taken: list[tuple[str, float]] = []
        try:
            taken.append(self._queue.get(timeout=max(timeout_s, 0.001)))
            while True:
                taken.append(self._queue.get_nowait())
        except Empty:
            self._taken += len(taken)
        now = self._tick()
        for _, since in taken:
            for hear in self._hearers:
                hear(now - since)
        return frozenset(name for name, _ in taken)
