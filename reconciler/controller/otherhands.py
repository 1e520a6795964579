"""Notice that somebody else writes our marks: another controller, say, on the same repository.

The lock of a state directory keeps a second controller out of it, and of nothing else. Two that
share a repository would not know of each other's budgets and operations. What gives the other one
away is a mark of ours that is another than when it was last seen, though no step of ours has
touched its guest since. A person who writes a kept definition back does the same.

All of it is in memory: what was changed while we were not there is what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.controller.observing import Observation
    from reconciler.model.mark import Mark
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedHost
    from reconciler.model.operation import Operation
    from reconciler.model.steps import Step

_SLACK = timedelta(seconds=60)
"""By how much the end of a step may be older than the question whose answer did not show it yet."""

_IS_TOLD = timedelta(hours=1)
"""For how long the status goes on telling of it; the event tells it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherHand:
    """A mark of ours that somebody else wrote."""

    guest: GuestName
    host: HostName
    at: datetime

    @property
    def sentence(self) -> str:
        """What was seen, and what to look for."""
        return (
            f"{self.guest} on {self.host}: its mark was changed, and not by this controller. If"
            " another one works for this repository, stop one of the two: each has its own budgets"
            " and does not know what the other has begun"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    asked: datetime
    marks: Mapping[UUID, Mark]


class OtherHands:
    """Compares the marks of one look at a host with those of the look before."""

    def __init__(self) -> None:
        self._seen: dict[HostName, _Seen] = {}
        self._touched: dict[tuple[HostName, GuestName], datetime] = {}
        self._recent: dict[tuple[HostName, GuestName], OtherHand] = {}

    def ended(self, steps: Iterable[tuple[Step, datetime]]) -> None:
        """Steps of ours have ended; what they wrote may be seen from now on."""
        for step, at in steps:
            self._touched[step.host, step.guest] = at

    def notice(
        self,
        observation: Observation,
        operations: Iterable[Operation],
        *,
        owner: UUID,
        now: datetime,
    ) -> tuple[OtherHand, ...]:
        """Who else's writing the hosts that answered show; each change is told once."""
        for one in operations:
            self._touched[one.host, one.step.guest] = now
        found = []
        for host in observation.world.answered():
            if host.name in observation.heard and (asked := observation.asked.get(host.name)):
                found += [
                    OtherHand(guest=guest, host=host.name, at=now)
                    for guest in self._changed(host, asked, owner)
                ]
        self._recent.update({(one.host, one.guest): one for one in found})
        return tuple(found)

    def told(self, now: datetime) -> tuple[str, ...]:
        """Sentences about what was noticed not long ago."""
        self._recent = {name: one for name, one in self._recent.items() if now - one.at < _IS_TOLD}
        return tuple(one.sentence for one in self._recent.values())

    def _changed(self, host: ObservedHost, asked: datetime, owner: UUID) -> Iterator[GuestName]:
        marks = {
            uuid: guest.mark
            for uuid, guest in host.guests.items()
            if guest.mark is not None and (guest.mark.owner, guest.mark.uuid) == (owner, uuid)
        }
        before = self._seen.get(host.name)
        self._seen[host.name] = _Seen(asked=asked, marks=marks)
        if before is None:
            return
        for uuid, mark in marks.items():
            known = before.marks.get(uuid)
            if known is mark or known == mark:
                continue
            names = {mark.guest, known.guest} if known else {mark.guest}
            ours = any(
                before.asked - self._touched[host.name, name] < _SLACK
                for name in names
                if (host.name, name) in self._touched
            )
            if not ours:
                yield mark.guest
