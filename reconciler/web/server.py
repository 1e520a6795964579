"""An HTTP server on threads of its own, from the standard library; it knows no page.

Only ``GET`` and ``HEAD`` are answered. A client that is slow is cut off, and more requests at once
than there is room for are turned away: neither costs more than a thread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reconciler.errors import StalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_AT_ONCE = 32
"""Requests at once; a hundred hosts scraped by two servers come one after the other."""

_SLOWEST_S = 10
"""How long a client may take to say what it wants, and to take what it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer."""

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for; ``address`` is what the client called us."""

    path: str
    address: str


@contextlib.contextmanager
def served(address: tuple[str, int], page_at: Callable[[Request], Page]) -> Iterator[int]:
    """Serve ``page_at`` of each request until the block ends; gives the port.

    Raises:
        StalledError: the address cannot be listened on.

    """
    try:
        server = _server(address, page_at)
    except OSError as error:
        where = f"[{address[0]}]" if ":" in address[0] else address[0]
        raise StalledError(
            f"listen: {where}:{address[1]} cannot be listened on: {error.strerror or error}; "
            "name another port, or stop what uses it"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="web", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _server(address: tuple[str, int], page_at: Callable[[Request], Page]) -> _Server:
    family, *_ = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]

    class Handler(_Handler):
        """A handler that knows the pages."""

        pages = staticmethod(page_at)

    class Server(_Server):
        """A server for this kind of address."""

        address_family = family

    return Server(address, Handler)


class _Server(ThreadingHTTPServer):
    """One thread a request, and only so many."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * _AT_ONCE

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Listen, without asking anybody what the address is called, as the library would."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Begin a thread for the request if there is room, else hang up."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = _SLOWEST_S
    pages: Callable[[Request], Page]

    def do_GET(self) -> None:
        """Answer with the page."""
        page = self._head()
        self.wfile.write(page.body)

    def do_HEAD(self) -> None:
        """Answer with the page's head alone."""
        self._head()

    def version_string(self) -> str:
        """Who answers; not which version, and not on what."""
        return "domops"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: who scrapes, and how often, is no event of ours."""

    def _head(self) -> Page:
        try:
            page = self.pages(
                Request(
                    path=unquote(urlsplit(self.path).path),
                    address=self.headers.get("Host") or self._own_address(),
                )
            )
        except Exception as error:  # noqa: BLE001 - who asks must be told that it is our fault
            what = f"unforeseen {type(error).__name__}: {error}\n"
            page = Page(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=what.encode())
        self.send_response(page.status)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        return page

    def _own_address(self) -> str:
        host, port = self.connection.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
