"""What is at which path. Each page is made when it is asked for, from values nobody changes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from reconciler.model.names import HostName
from reconciler.recording.metrics.domains import of_host
from reconciler.recording.metrics.passes import of_pass
from reconciler.recording.metrics.text import CONTENT_TYPE
from reconciler.web.server import Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from reconciler.recording.metrics.instruments import Instruments
    from reconciler.recording.metrics.passes import Meters
    from reconciler.recording.sight import Latest
    from reconciler.web.hosts import Readers
    from reconciler.web.server import Request

_OF_HOST = "/metrics/host/"
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages of one controller; ``beat`` is how long its loop may be silent and be well."""

    latest: Latest
    instruments: Instruments
    readers: Readers
    meters: Callable[[], Meters]
    clock: Callable[[], datetime]
    beat: timedelta

    def at(self, request: Request) -> Page:
        """The page that is asked for."""
        match request.path:
            case "/metrics":
                return self._metrics()
            case "/healthz":
                return self._health()
            case "/readyz":
                return self._readiness()
            case "/sd":
                return self._targets(request.address)
            case path if path.startswith(_OF_HOST):
                return self._host(HostName(path.removeprefix(_OF_HOST)))
            case _:
                return _not_found("there are /metrics, /metrics/host/NAME, /sd, /healthz, /readyz")

    def _metrics(self) -> Page:
        parts = [*of_pass(self.latest.sight, self.meters()), self.instruments.text()]
        return Page(body="".join(parts).encode(), kind=CONTENT_TYPE)

    def _host(self, name: HostName) -> Page:
        """What the guests of one host use; old figures with their age where it does not answer."""
        host = self.readers.hosts().get(name)
        if host is None:
            return _not_found(f"the commit in force has no host {name!r} that is looked at")
        reader = self.readers.reader(host)
        if isinstance(reader, str):
            return _unavailable(reader)
        text = "".join(of_host(reader.read(), self.clock()))
        return Page(body=text.encode(), kind=CONTENT_TYPE)

    def _targets(self, address: str) -> Page:
        """The hosts as Prometheus's HTTP service discovery reads them, at the address we have."""
        targets = [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": f"{_OF_HOST}{name}",
                    "__meta_domops_host": name,
                    "instance": name,
                    "pool": host.pool,
                    **{
                        f"__meta_domops_label_{_NOT_LABEL.sub('_', key)}": value
                        for key, value in sorted(host.labels.items())
                    },
                },
            }
            for name, host in sorted(self.readers.hosts().items())
        ]
        return Page(body=json.dumps(targets, indent=1).encode(), kind="application/json")

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


def _not_found(why: str) -> Page:
    return Page(status=HTTPStatus.NOT_FOUND, body=f"{why}\n".encode())


def _unavailable(why: str) -> Page:
    return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"{why}\n".encode())
