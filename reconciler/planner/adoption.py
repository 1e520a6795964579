"""Adopt: take over a domain that is there, by writing the mark and nothing else.

The mark is a step of its own. What else the manifest wants to be different is shown beside it, and
is the ordinary rules' work once the guest is ours: so a manifest that says what is already so costs
the guest nothing, and one that does not is read by a person before anything else moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.desired import GuestState
from reconciler.model.mark import Mark, MarkedDisk, MarkedNic, Phase
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Label,
    PlannedStep,
    Reason,
    Sync,
)
from reconciler.model.policy import RENDERER
from reconciler.model.steps import SetMark
from reconciler.planner.case import Verdict
from reconciler.planner.classify import case_of, undefined
from reconciler.planner.disks import adopted_entry, same_disk
from reconciler.planner.guards import guard
from reconciler.planner.match import Adoptable, Found
from reconciler.planner.telling import (
    blocked_by,
    field_change,
    field_changes,
    run_state_changes,
    status_of,
    with_fate,
)

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy


def adopt(
    desired: DesiredGuest,
    there: Adoptable,
    world: DesiredWorld,
    *,
    operation: Operation | None,
    memory: Memory,
    policy: Policy,
    now: datetime,
) -> Verdict:
    """Write the mark, and say what will follow once the guest is ours."""
    stored = there.guest.stored
    bare = Found(host=there.host, guest=there.guest, mark=_bare_mark(desired, there, stored, world))
    if stored is None:
        return _not_ours(undefined(desired, bare, operation))
    case = case_of(desired, bare, stored, world, memory=memory, policy=policy, now=now)
    # Of what the manifest names, only what the domain has: the rest is made, or refused, later.
    ours, later = bare.mark, case.wanted.mark
    addresses = {entry.mac for entry in ours.nics}
    mark = replace(
        ours,
        disks=tuple(entry for entry in later.disks if ours.disk(entry.name) is not None),
        nics=tuple(entry for entry in later.nics if entry.mac in addresses),
        fields=later.fields,
    )
    adoption = field_change(desired, "", "not ours", "adopted", Label.ADOPT)
    changes = (adoption, *field_changes(case), *run_state_changes(case))
    if operation is not None:
        changes = tuple(with_fate(change, Fate.RUNNING) for change in changes)
        return _not_ours(Verdict(status=status_of(desired, bare, changes, operation, case)))
    block = guard(case)
    if block is not None:
        changes = tuple(blocked_by(change, block) for change in changes)
        return _not_ours(Verdict(status=status_of(desired, bare, changes, None, case)))
    step = PlannedStep(
        step=SetMark(host=there.host.name, guest=desired.name, uuid=there.guest.uuid, mark=mark),
        pool=desired.pool,
        changes=(adoption,),
        disruptive=False,
        commit=world.commit.sha,
    )
    return _not_ours(Verdict(status=status_of(desired, bare, changes, None, case), step=step))


def _bare_mark(
    desired: DesiredGuest, there: Adoptable, stored: GuestDefinition | None, world: DesiredWorld
) -> Mark:
    """A mark that owns what the manifest and the domain both have, and nothing else."""
    disks: list[MarkedDisk] = []
    for disk in desired.disks:
        found = same_disk(disk, stored, there.host, world) if stored is not None else None
        if found is not None:
            disks.append(adopted_entry(disk, found.target, there.host, world))
    nics = [
        MarkedNic(name=nic.name, mac=nic.mac)
        for nic in desired.nics
        if stored is not None and stored.nic(nic.mac) is not None
    ]
    return Mark(
        owner=world.repository,
        guest=desired.name,
        uuid=there.guest.uuid,
        generation=1,
        phase=Phase.READY,
        commit=world.commit.sha,
        intent=desired.intent,
        renderer=RENDERER,
        protected=desired.protect,
        shutdown=desired.shutdown,
        disks=tuple(sorted(disks, key=lambda entry: entry.name)),
        nics=tuple(sorted(nics, key=lambda entry: entry.mac)),
    )


def _not_ours(verdict: Verdict) -> Verdict:
    """A guest that is to be adopted has no phase yet."""
    return replace(verdict, status=replace(verdict.status, phase=None))


def nothing_to_adopt(guest: DesiredGuest) -> Verdict:
    """A guest that shall be adopted is never made: an empty one in its place would deceive."""
    change = Change(
        guest=guest.name,
        field="",
        before="missing",
        after="adopted",
        label=Label.ADOPT,
        fate=Fate.WAITING,
        reason=Reason.NOTHING_TO_ADOPT,
        message="no host has a domain with its UUID or name that could be adopted;"
        " without adopt: true it would be made new",
        origin=guest.where("spec.adopt"),
    )
    status = GuestStatus(
        guest=guest.name,
        host=None,
        type=guest.type or "auto",
        state="missing",
        stored=Sync.NO,
        live=Sync.NO,
        healthy=Health.NO if guest.state is GuestState.RUNNING else Health.YES,
        operation=None,
        phase=None,
        changes=(change,),
    )
    return Verdict(status=status)
