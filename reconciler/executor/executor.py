"""Start steps on threads of their own, and follow each to an end that was seen.

The intent is on disk before the call is made; a pass never waits for a step. An operation ends when
its call has said that nothing happened, or when its host was asked *after* the call came back and
answered in full: until then the planner is told of it. A call that does not come back is condemned:
its guest stays bound to that host, and a few of those close the host to further steps.
"""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    TransientError,
    UnknownOutcomeError,
    WaitingError,
)
from reconciler.executor.failures import Failures
from reconciler.executor.patience import patience_for
from reconciler.executor.running import Running, memory_held
from reconciler.journal.records import Outcome
from reconciler.model.crossing import INTENT, OUTCOME, Side, crossing, unwatched
from reconciler.model.observed import ObservedHost
from reconciler.model.operation import Operation
from reconciler.model.steps import (
    CreateSeed,
    CreateVolume,
    DeleteVolume,
    DiscardVolume,
    RemoveSeed,
)
from reconciler.planner.effects import reached
from reconciler.planner.fencing import binding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from reconciler.hypervisor.port import Host
    from reconciler.journal.journal import Filled, Journal
    from reconciler.journal.records import Intent
    from reconciler.model.crossing import Watch
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Failure
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import Step

CALLS_PER_HOST = 4
"""libvirtd takes five requests of one client at a time; one is left for whoever observes."""

CONDEMNED_PER_HOST = 4
"""A host that swallowed this many calls swallows the next as well."""

_LOOK_HOW_FAR_EVERY_S = 1.0
"""How often a long step is looked at: often enough for a person who waits for it."""

_FOLLOW_EVERY = timedelta(seconds=2)
"""How often a guest that was asked for something is looked at until it has followed."""

_Fills = CreateVolume | CreateSeed | DiscardVolume | RemoveSeed | DeleteVolume
"""The steps after which a volume's content is, or is no more, what a mark may call complete."""


def _nobody_works() -> bool:
    """No other controller is about."""
    return False


class Executor:
    """All operations of one controller."""

    def __init__(
        self,
        *,
        journal: Journal,
        host_named: Callable[[HostName], Host],
        clock: Callable[[], datetime],
        wake: Callable[[str], None],
        reading: bool = False,
        others_work: Callable[[], bool] = _nobody_works,
        crossed: Watch = unwatched,
    ) -> None:
        """Take over the open intents that the journal knows.

        With ``reading`` nothing ever begins. ``others_work`` says whether a controller lives beside
        this one: then the open intents are its own, and are shown as what they are. ``crossed`` is
        told when an intent is written, and around an outcome; see Note [Crossings] in the model.
        """
        self._journal = journal
        self._host_named = host_named
        self._clock = clock
        self._wake = wake
        self._changed = threading.Condition()
        self._running: dict[int, Running] = {}
        self._interrupted = {intent.id: intent for intent in journal.open_intents()}
        self._filled = set(journal.filled())
        self._failures = Failures()
        self._unwritten: list[tuple[int, Outcome, str, datetime]] = []
        self._ended: list[tuple[Step, datetime]] = []
        self._closed = reading
        self._crossed = crossed
        self._ask_others_work = others_work
        self._others_work = others_work()
        self._begun: list[Step] = []

    # ---------------------------------------------------------------------- what is under way

    def operations(self) -> tuple[Operation, ...]:
        """Every step that has begun and is not known to have ended, oldest first."""
        with self._changed:
            dead = tuple(
                _operation_of(intent, intent.step, condemned=not self._others_work)
                for intent in self._interrupted.values()
                if intent.step is not None
            )
            return dead + tuple(one.operation() for one in self._running.values())

    def reread(self) -> frozenset[HostName]:
        """Take the journal's open intents, as they are now, for what is under way.

        For a controller that only reads. Returns the hosts of steps that began or ended meanwhile.
        """
        with self._changed:
            before = self._interrupted
            self._interrupted = {intent.id: intent for intent in self._journal.open_intents()}
            self._others_work = self._ask_others_work()
            known = before | self._interrupted
            moved = before.keys() ^ self._interrupted.keys()
            return frozenset(known[number].host for number in moved)

    def failures(self) -> Mapping[GuestName, Failure]:
        """What failed, by guest, for the planner."""
        with self._changed:
            return self._failures.all()

    def filled(self) -> frozenset[Filled]:
        """The volumes whose content is known to be complete."""
        with self._changed:
            return frozenset(self._filled)

    def lost(self) -> Mapping[HostName, str]:
        """The hosts that swallowed so many calls that nothing they say can be relied upon."""
        with self._changed:
            swallowed = Counter(
                one.planned.step.host
                for one in self._running.values()
                if one.condemned and one.returned is None
            )
        return {
            host: f"{count} calls to it were given up and have not returned; restart its libvirtd"
            for host, count in swallowed.items()
            if count >= CONDEMNED_PER_HOST
        }

    def awaited(self) -> frozenset[HostName]:
        """The hosts that have yet to show how a step ended whose call has come back."""
        with self._changed:
            return frozenset(
                one.planned.step.host for one in self._running.values() if one.returned is not None
            )

    def next_deadline(self, now: datetime) -> datetime | None:
        """The earliest instant at which looking again may show what no event tells.

        A call or a pause runs out; or a guest that was asked has followed, which not every
        hypervisor says (Xen is silent about balloons).
        """
        with self._changed:
            due = [
                one.deadline if one.calling else min(one.deadline, now + _FOLLOW_EVERY)
                for one in self._running.values()
                if not one.condemned and one.deadline > now
            ]
            retry = self._failures.next_retry(now)
            return min([*due, *([retry] if retry else [])], default=None)

    # ---------------------------------------------------------------------------- beginning

    def start(
        self, steps: Iterable[PlannedStep], *, desired: DesiredWorld, observed: ObservedWorld
    ) -> tuple[PlannedStep, ...]:
        """Begin as many of the steps as may begin now, and return those; never waits for one.

        A step whose guest has an operation, or whose host is full, is left for the next pass.

        Raises:
            TransientError: an intent could not be written; that step and those after it were left.
            StalledError: the journal is damaged; that step and those after it were left.

        """
        return tuple([one for one in steps if self._begin(one, desired, observed)])

    def _begin(self, planned: PlannedStep, desired: DesiredWorld, observed: ObservedWorld) -> bool:
        step = planned.step
        guest = desired.guests.get(step.guest)
        intent = guest.intent if guest else None
        with self._changed:
            now = self._clock()
            if not self._may_begin(step, desired) or self._failures.keep_back(step, intent, now):
                return False
            if isinstance(step, _Fills):
                self._set_filled(step, filled=False)
            try:
                number = self._journal.begin(planned, now)
            except WaitingError:
                return False  # its guest may have been suspended since: the next pass knows
            self._crossed(crossing(step, Side.AFTER, INTENT))
            self._begun.append(step)
            one = Running(
                number=number,
                planned=planned,
                intent=intent,
                began=now,
                patience=patience_for(step),
                memory_kib=memory_held(step, observed),
            )
            self._running[number] = one
        # A daemon thread: a call that never returns must not keep the process from ending.
        name = f"{step.host}: {type(step).__name__} {step.guest}"
        threading.Thread(target=self._carry_out, args=(one,), name=name, daemon=True).start()
        if isinstance(step, CreateVolume):  # the one kind that can take hours, and says how far
            name = f"{name}: progress"
            threading.Thread(target=self._look_how_far, args=(one,), name=name, daemon=True).start()
        return True

    def _may_begin(self, step: Step, desired: DesiredWorld) -> bool:
        bound = binding(self.operations(), desired)
        if self._closed or any(one.guest == step.guest for one in bound):
            return False
        there = [one for one in self._running.values() if one.planned.step.host == step.host]
        return (
            sum(one.calling for one in there) < CALLS_PER_HOST
            and sum(one.condemned and one.returned is None for one in there) < CONDEMNED_PER_HOST
        )

    # ---------------------------------------------------------------- on the operation's thread

    def _carry_out(self, one: Running) -> None:
        step = one.planned.step
        try:
            self._host_named(step.host).carry_out(step)
        except UnknownOutcomeError as error:
            self._came_back(one, cut=str(error))
        except WaitingError as error:
            self._did_not_happen(one, Outcome.FAILED, str(error), until=error.until)
        except TransientError as error:
            self._did_not_happen(one, Outcome.FAILED, str(error))
        except StalledError as error:
            self._did_not_happen(one, Outcome.STALLED, str(error))
        except RefusedError as error:
            self._did_not_happen(one, Outcome.REFUSED, str(error))
        except Exception as error:  # noqa: BLE001 - a defect in a door must not look like an end
            # Nobody foresaw this, so nobody knows what was done: the most careful answer.
            self._came_back(one, cut=f"unforeseen {type(error).__name__}: {error}")
        else:
            self._came_back(one, cut=None)
        self._wake(step.guest)

    def _look_how_far(self, one: Running) -> None:
        """Ask now and then how far the step has come, until its call is back."""
        step = one.planned.step
        while True:
            with self._changed:
                if self._changed.wait_for(
                    lambda: self._closed or not one.calling, _LOOK_HOW_FAR_EVERY_S
                ):
                    return
            try:
                seen = self._host_named(step.host).progress(step)
            except DomopsError:
                continue  # what cannot be told now may be told later; the step goes on
            if seen is not None:
                with self._changed:
                    one.came_to(seen, self._clock())

    def _came_back(self, one: Running, *, cut: str | None) -> None:
        with self._changed:
            one.returned = self._clock()
            one.cut = cut
            if cut is None and isinstance(one.planned.step, CreateVolume | CreateSeed):
                self._set_filled(one.planned.step, filled=True)
            self._changed.notify_all()

    def _did_not_happen(
        self, one: Running, outcome: Outcome, message: str, until: datetime | None = None
    ) -> None:
        with self._changed:
            now = self._clock()
            one.returned = now
            self._failures.failed(
                one.planned.step,
                message,
                stalled=outcome is not Outcome.FAILED,
                intent=one.intent,
                now=now,
                until=until,
            )
            self._end(one, outcome, message, now)

    # ------------------------------------------------------------------------------ noticing

    def notice(
        self, world: ObservedWorld, asked: Mapping[HostName, datetime], now: datetime
    ) -> None:
        """Take an observation in: end what it shows to have ended, give up what is overdue.

        ``asked`` says when each host that answered was asked. An answer to a question that is
        older than a call's return proves nothing about that call.
        """
        with self._changed:
            self._write_what_is_unwritten()
            self._failures.saw(world, now)
            for one in list(self._running.values()):
                self._follow(one, world, asked, now)
            for intent in () if self._others_work else tuple(self._interrupted.values()):
                self._look_after(intent, world, now)
            for volume in [volume for volume in self._filled if _mark_says_filled(volume, world)]:
                self._forget_filled(volume)

    def _follow(
        self,
        one: Running,
        world: ObservedWorld,
        asked: Mapping[HostName, datetime],
        now: datetime,
    ) -> None:
        step = one.planned.step
        if one.returned is None:
            one.condemned = one.condemned or now >= one.deadline
            return
        when = asked.get(step.host)
        if when is None:
            return
        if when <= one.returned:
            self._wake(step.guest)  # a fresh answer is needed, and can be had
            return
        if one.cut is not None or one.condemned:
            if _has_job(step, world):
                return
            message = one.cut or "its call came back after it had been given up"
            self._end_as_seen(one, world, Outcome.UNKNOWN, message, now)
        elif reached(step, world):
            self._failures.succeeded(step)
            self._end(one, Outcome.DONE, "", now)
        elif one.patience.follow_s is None:
            self._failures.fruitless(step, intent=one.intent, now=now)
            self._end(one, Outcome.DONE, "", now)
        elif now >= one.deadline:
            message = f"not reached within {one.patience.follow_s:g} s"
            self._end_as_seen(one, world, Outcome.NOT_REACHED, message, now)

    def _end_as_seen(
        self, one: Running, world: ObservedWorld, otherwise: Outcome, message: str, now: datetime
    ) -> None:
        step = one.planned.step
        if reached(step, world):
            self._failures.succeeded(step)
            self._end(one, Outcome.DONE, message, now)
        else:
            self._failures.failed(step, message, stalled=False, intent=one.intent, now=now)
            self._end(one, otherwise, message, now)

    def _look_after(self, intent: Intent, world: ObservedWorld, now: datetime) -> None:
        """Close a dead controller's step once its host has answered and shows no job of it.

        A host that is not asked any more will never answer; what may still be on it is then the
        matter of hosts that have left (promise 1), not of this step.
        """
        host = world.hosts.get(intent.host)
        if isinstance(host, ObservedHost):
            guest = host.guests.get(intent.uuid)
            if guest is not None and guest.job is not None:
                return
            message = "the controller that began it died; its host was looked at anew"
        elif host is None:
            message = "the controller that began it died, and its host is not asked any more"
        else:
            return
        del self._interrupted[intent.id]
        self._write_end(intent.id, Outcome.INTERRUPTED, message, now)

    def _end(self, one: Running, outcome: Outcome, message: str, now: datetime) -> None:
        del self._running[one.number]
        self._ended.append((one.planned.step, now))
        self._crossed(crossing(one.planned.step, Side.BEFORE, OUTCOME))
        self._write_end(one.number, outcome, message, now)
        self._crossed(crossing(one.planned.step, Side.AFTER, OUTCOME))
        self._changed.notify_all()

    def take_ended(self) -> tuple[tuple[Step, datetime], ...]:
        """The steps that ended since this was last asked, each with its instant."""
        with self._changed:
            ended, self._ended = tuple(self._ended), []
            return ended

    def take_begun(self) -> tuple[Step, ...]:
        """The steps that began since this was last asked."""
        with self._changed:
            begun, self._begun = tuple(self._begun), []
            return begun

    def commit_changed(self) -> None:
        """Another commit is in force: what failed under the old one is tried again at once."""
        with self._changed:
            self._failures.commit_changed(self._clock())

    # ------------------------------------------------------------------------------- journal

    def _write_end(self, number: int, outcome: Outcome, message: str, at: datetime) -> None:
        self._unwritten.append((number, outcome, message, at))
        self._write_what_is_unwritten()

    def _write_what_is_unwritten(self) -> None:
        """Write ends down. One that cannot be written now is kept: it is history, not safety."""
        while self._unwritten:
            try:
                self._journal.end(*self._unwritten[0])
            except DomopsError:
                return
            self._unwritten.pop(0)

    def _set_filled(self, step: _Fills, *, filled: bool) -> None:
        """Remember whether the volume is complete.

        That it is *not* must be on disk before the step begins. That it *is* may be lost: the
        volume was never used and is then made again.
        """
        volume = (step.host, step.pool, step.volume)
        if not filled:
            if volume in self._filled:
                self._journal.set_filled(volume, filled=False)
                self._filled.discard(volume)
            return
        self._filled.add(volume)
        try:
            self._journal.set_filled(volume, filled=True)
        except DomopsError:
            return

    def _forget_filled(self, volume: Filled) -> None:
        self._filled.discard(volume)
        try:
            self._journal.set_filled(volume, filled=False)
        except DomopsError:
            return

    # -------------------------------------------------------------------------------- ending

    def drain(self, timeout_s: float) -> bool:
        """Wait until no call is out any more (condemned ones aside); say whether that came."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(one.calling for one in self._running.values()), timeout_s
            )

    def close(self, timeout_s: float) -> bool:
        """Begin nothing more, and give the calls that are out ``timeout_s`` to come back.

        What has not ended by then stays an open intent, which the next start understands.
        """
        with self._changed:
            self._closed = True
        return self.drain(timeout_s)


def _operation_of(intent: Intent, step: Step, *, condemned: bool) -> Operation:
    """Another controller's step, as the planner is told of it; a dead one's outcome is unknown."""
    return Operation(
        guest=intent.guest,
        host=intent.host,
        step=step,
        began=intent.began,
        deadline=intent.began,
        condemned=condemned,
    )


def _has_job(step: Step, world: ObservedWorld) -> bool:
    host = world.hosts.get(step.host)
    guest = host.guests.get(step.uuid) if isinstance(host, ObservedHost) else None
    return guest is not None and guest.job is not None


def _mark_says_filled(volume: Filled, world: ObservedWorld) -> bool:
    name, pool, volume_name = volume
    host = world.hosts.get(name)
    if not isinstance(host, ObservedHost):
        return False
    marks = [guest.mark for guest in host.guests.values() if guest.mark is not None]
    return any(
        one.filled and (one.pool, one.volume) == (pool, volume_name)
        for mark in marks
        for one in (*mark.disks, *((mark.seed,) if mark.seed is not None else ()))
    )
