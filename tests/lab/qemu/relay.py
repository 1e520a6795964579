"""A relay before a libvirtd that can go deaf: it keeps connections alive, and passes no call on.

What hangs in a daemon, a storage server that is gone or a lock that is never let go of, looks so
from outside: keepalive is answered, and the call never. Frames of libvirt's protocol begin with
their length and the number of the program that they are meant for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from tests.lab.qemu.host import QemuHost

KEEPALIVE_PROGRAM = 0x6B656570
_HEADER = struct.Struct(">6I")
"""Length, program, version, procedure, type, serial."""


class Relay:
    """A socket of its own before the libvirtd of ``host``."""

    def __init__(self, host: QemuHost, path: Path) -> None:
        """Listen at ``path``; every connection is passed on to the host."""
        self._target = host.directory / "run/libvirt-sock"
        self._path = path
        self._deaf_to: Callable[[int], bool] | None = None
        self._ways: list[_Way] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    @property
    def uri(self) -> str:
        """The URI by which libvirtd is reached through the relay."""
        return f"qemu+unix:///system?socket={self._path}"

    def go_deaf(self, *procedures: int) -> None:
        """From now on keep every call waiting (or those of ``procedures``)."""
        self._deaf_to = (lambda called: called in procedures) if procedures else lambda _: True

    def hear_again(self) -> None:
        """Pass on what waits, and everything from now on."""
        self._deaf_to = None
        for way in self._ways:
            way.send_held()

    def cut(self) -> None:
        """Break every connection, as a libvirtd that is restarted does, and hear again."""
        ways, self._ways = self._ways, []
        for way in ways:
            way.end()
        self._deaf_to = None

    def __enter__(self) -> Self:
        """The relay, until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Break what is connected, and listen no more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        self._path.unlink()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(str(self._target))
                except OSError:
                    client.close()
                    server.close()
                    continue
                there, back = _Way(client, server, self._is_deaf_to), _Way(server, client, _never)
                self._ways += [there, back]
                for way in (there, back):
                    threading.Thread(target=way.pass_on, name="relay", daemon=True).start()

    def _is_deaf_to(self, program: int, procedure: int) -> bool:
        deaf_to = self._deaf_to
        return program != KEEPALIVE_PROGRAM and deaf_to is not None and deaf_to(procedure)


def _never(_program: int, _procedure: int) -> bool:
    return False


class _Way:
    """One direction of a connection."""

    def __init__(
        self, source: socket.socket, target: socket.socket, holds: Callable[[int, int], bool]
    ) -> None:
        self._source = source
        self._target = target
        self._holds = holds
        self._sending = threading.Lock()
        self._held: list[bytes] = []

    def pass_on(self) -> None:
        """Send on whole frames until either end is closed."""
        with contextlib.suppress(OSError):
            while (frame := _frame(self._source)) is not None:
                _, program, _, procedure, _, _ = _HEADER.unpack_from(frame)
                with self._sending:
                    if self._holds(program, procedure):
                        self._held.append(frame)
                    else:
                        self._target.sendall(frame)
        self.end()
        self._source.close()

    def send_held(self) -> None:
        """Send what was held."""
        with self._sending, contextlib.suppress(OSError):
            while self._held:
                self._target.sendall(self._held.pop(0))

    def end(self) -> None:
        """Let neither end send any more."""
        for one in (self._source, self._target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _frame(source: socket.socket) -> bytes | None:
    """The next whole frame; None at the end."""
    length = _exactly(source, 4)
    if length is None:
        return None
    rest = _exactly(source, struct.unpack(">I", length)[0] - 4)
    return None if rest is None else length + rest


def _exactly(source: socket.socket, count: int) -> bytes | None:
    got = b""
    while len(got) < count:
        piece = source.recv(count - len(got))
        if not piece:
            return None
        got += piece
    return got
