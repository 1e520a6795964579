"""Speak to the machine around dom0 over QEMU's own protocol."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.xen.errors import LabError

PATIENCE_S = 60.0


class Qmp:
    """A connection to one machine: an order and its answer at a time."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        with _short(folder) as here:
            self._socket.connect(f"{here}/qmp")
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._lines.readline()  # the greeting
        self.order("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._socket.close()

    def order(self, command: str, **arguments: object) -> object:
        """Have a command carried out; return what it answers."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._lines.flush()
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
            if "return" in answer:
                returned: object = answer["return"]
                return returned
        raise LabError(f"QEMU went away while it was asked for {command}")

    def status(self, command: str) -> str:
        """Return the ``status`` member of what a query answers."""
        answer = self.order(command)
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Name a folder in few letters: the path of a socket may have 107, a checkout's has more."""
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
