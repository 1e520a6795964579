"""Tell the service manager that started us how we are: ready, alive, stopping.

systemd's protocol is one datagram to the socket that it names in the environment, so these few
lines are no reason for a library. Nothing here may fail or hold up a pass: what cannot be sent is
dropped, and without a manager that listens nothing is sent.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_ABSTRACT = "@"


class Supervisor:
    """The manager at the other end, or nobody."""

    def __init__(self, address: str | None) -> None:
        """``address`` is a path, or begins with ``@`` for one in no file system."""
        self._address = address
        self._socket: socket.socket | None = None
        if address is None:
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)  # noqa: FBT003 - the library's own form

    @classmethod
    def of(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The one that the environment names; an address of another kind is nobody's."""
        address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
        return cls(address if address.startswith(("/", _ABSTRACT)) else None)

    def ready(self) -> None:
        """The first pass was made."""
        self._send("READY=1\nSTATUS=keeping the guests as the repository wants them")

    def alive(self) -> None:
        """Passes are being made, or waited for; said often, counted by the manager's watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Nothing more begins; calls that are out are given their grace."""
        self._send("STOPPING=1\nSTATUS=waiting for the calls that are out")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is None or self._address is None:
            return
        address = self._address
        target = "\0" + address[1:] if address.startswith(_ABSTRACT) else address
        try:
            self._socket.sendto(text.encode(), target)
        except OSError:
            return  # a manager that is busy or gone will do without
