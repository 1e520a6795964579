"""A connection to a libvirt daemon that is opened at its first use and again after it broke.

Whoever uses a link gets a connection that answered a moment ago. One that broke is dropped with
everything registered at it, and whoever comes next opens a new one and registers anew: no handle
outlives its connection.
"""

from __future__ import annotations

import contextlib
import threading
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


class Link:
    """One connection to the daemon behind ``uri``; safe to use from several threads."""

    def __init__(self, uri: str, *, open_connection: Callable[[str], libvirt.virConnect]) -> None:
        """Keep the address; nothing is opened yet."""
        self._uri = checked_uri(uri)
        self._open = open_connection
        # Two locks, so that an open that hangs keeps nobody from closing.
        self._opening = threading.Lock()
        self._changing = threading.Lock()
        self._connection: libvirt.virConnect = None
        self._notify: Callable[[], None] | None = None
        self._registered: list[int] = []

    @contextlib.contextmanager
    def connection(self, doing: str) -> Iterator[libvirt.virConnect]:
        """A connection that works, for reading; libvirt's errors come out as ours.

        Raises:
            TransientError: the host does not answer, or a call failed that may succeed later.
            StalledError: the host needs a person first.
            RefusedError: the driver does not have a call that was made.

        """
        connection = None
        try:
            connection = self._alive()
            yield connection
        except libvirt.libvirtError as error:
            if connection is not None and means_broken_connection(error):
                self.drop(connection)
            raise translated(error, doing, writing=False) from error

    def watch(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` at every event, on this connection and on those that follow it."""
        self._notify = notify
        connection = self._connection
        if connection is not None:
            self._register(connection)

    def drop(self, connection: libvirt.virConnect) -> None:
        """Let go of ``connection``, if it is still the one in use."""
        with self._changing:
            if connection is not self._connection:
                return
            self._connection = None
            registered, self._registered = self._registered, []
        # What is broken cannot say goodbye, and need not.
        for number in registered:
            with contextlib.suppress(libvirt.libvirtError):
                connection.domainEventDeregisterAny(number)
        with contextlib.suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            connection.close()

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        connection = self._connection
        if connection is not None:
            self.drop(connection)

    def _alive(self) -> libvirt.virConnect:
        connection = self._connection
        if connection is not None:
            if _answers(connection):
                return connection
            self.drop(connection)
        with self._opening:
            if self._connection is None:
                opened = self._opened()
                with self._changing:
                    self._connection = opened
                if self._notify is not None:
                    self._register(opened)
            return self._connection

    def _opened(self) -> libvirt.virConnect:
        run_event_loop()
        connection = self._open(self._uri)
        # A driver inside this process has nobody to keep alive, and says so.
        with contextlib.suppress(libvirt.libvirtError):
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_MISSES)
        return connection

    def _register(self, connection: libvirt.virConnect) -> None:
        # Events are hints, and looking now and then is the truth: a driver that lacks one is
        # watched by its others.
        with contextlib.suppress(libvirt.libvirtError):
            connection.registerCloseCallback(self._happened, None)
        for event in _DOMAIN_EVENTS:
            with contextlib.suppress(libvirt.libvirtError):
                number = connection.domainEventRegisterAny(None, event, self._happened, None)
                self._registered.append(number)

    def _happened(self, *_: object) -> None:
        """Run in libvirt's loop: tell, and touch nothing of libvirt's."""
        if self._notify is not None:
            self._notify()


def _answers(connection: libvirt.virConnect) -> bool:
    """Whether the daemon is there; ``isAlive`` alone is known to lie, so it is asked something."""
    try:
        if not connection.isAlive():
            return False
        connection.getLibVersion()
    except libvirt.libvirtError:
        return False
    return True
