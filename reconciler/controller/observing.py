"""Ask the hosts worth asking, and believe only whole answers of the machines that were meant.

A host that is late, fails, or answers as another machine becomes a ``SilentHost``: it and all on it
are unknown in this pass. Nobody waits for it longer than the others.

What a host said last is kept. A kept answer is good for finding out that there is nothing to do;
before a step begins, the hosts that its safety rests on are asked anew (promise 1). Which hosts
answered to this very look stands in ``Observation.fresh``.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.controller.asking import Asker, wait_for
from reconciler.controller.states import StatesSeen
from reconciler.errors import DomopsError, TransientError
from reconciler.model.desired import HostState
from reconciler.model.observed import ObservedHost, ObservedWorld, SilentHost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.hypervisor.port import Host
    from reconciler.model.desired import DesiredHost
    from reconciler.model.names import HostName

_RETRY_S = 5
"""How soon a silent host is asked again; it may be back within seconds of a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a pass waits for answers, and how old an answer may be and still count.

    ``deadline_s`` is for one that came too late for the pass that asked; ``keep_s`` for one that
    serves to see whether there is anything to do.
    """

    patience_s: float = 5
    deadline_s: float = 30
    keep_s: float = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at all hosts.

    ``asked`` says when each host whose answer counts had been asked; ``fresh`` are those that
    answered in full to this very look, ``heard`` those of which there is a new answer, also one
    that an event had asked for.
    """

    world: ObservedWorld
    asked: Mapping[HostName, datetime]
    fresh: frozenset[HostName]
    heard: frozenset[HostName]


@dataclass(slots=True, kw_only=True)
class _Kept:
    """What a host said last: an observation, or why there is none.

    ``before`` is the last observation before it whose states were dated, as those of ``said`` are
    once it is ``filled``.
    """

    asked: datetime
    said: ObservedHost | str
    before: ObservedHost | None
    filled: bool = False

    def dated(self) -> ObservedHost | None:
        """The newest observation whose states are dated."""
        return self.said if self.filled and isinstance(self.said, ObservedHost) else self.before


class Observer:
    """Keeps a door, an observing thread and the last answer for every host of the desired world."""

    def __init__(
        self,
        *,
        host_for: Callable[[DesiredHost], Host],
        clock: Callable[[], datetime],
        wake: Callable[[str], None],
        waits: Waits | None = None,
    ) -> None:
        self._host_for = host_for
        self._clock = clock
        self._wake = wake
        self._waits = waits or Waits()
        self._changed = threading.Condition()
        self._askers: dict[HostName, tuple[str, Asker]] = {}
        self._kept: dict[HostName, _Kept] = {}
        self._noted: set[str] = set()
        self._silent_since: dict[HostName, datetime] = {}
        self.states = StatesSeen()

    def host_named(self, name: HostName) -> Host:
        """The door of a host, for the executor.

        Raises:
            TransientError: there is none at the moment.

        """
        with self._changed:
            if name not in self._askers:
                raise TransientError(f"host {name} is not in the repository (any more)")
            return self._askers[name][1].host

    # ------------------------------------------------------------------------- whom to ask

    def note(self, names: Iterable[str]) -> None:
        """Something happened to these; what is no host of ours is nothing to this room."""
        self._noted.update(names)

    def due(self, hosts: Iterable[DesiredHost], now: datetime) -> frozenset[HostName]:
        """The hosts whose last answer says too little of what is now.

        Those of which something was noted, whose answer is too old, and which gave none.
        """
        return frozenset(
            host.name
            for host in hosts
            if host.state is not HostState.RETIRED
            and (host.name in self._noted or self._due_at(host.name, now) <= now)
        )

    def next_due(self, now: datetime) -> datetime | None:
        """When the first host will be due if nothing happens."""
        return min((self._due_at(name, now) for name in self._kept), default=None)

    def _due_at(self, name: HostName, now: datetime) -> datetime:
        kept = self._kept.get(name)
        if kept is None or self._askers[name][1].has_answer:
            return now
        answered = isinstance(kept.said, ObservedHost)
        keep = self._waits.keep_s if answered else min(_RETRY_S, self._waits.keep_s)
        return kept.asked + timedelta(seconds=keep)

    # ------------------------------------------------------------------------------- asking

    def observe(
        self,
        hosts: Iterable[DesiredHost],
        known: Mapping[HostName, UUID],
        *,
        only: Collection[HostName] | None = None,
        anew: Collection[HostName] = (),
        lost: Mapping[HostName, str] | None = None,
    ) -> Observation:
        """Ask every host that is not retired; ``known`` are the machines first seen at them.

        With ``only``, those alone are asked, and whoever never was; the others' last answers stand.
        Of ``only``, an answer that an event asked for is not enough from those of ``anew``, see
        Note [Asked by an event].
        What the ``lost`` say does not count, for the reason that stands with each.
        """
        wanted = {host.name: host for host in hosts if host.state is not HostState.RETIRED}
        self._let_go(set(self._askers) - set(wanted))
        unusable = {name: why for name, host in wanted.items() if (why := self._open(host))}
        asked_now = [
            name for name in wanted if only is None or name in only or name not in self._kept
        ]
        younger = self._noted.union(wanted if only is None else anew)
        answered, heard = self._ask(asked_now, unusable, younger, patiently=only is None)
        lost = lost or {}
        said = {name: lost.get(name) or self._kept[name].said for name in wanted}
        _believe_only_who_was_meant(said, wanted, known)
        seen: dict[HostName, ObservedHost | SilentHost] = {}
        for name, what in said.items():
            if isinstance(what, ObservedHost):
                self._silent_since.pop(name, None)
                seen[name] = self._dated(name, what)
            else:
                since = self._silent_since.setdefault(name, self._clock())
                seen[name] = SilentHost(name=name, why=what, since=since)
        believed = {name for name, what in said.items() if isinstance(what, ObservedHost)}
        return Observation(
            world=ObservedWorld(hosts=seen),
            asked={name: self._kept[name].asked for name in believed},
            fresh=frozenset(answered & believed),
            heard=frozenset(heard & believed),
        )

    def close(self) -> None:
        """Let go of every host."""
        self._let_go(set(self._askers))

    def _ask(
        self,
        names: Iterable[HostName],
        unusable: Mapping[HostName, str],
        anew: Collection[str],
        *,
        patiently: bool,
    ) -> tuple[set[HostName], set[HostName]]:
        """Have what these hosts say now, or why they say nothing.

        Returns those that answered a look, and all of which there is a new answer.

        One that owes an answer to an earlier look is waited for again only if ``patiently``. What
        was noted since it was asked is not covered by that answer, and gets a pass of its own.
        """
        now = self._clock()
        oldest = now - timedelta(seconds=self._waits.deadline_s)
        askers = {name: self._askers[name][1] for name in names if name not in unusable}
        asked = {
            name: asker
            for name, asker in askers.items()
            if asker.ask(oldest=oldest, anew=name in anew)
        }
        waited_for = askers if patiently else asked
        wait_for(waited_for.values(), self._changed, self._waits.patience_s)
        self._noted -= {*asked, *unusable}
        answered, heard = set(), set()
        for name in names:
            answer = askers[name].take() if name in askers else None
            before = self._kept[name].dated() if name in self._kept else None
            if answer is None:
                why = unusable.get(name) or self._no_answer(name)
                self._kept[name] = _Kept(asked=now, said=why, before=before)
                continue
            self._kept[name] = _Kept(asked=answer.asked, said=answer.said, before=before)
            heard.add(name)
            if not answer.by_event:
                answered.add(name)
            if name in self._noted:
                self._wake(name)
        return answered, heard

    def _no_answer(self, name: HostName) -> str:
        asked = self._askers[name][1].asked
        waited = (self._clock() - asked).total_seconds() if asked else 0
        return f"no answer for {max(waited, 0):.0f} s"

    def _dated(self, name: HostName, what: ObservedHost) -> ObservedHost:
        """The answer with its states dated; what serves a later look as well is dated in full."""
        kept = self._kept[name]
        if kept.filled:
            return what
        first = sharing(self.states.fill(what), kept.before)
        later = sharing(self.states.fill(what), first)
        same = all(first.guests[uuid] is guest for uuid, guest in later.guests.items())
        kept.said, kept.filled, kept.before = first if same else later, True, None
        return first

    def _open(self, host: DesiredHost) -> str | None:
        """Have a door to ``host``; return why there can be none."""
        uri, asker = self._askers.get(host.name, ("", None))
        if asker is not None and uri == host.uri:
            return None
        if asker is not None:
            self._let_go({host.name})
        try:
            door = self._host_for(host)
        except DomopsError as error:
            return str(error)
        asker = Asker(door, clock=self._clock, wake=self._wake, changed=self._changed)
        with self._changed:
            self._askers[host.name] = (host.uri, asker)
        return None

    def _let_go(self, names: Iterable[HostName]) -> None:
        for name in tuple(names):
            with self._changed:
                _, asker = self._askers.pop(name)
            asker.stop()
            self._kept.pop(name, None)
            self._silent_since.pop(name, None)


def sharing(new: ObservedHost, old: ObservedHost | None) -> ObservedHost:
    """``new``, with what has not changed taken from ``old``, so that it is known by identity."""
    if old is None:
        return new
    before = old.guests
    return replace(
        new,
        guest_types=old.guest_types if old.guest_types == new.guest_types else new.guest_types,
        pools=old.pools if old.pools == new.pools else new.pools,
        networks=old.networks if old.networks == new.networks else new.networks,
        bridges=old.bridges if old.bridges == new.bridges else new.bridges,
        guests={
            uuid: before[uuid] if before.get(uuid) == guest else guest
            for uuid, guest in new.guests.items()
        },
    )


def _believe_only_who_was_meant(
    said: dict[HostName, ObservedHost | str],
    wanted: Mapping[HostName, DesiredHost],
    known: Mapping[HostName, UUID],
) -> None:
    """Turn answers of the wrong machine into silence.

    A host is the machine whose UUID its manifest names, or else the one that was first seen at it.
    """
    meant = {name: host.uuid or known.get(name) for name, host in wanted.items()}
    claims = Counter(
        uuid
        for name, what in said.items()
        if (uuid := what.uuid if isinstance(what, ObservedHost) else meant[name])
    )
    for name, what in said.items():
        if not isinstance(what, ObservedHost):
            continue
        if meant[name] not in (None, what.uuid):
            source = "its manifest says" if wanted[name].uuid else "first seen there was"
            said[name] = (
                f"another machine answers: its UUID is {what.uuid}, {source} {meant[name]}; if it "
                f"was replaced, write hostUUID: {what.uuid} into the manifest"
            )
        elif claims[what.uuid] > 1:
            others = sorted(
                other
                for other, claim in meant.items()
                if other != name and what.uuid in (claim, _uuid_of(said[other]))
            )
            said[name] = (
                f"the machine {what.uuid} is at more than one manifest ({', '.join(others)} too); "
                "each host needs one of its own"
            )


def _uuid_of(what: ObservedHost | str) -> UUID | None:
    return what.uuid if isinstance(what, ObservedHost) else None
