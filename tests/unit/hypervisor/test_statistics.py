"""Where guests are asked one by one, one that hangs costs a moment once, and nobody else.

The host is libvirt's test driver; between it and the reader stands a gate, at which what is asked
about one guest can be made to wait.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import libvirt
import pytest

from reconciler.hypervisor.eventloop import run_event_loop
from reconciler.hypervisor.statistics import LibvirtStatistics, ReadingWaits
from reconciler.model.names import HostName
from tests.unit.controller.test_loop import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.statistics import GuestStatistics, HostStatistics

GUESTS = ("dns", "web")
DOMAIN = """
<domain type='test'>
  <name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='i686'>hvm</type></os>
</domain>
"""


class Gate:
    """A connection on which looking for one guest waits until the gate is open."""

    def __init__(self, connection: libvirt.virConnect, guest: UUID) -> None:
        self._connection = connection
        self._guest = guest
        self.open = threading.Event()
        self.waiting = 0
        self.open.set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def lookupByUUID(self, uuid: bytes) -> libvirt.virDomain:  # noqa: N802 - libvirt's name
        """Find a domain, once its gate is open."""
        if UUID(bytes=uuid) == self._guest:
            self.waiting += 1
            self.open.wait()
        return self._connection.lookupByUUID(uuid)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A host with two guests, of which one can be made to hang."""
    run_event_loop()
    node = tmp_path / "node.xml"
    node.write_text("<node>" + "".join(DOMAIN.format(name=name) for name in GUESTS) + "</node>")
    connection = libvirt.open(f"test://{node}")
    return Gate(connection, UUID(bytes=connection.lookupByName("web").UUID()))


def figures(said: HostStatistics, name: str) -> GuestStatistics:
    """Those of one guest."""
    [found] = [one for one in said.guests if one.name == name]
    return found


def test_a_guest_that_hangs_keeps_its_figures_and_holds_up_no_other(gate: Gate) -> None:
    reader = LibvirtStatistics(
        name=HostName("a"),
        uri="test:///somewhere",
        clock=lambda: datetime.now(UTC),
        open_connection=lambda _: gate,
        waits=ReadingWaits(guest_s=0.05),
    )
    first = reader.read()
    assert [one.name for one in first.guests] == list(GUESTS)
    gate.open.clear()
    asked = gate.waiting
    for _ in range(20):  # more often than calls may hang
        later = reader.read()
        assert later.why is None
        assert figures(later, "web") == figures(first, "web")
        assert figures(later, "dns").at > figures(first, "dns").at
    assert gate.waiting == asked + 1
    gate.open.set()
    wait_until(lambda: figures(reader.read(), "web").at > figures(first, "web").at)
