"""Open the real thing: settings, repository, hosts and state directory, as bootstrap builds it."""

from __future__ import annotations

import getpass
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler import bootstrap
from reconciler.cli.pasts import last_manifest
from reconciler.cli.picture import Picture
from reconciler.cli.session import Drafts, History
from reconciler.controller.checking import examine_state
from reconciler.controller.results import Look
from reconciler.errors import DomopsError, StalledError
from reconciler.journal.causes import accounts
from reconciler.model.steps import DefineGuest
from reconciler.planner import plan, preview
from reconciler.recording.log import event_log, strays_told
from reconciler.recording.supervisor import Supervisor
from reconciler.settings import Settings, load_settings
from reconciler.web.serving import shown

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime
    from pathlib import Path

    from reconciler.bootstrap import Opened
    from reconciler.cli.options import Where
    from reconciler.cli.pasts import PastManifest
    from reconciler.cli.session import Asked
    from reconciler.controller.results import Names, PassResult
    from reconciler.journal.causes import Account
    from reconciler.journal.journal import Journal
    from reconciler.journal.records import Event
    from reconciler.model.checkup import Finding
    from reconciler.model.names import GuestName, PlanId, Sha
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan, PlannedStep
    from reconciler.model.suspension import Covered
    from reconciler.planner import Preview
    from reconciler.source.port import CommitInfo


def open_session(
    where: Where,
    *,
    writing: bool = False,
    from_folder: Path | None = None,
    revision: str | None = None,
) -> Opening:
    """Read the settings, and put a controller together for one command."""
    settings = load_settings(config=where.config, overrides=where.overrides())
    source = str(from_folder) if from_folder else (revision or settings.ref)
    stack = ExitStack()
    opened = stack.enter_context(
        bootstrap.open_controller(
            settings, writing=writing, from_folder=from_folder, revision=revision
        )
    )
    return Opening(opened, settings=settings, source=source, stack=stack)


class Opening:
    """A ``Session`` on a controller of its own; closed, it lets go of everything."""

    def __init__(
        self, opened: Opened, *, settings: Settings, source: str, stack: ExitStack
    ) -> None:
        self._opened = opened
        self._settings = settings
        self._source = source
        self._stack = stack

    @property
    def folder(self) -> str:
        """The folder of the manifests inside the repository; empty for its root."""
        return self._opened.source.folder

    def look(self, *, enforce: bool = False, ahead: bool = True) -> Picture:
        """Read the commit, ask the hosts, plan; make no writing call."""
        return self._picture(self._opened.controller.look(enforce=enforce), ahead=ahead)

    def release(self) -> PlanId | None:
        """The id by which a person lets the newest commit in, if its past keeps it out."""
        standing = self._opened.controller.look().standing
        return standing.objection.release if standing and standing.objection else None

    def watch(self, stop: threading.Event) -> Iterator[Picture]:
        """Look, and again whenever something may have changed, until ``stop`` is set."""
        for look in self._opened.controller.looks(stop, every=_WATCHED_EVERY):
            yield self._picture(look, ahead=False)

    def drafts(self) -> Drafts:
        """The texts that ``apply`` would define now; make no writing call."""
        look = self._opened.controller.look(enforce=True)
        if not isinstance(look, Look):
            raise StalledError(_told(look.problems))
        # All at once: what waits only because enough is under way is to be seen too.
        everything = replace(look.policy, steps_per_host=sys.maxsize)
        picture = self._picture(replace(look, policy=everything), ahead=False)
        texts = {
            step.guest: self._opened.doors.named(step.host).draft(step)
            for step in (planned.step for planned in picture.plan.steps)
            if isinstance(step, DefineGuest)
        }
        return Drafts(picture=picture, texts=texts)

    def examine(self) -> tuple[Finding, ...]:
        """Examine repository, controller and every host; make no writing call."""
        patience_s = self._settings.answer_s
        return (
            *examine_state(self._settings.state_dir),
            *self._opened.controller.examine(patience_s=patience_s),
        )

    def events(self, *, limit: int, guest: GuestName | None) -> tuple[Event, ...]:
        """The newest ``limit`` events, oldest first."""
        return self._opened.journal.events(limit=limit, guest=guest)

    def follow(
        self, stop: threading.Event, *, limit: int, guest: GuestName | None
    ) -> Iterator[tuple[Event, ...]]:
        """The newest ``limit`` events, then what comes after them, until ``stop`` is set.

        The last number is that of any guest's event: a journal that begins anew counts from 1.
        """
        journal, last = self._opened.journal, _newest(self._opened.journal)
        yield journal.events(limit=limit, guest=guest)
        while not stop.wait(_FOLLOWED_EVERY_S):
            if not journal.catch_up():
                continue
            newest = _newest(journal)
            after = last if newest >= last else 0
            found = journal.events(limit=_EVENTS_AT_ONCE, guest=guest, after=after)
            last = newest
            if found:
                yield found

    def history(self, asked: Asked) -> History:
        """What the journal knows of steps and of what else happened; asks no host."""
        journal = self._opened.journal
        found = journal.deeds(
            limit=asked.limit, guest=asked.guest, since=asked.since, commit=asked.commit
        )
        told: dict[int, Account] = {}
        for guest in {deed.guest for deed in found}:  # a cause hangs on all that came before
            past = journal.deeds(limit=_PAST_OF_A_GUEST, guest=guest)
            told.update((account.deed.id, account) for account in accounts(past))
        events = journal.other_events(
            limit=asked.limit, guest=asked.guest, since=asked.since, commit=asked.commit
        )
        named = {deed.commit for deed in found} | {event.commit for event in events}
        return History(
            accounts=tuple(told[deed.id] for deed in found if deed.id in told),
            events=events,
            commits={
                sha: info
                for sha in named
                if sha is not None and (info := self._commit(sha)) is not None
            },
        )

    def _commit(self, sha: Sha) -> CommitInfo | None:
        """What the commit says of itself, if the repository still has it."""
        try:
            return next(iter(self._opened.source.recent(sha, limit=1)), None)
        except DomopsError:
            return None

    def last_manifest(self, guest: GuestName) -> PastManifest | None:
        """The guest's manifest as it was before it was deleted; asks no host."""
        source = self._opened.source
        source.fetch()
        return last_manifest(source, guest, source.head().sha)

    def approve(self, plan_id: PlanId) -> None:
        """Let the held acts with this id through, in the name of whoever runs the command."""
        bootstrap.approve(self._settings, plan_id, who=getpass.getuser())

    def names(self) -> Names:
        """What git and the journal call guests and pools; asks no host."""
        return self._opened.controller.names()

    def suspend(self, wishes: Collection[Covered], *, why: str, until: datetime | None) -> None:
        """Let no further step begin for these, in the name of whoever runs the command."""
        with bootstrap.beside(self._settings) as beside:
            beside.suspend(wishes, who=getpass.getuser(), why=why, until=until)

    def resume(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """Lift suspensions of these names; return those that were known to stand."""
        with bootstrap.beside(self._settings) as beside:
            return beside.resume(wishes, who=getpass.getuser())

    def still_moving(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """Those of the suspended under which a step may still be under way."""
        with bootstrap.beside(self._settings) as beside:
            return beside.still_moving(wishes)

    def apply(
        self,
        *,
        permits: Callable[[PlannedStep], bool],
        tell: Callable[[Event], None],
        stop: threading.Event,
    ) -> Picture:
        """Carry out what the commit asks for until nothing moves any more, and look again."""
        self._opened.controller.converge(
            within=timedelta(seconds=self._settings.converge_s),
            stop=stop,
            tell=tell,
            permits=permits,
        )
        return self.look(enforce=True)

    def under_way(self) -> tuple[Operation, ...]:
        """The steps under way, with how far each has come; may be asked from any thread."""
        return self._opened.operations()

    def run(self, stop: threading.Event) -> None:
        """Keep the hosts as the commits want them until ``stop`` is set."""
        log = event_log(self._settings.log_format)
        with (
            strays_told(log, self._opened.clock),
            closing(Supervisor.of()) as supervisor,
            shown(self._opened, self._settings) as showing,
        ):

            def tell(event: Event) -> None:
                log(event)
                showing.tell(event)

            self._opened.controller.run(stop, tell, supervisor)

    def close(self) -> None:
        """Let go of everything."""
        self._stack.close()

    def _picture(self, look: Look | PassResult, *, ahead: bool) -> Picture:
        """What was seen, planned; there is a good commit, or an error that says why not."""
        if not isinstance(look, Look):
            raise StalledError(_told(look.problems))
        if not ahead:
            now = plan(
                look.world,
                look.observed,
                operations=look.operations,
                memory=look.memory,
                policy=look.policy,
                now=look.now,
            )
            return self._drawn(look, now)
        seen = preview(
            look.world,
            look.observed,
            operations=look.operations,
            memory=look.memory,
            policy=look.policy,
            now=look.now,
        )
        return self._drawn(look, seen.first, seen)

    def _drawn(self, look: Look, now: Plan, ahead: Preview | None = None) -> Picture:
        """A picture of the plan as of now, and of the way to the fixpoint if that was asked."""
        return Picture(
            source=self._source,
            world=look.world,
            observed=look.observed,
            plan=now,
            expected=ahead.changes if ahead else (),
            steps=tuple(step for _, step in ahead.steps) if ahead else now.steps,
            converges=ahead.converged if ahead else True,
            problems=look.problems,
            days=look.memory.days,
        )


def _told(problems: tuple[str, ...]) -> str:
    """Why there is no world to plan for: the first problems, and where the others are."""
    told = [*problems[:_PROBLEMS_TOLD]]
    if len(problems) > _PROBLEMS_TOLD:
        told.append(f"and {len(problems) - _PROBLEMS_TOLD} more; domops validate shows all.")
    return "\n".join(told)


def _newest(journal: Journal) -> int:
    """The number of the newest event; 0 where there is none."""
    return max((number for number, _ in journal.numbered_events(1)), default=0)


_WATCHED_EVERY = timedelta(seconds=5)
"""How often a watched list is drawn anew for its ages alone."""

_FOLLOWED_EVERY_S = 0.5
"""How often it is looked whether the journal has moved; a look is two calls of stat."""

_EVENTS_AT_ONCE = 10_000

_PAST_OF_A_GUEST = 10_000
"""Steps of one guest that are looked at for what caused the newest."""

_PROBLEMS_TOLD = 5
"""Enough to see what sort of trouble it is."""
