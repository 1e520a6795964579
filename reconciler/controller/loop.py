"""When to look: one pass after the other, each observe → plan → start, none of which waits.

A pass is made when a name is in the queue, when the plan or an operation said when, and now and
then anyway, because every trigger may be lost. The passes themselves are all the same.
``run`` plans from what the hosts said last, see Note [Fresh words]; commands ask everybody.
"""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.controller.checking import examine
from reconciler.controller.following import APPROVALS_LAST
from reconciler.controller.fresh import plan_on_fresh_words, rests_on_fresh_words
from reconciler.controller.otherhands import OtherHands
from reconciler.controller.results import Converged, Look, Names, PassResult
from reconciler.errors import DomopsError, TransientError
from reconciler.journal.records import Event, EventKind
from reconciler.model.memory import Memory
from reconciler.model.observed import ObservedWorld
from reconciler.model.plan import Reason
from reconciler.planner import Memo
from reconciler.recording.supervisor import Supervisor

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping

    from reconciler.controller.following import Following
    from reconciler.controller.observing import Observer
    from reconciler.controller.probing import Prober
    from reconciler.controller.remembering import Remembering
    from reconciler.controller.telling import Teller
    from reconciler.controller.wakeups import WakeUps
    from reconciler.controller.worlds import Standing, Worlds
    from reconciler.executor.executor import Executor
    from reconciler.journal.journal import Journal
    from reconciler.model.checkup import Finding
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import GuestName, HostName, PlanId
    from reconciler.model.plan import Plan, PlannedStep
    from reconciler.model.policy import Policy
    from reconciler.model.suspension import Suspensions
    from reconciler.source.port import Source

_SLICE_S = 0.5
"""How long a wait goes on before it looks whether it was told to stop."""

_EVENTS_AT_ONCE = 1000

_CLOCK_SLACK = timedelta(minutes=1)
"""By how much a machine's clock may be set back without anybody being told."""

_SET_BACK = (
    "this machine's clock was set back; domops goes on from the later time. If the clock is right"
    " now, restart domops"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What a controller is made of; bootstrap puts it together."""

    source: Source
    following: Following
    worlds: Worlds
    observer: Observer
    prober: Prober
    executor: Executor
    remembering: Remembering
    journal: Journal
    teller: Teller
    wakeups: WakeUps


class Controller:
    """Makes passes. One thread uses it at a time."""

    def __init__(
        self,
        rooms: Rooms,
        *,
        clock: Callable[[], datetime],
        policy: Policy,
        record: Callable[[PassResult], None],
        poll_s: float = 30,
        ahead: Callable[[], timedelta] = timedelta,
    ) -> None:
        """``ahead`` says how far ``clock`` is ahead of the machine's, which was set back then."""
        self._rooms = rooms
        self._clock = clock
        self._ahead = ahead
        self._policy = policy
        self._record = record
        self._poll = timedelta(seconds=poll_s)
        self._waits: Mapping[GuestName, datetime] = {}
        self._memo = Memo()
        self._other_hands = OtherHands()
        self._journal_seen = 0
        self._problems_told: frozenset[str] = frozenset()
        self._told = max((number for number, _ in rooms.journal.numbered_events(1)), default=0)

    # --------------------------------------------------------------------------------- looking

    def look(self, *, enforce: bool = False, kept: bool = False) -> Look | PassResult:
        """See what there is to plan from, and begin nothing; a ``PassResult`` says why not.

        With ``kept``, only hosts are asked whose last answer says too little of what is now.
        """
        now = self._clock()
        rooms = self._rooms
        self._journal_seen = self._moved()  # what is written from now on makes another pass
        standing = rooms.worlds.refresh(aside=kept)
        problems = list(standing.sentences())
        world = standing.world
        if world is None:
            with _kept(problems):
                rooms.teller.standing(standing, now)
            problems = problems or ["there is no commit yet"]
            return PassResult(
                now=now, look=None, plan=None, problems=tuple(problems), standing=standing
            )
        try:
            return self._look_at(world, standing, problems, enforce=enforce, kept=kept)
        except DomopsError as error:
            # The journal could not even be read: what may be believed is not known.
            problems.append(str(error))
            return PassResult(
                now=now, look=None, plan=None, problems=tuple(problems), standing=standing
            )

    def _look_at(
        self,
        world: DesiredWorld,
        standing: Standing,
        problems: list[str],
        *,
        enforce: bool,
        kept: bool,
    ) -> Look:
        rooms = self._rooms
        before = len(problems)
        new_commit = False
        with _kept(problems):
            now = self._clock()
            rooms.teller.standing(standing, now)
            if rooms.following.settled:
                new_commit = self._put_into_force(world, standing)
        ended = self._forget_states()
        only: Collection[HostName] | None = None
        anew: Collection[HostName] | None = None
        if kept:
            due = rooms.observer.due(world.hosts.values(), self._clock())
            anew = rooms.executor.awaited() | ended
            if new_commit:
                # Note [Fresh words]: asked before the first plan, they spare a second one.
                anew |= self._memo.homes(rooms.remembering.just_changed)
            only = due | anew
        return self._observe(
            Look(
                now=self._clock(),
                standing=standing,
                world=world,
                observed=ObservedWorld(hosts={}),
                operations=(),
                memory=Memory(),
                policy=replace(self._policy, enforce=self._policy.enforce or enforce),
                fresh=frozenset(),
                new_commit=new_commit,
                problems=tuple(problems),
                may_begin=len(problems) == before,
            ),
            only,
            anew,
        )

    def _observe(
        self,
        look: Look,
        only: Collection[HostName] | None,
        anew: Collection[HostName] | None = None,
    ) -> Look:
        """The look with what the hosts say now; with ``only``, the others say what they said.

        All that are asked are asked ``anew`` if it does not say which.
        """
        rooms = self._rooms
        problems: list[str] = []
        observation = rooms.observer.observe(
            look.world.hosts.values(),
            rooms.remembering.machines,
            only=only,
            anew=(only or ()) if anew is None else anew,
            lost=rooms.executor.lost(),
        )
        new_commit, standing = look.new_commit, look.standing
        with _kept(problems):
            if not rooms.following.settled:
                if rooms.following.ask(look.world, observation.world):
                    new_commit = self._put_into_force(look.world, look.standing)
                elif (doubt := rooms.following.doubt(look.world.commit.sha)) is not None:
                    problems.append(doubt.sentence)
                    standing = replace(standing, objection=doubt)
        now = self._clock()
        with _kept(problems):
            learnt = rooms.remembering.take_in(observation)
            rooms.teller.observed(observation.world, learnt, now)
            rooms.teller.others(
                self._other_hands.notice(
                    observation, rooms.executor.operations(), owner=look.world.repository, now=now
                ),
                now,
            )
        may_begin = look.may_begin and not problems
        rooms.executor.notice(observation.world, observation.asked, now)
        rooms.observer.note(self._forget_states())
        memory = rooms.remembering.memory(
            look.world, observation.world, executor=rooms.executor, states=rooms.observer.states
        )
        return replace(
            look,
            now=now,
            standing=standing,
            observed=observation.world,
            operations=rooms.executor.operations(),
            memory=replace(memory, waits=self._waits, probes=rooms.prober.seen()),
            policy=replace(look.policy, approvals=self._policy.approvals | self._approved(now)),
            fresh=look.fresh | observation.fresh,
            new_commit=new_commit,
            problems=tuple(
                dict.fromkeys((*look.problems, *problems, *self._other_hands.told(now)))
            ),
            may_begin=may_begin,
        )

    def _put_into_force(self, world: DesiredWorld, standing: Standing) -> bool:
        """Remember that ``world`` is in force from now on; say whether that is news."""
        rooms, now = self._rooms, self._clock()
        if not rooms.remembering.take_into_force(world, now, head=standing.head):
            return False
        rooms.teller.commit_applied(world, now)
        rooms.executor.commit_changed()
        return True

    def _forget_states(self) -> frozenset[HostName]:
        """Let go of what was known of guests whose step has ended; return their hosts."""
        ended = self._rooms.executor.take_ended()
        self._other_hands.ended(ended)
        steps = [step for step, _ in ended]
        for step in steps:
            self._rooms.observer.states.forget(step)
        return frozenset(step.host for step in steps)

    def looks(self, stop: threading.Event, *, every: timedelta) -> Iterator[Look | PassResult]:
        """Look, and again whenever something may have changed, until ``stop`` is set.

        Hosts are asked as ``run`` asks them: when they tell of something, when a step on them began
        or ended, and when their last answer is too old. ``every`` is how old a look gets at most;
        one that is only made for that asks nobody.
        """
        rooms = self._rooms
        with self._watching(_unheard):
            while not stop.is_set():
                if rooms.journal.catch_up():
                    rooms.observer.note(rooms.executor.reread())
                look = self.look(kept=True)
                yield look
                result = PassResult(now=look.now, look=None, plan=None, problems=())
                due = rooms.observer.next_due(look.now)
                until = min([look.now + every, *([due] if due is not None else [])])
                rooms.observer.note(self._wait(result, stop, until=until))

    def examine(self, *, patience_s: float) -> tuple[Finding, ...]:
        """Look, ask every host that answered what only a check-up wants to know, and judge."""
        return examine(self.look(), self._rooms.observer.host_named, patience_s=patience_s)

    def names(self) -> Names:
        """What the newest good commit and the journal call guests and pools; asks no host."""
        world = self._rooms.worlds.refresh().world
        known = self._rooms.journal.known_guests()
        return Names(
            guests=known | (world.guests.keys() if world is not None else frozenset()),
            pools=frozenset(world.pools) if world is not None else frozenset(),
        )

    def _approved(self, now: datetime) -> frozenset[PlanId]:
        given = self._rooms.journal.approvals()
        return frozenset(one.plan_id for one in given if now - one.at < APPROVALS_LAST)

    # ---------------------------------------------------------------------------------- passes

    def pass_once(
        self,
        *,
        enforce: bool = False,
        permits: Callable[[PlannedStep], bool] | None = None,
        kept: bool = False,
    ) -> PassResult:
        """Observe, plan and start; ``permits`` may leave steps unbegun. Waits for no step.

        With ``kept``, hosts that said enough before are asked again only if a step rests on them.
        """
        began = self._clock()
        found = self.look(enforce=enforce, kept=kept)
        if isinstance(found, PassResult):
            result = replace(found, took_s=(self._clock() - began).total_seconds())
            self._record(result)
            return result
        look, planned = plan_on_fresh_words(found, self._observe, self._memo)
        self._waits = planned.waits
        self._rooms.prober.want(planned.ports)
        problems = list(look.problems)
        started: tuple[PlannedStep, ...] = ()
        with _kept(problems):
            self._rooms.teller.planned(planned, look.memory, look.now)
            if look.may_begin:
                allowed = [
                    one
                    for one in planned.steps
                    if (permits is None or permits(one)) and rests_on_fresh_words(one, look)
                ]
                started = self._rooms.executor.start(
                    allowed, desired=look.world, observed=look.observed
                )
            self._quieten(planned, look.memory.suspensions)
        problems += self._problems_of_the_clock()
        result = PassResult(
            now=look.now,
            look=look,
            plan=planned,
            started=started,
            operations=self._rooms.executor.operations(),
            problems=tuple(problems),
            standing=look.standing,
            took_s=(self._clock() - began).total_seconds(),
        )
        self._record(result)
        return result

    def _problems_of_the_clock(self) -> list[str]:
        return [_SET_BACK] if self._ahead() >= _CLOCK_SLACK else []

    def _quieten(self, planned: Plan, known: Suspensions) -> None:
        """Tell the journal which suspensions have nothing under way, and nothing to come, left."""
        if not known.standing or not self._rooms.journal.still_moving():
            return
        busy = {one.guest for one in self._rooms.executor.operations()}
        busy |= {one.step.guest for one in planned.steps}
        moving = {
            one
            for name in busy & planned.statuses.keys()
            for one in planned.statuses[name].suspended
        }
        for one in known.standing:
            if one not in moving:
                self._rooms.journal.quieten(one)

    def run(
        self,
        stop: threading.Event,
        tell: Callable[[Event], None],
        supervisor: Supervisor | None = None,
    ) -> None:
        """Make passes until ``stop`` is set; ``tell`` is given every event, in order.

        ``supervisor`` is told when the first pass was made, then that passes go on being made, and
        when nothing more begins.
        """
        supervisor = supervisor or Supervisor(None)
        with self._watching(tell):
            result = self._pass_or_tell()
            self._tell_problems(result, tell)
            supervisor.ready()
            gc.freeze()  # what the first pass built stays; looking through it again is in vain
            while not stop.is_set():
                self._tell_news(tell)
                due = self._rooms.observer.next_due(result.now)
                names = self._wait(result, stop, until=due, meanwhile=supervisor.alive)
                self._rooms.observer.note(names)
                if not stop.is_set():
                    supervisor.alive()
                    result = self._pass_or_tell()
                    self._tell_problems(result, tell)
            supervisor.stopping()

    def converge(
        self,
        *,
        within: timedelta,
        stop: threading.Event,
        tell: Callable[[Event], None],
        permits: Callable[[PlannedStep], bool] | None = None,
        patience: timedelta = timedelta(seconds=30),
    ) -> Converged:
        """Make passes until nothing moves and nothing will within ``patience``.

        Pools in mode warn are enforced: whoever calls this has asked a person. When ``stop`` is
        set or ``within`` has passed, nothing more begins and what is under way is left to itself.
        """
        end = self._clock() + within
        with self._watching(tell):
            while True:
                result = self.pass_once(enforce=True, permits=permits)
                self._tell_news(tell)
                if self._is_done(result, permits, patience):
                    return Converged(last=result, complete=True)
                if stop.is_set() or self._clock() >= end:
                    return Converged(last=result, complete=False)
                self._wait(result, stop, until=end)

    def close(self, *, grace_s: float) -> None:
        """Begin nothing more, let the calls that are out come back, and let go of everything."""
        self._rooms.executor.close(grace_s)
        self._rooms.observer.close()
        self._rooms.prober.close()
        self._rooms.journal.close()

    def _is_done(
        self,
        result: PassResult,
        permits: Callable[[PlannedStep], bool] | None,
        patience: timedelta,
    ) -> bool:
        if result.plan is None or result.look is None:
            return True
        if not result.look.may_begin:
            return True
        steps = [one for one in result.plan.steps if permits is None or permits(one)]
        if steps or any(not one.condemned for one in result.operations):
            return False
        if any(
            change.reason is Reason.START_AFTER
            for status in result.plan.statuses.values()
            for change in status.changes
        ):
            return False  # a start is sure to come, by a readiness or by its deadline
        wake_at = result.plan.wake_at
        return wake_at is None or wake_at - result.now > patience

    # --------------------------------------------------------------------------------- waiting

    def _pass_or_tell(self) -> PassResult:
        """A pass; a defect in one is told, and does not take the loop with it."""
        try:
            return self.pass_once(kept=True)
        except Exception as error:  # noqa: BLE001 - operations under way must go on being watched
            now = self._clock()
            what = f"unforeseen {type(error).__name__}: {error}"
            with contextlib.suppress(DomopsError):
                self._rooms.teller.failed(what, now)
                self._problems_told |= {what}
            return PassResult(now=now, look=None, plan=None, problems=(what,))

    def _tell_problems(self, result: PassResult, tell: Callable[[Event], None]) -> None:
        """Tell once what troubles domops itself, past the journal: that may be the trouble."""
        others = result.standing.sentences() if result.standing is not None else ()
        problems = frozenset(result.problems) - frozenset(others)
        for problem in sorted(problems - self._problems_told):
            tell(Event(at=result.now, kind=EventKind.TROUBLE, text=problem))
        self._problems_told = problems

    @contextlib.contextmanager
    def _watching(self, tell: Callable[[Event], None]) -> Iterator[None]:
        """News of git are a short cut: where the watch fails, polling is all there is."""
        with contextlib.ExitStack() as stack:
            try:
                watch = self._rooms.source.watch(lambda: self._rooms.wakeups.put("git"))
                stack.callback(watch.close)
            except TransientError as error:
                now = self._clock()
                with contextlib.suppress(DomopsError):
                    self._rooms.teller.failed(f"news are polled for only: {error}", now)
            yield
        self._tell_news(tell)

    def _wait(
        self,
        result: PassResult,
        stop: threading.Event,
        *,
        until: datetime | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> frozenset[str]:
        """Wait for names, or for the first instant at which something changes by itself."""
        instants = [result.now + self._poll]
        wake_at = result.plan.wake_at if result.plan else None
        due = self._rooms.executor.next_deadline(result.now)
        instants += [at for at in (wake_at, due) if at is not None and at > result.now]
        end = min([*instants, *([until] if until is not None else [])])
        while not stop.is_set() and (left := (end - self._clock()).total_seconds()) > 0:
            if meanwhile is not None:
                meanwhile()
            names = self._rooms.wakeups.take(min(left, _SLICE_S))
            if names or self._moved() != self._journal_seen:
                return names
        return frozenset()

    def _moved(self) -> int:
        with contextlib.suppress(DomopsError):
            return self._rooms.journal.moved()
        return 0

    def _tell_news(self, tell: Callable[[Event], None]) -> None:
        with contextlib.suppress(DomopsError):  # a journal in trouble is in the pass's problems
            for number, event in self._rooms.journal.numbered_events(
                _EVENTS_AT_ONCE, after=self._told
            ):
                self._told = number
                tell(event)


@contextlib.contextmanager
def _kept(problems: list[str]) -> Iterator[None]:
    """Keep an error of ours as a sentence, and go on without what it prevented."""
    try:
        yield
    except DomopsError as error:
        problems.append(str(error))


def _unheard(_event: Event) -> None:
    """Whoever only looks tells nobody."""
