"""Order: guests are started after those that they need (fourth stage, across guests).

A guest is made, given its volumes and kept up like any other; only its start waits. Order is a
courtesy, never a lock: what was waited for long enough is waited for no longer, and the guest
starts without it (promise 8). A guest of which nothing is known is not ready.

Note [Whose turn]: since when a guest waits is told from plan to plan, and begins when nothing but
the order keeps it from starting. While one that it waits for is itself waiting its turn, the wait
of the later one is taken to begin when that of the earlier one will be over: otherwise the time of
all would be up at once, and the order lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, assert_never

from reconciler.model.desired import GuestState
from reconciler.model.observed import RunState
from reconciler.model.plan import Fate, Reason
from reconciler.model.steps import StartGuest
from reconciler.planner.case import Block, Verdict
from reconciler.planner.match import Adoptable, Found, Missing, Unclear
from reconciler.planner.telling import blocked_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld, OpenPort, StartAfter
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName
    from reconciler.model.plan import Change
    from reconciler.model.policy import Policy
    from reconciler.planner.match import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """The verdicts with the starts that wait taken back; the rest is what the plan passes on."""

    verdicts: dict[GuestName, Verdict]
    waits: Mapping[GuestName, datetime]
    ports: frozenset[OpenPort]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """All that is looked at to see whether a guest is ready."""

    matches: Mapping[GuestName, Match]
    desired: DesiredWorld
    memory: Memory
    policy: Policy
    now: datetime


def order(verdicts: Mapping[GuestName, Verdict], around: Around) -> Ordered:
    """Take back every start that comes before its turn, with its reason."""
    ordered = dict(verdicts)
    waits: dict[GuestName, datetime] = {}
    held_back: dict[GuestName, datetime] = {}
    ports: set[OpenPort] = set()
    for name in _in_line(verdicts, around):
        verdict = verdicts[name]
        unready = _unready(name, around)
        if not unready or not (_starts(verdict) or _is_down(name, around)):
            continue
        queued = [held_back[one.guest] for one in unready if one.guest in held_back]
        since = max(queued, default=min(around.memory.waits.get(name, around.now), around.now))
        waits[name] = since
        ports |= {one.port for one in unready if one.port is not None}
        if not _starts(verdict):
            continue
        until = since + timedelta(seconds=max(one.timeout_s for one in unready))
        words = ", ".join(f"{one.guest} ({why})" for one, why in unready.items())
        if around.now < until:
            held_back[name] = until
            ordered[name] = _taken_back(verdict, f"it is started after {words}", until)
        else:
            ordered[name] = _told(verdict, f"its wait is over; still not ready: {words}")
    return Ordered(verdicts=ordered, waits=waits, ports=frozenset(ports))


def _in_line(verdicts: Mapping[GuestName, Verdict], around: Around) -> Iterable[GuestName]:
    """The guests that may have to wait, each behind those that it waits for."""
    waiting = {
        name: around.desired.guests[name].start_after
        for name, verdict in verdicts.items()
        if name in around.desired.guests and (_starts(verdict) or name in around.memory.waits)
    }
    before = {
        name: sorted({one.guest for one in entries if one.guest in waiting})
        for name, entries in waiting.items()
        if entries
    }
    return [name for name in TopologicalSorter(before).static_order() if name in before]


def _unready(name: GuestName, around: Around) -> dict[StartAfter, str]:
    """Each entry that is not fulfilled, and in a few words why."""
    entries = around.desired.guests[name].start_after
    return {one: why for one in entries if (why := _lacks(one, around))}


def _lacks(entry: StartAfter, around: Around) -> str:
    """What is missing of readiness; nothing for a guest that shall not run and so never will be."""
    guest = around.desired.guests.get(entry.guest)
    if guest is None or guest.state is not GuestState.RUNNING:
        return ""
    found = around.matches[entry.guest]
    match found:
        case Unclear():
            return f"unknown: {found.message}"
        case Missing():
            return "not made yet"
        case Found() | Adoptable():
            if found.guest.state is not RunState.RUNNING:
                return str(found.guest.state)
            if entry.agent and not found.guest.agent_connected:
                return "its agent is not connected"
            if entry.port is not None and not _is_open(entry.port, around):
                return f"{entry.port} does not answer"
            return ""
        case _:
            assert_never(found)


def _is_open(port: OpenPort, around: Around) -> bool:
    probe = around.memory.probes.get(port)
    counts = timedelta(seconds=around.policy.probe_counts_s)
    return probe is not None and probe.open and around.now - probe.at <= counts


def _starts(verdict: Verdict) -> bool:
    return verdict.step is not None and isinstance(verdict.step.step, StartGuest)


def _is_down(name: GuestName, around: Around) -> bool:
    """Whether something else keeps it from starting, so that its wait must not begin anew."""
    found = around.matches.get(name)
    wanted = around.desired.guests[name].state is GuestState.RUNNING
    return wanted and isinstance(found, Found) and not found.guest.active


def _taken_back(verdict: Verdict, message: str, until: datetime) -> Verdict:
    block = Block(reason=Reason.START_AFTER, message=message, until=until)
    changes = tuple(blocked_by(change, block) for change in verdict.status.changes)
    return Verdict(status=replace(verdict.status, changes=changes))


def _told(verdict: Verdict, message: str) -> Verdict:
    """The verdict as it is, its start explained."""
    step = verdict.step
    if step is None:
        return verdict

    def told(change: Change) -> Change:
        starts = change in step.changes and change.fate is Fate.NOW
        return replace(change, message=message) if starts else change

    return Verdict(
        status=replace(verdict.status, changes=tuple(map(told, verdict.status.changes))),
        step=replace(step, changes=tuple(map(told, step.changes))),
    )
