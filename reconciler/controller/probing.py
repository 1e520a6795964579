"""Look whether ports take connections, on a thread of its own, while a plan would like to know.

Nothing is sent: a connection that is made is closed at once. All ports of a round are tried at the
same time, so that one that does not answer delays none, and a round is over at its deadline.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from reconciler.model.memory import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from reconciler.model.desired import OpenPort

_DEADLINE_S = 2
_EVERY_S = 2
_AT_ONCE = 256
"""How many ports are tried at the same time; each is an open file."""


class Prober:
    """Remembers what was last seen of each port that is wanted, and wakes who waits for it."""

    def __init__(self, *, clock: Callable[[], datetime], wake: Callable[[str], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._changed = threading.Condition()
        self._wanted: frozenset[OpenPort] = frozenset()
        self._seen: dict[OpenPort, Probe] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, ports: frozenset[OpenPort]) -> None:
        """Look at these ports from now on, and at no others."""
        with self._changed:
            if ports == self._wanted or self._closed:
                return
            self._wanted = ports
            self._seen = {port: seen for port, seen in self._seen.items() if port in ports}
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="ports", daemon=True)
                self._thread.start()

    def seen(self) -> Mapping[OpenPort, Probe]:
        """What was last seen of each port."""
        with self._changed:
            return dict(self._seen)

    def close(self) -> None:
        """Look at nothing any more; a round that is under way ends by its deadline."""
        with self._changed:
            self._closed, self._wanted = True, frozenset()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_DEADLINE_S * 2)

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if self._closed:
                    return
                wanted = self._wanted
            if self._take(asyncio.run(_try_all(wanted))):
                self._wake("ports")
            self._pause(wanted)

    def _pause(self, wanted: frozenset[OpenPort]) -> None:
        """Wait for the next round, or until other ports are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted != wanted or self._closed, _EVERY_S)

    def _take(self, opened: Mapping[OpenPort, bool]) -> bool:
        """Keep what was found; say whether anything of it is news."""
        at = self._clock()
        news = False
        with self._changed:
            for port, is_open in opened.items():
                if port not in self._wanted:
                    continue
                before = self._seen.get(port)
                news = news or is_open is not (before is not None and before.open)
                self._seen[port] = Probe(at=at, open=is_open)
        return news


async def _try_all(ports: frozenset[OpenPort]) -> dict[OpenPort, bool]:
    few = asyncio.Semaphore(_AT_ONCE)
    wanted = sorted(ports, key=str)
    found = await asyncio.gather(*(_try(port, few) for port in wanted))
    return dict(zip(wanted, found, strict=True))


async def _try(port: OpenPort, few: asyncio.Semaphore) -> bool:
    async with few:
        try:
            async with asyncio.timeout(_DEADLINE_S):
                _, writer = await asyncio.open_connection(port.address, port.port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()  # nothing was sent, and nobody is to be waited for
        return True
