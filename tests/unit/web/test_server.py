"""The server: health, readiness, one clear error, and nothing that a client can hold up."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import StalledError
from reconciler.settings import Settings, listen_address
from reconciler.web.server import Page, Request, served
from reconciler.web.serving import shown
from tests.unit.controller.stage import Stage
from tests.unit.web.scraping import Served, serving

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """One host without guests."""
    stage = Stage(root=tmp_path)
    stage.begin("a")
    return stage


def test_it_is_ready_after_the_first_pass_over_a_good_commit(stage: Stage) -> None:
    stage.commit("Break it", guests_web="kind: Guest\n")
    with serving(stage) as served:
        served.once()
        status, why = served.get("/readyz")
        assert (status, why) == (503, "no pass over a good commit was made yet\n")
        assert served.get("/healthz") == (200, "ok\n")
        assert served.scrape().value("domops_passes_total", result="no good commit") == 1
        stage.commit("Mend it", guests_web=None)
        served.once()
        assert served.get("/readyz") == (200, "ok\n")
        stage.commit("Break it again", guests_web="kind: Guest\n")
        served.once()
        assert served.get("/readyz") == (200, "ok\n")


def test_a_loop_that_stands_still_is_not_healthy(stage: Stage) -> None:
    """The clock goes on and no pass is made."""
    settings = stage.settings().model_copy(update={"listen": "127.0.0.1:0"})
    late = timedelta(0)
    with stage.open() as opened:
        now = opened.clock()
        object.__setattr__(opened, "clock", lambda: now + late)
        with shown(opened, settings) as showing:
            served = Served(opened=opened, showing=showing)
            served.once()
            assert served.get("/healthz")[0] == 200
            late = timedelta(hours=1)
            status, why = served.get("/healthz")
            assert status == 503
            assert why.startswith("no pass for ")


def test_what_is_not_there_is_said_with_what_is(stage: Stage) -> None:
    with serving(stage) as served:
        status, text = served.get("/")
        assert status == 404
        assert "/metrics" in text
        assert served.get("/metrics", "POST")[0] == 501
        assert served.get("/readyz", "HEAD") == (503, "")


def test_a_port_in_use_is_one_clear_error(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, stage.open() as opened:
        port = other.getsockname()[1]
        settings = stage.settings().model_copy(update={"listen": f"127.0.0.1:{port}"})
        with (
            pytest.raises(StalledError, match=f"^listen: 127.0.0.1:{port} cannot be listened on"),
            shown(opened, settings),
        ):
            pass


def test_without_the_setting_nothing_is_listened_on(stage: Stage) -> None:
    with stage.open() as opened, shown(opened, stage.settings()) as showing:
        assert showing.port is None


def test_clients_that_say_nothing_keep_nobody_from_being_answered() -> None:
    """They take all the room there is; the next one is turned away, and served when they left."""
    with served(("127.0.0.1", 0), lambda _: Page(body=b"here")) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as turned_away:
            assert turned_away.recv(1) == b""
        for one in idle:
            one.close()
        answer = b""
        while not answer.startswith(b"HTTP/1.0 200"):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = client.recv(64)


def test_an_ipv6_address_is_listened_on_as_well() -> None:
    with (
        served(("::1", 0), lambda request: Page(body=request.address.encode())) as port,
        socket.create_connection(("::1", port), timeout=60) as client,
    ):
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = client.makefile("rb").read()
    assert b"Server: domops\r\n" in answer
    assert answer.endswith(f"[::1]:{port}".encode())


def test_a_page_that_fails_is_our_fault_and_is_said() -> None:
    def fails(request: Request) -> Page:
        raise KeyError(request.path)

    with (
        served(("127.0.0.1", 0), fails) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        client.sendall(b"GET /x HTTP/1.0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 500")


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9177", ("127.0.0.1", 9177)), ("[::1]:0", ("::1", 0)), ("any:80", ("any", 80))],
)
def test_an_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize(
    "text", ["9177", ":9177", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "u@h:1", "h:1/x", ""]
)
def test_what_is_no_address_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not ADDRESS:PORT"):
        Settings(state_dir=tmp_path, listen=text)
