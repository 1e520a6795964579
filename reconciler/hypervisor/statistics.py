"""Read what guests use, on a connection of its own, so that nothing here makes a pass wait.

Note [Last values with their age]: a guest that is busy or hangs, and a host that does not answer,
keep the figures that they had, and these grow old. Who reads is never kept waiting for them.

QEMU tells of all guests in one call, and leaves out at once what a busy guest would have to be
waited for. A guest that hangs without being known to be busy holds that call up; it counts as busy
from then on, so the call is made once more, on another connection. Where there is no such call
(Xen, the test driver) guests are asked one by one, each with a deadline of its own.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import libvirt

from reconciler.errors import DomopsError
from reconciler.hypervisor.calls import Calls, TooLateError
from reconciler.hypervisor.capabilities import Driver, driver_called
from reconciler.hypervisor.figures import figures_of_all, figures_of_one
from reconciler.hypervisor.guests import domains_of, uuid_of
from reconciler.hypervisor.line import Line
from reconciler.model.statistics import HostStatistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.names import HostName
    from reconciler.model.statistics import GuestStatistics

_T = TypeVar("_T")


class StatisticsReader(Protocol):
    """Reads one host's statistics."""

    def read(self) -> HostStatistics:
        """The newest figures that can be had now, and the last ones of what does not answer.

        Returns in bounded time whatever the host does; raises nothing.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; returns at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingWaits:
    """How long a reader waits: for one call to the host, for one guest, and for all together."""

    host_s: float = 2
    guest_s: float = 1
    all_s: float = 5


class LibvirtStatistics:
    """The statistics of one host behind libvirt."""

    def __init__(
        self,
        *,
        name: HostName,
        uri: str,
        clock: Callable[[], datetime],
        open_connection: Callable[[str], libvirt.virConnect] = libvirt.open,
        waits: ReadingWaits | None = None,
    ) -> None:
        """Keep the address; nothing is opened before it is used.

        Raises:
            StalledError: the URI carries a password.

        """
        self._name = name
        self._clock = clock
        self._waits = waits or ReadingWaits()
        self._line = Line(uri, open_connection=open_connection)
        self._calls = Calls(f"{name}: statistics")
        self._reading = threading.Lock()
        self._answered: datetime | None = None
        self._guests: dict[UUID, GuestStatistics] = {}
        self._hanging: set[UUID] = set()

    def read(self) -> HostStatistics:
        """The newest figures that can be had now, and the last ones of what does not answer."""
        with self._reading:
            why = None
            try:
                self._take_in(self._ask())
            except DomopsError as error:
                why = str(error)
            return HostStatistics(
                host=self._name,
                answered=self._answered,
                why=why,
                guests=tuple(sorted(self._guests.values(), key=lambda one: one.name)),
            )

    def close(self) -> None:
        """Let go of the connection, see Note [Never closed under a call]."""
        self._line.forget()

    def _take_in(self, fresh: dict[UUID, GuestStatistics | None]) -> None:
        """Keep what is new, and the last figures of what could not be asked in whole."""
        kept: dict[UUID, GuestStatistics] = {}
        for uuid, guest in fresh.items():
            before = self._guests.get(uuid)
            if guest is not None and (guest.whole or before is None or not before.whole):
                kept[uuid] = guest
            elif before is not None:
                kept[uuid] = before
        self._guests = kept
        self._answered = self._clock()

    def _ask(self) -> dict[UUID, GuestStatistics | None]:
        """The figures of every domain; None for one that was not asked, or did not answer."""
        driver = self._of_host(self._driver)
        if driver is not Driver.QEMU:
            return self._one_by_one(driver)
        try:
            return self._of_host(self._all)
        except TooLateError:
            return self._of_host(self._all)

    def _of_host(self, ask: Callable[[], _T]) -> _T:
        """What the host answers; a connection on which a call hangs is not used for another."""
        try:
            return self._calls.call(ask, within_s=self._waits.host_s)
        except TooLateError:
            self._line.forget()
            raise

    def _driver(self) -> Driver:
        with self._line.connection(f"reading statistics of {self._name}") as connection:
            return driver_called(connection.getType())

    def _all(self) -> dict[UUID, GuestStatistics | None]:
        at = self._clock()
        with self._line.connection(f"reading statistics of {self._name}") as connection:
            return {one.uuid: one for one in figures_of_all(connection, at)}

    def _one_by_one(self, driver: Driver) -> dict[UUID, GuestStatistics | None]:
        end = self._clock() + timedelta(seconds=self._waits.all_s)
        guests = self._of_host(partial(self._list, driver))
        return {uuid: self._one(uuid) if self._clock() < end else None for uuid in guests}

    def _list(self, driver: Driver) -> tuple[UUID, ...]:
        with self._line.connection(f"listing domains of {self._name}") as connection:
            return tuple(map(uuid_of, domains_of(connection, driver)))

    def _one(self, uuid: UUID) -> GuestStatistics | None:
        """One guest's figures; None if it hangs, went away, or cannot say just now."""
        if uuid in self._hanging:
            return None
        try:
            return self._calls.call(partial(self._ask_one, uuid), within_s=self._waits.guest_s)
        except TooLateError:
            self._line.forget()  # others are not asked on a connection on which a call hangs
            return None
        except DomopsError:
            return None

    def _ask_one(self, uuid: UUID) -> GuestStatistics:
        """Ask for one guest; for as long as it hangs it is not asked again."""
        self._hanging.add(uuid)
        at = self._clock()
        try:
            with self._line.connection(f"reading statistics of {self._name}") as connection:
                return figures_of_one(connection.lookupByUUID(uuid.bytes), at)
        finally:
            self._hanging.discard(uuid)
