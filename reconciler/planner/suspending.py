"""Suspend: leave guests alone that somebody has taken out of our hands (a stage across guests).

Two things are not kept back. A guest that an interrupted snapshot of ours holds still is let go on.
And one that we have shut down for a restart is started again: it was up when it was suspended.

Note [Suspended in the mark]: a suspension of the command line stands in the journal, which may be
lost; so it is written into the mark of each guest that it covers, too. What a mark says and the
journal has neither lifted nor replaced is in force. Writing the mark touches nothing of the guest;
it is the one step that a suspension causes, and it comes before the suspension counts as quiet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.desired import PoolMode
from reconciler.model.mark import OperationKind
from reconciler.model.plan import Change, Fate, Label, PlannedStep, Reason
from reconciler.model.steps import ResumeGuest, SetMark, StartGuest
from reconciler.planner.case import Block, Verdict
from reconciler.planner.match import Found
from reconciler.planner.pools import is_off, pool_of
from reconciler.planner.telling import blocked_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, PoolName
    from reconciler.model.policy import Policy
    from reconciler.model.steps import Step
    from reconciler.model.suspension import Suspension
    from reconciler.planner.match import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """All that is looked at to see what is suspended.

    ``matches`` says where the guests are that were looked for in this pass, ``quiet`` where the
    others are; ``marked`` are the guests whose marks carry a suspension.
    """

    matches: Mapping[GuestName, Match]
    quiet: Mapping[GuestName, Found]
    marked: frozenset[GuestName]
    desired: DesiredWorld
    memory: Memory
    policy: Policy
    now: datetime

    def found(self, name: GuestName) -> Found | None:
        """The guest where it is, if that is known."""
        match = self.matches.get(name) or self.quiet.get(name)
        return match if isinstance(match, Found) else None


def concerned(names: Iterable[GuestName], grounds: Grounds) -> frozenset[GuestName]:
    """The guests of which a suspension may say something."""
    desired = grounds.desired
    standing = grounds.memory.suspensions.standing
    of_pools = any(pool.suspend for pool in desired.pools.values())
    if desired.suspend or of_pools or any(not one.covered.is_one_guest for one in standing):
        return frozenset(names)
    told = {one.covered.name for one in standing}
    said = {
        guest.name
        for guest in desired.guests.values()
        if guest.suspend is not None or guest.former in told
    }
    return frozenset(name for name in names if name in said or name in told) | (
        grounds.marked & frozenset(names)
    )


def suspend(verdicts: Mapping[GuestName, Verdict], grounds: Grounds) -> dict[GuestName, Verdict]:
    """Take back what may not begin, and keep the marks told; the verdicts that become others."""
    return {
        name: _judge(name, verdicts[name], grounds) for name in concerned(verdicts.keys(), grounds)
    }


def _judge(name: GuestName, verdict: Verdict, grounds: Grounds) -> Verdict:
    found = grounds.found(name)
    pool = pool_of(name, verdict, grounds.desired)
    commanded = tuple(_commanded(name, pool, found, grounds))
    suspensions = (*_in_git(name, pool, grounds), *commanded)
    status = replace(verdict.status, suspended=suspensions)
    note = None
    if found is not None and found.mark.suspended != commanded:
        note = _note(found, commanded, verdict, pool, grounds)
    if not suspensions:
        if note is None or verdict.step is not None:
            return verdict  # a step that begins leaves the mark for later
        return Verdict(status=replace(status, changes=(*status.changes, *note.changes)), step=note)
    step = verdict.step
    if step is not None and found is not None and _goes_on(step.step, found.mark):
        return Verdict(status=status, step=step)
    block = _block(suspensions)
    changes = tuple(_held(change, block) for change in status.changes if _tells(change))
    if note is not None:
        changes = (*changes, *note.changes)
    return Verdict(status=replace(status, changes=changes), step=note)


def _tells(change: Change) -> bool:
    """Whether it is more than upkeep of a mark, which can wait without a word."""
    return change.field != "mark"


def _held(change: Change, block: Block) -> Change:
    """The change, kept back; what it would have waited for by the clock matters only after that."""
    timed = change.fate is Fate.WAITING and change.until is not None
    return blocked_by(replace(change, fate=Fate.NOW) if timed else change, block)


def _in_git(name: GuestName, pool: PoolName | None, grounds: Grounds) -> Iterator[Suspension]:
    guest = grounds.desired.guests.get(name)
    manifest = grounds.desired.pools.get(pool) if pool is not None else None
    for one in (
        guest.suspend if guest is not None else None,
        manifest.suspend if manifest is not None else None,
        grounds.desired.suspend,
    ):
        if one is not None and one.in_force(grounds.now):
            yield one


def _commanded(
    name: GuestName, pool: PoolName | None, found: Found | None, grounds: Grounds
) -> Iterator[Suspension]:
    """What the command line has said of it, here or, if that was lost, in its mark."""
    said = grounds.memory.suspensions
    guest = grounds.desired.guests.get(name)
    names = [name, *((guest.former,) if guest is not None and guest.former is not None else ())]
    known = [one for one in said.standing if any(one.covered.covers(each, pool) for each in names)]
    marked = found.mark.suspended if found is not None else ()
    for one in sorted(
        {*known, *(one for one in marked if said.still(one))},
        key=lambda one: (one.covered.scope, one.covered.name),
    ):
        if one.in_force(grounds.now):
            yield one


def _block(suspensions: tuple[Suspension, ...]) -> Block:
    """Held until somebody lifts it; waiting, where all of them come to an end by themselves."""
    ends = [one.until for one in suspensions if one.until is not None]
    by_itself = len(ends) == len(suspensions)
    told = "; ".join(f"suspended by {one}; {one.release}" for one in suspensions)
    return Block(
        reason=Reason.SUSPENDED,
        message=told,
        fate=Fate.WAITING if by_itself else Fate.HELD,
        until=max(ends) if by_itself else None,
    )


def _goes_on(step: Step, mark: Mark) -> bool:
    """Whether the step only ends what we had begun and must not be left half way."""
    restarting = mark.operation is not None and mark.operation.kind is OperationKind.RESTART
    return isinstance(step, ResumeGuest) or (restarting and isinstance(step, StartGuest))


def _note(
    found: Found,
    commanded: tuple[Suspension, ...],
    verdict: Verdict,
    pool: PoolName | None,
    grounds: Grounds,
) -> PlannedStep | None:
    """The step that tells the mark, where a step may begin and nobody else is at work."""
    guest = found.guest
    manifest = grounds.desired.pools.get(pool) if pool is not None else None
    enforced = manifest is not None and manifest.mode is PoolMode.ENFORCE
    failure = grounds.memory.failures.get(found.mark.guest)
    resting = failure is not None and (failure.stalled or grounds.now < failure.retry_at)
    if (
        is_off(pool, grounds.desired)
        or not (enforced or grounds.policy.enforce)
        or verdict.status.operation is not None
        or guest.stored is None
        or guest.job is not None
        or resting
    ):
        return None
    change = Change(
        guest=found.mark.guest,
        field="mark",
        before="suspended" if found.mark.suspended else "",
        after="; ".join(f"suspended by {one}" for one in commanded) or "resumed",
        label=Label.NONE,
        fate=Fate.NOW,
    )
    return PlannedStep(
        step=SetMark(
            host=found.host.name,
            guest=found.mark.guest,
            uuid=guest.uuid,
            mark=replace(found.mark, suspended=commanded),
        ),
        pool=pool,
        changes=(change,),
        disruptive=False,
        commit=grounds.desired.commit.sha,
    )
