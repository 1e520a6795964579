"""Ports are looked at beside the passes, over real sockets of the loopback."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.controller.probing import Prober
from reconciler.model.desired import OpenPort
from reconciler.model.plan import Reason
from tests.unit.controller.stage import GUEST, guest_yaml
from tests.unit.controller.test_loop import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.controller.stage import Stage

HOME = "127.0.0.1"


@pytest.fixture
def woken() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def prober(woken: threading.Semaphore) -> Iterator[Prober]:
    def wake(_name: str) -> None:
        woken.release()

    prober = Prober(clock=lambda: datetime.now(UTC), wake=wake)
    yield prober
    prober.close()


def _reserved() -> tuple[socket.socket, OpenPort]:
    """A port that nobody else takes and that refuses connections until ``listen`` is called."""
    listener = socket.socket()
    listener.bind((HOME, 0))
    return listener, OpenPort(address=HOME, port=listener.getsockname()[1])


def test_a_port_is_seen_closed_and_then_open_and_whoever_waits_is_woken(
    prober: Prober, woken: threading.Semaphore
) -> None:
    listener, port = _reserved()
    with listener:
        prober.want(frozenset({port}))
        wait_until(lambda: port in prober.seen())
        assert not prober.seen()[port].open
        listener.listen()
        assert woken.acquire(timeout=60)
        assert prober.seen()[port].open


def test_nothing_is_sent_and_the_connection_is_closed_at_once(prober: Prober) -> None:
    listener, port = _reserved()
    with listener:
        listener.listen()
        prober.want(frozenset({port}))
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            try:
                received = connection.recv(1)
            except ConnectionResetError:
                received = b""
            assert received == b""


def test_what_is_not_wanted_any_more_is_forgotten(prober: Prober) -> None:
    listener, port = _reserved()
    with listener:
        prober.want(frozenset({port}))
        wait_until(lambda: port in prober.seen())
        prober.want(frozenset())
        assert prober.seen() == {}


def test_an_address_without_a_way_to_it_is_closed(prober: Prober) -> None:
    nowhere = OpenPort(address="ff02::1", port=9)  # no connection can be made to a group
    prober.want(frozenset({nowhere}))
    wait_until(lambda: nowhere in prober.seen())
    assert not prober.seen()[nowhere].open


def test_an_apply_goes_on_until_the_port_answers(stage: Stage) -> None:
    """The guest is made at once and only its start waits; the apply ends when it runs."""
    listener, port = _reserved()
    ready = f"{{tcp: {port.port}, address: {port.address}}}"
    stage.begin("a")
    after = f"  startAfter: [{{guest: dns, ready: {ready}}}]\n"
    stage.commit("Two", guests_dns=guest_yaml("dns"), guests_web=guest_yaml("web") + after)
    with listener, stage.open() as opened:

        def waits() -> bool:
            plan = opened.controller.pass_once().plan
            assert plan is not None
            changes = plan.statuses[GUEST].changes
            return any(change.reason is Reason.START_AFTER for change in changes)

        wait_until(waits)
        assert not stage.hosts["a"].guests()["web"].active
        listener.listen()
        assert stage.converge(opened).complete
    assert stage.hosts["a"].guests()["web"].active
