"""What is at which path. Each page is made when it is asked for, from values nobody changes."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from reconciler.recording.metrics.passes import of_pass
from reconciler.recording.metrics.text import CONTENT_TYPE
from reconciler.web.server import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta

    from reconciler.model.names import HostName
    from reconciler.recording.metrics.instruments import Instruments
    from reconciler.recording.sight import Latest

_NOT_FOUND = Page(
    status=HTTPStatus.NOT_FOUND,
    body=b"There are /metrics, /healthz and /readyz.\n",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages of one controller; ``beat`` is how long its loop may be silent and be well."""

    latest: Latest
    instruments: Instruments
    writes: Callable[[], Mapping[HostName, int]]
    clock: Callable[[], datetime]
    beat: timedelta

    def at(self, path: str) -> Page:
        """The page at ``path``."""
        match path:
            case "/metrics":
                return self._metrics()
            case "/healthz":
                return self._health()
            case "/readyz":
                return self._readiness()
            case _:
                return _NOT_FOUND

    def _metrics(self) -> Page:
        parts = [*of_pass(self.latest.sight, writes=self.writes()), self.instruments.text()]
        return Page(body="".join(parts).encode(), kind=CONTENT_TYPE)

    def _health(self) -> Page:
        """Whether the loop beats; before its first pass it has as long as between two."""
        sight = self.latest.sight
        last = sight.now if sight is not None else self.latest.since
        silent = self.clock() - last
        if silent > self.beat:
            return _unavailable(f"no pass for {silent.total_seconds():.0f} s")
        return Page(body=b"ok\n")

    def _readiness(self) -> Page:
        if not self.latest.ready:
            return _unavailable("no pass over a good commit was made yet")
        return Page(body=b"ok\n")


def _unavailable(why: str) -> Page:
    return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"{why}\n".encode())
