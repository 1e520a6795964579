"""The controller's memory between passes: what the journal keeps, and what it need not keep.

The rule that everything here serves: what is remembered may prove that a guest is *not* on a silent
host, so it is only written down where it is true, and an update that such a proof could miss is on
disk before the pass goes on (promise 1).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.journal.records import KnownHost
from reconciler.model.desired import HostState
from reconciler.model.identity import differing
from reconciler.model.keeping import Kept
from reconciler.model.memory import GuestHistory, Memory
from reconciler.planner.keeping import days_of, waiting_on

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from uuid import UUID

    from reconciler.controller.departed import Departures
    from reconciler.controller.observing import Observation
    from reconciler.controller.states import StatesSeen
    from reconciler.executor.executor import Executor
    from reconciler.journal.journal import Journal
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.steps import Step
    from reconciler.source.port import CommitInfo

_WRITE_ANSWERS_EVERY = timedelta(seconds=60)
_IS_NEWS = timedelta(days=1)
"""For how long a guest that a commit changed goes before those that wait since a start."""


class Remembering:
    """Reads the journal once, keeps what it says in memory, and writes what changed."""

    def __init__(self, journal: Journal, departures: Departures) -> None:
        self._journal = journal
        self._departures = departures
        self._known = set(journal.known_guests())
        self._histories: Mapping[GuestName, GuestHistory] = journal.histories()
        self._youngest = _youngest(self._histories)
        self._answered: dict[HostName, datetime] = dict(journal.last_complete())
        self._written: dict[HostName, datetime] = dict(self._answered)
        self._machines = _machines(journal)
        self._in_force = journal.last_good()
        self._taken = False
        self._world: DesiredWorld | None = None
        self._changed: Mapping[GuestName, datetime] = {}
        self._waiting = dict(journal.waiting())
        self._days = days_of(self._waiting)
        self._waiting_on: dict[HostName, frozenset[Kept]] = {}
        self._just_changed: frozenset[GuestName] = frozenset()
        self._behind = True
        """Whether guests may have been seen that are not written down yet."""

    @property
    def machines(self) -> Mapping[HostName, UUID]:
        """The machine that was first seen at each host."""
        return self._machines

    @property
    def just_changed(self) -> frozenset[GuestName]:
        """The guests that the commit in force changed, and those that it took out."""
        return self._just_changed

    def take_into_force(
        self, world: DesiredWorld, now: datetime, *, head: CommitInfo | None = None
    ) -> bool:
        """Remember a world that is in force from now on; say whether it is another commit.

        ``head`` is what git says of the newest commit, which is mostly the world's.

        A guest is *newborn*, so that only what happens from now on can have put it anywhere, if
        it was in no good commit, was seen on no host, and every host has answered since the
        journal began: otherwise it may have lived before the journal did.

        Raises:
            TransientError: the journal cannot be written.
            StalledError: the journal is damaged.

        """
        sha = world.commit.sha
        if self._taken and sha == self._in_force:
            if self._departures.trouble is not None:
                self._departures.take_into_force(world, head)
            return False
        began = self._in_force is not None and all(
            host.name in self._answered
            for host in world.hosts.values()
            if host.state is not HostState.RETIRED
        )
        self._departures.take_into_force(world, head)
        before = self._world.guests if self._world is not None else {}
        moved = {
            name: world.guests[name].pool
            for name in differing(world.guests, before)
            if (known := before.get(name)) is None or known.pool != world.guests[name].pool
        }
        renamed = {
            name: guest.former
            for name, guest in world.guests.items()
            if guest.former is not None and before.get(name) is not guest
        }
        newborn = frozenset(moved.keys() - self._known - renamed.keys() if began else ())
        self._journal.take_into_force(
            sha,
            repository=world.repository,
            guests=moved,
            newborn=newborn,
            renamed=renamed,
            at=now,
        )
        changed = sha != self._in_force
        self._changed = self._changed_by(world, now)
        self._just_changed = frozenset(name for name, at in self._changed.items() if at == now)
        self._in_force, self._taken, self._world = sha, True, world
        self._known.update(moved)
        self._keep_histories(moved, newborn, now)
        if renamed:  # it may be wherever it may have been under its former name
            self._histories = self._journal.histories()
            self._youngest = _youngest(self._histories)
        self._machines = _machines(self._journal)
        return changed

    def _keep_histories(
        self, moved: Mapping[GuestName, PoolName], newborn: Collection[GuestName], now: datetime
    ) -> None:
        """What the journal would say, without reading all of it again."""
        told: dict[GuestName, GuestHistory] = {
            name: GuestHistory(first_seen=now, pools=frozenset({moved[name]})) for name in newborn
        }
        for name, pool in moved.items():
            history = self._histories.get(name)
            if history is not None and pool not in history.pools:
                told[name] = replace(history, pools=history.pools | {pool})
        if told:
            self._histories = {**self._histories, **told}
        if newborn:
            self._youngest = now

    def take_in(self, observation: Observation) -> tuple[KnownHost, ...]:
        """Remember who answered, which machines they are, and the guests that were seen.

        Returns the hosts whose machine was learnt just now.

        Raises:
            TransientError: the journal cannot be written.
            StalledError: the journal is damaged.

        """
        world = observation.world
        seen = {
            name
            for host in world.answered()
            if host.name in observation.heard or self._behind  # the others' were taken in then
            for guest in host.guests.values()
            for name in ((guest.name, guest.mark.guest) if guest.mark else (guest.name,))
        }
        self._behind = True
        if not seen <= self._known:
            self._journal.saw_guests(sorted(seen - self._known))
            self._known |= seen
        self._count_days(observation)
        self._behind = False
        learnt = self._learn(world)
        self._answer(observation)
        return learnt

    def memory(
        self,
        world: DesiredWorld,
        observed: ObservedWorld,
        *,
        executor: Executor,
        states: StatesSeen,
    ) -> Memory:
        """All of it, as the planner is given it."""
        self._touch(executor.take_begun())
        return Memory(
            guests=self._histories,
            last_complete=dict(self._answered),
            departed=self._departures.of(world, observed),
            renamed=self._departures.renamed(world, observed),
            changed=self._changed,
            filled=executor.filled(),
            failures=executor.failures(),
            crashes=states.crashes(),
            suspensions=self._journal.suspensions(),
            days=self._days,
            tombstones=self._journal.tombstones(),
        )

    def _count_days(self, observation: Observation) -> None:
        """Note on which days each thing was seen that waits to be removed for good.

        What comes back is forgotten once every host says so: then it is surely gone.
        """
        if self._world is None:
            return
        world, repository = observation.world, self._world.repository
        changed, gone = False, frozenset[Kept]()
        for host in world.answered():
            if not (host.name in observation.heard or self._behind):
                continue
            there = frozenset(waiting_on(host, repository))
            self._waiting_on[host.name] = there
            day = host.answered_at.astimezone(UTC).date()
            new = {one for one in there if day not in self._waiting.get(one, ())}
            changed |= bool(new)
            if new:
                self._journal.saw_waiting(new, day)
                for one in new:
                    self._waiting[one] = self._waiting.get(one, frozenset()) | {day}
        if len(world.answered()) == len(world.hosts):
            seen = frozenset[Kept]().union(*self._waiting_on.values())
            gone = frozenset(self._waiting.keys() - seen)
            if gone:
                self._journal.forget_waiting(gone)
                for one in gone:
                    del self._waiting[one]
        if changed or gone:
            self._days = days_of(self._waiting)

    def _changed_by(self, world: DesiredWorld, now: datetime) -> Mapping[GuestName, datetime]:
        """When each guest was changed; the first world changes none, for we saw none before it."""
        if self._world is None:
            return {}
        before = self._world.guests
        changed = {
            name: now
            for name in differing(world.guests, before)
            if (known := before.get(name)) is None or known.intent != world.guests[name].intent
        }
        gone = dict.fromkeys(before.keys() - world.guests.keys(), now)
        earlier = {name: at for name, at in self._changed.items() if now - at < _IS_NEWS}
        return {**earlier, **changed, **gone}

    def _touch(self, steps: tuple[Step, ...]) -> None:
        """A step that began was written down as a touch of its host; so it is here."""
        touched: dict[GuestName, GuestHistory] = {}
        for step in steps:
            history = touched.get(step.guest) or self._histories.get(step.guest)
            if history is not None and step.host not in history.touched:
                touched[step.guest] = replace(history, touched=history.touched | {step.host})
        if touched:
            self._histories = {**self._histories, **touched}

    def _learn(self, world: ObservedWorld) -> tuple[KnownHost, ...]:
        hosts = self._journal.hosts() if self._is_news(world) else {}
        learnt = tuple(
            KnownHost(
                name=host.name,
                pool=hosts[host.name].pool,
                state=hosts[host.name].state,
                present=hosts[host.name].present,
                uuid=host.uuid,
            )
            for host in world.answered()
            if host.name in hosts and self._machines.get(host.name) != host.uuid
        )
        if learnt:
            self._journal.know_hosts(learnt)
            self._machines = _machines(self._journal)
        return learnt

    def _is_news(self, world: ObservedWorld) -> bool:
        return any(self._machines.get(host.name) != host.uuid for host in world.answered())

    def _answer(self, observation: Observation) -> None:
        """Note the answers; write them where a later proof could hang on it, or now and then.

        A guest that appeared after the answer on disk may have come to the host since: only an
        answer on disk that is younger than the guest says that the host was looked at.
        """
        born = self._youngest
        due = {}
        for host in observation.world.answered():
            name, answered = host.name, host.answered_at
            self._answered[name] = max(answered, self._answered.get(name, answered))
            before = self._written.get(name)
            if before is None or (
                answered > before
                and (
                    (born is not None and born >= before)
                    or answered - before >= _WRITE_ANSWERS_EVERY
                )
            ):
                due[name] = answered
        if due:
            self._journal.answered(due)
            self._written.update(due)


def _machines(journal: Journal) -> dict[HostName, UUID]:
    return {name: host.uuid for name, host in journal.hosts().items() if host.uuid is not None}


def _youngest(histories: Mapping[GuestName, GuestHistory]) -> datetime | None:
    """When the guest was born that was born last."""
    return max((one.first_seen for one in histories.values()), default=None)
