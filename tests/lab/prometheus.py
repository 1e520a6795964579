"""Prometheus and promtool from their Debian package: unpacked into the cache, never installed.

Installed, the package would leave a service behind that starts with the machine.
"""

import contextlib
import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.lab.cache import cache_directory, new_entry, only_one
from tests.lab.guest import debian

PACKAGE = "prometheus"
WITHIN_S = 120


def promtool(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with ``text`` to read."""
    return subprocess.run(
        [_program("promtool"), *arguments], input=text, capture_output=True, text=True, check=False
    )


class Prometheus:
    """A server that scrapes as its configuration says, until it is told to end."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The series that a query gives now, each with its labels and its value."""
        path = f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=60) as answer:
            found = json.load(answer)["data"]["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def wait_for(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Ask until the query gives something."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            with contextlib.suppress(OSError):
                if found := self.ask(query):
                    return found
            assert time.monotonic() < deadline, f"{query}: nothing within {WITHIN_S} s"
            time.sleep(0.2)  # it scrapes when its own time has come


@contextlib.contextmanager
def running(config: Path, data: Path) -> Iterator[Prometheus]:
    """Run Prometheus on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (data.parent / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                _program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait()


def _program(name: str) -> Path:
    entry = cache_directory() / PACKAGE
    with only_one(PACKAGE):
        if not entry.exists():
            with new_entry(entry) as workshop:
                debian.unpack({PACKAGE: workshop / "root"}, workshop)
    return entry / "root/usr/bin" / name
