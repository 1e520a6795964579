"""A connection that is only read on, and that is let go of without a word.

Note [Never closed under a call]: libvirt frees a connection that is closed while another thread's
call is out on it, and that call then reads freed memory. A ``Line`` forgets its connection instead;
it ends when the last call on it has come back.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import libvirt

from reconciler.hypervisor.errors_table import means_broken_connection, translated
from reconciler.hypervisor.eventloop import run_event_loop
from reconciler.hypervisor.link import KEEPALIVE_INTERVAL_S, KEEPALIVE_MISSES, checked_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Line:
    """A way to the daemon behind ``uri``; safe to use from several threads."""

    def __init__(self, uri: str, *, open_connection: Callable[[str], libvirt.virConnect]) -> None:
        """Keep the address; nothing is opened yet.

        Raises:
            StalledError: the URI carries a password.

        """
        self._uri = checked_uri(uri)
        self._open = open_connection
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect = None

    @contextlib.contextmanager
    def connection(self, doing: str) -> Iterator[libvirt.virConnect]:
        """A connection for reading; libvirt's errors come out as ours.

        Raises:
            TransientError: the host does not answer, or a call failed that may succeed later.
            StalledError: the host needs a person first.
            RefusedError: the driver does not have a call that was made.

        """
        connection = None
        try:
            connection = self._connection
            if connection is None:
                connection = self._opened()
            yield connection
        except libvirt.libvirtError as error:
            if connection is not None and means_broken_connection(error):
                self.forget(connection)
            raise translated(error, doing, writing=False) from error

    def forget(self, connection: libvirt.virConnect = None) -> None:
        """Use another connection from now on, if ``connection`` (or any) is the one in use."""
        with self._lock:
            if connection is None or connection is self._connection:
                self._connection = None

    def _opened(self) -> libvirt.virConnect:
        run_event_loop()
        connection = self._open(self._uri)
        # A driver inside this process has nobody to keep alive, and says so.
        with contextlib.suppress(libvirt.libvirtError):
            connection.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_MISSES)
        with self._lock:
            if self._connection is None:
                self._connection = connection
        return connection
