"""A connection to a libvirt daemon that is opened at its first use and again after it broke.

Whoever uses a link gets a connection that answered a moment ago. One that broke is dropped with
everything registered at it, and whoever comes next opens a new one and registers anew: no handle
outlives its connection. A connection that was dropped is closed by the last who leaves it: libvirt
frees a connection that is closed, also under another thread's call (see Note [Never closed under a
call] in ``line``).
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import libvirt

from reconciler.errors import StalledError
from reconciler.hypervisor.errors_table import means_broken_connection, translated
from reconciler.hypervisor.eventloop import run_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_MISSES = 5

_DOMAIN_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
    libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
    libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED,
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
)


def checked_uri(uri: str) -> str:
    """``uri``, if it holds no secret.

    Raises:
        StalledError: it carries a password; libvirt uses none, and logs would show it.

    """
    if urlsplit(uri).password is not None:
        raise StalledError(f"the URI {uri_for_people(uri)} carries a password: take it out")
    return uri


def uri_for_people(uri: str) -> str:
    """``uri`` without what logs must not show: its password."""
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.split(':')[0]}@{host}"))


@dataclass(eq=False, slots=True, kw_only=True)
class _Held:
    """One connection: what is registered at it, and how many threads are using it."""

    connection: libvirt.virConnect
    registered: list[int] = field(default_factory=list)
    users: int = 1
    dropped: bool = False


class Link:
    """One connection to the daemon behind ``uri``; safe to use from several threads."""

    def __init__(self, uri: str, *, open_connection: Callable[[str], libvirt.virConnect]) -> None:
        """Keep the address; nothing is opened yet.

        Raises:
            StalledError: the URI carries a password.

        """
        self._uri = checked_uri(uri)
        self._open = open_connection
        # Two locks, so that an open that hangs keeps nobody from closing.
        self._opening = threading.Lock()
        self._changing = threading.Lock()
        self._held: _Held | None = None
        self._notify: Callable[[], None] | None = None

    @contextlib.contextmanager
    def connection(self, doing: str) -> Iterator[libvirt.virConnect]:
        """A connection that works, for reading; libvirt's errors come out as ours.

        Raises:
            TransientError: the host does not answer, or a call failed that may succeed later.
            StalledError: the host needs a person first.
            RefusedError: the driver does not have a call that was made.

        """
        held = None
        try:
            held = self._alive()
            yield held.connection
        except libvirt.libvirtError as error:
            if held is not None and means_broken_connection(error):
                self._drop(held)
            raise translated(error, doing, writing=False) from error
        finally:
            if held is not None:
                self._leave(held)

    def watch(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` at every event, on this connection and on those that follow it."""
        self._notify = notify
        held = self._joined()
        if held is not None:
            try:
                self._register(held)
            finally:
                self._leave(held)

    def close(self) -> None:
        """Let go of the connection, if there is one; a call that is out on it is not disturbed."""
        held = self._joined()
        if held is not None:
            self._drop(held)
            self._leave(held)

    def _alive(self) -> _Held:
        """A connection that answered just now, with the caller counted among its users."""
        held = self._joined()
        if held is not None:
            if _answers(held.connection):
                return held
            self._drop(held)
            self._leave(held)
        with self._opening:
            held = self._joined()
            if held is None:
                held = _Held(connection=self._opened())
                with self._changing:
                    self._held = held
                if self._notify is not None:
                    self._register(held)
            return held

    def _joined(self) -> _Held | None:
        """The connection in use, with the caller counted among its users."""
        with self._changing:
            if self._held is not None:
                self._held.users += 1
            return self._held

    def _drop(self, held: _Held) -> None:
        """Use another connection from now on; the last who leaves this one closes it."""
        with self._changing:
            held.dropped = True
            if held is self._held:
                self._held = None

    def _leave(self, held: _Held) -> None:
        # Note [Never closed under a call]: whoever is inside a call is counted, so the count is
        # none only once, and then nobody can come any more.
        with self._changing:
            held.users -= 1
            if held.users or not held.dropped:
                return
        _say_goodbye(held)

    def _opened(self) -> libvirt.virConnect:
        run_event_loop()
        connection = self._open(self._uri)
        # A driver inside this process has nobody to keep alive, and says so.
        with contextlib.suppress(libvirt.libvirtError):
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_MISSES)
        return connection

    def _register(self, held: _Held) -> None:
        # Events are hints, and looking now and then is the truth: a driver that lacks one is
        # watched by its others.
        connection = held.connection
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._happened, None)
        for event in _DOMAIN_EVENTS:
            with contextlib.suppress(libvirt.libvirtError):
                number = connection.domainEventRegisterAny(None, event, self._happened, None)
                held.registered.append(number)

    def _happened(self, *_: object) -> None:
        """Run in libvirt's loop: tell, and touch nothing of libvirt's."""
        if self._notify is not None:
            self._notify()


def _say_goodbye(held: _Held) -> None:
    """Take off what is registered, and close; what is broken cannot answer, and need not."""
    connection = held.connection
    for number in held.registered:
        with contextlib.suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(number)
    with contextlib.suppress(libvirt.libvirtError):
        connection.unregisterCloseCallback()
    with contextlib.suppress(libvirt.libvirtError):
        connection.close()


def _answers(connection: libvirt.virConnect) -> bool:
    """Whether the daemon is there; ``isAlive`` alone is known to lie, so it is asked something."""
    try:
        if not connection.isAlive():
            return False
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True
