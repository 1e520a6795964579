"""What a living guest has let go: after its time, its disks and snapshots are removed for good.

A disk that a manifest let go is unplugged and kept, a snapshot that is named no more is kept; both
wait as long as a deleted guest does, see Note [Date and days]. That a disk expires stands in the
mark before its volume goes, and stays there afterwards: should the disk come back, the mark knows
that it must not be made empty. A disk counts against the budget as a guest does. A snapshot does
not: of what the guest has now nothing goes with it.

This stage comes last of those that look at one guest: it only has a say where nothing else is to
be done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.counted import Asked
from reconciler.model.mark import Phase
from reconciler.model.plan import Change, Fate, Label, PlannedStep, Reason
from reconciler.model.steps import DeleteSnapshot, DeleteVolume, SetMark
from reconciler.planner import words
from reconciler.planner.budget import Kept as Ruled
from reconciler.planner.budget import expiry, pool_of
from reconciler.planner.case import Block, On
from reconciler.planner.emptying import is_whole, use_of
from reconciler.planner.keeping import is_over, part
from reconciler.planner.match import Found
from reconciler.planner.snapshots import is_ours
from reconciler.planner.telling import blocked_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from reconciler.model.counted import Act
    from reconciler.model.mark import MarkedDisk, MarkedSnapshot
    from reconciler.model.names import GuestName
    from reconciler.model.observed import ObservedVolume
    from reconciler.model.operation import Operation
    from reconciler.model.steps import Step
    from reconciler.planner.budget import Rulings
    from reconciler.planner.case import Ground, Verdict
    from reconciler.planner.match import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """The next thing of a guest whose time is over: the step, or why there is none."""

    found: Found
    change: Change
    step: Step | None = None
    act: Act | None = None
    block: Block | None = None


def expiries(
    matches: Mapping[GuestName, Match],
    verdicts: Mapping[GuestName, Verdict],
    operations: Mapping[GuestName, Operation],
    ground: Ground,
) -> dict[GuestName, Expiry]:
    """The next thing whose time is over, of each guest to which nothing else is to be done."""
    due: dict[GuestName, Expiry] = {}
    for name, found in matches.items():
        if not isinstance(found, Found) or name in operations or name not in verdicts:
            continue
        quiet = verdicts[name].step is None and found.guest.job is None
        if quiet and not found.elsewhere and found.mark.phase is Phase.READY:
            first = next(_of(found, ground), None)
            if first is not None:
                due[name] = first
    return due


def asked(due: Mapping[GuestName, Expiry], ground: Ground) -> Iterator[Asked]:
    """Ask for those that are counted, and that nothing holds."""
    for one in due.values():
        if one.act is not None and one.block is None:
            yield Asked(act=one.act, pool=pool_of(one.found.host.name, ground.world))


def expire(
    due: Mapping[GuestName, Expiry],
    verdicts: Mapping[GuestName, Verdict],
    rulings: Rulings,
    ground: Ground,
) -> Iterator[tuple[GuestName, Verdict]]:
    """The verdicts on these guests, with the step of each that may go."""
    for name, one in due.items():
        verdict = verdicts[name]
        if verdict.step is not None:
            continue  # what was let through meanwhile comes first
        block, plan_id = one.block, None
        if block is None and one.act is not None:
            ruling = rulings.of(one.act)
            if isinstance(ruling, Ruled):
                block, plan_id = ruling.block, ruling.plan_id
        change = one.change if block is None else blocked_by(one.change, block)
        change = replace(change, plan_id=plan_id)
        status = replace(verdict.status, changes=(*verdict.status.changes, change))
        if block is not None or one.step is None:
            yield name, replace(verdict, status=status)
            continue
        step = PlannedStep(
            step=one.step,
            pool=pool_of(one.found.host.name, ground.world),
            changes=(change,),
            disruptive=False,
            commit=ground.world.commit.sha,
            counted=() if one.act is None else (one.act,),
        )
        yield name, replace(verdict, status=status, step=step)


def _of(found: Found, ground: Ground) -> Iterator[Expiry]:
    manifest = ground.world.hosts.get(found.host.name)
    pool = ground.world.pools.get(manifest.pool) if manifest is not None else None
    if pool is None:
        return
    keep = timedelta(seconds=pool.trash_keep_s)
    for snapshot in found.mark.snapshots:
        if snapshot.removed is not None and _over(
            found, f"snapshots[{snapshot.name}]", snapshot.removed, keep, ground
        ):
            yield from _snapshot(found, snapshot)
    for disk in found.mark.disks:
        if disk.detached is not None and _over(
            found, f"disks[{disk.name}]", disk.detached, keep, ground
        ):
            yield from _disk(found, disk, ground)


def _over(found: Found, what: str, since: datetime, keep: timedelta, ground: Ground) -> bool:
    thing = part(found.mark, what, since)
    return is_over(thing, since + keep, ground.memory, ground.now)


def _snapshot(found: Found, entry: MarkedSnapshot) -> Iterator[Expiry]:
    guest, mark = found.guest, found.mark
    seen = next((one for one in guest.snapshots if one.name == entry.name), None)
    if seen is None or not is_ours(seen, mark.owner):
        return
    change = _change(found, f"snapshots[{entry.name}]", "it is named no more, and its time is over")
    if is_whole(seen, guest, found.host):
        yield Expiry(found=found, change=change, step=DeleteSnapshot(**_on(found), name=entry.name))
        return
    why = "a disk of it is not there, and libvirt would die of deleting it; forget it with virsh"
    block = Block(reason=Reason.PINNED_BY_SNAPSHOTS, message=why, fate=Fate.HELD)
    yield Expiry(found=found, change=change, block=block)


def _disk(found: Found, entry: MarkedDisk, ground: Ground) -> Iterator[Expiry]:
    if not entry.ours or entry.pool is None or entry.volume is None:
        return  # what was adopted stays where it is
    volume = _volume(found, entry)
    pool = found.host.pools.get(entry.pool)
    if pool is not None and pool.active and volume is None:
        return  # it is gone, and the mark says so
    what = f"disks[{entry.name}]"
    size = "" if volume is None else f" ({words.size(volume.capacity_bytes)})"
    change = _change(found, what, f"it was let go, and its time is over{size}")
    block = _obstacle(found, entry, ground)
    if block is not None or volume is None:
        unseen = f"{found.host.name} has no active storage pool {entry.pool}"
        block = block or Block(reason=Reason.NO_PLACE, message=unseen)
        yield Expiry(found=found, change=change, block=block)
    elif entry.expired is None:
        disks = tuple(
            replace(one, expired=ground.now) if one == entry else one for one in found.mark.disks
        )
        step: Step = SetMark(**_on(found), mark=replace(found.mark, disks=disks))
        yield Expiry(found=found, change=change, step=step, act=expiry(found.mark.guest, entry))
    else:
        size_bytes = volume.capacity_bytes
        step = DeleteVolume(
            **_on(found), pool=entry.pool, volume=entry.volume, capacity_bytes=size_bytes
        )
        yield Expiry(found=found, change=change, step=step)


def _obstacle(found: Found, entry: MarkedDisk, ground: Ground) -> Block | None:
    if entry.protected:
        why = "it is protected, and what it holds is never removed"
        return Block(reason=Reason.PROTECTED, message=why, fate=Fate.HELD)
    if entry.pool is None or entry.volume is None:
        return None
    return use_of((entry.pool, entry.volume), found, ground, but=entry)


def _volume(found: Found, entry: MarkedDisk) -> ObservedVolume | None:
    pool = found.host.pools.get(entry.pool) if entry.pool is not None else None
    return None if pool is None or entry.volume is None else pool.volumes.get(entry.volume)


def _change(found: Found, field: str, message: str) -> Change:
    return Change(
        guest=found.mark.guest,
        field=field,
        before="let go, kept",
        after="removed for good",
        label=Label.NONE,
        fate=Fate.NOW,
        message=message,
    )


def _on(found: Found) -> On:
    return On(host=found.host.name, guest=found.mark.guest, uuid=found.guest.uuid)
