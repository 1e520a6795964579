"""Fetch a remote repository from time to time, beside the passes: one that hangs delays no guest.

A fetch is a conversation with another machine, and may last as long as git lets it. So it has a
thread of its own, and the passes go on with what was fetched before; its end wakes the loop.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reconciler.source.port import Source


_END_S = 10.0
"""How long git may take to end when it is told to."""


class Fetching:
    """The fetches of one source, one at a time.

    ``every_s`` is how long after the beginning of one the next is due, whether it failed or not: a
    connection a minute burdens no forge, so there is no need to come back later the longer it is
    away. ``wake`` is called when a fetch ends that nobody waited for.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], datetime],
        wake: Callable[[str], None],
        every_s: float,
        patience_s: float,
    ) -> None:
        self._source = source
        self._clock = clock
        self._wake = wake
        self._every = timedelta(seconds=every_s)
        self._patience_s = patience_s
        self._began: datetime | None = None
        self._running: threading.Thread | None = None
        self.trouble: str | None = None
        """Why the last fetch that ended failed, if it did."""
        self.fetched: datetime | None = None
        """When the last fetch that succeeded began; None without one, and where none is needed."""

    def look(self, *, aside: bool) -> None:
        """Begin a fetch if one is due, and wait for its end.

        ``aside`` does not wait, but for the very first: a start should know what there is to do,
        if that is to be known soon.
        """
        if not self._source.polled:
            return
        first = self._began is None
        if self._running is None or not self._running.is_alive():
            now = self._clock()
            if self._began is not None and now - self._began < self._every:
                return
            self._began = now
            self._running = threading.Thread(
                target=self._fetch, args=(now, aside), name="fetching", daemon=True
            )
            self._running.start()
        if not aside:
            self._running.join()
        elif first:
            self._running.join(self._patience_s)

    def close(self) -> None:
        """End a fetch that is under way: left behind, it would keep the next start from its own."""
        if self._running is not None and self._running.is_alive():
            self._source.cut()
            self._running.join(_END_S)

    def _fetch(self, began: datetime, wake: bool) -> None:  # noqa: FBT001 - of a thread's arguments
        try:
            self._source.fetch()
        except DomopsError as error:
            self.trouble = str(error)
        else:
            self.trouble, self.fetched = None, began
        if wake:
            self._wake("git")
