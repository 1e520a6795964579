"""Ask all hosts at once, and believe only whole answers of the machines that were meant.

A host that is late, fails, or answers as another machine becomes a ``SilentHost``: it and all on it
are unknown in this pass. Nobody waits for it longer than the others.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.controller.asking import Answer, Asker, wait_for
from reconciler.controller.states import StatesSeen
from reconciler.errors import DomopsError, TransientError
from reconciler.model.desired import HostState
from reconciler.model.observed import ObservedHost, ObservedWorld, SilentHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.hypervisor.port import Host
    from reconciler.model.desired import DesiredHost
    from reconciler.model.names import HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a pass waits for answers, and how old a late answer may be and still count."""

    patience_s: float = 5
    deadline_s: float = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at all hosts; ``asked`` says when each host that answered had been asked."""

    world: ObservedWorld
    asked: Mapping[HostName, datetime]


class Observer:
    """Keeps a door and an observing thread for every host of the desired world."""

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

    def observe(self, hosts: Iterable[DesiredHost], known: Mapping[HostName, UUID]) -> Observation:
        """Ask every host that is not retired; ``known`` are the machines first seen at them."""
        wanted = {host.name: host for host in hosts if host.state is not HostState.RETIRED}
        self._let_go(set(self._askers) - set(wanted))
        unusable = {name: why for name, host in wanted.items() if (why := self._open(host))}
        oldest = self._clock() - timedelta(seconds=self._waits.deadline_s)
        askers = {name: self._askers[name][1] for name in wanted if name not in unusable}
        for asker in askers.values():
            asker.ask(oldest=oldest)
        wait_for(askers.values(), self._changed, self._waits.patience_s)
        answers = {name: asker.take() for name, asker in askers.items()}
        said: dict[HostName, ObservedHost | str] = {}
        for name in wanted:
            answer = answers.get(name)
            said[name] = unusable.get(name) or self._said(name, answer)
        _believe_only_who_was_meant(said, wanted, known)
        return Observation(
            world=ObservedWorld(
                hosts={name: self._as_observed(name, what) for name, what in said.items()}
            ),
            asked={
                name: answer.asked
                for name, answer in answers.items()
                if answer is not None and isinstance(said[name], ObservedHost)
            },
        )

    def close(self) -> None:
        """Let go of every host."""
        self._let_go(set(self._askers))

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
            self._silent_since.pop(name, None)

    def _said(self, name: HostName, answer: Answer | None) -> ObservedHost | str:
        if answer is not None:
            return answer.said
        asked = self._askers[name][1].asked
        waited = (self._clock() - asked).total_seconds() if asked else 0
        return f"no answer for {max(waited, 0):.0f} s"

    def _as_observed(self, name: HostName, what: ObservedHost | str) -> ObservedHost | SilentHost:
        if isinstance(what, ObservedHost):
            self._silent_since.pop(name, None)
            return self.states.fill(what)
        since = self._silent_since.setdefault(name, self._clock())
        return SilentHost(name=name, why=what, since=since)


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
