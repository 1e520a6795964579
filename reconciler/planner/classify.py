"""Classify: what one guest whose home is known needs, and its next step (second stage).

One step a guest a pass: the order of the rules is the order in which a guest is put right, and each
rule looks at what is seen, never at what an earlier pass meant to do.

Note [Two definitions]: a guest has a stored definition, which is the next start's, and a live one.
Stored comes first, so that a guest that stops half way starts as it should; then the live one is
changed where that can be done without a restart; what is left needs a restart.

Note [The operation in the mark]: what domops is about to do to a guest's run state is written into
its mark first, so that after a kill the hosts alone tell a stop that was wished from one that was
not. A snapshot in the mark, with no step under way that takes it, was interrupted: the guest is let
go on before anything else is done to it, also what would leave it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.counted import Asked
from reconciler.model.plan import (
    Fate,
    Label,
    PlannedStep,
    Reason,
)
from reconciler.planner.budget import NO_RULINGS, beginning, needs_ruling, pool_of, restart_of
from reconciler.planner.case import Block, Case, Next, Verdict
from reconciler.planner.disks import Existing
from reconciler.planner.guards import guard
from reconciler.planner.rules import next_step
from reconciler.planner.seeds import work_is_done
from reconciler.planner.snapshotting import snapshot_changes, unfinished
from reconciler.planner.telling import (
    blocked_by,
    field_change,
    field_changes,
    run_state_changes,
    status_of,
    upkeep,
    with_fate,
)
from reconciler.planner.wanted import wanted

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Change
    from reconciler.model.policy import Policy
    from reconciler.planner.budget import Rulings
    from reconciler.planner.match import Found


def classify(  # noqa: PLR0913 - all that a verdict rests on
    desired: DesiredGuest,
    found: Found,
    world: DesiredWorld,
    *,
    operation: Operation | None,
    memory: Memory,
    policy: Policy,
    now: datetime,
    rulings: Rulings = NO_RULINGS,
) -> Verdict:
    """Decide what the guest needs next, and tell its status; nothing counted without a ruling."""
    guest = found.guest
    if guest.stored is None:
        return undefined(desired, found, operation)
    case = case_of(
        desired,
        found,
        guest.stored,
        world,
        memory=memory,
        policy=policy,
        now=now,
        rulings=rulings,
    )
    fields = (*field_changes(case), *snapshot_changes(case))
    wishes = (*fields, *run_state_changes(case))
    blocked = None if operation else unfinished(case) or guard(case)
    if operation is not None:
        begun = {one.act for one in beginning(operation.step, found.mark, world)}
        asked = tuple(one for one in _asked(case, fields) if one.act not in begun)
        wishes = tuple(with_fate(change, Fate.RUNNING) for change in wishes)
        return Verdict(status=status_of(desired, found, wishes, operation, case), asked=asked)
    move: Next = blocked if blocked is not None else next_step(case, fields)
    if isinstance(move, Block):
        if not any(change.fate is Fate.NOW for change in wishes):
            wishes = (*wishes, field_change(desired, "", "", "", Label.STATE, block=move))
        wishes = tuple(blocked_by(change, move) for change in wishes)
        move = None
    step = None
    if move is not None:
        changes = move.changes or tuple(change for change in wishes if change.fate is Fate.NOW)
        if not changes:
            changes = (upkeep(case, move),)
        step = PlannedStep(
            step=move.step,
            pool=desired.pool,
            changes=(*move.changes, *move.also) or changes,
            disruptive=move.disruptive,
            commit=world.commit.sha,
            counted=tuple(one.act for one in beginning(move.step, found.mark, world)),
        )
        if not any(change.fate is Fate.NOW for change in wishes):
            wishes = (*wishes, *changes)
    return Verdict(
        status=status_of(desired, found, wishes, operation, case),
        step=step,
        asked=_asked(case, fields),
    )


def _asked(case: Case, fields: tuple[Change, ...]) -> tuple[Asked, ...]:
    """The counted acts that the guest needs, whatever else keeps it waiting."""
    if not needs_ruling(case) or not any(change.label is Label.RESTART for change in fields):
        return case.wanted.asked
    pool = pool_of(case.host.name, case.world)
    return (*case.wanted.asked, Asked(act=restart_of(case), pool=pool))


def undefined(desired: DesiredGuest, found: Found, operation: Operation | None) -> Verdict:
    """The verdict on a guest that only runs: nothing of it could be kept."""
    block = Block(
        reason=Reason.TRANSIENT,
        message="it runs without a stored definition and would be gone at power-off;"
        " define it again by hand, or let it stop",
        fate=Fate.REFUSED,
    )
    change = field_change(desired, "", found.guest.state, "defined", Label.STATE, block=block)
    return Verdict(status=status_of(desired, found, (change,), operation, None))


def case_of(  # noqa: PLR0913 - all that the rules look at
    desired: DesiredGuest,
    found: Found,
    stored: GuestDefinition,
    world: DesiredWorld,
    *,
    memory: Memory,
    policy: Policy,
    now: datetime,
    rulings: Rulings = NO_RULINGS,
) -> Case:
    """Put together what the rules look at."""
    existing = Existing(
        guest=found.guest,
        stored=stored,
        mark=found.mark,
        seed_done=work_is_done(found.guest, found.mark, policy, now),
    )
    return Case(
        desired=desired,
        host=found.host,
        guest=found.guest,
        stored=stored,
        mark=found.mark,
        elsewhere=found.elsewhere,
        wanted=wanted(desired, found.host, world, memory, now, existing, rulings=rulings),
        rulings=rulings,
        world=world,
        memory=memory,
        policy=policy,
        now=now,
    )
