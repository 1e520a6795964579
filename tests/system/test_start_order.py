"""On a real host: a guest starts when the agent inside another one has come up, and a port answers.

The port is one of the test's own, on the loopback: what is under test looks from the controller.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.controller.results import PassResult
from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Reason
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

AFTER = """\
  startAfter:
    - guest: dns
      ready: {{state: agent, tcp: {port}, address: 127.0.0.1}}
"""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with QemuLab() as lab:
        yield begin(tmp_path, lab.host)


def _agents(result: PassResult) -> dict[str, bool]:
    """Of each running guest, whether the observation says that its agent is connected."""
    assert result.observed is not None
    [host] = result.observed.hosts.values()
    assert isinstance(host, ObservedHost), host.why
    return {one.name: one.agent_connected for one in host.guests.values() if one.active}


def _waits_for(result: PassResult) -> str:
    """What ``lists`` waits for before it is started, as its status says; empty if for nothing."""
    assert result.plan is not None
    changes = result.plan.statuses[GuestName("lists")].changes
    return next((one.message for one in changes if one.reason is Reason.START_AFTER), "")


def test_a_guest_starts_after_the_agent_and_the_port_of_another(ground: Ground) -> None:
    with contextlib.closing(socket.socket()) as listener, ground.controller() as opened:
        listener.bind(("127.0.0.1", 0))
        after = AFTER.format(port=listener.getsockname()[1])
        ground.repository.commit(
            "Two guests, one after the other",
            {
                "guests/dns.yaml": guest_manifest("dns"),
                "guests/lists.yaml": guest_manifest("lists") + after,
            },
        )
        result = opened.controller.pass_once()
        lacks = [_waits_for(result)]
        deadline = time.monotonic() + 120
        while "does not answer" not in lacks[-1]:
            assert time.monotonic() < deadline, lacks
            threading.Event().wait(0.1)
            result = opened.controller.pass_once()
            lacks.append(_waits_for(result))
            assert "lists" not in ground.running()
        assert any("its agent is not connected" in one for one in lacks)
        assert _agents(result) == {"dns": True}
        assert "lists" in ground.stored()  # it is made, and only its start waits
        listener.listen()
        converge(opened)
        assert set(ground.running()) == {"dns", "lists"}
