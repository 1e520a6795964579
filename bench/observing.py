"""A real libvirtd with many defined guests: what a look costs, and what a controller holds."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from bench import fleet
from bench.figures import Figure, best, milliseconds, timed
from reconciler.bootstrap import open_controller
from reconciler.domxml import render
from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.model.names import HostName
from reconciler.settings import Settings
from tests.lab.qemu import QemuLab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.qemu import QemuHost

_WITH_MEMO, _WITHOUT = 1.3, 4.0
_MOST_MIB = 300.0
_PATIENCE_S = 600.0
_DOMOPS = str(Path(sys.executable).parent / "domops")


def stopped_fleet(host: QemuHost, folder: Path, guests: int) -> None:
    """Define ``guests`` stopped guests on a real host, as domops would have, and commit them."""
    files = fleet.manifests(guests, uri=host.uri)
    first = fleet.commit(folder / "manifests", files, "A fleet")
    [seen] = fleet.in_order(fleet.desired(files, first)).values()
    with contextlib.closing(host.connect()) as connection:
        for one in seen.guests.values():
            assert one.stored is not None
            connection.defineXMLFlags(render(one.stored), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def bare_loop(connection: libvirt.virConnect) -> int:
    """The floor: list the domains and fetch their stored text, live text of running ones too."""
    size = 0
    for domain in connection.listAllDomains():
        size += len(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))
        if domain.isActive():
            size += len(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
    return size


def look(host: QemuHost, guests: int) -> tuple[Figure, Figure]:
    """A cold look without anything remembered, and one with the memo."""
    name = HostName(fleet.host_name(0))
    times = 2 if guests > 1000 else 5  # noqa: PLR2004 - the largest takes seconds

    def opened() -> LibvirtHost:
        return LibvirtHost(name=name, uri=host.uri, clock=lambda: datetime.now(UTC))

    def cold() -> float:
        door = opened()
        with contextlib.closing(door):
            door.inspect(())  # the connection is there before the clock runs
            return timed(door.observe)

    with contextlib.closing(host.connect()) as connection:
        floor_s = best(lambda: bare_loop(connection), times)
    gc.collect()
    cold_s = min(cold() for _ in range(times))
    door = opened()
    with contextlib.closing(door):
        door.observe()
        gc.collect()
        warm_s = best(door.observe, times)
    floor = f"bare loop {milliseconds(floor_s)}"
    return (
        Figure(
            work="observation of a host, with the memo",
            guests=guests,
            floor=floor,
            ours=milliseconds(warm_s),
            value=warm_s / floor_s,
            unit="×",
            bound=_WITH_MEMO,
            target="≤ 1.3 ×",
        ),
        Figure(
            work="cold observation of a host, without the memo",
            guests=guests,
            floor=floor,
            ours=milliseconds(cold_s),
            value=cold_s / floor_s,
            unit="×",
            bound=_WITHOUT,
            target="≤ 4 ×",
        ),
    )


def memory(folder: Path, guests: int) -> Figure:
    """What ``domops run`` holds after its first passes and a scrape of all of its pages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "DOMOPS_LISTEN": f"127.0.0.1:{port}", "DOMOPS_PATIENCE_S": "120"}
    where = ["--repo", str(folder / "manifests"), "--state-dir", str(folder / "state")]
    with (folder / "controller.log").open("wb") as log:
        running = subprocess.Popen(
            [_DOMOPS, *where, "run"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_until_ready(address, running)
        pages = ["/metrics", f"/metrics/host/{fleet.host_name(0)}"]
        for page in pages * 2:
            with urllib.request.urlopen(f"{address}{page}", timeout=_PATIENCE_S) as answer:  # noqa: S310 - our own, on loopback
                text = answer.read().decode()
            assert fleet.guest_name(guests - 1) in text, f"{page} does not tell of every guest"
        status = Path(f"/proc/{running.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(_PATIENCE_S)
    return Figure(
        work="memory of a controller, after a scrape",
        guests=guests,
        floor="–",
        ours=f"{resident:.0f} MiB",
        value=resident,
        unit="MiB",
        bound=_MOST_MIB,
        target="≤ 300 MiB",
    )


def _wait_until_ready(address: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        assert running.poll() is None, "the controller ended by itself"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/readyz", timeout=60):  # noqa: S310 - our own, on loopback
            return
        time.sleep(0.2)  # another process: it can be asked, and does not call back
    message = "the controller was not ready in time"
    raise RuntimeError(message)


@contextlib.contextmanager
def real_host() -> Iterator[QemuHost]:
    """A private libvirtd; no machine of the fleet is its own, so it is not compared."""
    with QemuLab(hosts=1) as lab:
        yield lab.host


def quiet_command(folder: Path) -> float:
    """How long a whole ``domops plan`` takes that finds nothing to do, from shell to shell."""
    where = ["--repo", str(folder / "manifests"), "--state-dir", str(folder / "state")]

    def run() -> None:
        done = subprocess.run(
            [_DOMOPS, *where, "plan"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return best(run, 3)


def quiet_fresh_pass(folder: Path) -> float:
    """A pass that asks the real host anew and finds nothing to do."""
    settings = Settings(repository=str(folder / "manifests"), state_dir=folder / "fresh-state")
    with open_controller(settings, writing=True) as opened:
        opened.controller.pass_once()

        def fresh() -> None:
            found = opened.controller.look()
            assert found.observed is not None

        return best(fresh, 5)
