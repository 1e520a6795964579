"""The first act of a start: let guests go on that an earlier life of this controller held still.

Promise 7 wants that before git is read, so it stands on the journal alone: on the steps that held a
guest and are not known to have ended, and on the address that their host had. Whether a guest is
held still is read from its mark, and only the machine that was first seen at the host is believed.
Whatever prevents it here, the planner's first rule does the same once git has said which hosts
there are.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError, UnknownOutcomeError
from reconciler.journal.records import Outcome
from reconciler.model.desired import DesiredHost, HostRole, Origin
from reconciler.model.mark import OperationKind
from reconciler.model.names import PoolName
from reconciler.model.plan import Change, Fate, Label, PlannedStep
from reconciler.model.steps import CreateSnapshot, ResumeGuest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.hypervisor.port import Host
    from reconciler.journal.journal import Journal
    from reconciler.journal.records import KnownHost
    from reconciler.model.mark import Mark
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Waking:
    """What the first act stands on; ``host_for`` opens a door, ``patience_s`` bounds it all."""

    journal: Journal
    host_for: Callable[[DesiredHost], Host]
    clock: Callable[[], datetime]
    patience_s: float

    def let_go_on(self) -> None:
        """Resume and thaw what is held, on all hosts at once; a host that hangs is left behind."""
        with contextlib.suppress(DomopsError):  # whoever needs the journal will say what ails it
            end = self.clock() + timedelta(seconds=self.patience_s)
            for thread in [self._begin(host, guests) for host, guests in self._held()]:
                thread.join(max((end - self.clock()).total_seconds(), 0))

    def _held(self) -> Iterator[tuple[DesiredHost, frozenset[UUID]]]:
        """The hosts on which guests may be held, as far as the journal knows where they are."""
        guests: dict[HostName, set[UUID]] = defaultdict(set)
        for intent in self.journal.open_intents():
            if isinstance(intent.step, CreateSnapshot | ResumeGuest):
                guests[intent.host].add(intent.uuid)
        known: Mapping[HostName, KnownHost] = self.journal.hosts() if guests else {}
        for name, uuids in guests.items():
            host = known.get(name)
            if host is not None and host.uri is not None and host.uuid is not None:
                yield _as_remembered(host, host.uri), frozenset(uuids)

    def _begin(self, host: DesiredHost, guests: frozenset[UUID]) -> threading.Thread:
        # A daemon thread: a call that never returns must not keep the process from ending.
        name = f"{host.name}: waking"
        thread = threading.Thread(target=self._on_host, args=(host, guests), name=name, daemon=True)
        thread.start()
        return thread

    def _on_host(self, host: DesiredHost, guests: frozenset[UUID]) -> None:
        with contextlib.suppress(DomopsError):  # the planner will do it, or say why it cannot
            door = self.host_for(host)
            try:
                seen = door.observe()
                if seen.uuid == host.uuid:
                    for planned in self._steps(seen, guests):
                        self._carry_out(planned, door)
            finally:
                door.close()

    def _steps(self, seen: ObservedHost, guests: frozenset[UUID]) -> Iterator[PlannedStep]:
        owner = self.journal.repository()
        for uuid in sorted(guests & seen.guests.keys()):
            mark = seen.guests[uuid].mark
            if mark is not None and (mark.owner, mark.uuid) == (owner, uuid) and _holds(mark):
                yield _resumption(seen, mark)

    def _carry_out(self, planned: PlannedStep, door: Host) -> None:
        """As the executor does: intent before effect; an outcome that is not known stays open."""
        number = self.journal.begin(planned, self.clock())
        try:
            door.carry_out(planned.step)
        except UnknownOutcomeError:
            return
        except DomopsError as error:
            self.journal.end(number, Outcome.FAILED, str(error), self.clock())
        else:
            self.journal.end(number, Outcome.DONE, "", self.clock())


def _holds(mark: Mark) -> bool:
    return mark.operation is not None and mark.operation.kind is OperationKind.SNAPSHOT


def _resumption(seen: ObservedHost, mark: Mark) -> PlannedStep:
    step = ResumeGuest(
        host=seen.name, guest=mark.guest, uuid=mark.uuid, mark=replace(mark, operation=None)
    )
    change = Change(
        guest=mark.guest,
        field="state",
        before="held for a snapshot",
        after="going on",
        label=Label.HEAL,
        fate=Fate.NOW,
    )
    return PlannedStep(
        step=step, pool=None, changes=(change,), disruptive=False, commit=mark.commit
    )


def _as_remembered(host: KnownHost, uri: str) -> DesiredHost:
    """As much of a host's manifest as opening a door to it takes."""
    return DesiredHost(
        name=host.name,
        uri=uri,
        uuid=host.uuid,
        pool=host.pool or PoolName(""),
        role=HostRole.PRODUCTION,
        state=host.state,
        reserve_memory_kib=0,
        reserve_cpus=0,
        labels={},
        origin=Origin(path="", line=1),
    )
