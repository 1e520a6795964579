"""Remember since when each guest has been in its state, and when it was seen crashed.

The hosts do not say since when; a stop is believed only after it was seen to last.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.model.observed import RunState, StateReason
from reconciler.model.steps import DestroyGuest, ShutDownGuest, StartGuest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedGuest, ObservedHost
    from reconciler.model.steps import Step

_KEPT = timedelta(days=1)
"""Crashes older than this say nothing about a loop of crashes."""

_State = tuple[RunState, StateReason]


class StatesSeen:
    """First sights of states, by host and guest."""

    def __init__(self) -> None:
        self._since: dict[HostName, dict[UUID, tuple[_State, datetime]]] = {}
        self._crashes: dict[GuestName, tuple[datetime, ...]] = {}

    def fill(self, host: ObservedHost) -> ObservedHost:
        """``host`` with ``state_since`` of its guests; None where a state is new.

        Told a second time of the same answer, no state is new any more.
        """
        guests = {uuid: self._fill_guest(host, guest) for uuid, guest in host.guests.items()}
        since = self._since.get(host.name, {})
        for uuid in since.keys() - guests.keys():
            del since[uuid]
        return replace(host, guests=guests)

    def forget(self, step: Step) -> None:
        """A step changed the guest's run: the same state seen afterwards is a new one."""
        if isinstance(step, StartGuest | ShutDownGuest | DestroyGuest):
            self._since.get(step.host, {}).pop(step.uuid, None)

    def crashes(self) -> Mapping[GuestName, tuple[datetime, ...]]:
        """When each guest was seen to have crashed in the last day, oldest first."""
        return dict(self._crashes)

    def _fill_guest(self, host: ObservedHost, guest: ObservedGuest) -> ObservedGuest:
        since = self._since.setdefault(host.name, {})
        state = (guest.state, guest.reason)
        known = since.get(guest.uuid)
        if known is not None and known[0] == state:
            return replace(guest, state_since=known[1])
        since[guest.uuid] = (state, host.answered_at)
        if _has_crashed(guest):
            self._note_crash(guest, host.answered_at)
        return replace(guest, state_since=None)

    def _note_crash(self, guest: ObservedGuest, at: datetime) -> None:
        name = guest.mark.guest if guest.mark else guest.name
        recent = (one for one in self._crashes.get(name, ()) if at - one < _KEPT)
        self._crashes[name] = (*recent, at)


def _has_crashed(guest: ObservedGuest) -> bool:
    if guest.state is RunState.CRASHED:
        return True
    broken = guest.reason in (StateReason.CRASHED, StateReason.FAILED)
    return guest.state is RunState.SHUT_OFF and broken
