"""Listen to what a guest says on its console, through its restarts.

The console is read through libvirt, as ``virsh console`` does, so nothing has to be added to the
definition that is under test. What the guest said before somebody listened is lost; it says how it
is about once a second.
"""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import libvirt

from tests.lab.qemu.errors import LabError

LOOK_AGAIN_AFTER_S = 0.1
TAIL_LINES = 25
SAYS = re.compile(r"SAYS (\{.*\})\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """One line in which a guest said how it is."""

    boot: str
    up: float
    cpus: int
    mem_kb: int
    disks: Mapping[str, int]
    nics: tuple[str, ...]
    data: Mapping[str, str]


def parse_says(line: str) -> Says | None:
    """Return what a console line says, or nothing if it is another kind of line or was cut."""
    found = SAYS.search(line)
    if found is None:
        return None
    try:
        said = cast("dict[str, object]", json.loads(found[1]))
    except json.JSONDecodeError:
        return None  # the kernel wrote into the middle of it; the next one comes in a second
    return Says(
        boot=str(said["boot"]),
        up=float(cast("float", said["up"])),
        cpus=int(cast("int", said["cpus"])),
        mem_kb=int(cast("int", said["mem_kb"])),
        disks=cast("dict[str, int]", said["disks"]),
        nics=tuple(cast("list[str]", said["nics"])),
        data=cast("dict[str, str]", said.get("data", {})),
    )


class ConsoleTimeout(LabError):  # noqa: N818 - it is the name of what happened
    """The guest did not say in time what was waited for; the message shows what it did say."""


class Console(AbstractContextManager["Console"]):
    """The console of one guest, followed by a thread of its own until it is closed."""

    def __init__(self, uri: str, guest: str) -> None:
        """Begin to listen; the guest need not run yet, nor even be defined."""
        self._uri = uri
        self._guest = guest
        self._heard = threading.Condition()
        self._lines: list[str] = []
        self._said: list[Says] = []
        self._complaint = ""
        self._closing = threading.Event()
        self._stream: libvirt.virStream | None = None
        self._thread = threading.Thread(target=self._follow, name=f"console-{guest}", daemon=True)
        self._thread.start()

    @property
    def lines(self) -> tuple[str, ...]:
        """Every whole line heard so far."""
        with self._heard:
            return tuple(self._lines)

    @property
    def said(self) -> tuple[Says, ...]:
        """Everything the guest said about itself so far."""
        with self._heard:
            return tuple(self._said)

    def latest(self) -> Says | None:
        """Return the last thing the guest said about itself."""
        with self._heard:
            return self._said[-1] if self._said else None

    def wait_for(
        self,
        predicate: Callable[[Says], bool],
        *,
        what: str = "what was waited for",
        within_s: float = 30.0,
    ) -> Says:
        """Return the first thing said from now on for which ``predicate`` holds.

        What was said before the call does not count: it may describe a world that is gone.
        """
        with self._heard:
            start = len(self._said)

        def found() -> Says | None:
            return next((said for said in self._said[start:] if predicate(said)), None)

        deadline = time.monotonic() + within_s
        with self._heard:
            while (said := found()) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._timeout(what, within_s)
                self._heard.wait(left)
        return said

    def wait_for_line(self, text: str, *, within_s: float = 30.0) -> str:
        """Return the first line, heard before or after the call, that has ``text`` in it."""
        deadline = time.monotonic() + within_s
        with self._heard:
            while True:
                for line in self._lines:
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._timeout(f"a line with {text!r}", within_s)
                self._heard.wait(left)

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        stream = self._stream
        if stream is not None:
            # It may have ended by itself just now.
            with contextlib.suppress(libvirt.libvirtError):
                stream.abort()
        self._thread.join()

    def __enter__(self) -> Self:
        """Listen until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self.close()

    def _timeout(self, what: str, within_s: float) -> ConsoleTimeout:
        tail = "\n".join(self._lines[-TAIL_LINES:]) or f"(nothing) {self._complaint}"
        return ConsoleTimeout(
            f"{self._guest} did not say {what} within {within_s:.0f} s; its console's end:\n{tail}"
        )

    def _follow(self) -> None:
        while not self._closing.is_set():
            try:
                connection = libvirt.open(self._uri)
            except libvirt.libvirtError as error:
                self._wait_after(error)
                continue
            try:
                self._follow_on(connection)
            except libvirt.libvirtError as error:
                self._wait_after(error)
            finally:
                connection.close()

    def _wait_after(self, error: libvirt.libvirtError) -> None:
        """Not there yet, or gone: look again soon, and remember why for whoever waits in vain."""
        self._complaint = str(error)
        self._closing.wait(LOOK_AGAIN_AFTER_S)

    def _follow_on(self, connection: libvirt.virConnect) -> None:
        """Listen on one connection, boot after boot, until it breaks or we are closed."""
        while not self._closing.is_set():
            domain = connection.lookupByName(self._guest)
            if not domain.isActive():
                self._closing.wait(LOOK_AGAIN_AFTER_S)
                continue
            stream = connection.newStream(0)
            domain.openConsole(None, stream, 0)
            self._stream = stream
            try:
                self._hear(stream)
            finally:
                self._stream = None

    def _hear(self, stream: libvirt.virStream) -> None:
        rest = b""
        while not self._closing.is_set():
            heard = stream.recv(4096)
            if not heard:
                return  # the guest is gone, or will be in a moment
            *lines, rest = (rest + heard).split(b"\n")
            self._take(line.decode(errors="replace").rstrip("\r") for line in lines)

    def _take(self, lines: Iterable[str]) -> None:
        with self._heard:
            for line in lines:
                self._lines.append(line)
                said = parse_says(line)
                if said is not None:
                    self._said.append(said)
            self._heard.notify_all()
