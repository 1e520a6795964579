"""Rules: in order, the first that has something to do says what a guest's next step is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import Autostart, VolumeDisk
from reconciler.model.mark import OperationKind, Phase
from reconciler.model.plan import (
    Change,
    Fate,
    Label,
    Reason,
)
from reconciler.model.steps import (
    CreateSeed,
    CreateVolume,
    DefineGuest,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    RemoveSeed,
    SetAutostart,
    Step,
)
from reconciler.planner import words
from reconciler.planner.case import Block, Case, Move, Next, On
from reconciler.planner.differences import differences
from reconciler.planner.running import run, set_mark
from reconciler.planner.snapshotting import take
from reconciler.planner.stopping import operation_mark
from reconciler.planner.telling import disk_sizes, field_change
from reconciler.planner.wanted import adds_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.mark import Mark, MarkedSeed
    from reconciler.model.names import LibvirtPool, VolumeName


def next_step(case: Case, fields: tuple[Change, ...]) -> Next:
    """Ask the rules in their order."""
    rules: tuple[Callable[[Case, tuple[Change, ...]], Next], ...] = (
        _write_stored,
        _fill_volumes,
        _make_seed,
        _grow,
        _set_autostart,
        take,
        run,
        _clear_seed,  # last: that it fails must not keep a guest from being started
    )
    kept_back: Block | None = None
    for rule in rules:
        step = rule(case, fields)
        if isinstance(step, Move):
            return step
        kept_back = kept_back or step  # what waits must not keep a guest from being healed
    return kept_back


def _write_stored(case: Case, fields: tuple[Change, ...]) -> Next:
    """The stored definition and the mark first, see Note [Two definitions]."""
    definition = case.wanted.definition
    mark = case.wanted.mark
    became_ready = mark.phase is Phase.READY and case.mark.phase is not Phase.READY
    if became_ready and case.wants_running:
        mark = replace(mark, operation=operation_mark(case.mark, OperationKind.START, case.now))
    elif case.mark.phase is Phase.TRASH:
        mark = replace(mark, operation=None)
    definition = replace(definition, mark=mark)
    claims = claimed(mark) - claimed(case.mark)  # only a define looks before it claims a volume
    if claims or replace(definition, mark=None) != replace(case.stored, mark=None):
        written = {one.field for one in differences(definition, case.stored, case.wanted.owned)}
        return Move(
            step=DefineGuest(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                definition=definition,
                replaces=case.guest.stored_digest,
            ),
            changes=tuple(change for change in fields if change.fate is Fate.NOW),
            also=tuple(
                change
                for change in fields
                if change.fate in (Fate.WAITING, Fate.HELD) and change.field in written
            ),
        )
    if adds_nothing(mark, case.mark):
        return None
    return Move(step=set_mark(case, mark), changes=())


def claimed(mark: Mark | None) -> frozenset[tuple[LibvirtPool, VolumeName]]:
    """The volumes that ``mark`` says domops makes and may make again, or has made."""
    if mark is None:
        return frozenset()
    seed = frozenset({(mark.seed.pool, mark.seed.volume)} if mark.seed is not None else ())
    return seed | {
        (disk.pool, disk.volume)
        for disk in mark.disks
        if disk.ours and disk.pool is not None and disk.volume is not None
    }


def _fill_volumes(case: Case, _fields: tuple[Change, ...]) -> Next:
    """Make what the mark says is to be made; what an earlier attempt left half made goes first."""
    for entry in case.wanted.unfilled:
        disk = next(
            disk
            for disk in case.desired.disks
            if disk.name == entry.name and isinstance(disk, VolumeDisk)
        )
        if entry.pool is None or entry.volume is None:
            continue
        change = field_change(
            case.desired,
            f"disks[{entry.name}]",
            "none",
            words.size(disk.size_bytes),
            Label.CREATE,
        )
        pool = case.host.pools.get(entry.pool)
        if pool is None or not pool.active:
            return Block(
                reason=Reason.NO_PLACE,
                message=f"{case.host.name} has no active storage pool {entry.pool}",
            )
        if entry.volume in pool.volumes:
            if not entry.ours:
                return Block(
                    reason=Reason.CONFLICT,
                    message=f"the volume {entry.pool}/{entry.volume} is there and not ours",
                    fate=Fate.REFUSED,
                )
            return Move(
                step=DiscardVolume(
                    host=case.host.name,
                    guest=case.desired.name,
                    uuid=case.guest.uuid,
                    pool=entry.pool,
                    volume=entry.volume,
                ),
                changes=(change,),
            )
        image = None
        if disk.image is not None:
            storage = case.world.storages[disk.image.storage]
            image = VolumeSource(pool=storage.on(case.host.name), volume=disk.image.volume)
        return Move(
            step=CreateVolume(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                pool=entry.pool,
                volume=entry.volume,
                capacity_bytes=disk.size_bytes,
                format=disk.format,
                image=image,
            ),
            changes=(change,),
        )
    return None


def _make_seed(case: Case, fields: tuple[Change, ...]) -> Next:
    """Make the seed that the mark names; what an earlier attempt left half made goes first."""
    return _serve_seed(case, fields) if case.wanted.seeding.pending else None


def _clear_seed(case: Case, fields: tuple[Change, ...]) -> Next:
    """Remove a seed whose work is done, once nothing refers to it."""
    seeding = case.wanted.seeding
    if not seeding.remove or seeding.seed is None:
        return None
    user = _other_user(case, seeding.seed)
    if user is None:
        return _serve_seed(case, fields)
    return Block(
        reason=Reason.CONFLICT,
        message=f"{user} has the seed of cloud-init plugged in too; take it out there by hand",
    )


def _other_user(case: Case, seed: MarkedSeed) -> str | None:
    """Another domain of the host that uses the seed: somebody copied the definition."""
    for other in case.host.guests.values():
        for definition in (other.stored, other.live) if other.uuid != case.guest.uuid else ():
            for disk in definition.disks if definition is not None else ():
                source = disk.source
                if isinstance(source, VolumeSource) and (source.pool, source.volume) == (
                    seed.pool,
                    seed.volume,
                ):
                    return other.name
    return None


def _serve_seed(case: Case, fields: tuple[Change, ...]) -> Next:
    seeding = case.wanted.seeding
    seed, wish = seeding.seed, case.desired.cloud_init
    if seed is None:
        return None
    pool = case.host.pools.get(seed.pool)
    if pool is None or not pool.active:
        return Block(
            reason=Reason.NO_PLACE,
            message=f"{case.host.name} has no active storage pool {seed.pool}",
        )
    on = On(host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid)
    step: Step = RemoveSeed(**on, pool=seed.pool, volume=seed.volume)
    if seeding.make and wish is not None:
        step = CreateSeed(
            **on,
            pool=seed.pool,
            volume=seed.volume,
            instance=seed.instance,
            data=wish.data,
        )
    changes = tuple(change for change in fields if change.field == "cloudInit")
    return Move(step=step, changes=tuple(one for one in changes if one.fate is Fate.NOW))


def _grow(case: Case, fields: tuple[Change, ...]) -> Next:
    for disk, entry, actual in disk_sizes(case):
        if disk.size_bytes <= actual:
            continue
        changes = tuple(
            change
            for change in fields
            if change.field == f"disks[{disk.name}].size" and change.fate is Fate.NOW
        )
        if not changes or entry.pool is None or entry.volume is None:
            continue
        if case.guest.active:
            step: Step = GrowDisk(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                target=entry.target,
                capacity_bytes=disk.size_bytes,
            )
        else:
            step = GrowVolume(
                host=case.host.name,
                guest=case.desired.name,
                uuid=case.guest.uuid,
                pool=entry.pool,
                volume=entry.volume,
                capacity_bytes=disk.size_bytes,
            )
        return Move(step=step, changes=changes)
    return None


def _set_autostart(case: Case, _fields: tuple[Change, ...]) -> Next:
    if case.wanted.mark.phase is Phase.CREATING:
        return None
    on = _wants_autostart(case)
    if case.guest.autostart == on:
        return None
    before, after = ("on", "off") if case.guest.autostart else ("off", "on")
    return Move(
        step=SetAutostart(
            host=case.host.name, guest=case.desired.name, uuid=case.guest.uuid, on=on
        ),
        changes=(field_change(case.desired, "autostart", before, after, Label.NONE),),
    )


def _wants_autostart(case: Case) -> bool:
    match case.desired.autostart:
        case Autostart.ON:
            return True
        case Autostart.OFF:
            return False
        case Autostart.AUTO:
            storages = [
                case.world.storages[disk.storage]
                for disk in case.desired.disks
                if isinstance(disk, VolumeDisk)
            ]
            local = not any(storage.shared for storage in storages)
            # libvirt knows no order among guests, so one that comes after others is left to us.
            alone = not case.desired.start_after
            return case.desired.host is not None and local and alone and case.wants_running
