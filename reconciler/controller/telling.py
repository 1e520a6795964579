"""Turn what a pass found into events, each told once: when it begins, not in every pass."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError
from reconciler.journal.records import Event, EventKind
from reconciler.model.observed import ObservedWorld, SilentHost

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.controller.otherhands import OtherHand
    from reconciler.controller.worlds import Standing
    from reconciler.journal.journal import Journal
    from reconciler.journal.records import KnownHost
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PlanId, Sha
    from reconciler.model.plan import Plan

_LOOKED_BACK = 200


class Teller:
    """Compares a pass with the one before it, and writes the difference as events."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        last = _last_refusal(journal)
        self._refused = last.commit if last else None
        self._objection = last.text if last else None
        self._trouble: str | None = None
        self._silent: set[HostName] = set()
        self._departed: set[HostName] = set()
        self._held: set[PlanId] = set()
        self._foreign: set[tuple[HostName, str, str]] = set()

    def commit_applied(self, world: DesiredWorld, now: datetime) -> None:
        """Another commit is in force."""
        text = f'"{world.commit.subject}" by {world.commit.author} is in force'
        self._tell(now, EventKind.COMMIT_APPLIED, text, commit=world.commit.sha)

    def standing(self, standing: Standing, now: datetime) -> None:
        """A commit that is refused, and git when it gives trouble."""
        head = standing.head
        objection = standing.objection.sentence if standing.objection else None
        if objection is not None:
            if objection != self._objection and head is not None:
                self._tell(now, EventKind.COMMIT_REFUSED, objection, commit=head.sha)
        elif head is not None and standing.problems:
            if head.sha != self._refused:
                first, *more = standing.problems
                rest = f" (and {len(more)} more)" if more else ""
                self._journal.note(
                    Event(
                        at=now,
                        kind=EventKind.COMMIT_REFUSED,
                        text=f"{first.sentence}{rest}",
                        commit=head.sha,
                        where=f"{first.path}:{first.line}",
                    )
                )
            self._refused = head.sha
        self._objection = objection
        if standing.trouble is not None and standing.trouble != self._trouble:
            self._tell(now, EventKind.SOURCE_FAILED, standing.trouble)
        self._trouble = standing.trouble

    def observed(self, world: ObservedWorld, learnt: tuple[KnownHost, ...], now: datetime) -> None:
        """Hosts that fell silent, came back, or were met for the first time."""
        for known in learnt:
            text = f"its machine has the UUID {known.uuid}"
            self._tell(now, EventKind.HOST_LEARNED, text, host=known.name)
        silent = {host.name: host for host in world.hosts.values() if isinstance(host, SilentHost)}
        for name in sorted(set(silent) - self._silent):
            self._tell(now, EventKind.HOST_SILENT, silent[name].why, host=name)
        for name in sorted((self._silent - set(silent)) & set(world.hosts)):
            self._tell(now, EventKind.HOST_BACK, "answers again", host=name)
        self._silent = set(silent)

    def others(self, hands: tuple[OtherHand, ...], now: datetime) -> None:
        """Marks of ours that somebody else wrote."""
        for hand in hands:
            self._tell(now, EventKind.OTHER_HAND, hand.sentence, host=hand.host, guest=hand.guest)

    def planned(self, plan: Plan, memory: Memory, now: datetime) -> None:
        """What is held, what is foreign, and which hosts have left without being retired."""
        for held in plan.held:
            if held.plan_id not in self._held:
                acts = ", ".join(map(str, held.acts))
                text = f"plan {held.plan_id}: {acts}: {held.message}"
                self._tell(now, EventKind.HELD, text)
        self._held = {held.plan_id for held in plan.held}
        for foreign in plan.foreign:
            if (foreign.host, foreign.name, foreign.message) not in self._foreign:
                text = f"{foreign.name}: {foreign.message}"
                self._tell(now, EventKind.FOREIGN, text, host=foreign.host)
        self._foreign = {(one.host, one.name, one.message) for one in plan.foreign}
        departed = {host.name for host in memory.departed or ()}
        for name in sorted(departed - self._departed):
            text = "left the repository without state: retired; guests may still run there"
            self._tell(now, EventKind.HOST_DEPARTED, text, host=name)
        self._departed = departed

    def failed(self, what: str, now: datetime) -> None:
        """Something about domops itself: a pass that failed, a watch that could not be had."""
        self._tell(now, EventKind.TROUBLE, what)

    def _tell(
        self,
        at: datetime,
        kind: EventKind,
        text: str,
        *,
        host: HostName | None = None,
        guest: GuestName | None = None,
        commit: Sha | None = None,
    ) -> None:
        event = Event(at=at, kind=kind, text=text, host=host, guest=guest, commit=commit)
        self._journal.note(event)


def _last_refusal(journal: Journal) -> Event | None:
    """The refused commit that was told last, so that a restart does not tell it again."""
    with contextlib.suppress(DomopsError):  # telling twice is better than failing to start
        for event in reversed(journal.events(limit=_LOOKED_BACK)):
            if event.kind is EventKind.COMMIT_APPLIED:
                return None
            if event.kind is EventKind.COMMIT_REFUSED:
                return event
    return None
