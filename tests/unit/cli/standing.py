"""A session without hosts: every step has its expected effect on a world in memory.

It passes through the same plan, permits and events as the real one, and counts what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.cli.session import Drafts, History
from reconciler.controller.results import Names
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.journal.records import Event, EventKind
from reconciler.model.checkup import Check, Finding, Judgement
from reconciler.model.names import HostName
from reconciler.model.observed import ObservedHost
from reconciler.model.policy import Policy
from reconciler.model.steps import DefineGuest
from reconciler.model.suspension import Suspension
from reconciler.planner import plan
from reconciler.planner.effects import after, remembered
from tests.unit.cli.worlds import NOW, REMEMBERED, picture

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime
    from pathlib import Path

    from reconciler.cli.options import Where
    from reconciler.cli.pasts import PastManifest
    from reconciler.cli.picture import Picture
    from reconciler.cli.session import Asked, Session
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import GuestName, PlanId
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import Step
    from reconciler.model.suspension import Covered


SOUND = Finding(
    check=Check.ANSWERS, host=HostName("dom0-a"), judgement=Judgement.OK, message="answers"
)
"""What a check-up says of a host that has no trouble."""


@dataclass(slots=True, kw_only=True)
class Standing:
    """One session; ``opener`` hands it out and keeps how it was asked for.

    ``later`` are the worlds that a watch gets to see one after the other, ``news`` the events that
    come while they are followed; then both end by themselves. ``surprise`` is a world that takes
    the place of the desired one between preview and apply.
    """

    world: DesiredWorld
    observed: ObservedWorld
    surprise: DesiredWorld | None = None
    stops_after: int | None = None
    error: Exception | None = None
    opened: list[tuple[Where, bool, Path | None, str | None]] = field(default_factory=list)
    done: list[Step] = field(default_factory=list)
    approved: list[PlanId] = field(default_factory=list)
    noted: list[Event] = field(default_factory=list)
    findings: tuple[Finding, ...] = (SOUND,)
    suspended: list[Suspension] = field(default_factory=list)
    moves: int = 0
    later: tuple[ObservedWorld, ...] = ()
    news: tuple[Event, ...] = ()
    past: dict[GuestName, PastManifest] = field(default_factory=dict)
    closed: int = 0
    ran: bool = False

    @property
    def folder(self) -> str:
        """The manifests are at the root."""
        return ""

    def opener(
        self,
        where: Where,
        *,
        writing: bool = False,
        from_folder: Path | None = None,
        revision: str | None = None,
    ) -> Session:
        """Hand out this session."""
        if self.error is not None:
            raise self.error
        self.opened.append((where, writing, from_folder, revision))
        return self

    def look(self, *, enforce: bool = False, ahead: bool = True) -> Picture:
        """Plan for the world as it is now."""
        del ahead
        return picture(self.world, self.observed, enforce=enforce)

    def watch(self, stop: threading.Event) -> Iterator[Picture]:
        """See one world after the other."""
        for world in self.later:
            if not stop.is_set():
                self.observed = world
                yield self.look()

    def drafts(self) -> Drafts:
        """Texts as hosts in memory have them, of what apply would define now."""
        seen = picture(self.world, self.observed, enforce=True)
        texts = {
            step.guest: InMemoryHost(host, clock=lambda: NOW).draft(step)
            for step in (planned.step for planned in seen.plan.steps)
            if isinstance(step, DefineGuest)
            and isinstance(host := self.observed.hosts[step.host], ObservedHost)
        }
        return Drafts(picture=seen, texts=texts)

    def examine(self) -> tuple[Finding, ...]:
        """Tell what the test has laid down."""
        return self.findings

    def events(self, *, limit: int, guest: GuestName | None) -> tuple[Event, ...]:
        """The newest, oldest first."""
        return tuple(one for one in self.noted if guest in (None, one.guest))[-limit:]

    def follow(
        self, stop: threading.Event, *, limit: int, guest: GuestName | None
    ) -> Iterator[tuple[Event, ...]]:
        """What was noted, then the news one by one."""
        yield self.events(limit=limit, guest=guest)
        for event in self.news:
            if not stop.is_set() and guest in (None, event.guest):
                yield (event,)

    def history(self, asked: Asked) -> History:
        """What was noted; no step of this session is in a journal."""
        noted = self.events(limit=asked.limit, guest=asked.guest)
        return History(accounts=(), events=noted)

    def release(self) -> PlanId | None:
        """Nothing keeps the newest commit out."""
        return None

    def last_manifest(self, guest: GuestName) -> PastManifest | None:
        """What the test has laid down."""
        return self.past.get(guest)

    def approve(self, plan_id: PlanId) -> None:
        """Keep the approval."""
        self.approved.append(plan_id)

    def names(self) -> Names:
        """What the desired world calls guests and pools."""
        return Names(guests=frozenset(self.world.guests), pools=frozenset(self.world.pools))

    def suspend(self, wishes: Collection[Covered], *, why: str, until: datetime | None) -> None:
        """Keep the suspensions."""
        self.suspended += [
            Suspension(covered=one, who="a tester", why=why, since=NOW, until=until)
            for one in wishes
        ]

    def resume(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """Lift what was kept."""
        known = {one.covered for one in self.suspended} & set(wishes)
        self.suspended = [one for one in self.suspended if one.covered not in known]
        return frozenset(known)

    def still_moving(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """As often as the test has laid down, all of them."""
        self.moves -= 1
        return frozenset(wishes) if self.moves >= 0 else frozenset()

    def apply(
        self,
        *,
        permits: Callable[[PlannedStep], bool],
        tell: Callable[[Event], None],
        stop: threading.Event,
    ) -> Picture:
        """Let every permitted step have its effect, until none is left."""
        self.world = self.surprise or self.world
        memory = REMEMBERED
        while not stop.is_set():
            now = plan(
                self.world,
                self.observed,
                operations=(),
                memory=memory,
                policy=Policy(enforce=True),
                now=NOW,
            )
            steps = [one.step for one in now.steps if permits(one)]
            if not steps:
                break
            for step in steps:
                what = type(step).__name__
                if self.stops_after is not None and len(self.done) >= self.stops_after:
                    tell(Event(at=NOW, kind=EventKind.STEP_BEGUN, text=what, guest=step.guest))
                    stop.set()
                    break
                tell(Event(at=NOW, kind=EventKind.STEP_BEGUN, text=what, guest=step.guest))
                self.observed = after(step, self.observed, NOW)
                memory = remembered(step, memory)
                self.done.append(step)
                tell(
                    Event(at=NOW, kind=EventKind.STEP_ENDED, text=f"{what} done", guest=step.guest)
                )
        return picture(self.world, self.observed, enforce=True)

    def under_way(self) -> tuple[Operation, ...]:
        """Every step is over at once."""
        return ()

    def run(self, stop: threading.Event) -> None:
        """Run until told to stop, which is at once."""
        self.ran = not stop.is_set()

    def close(self) -> None:
        """Count."""
        self.closed += 1
