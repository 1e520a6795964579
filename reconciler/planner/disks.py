"""A guest's disks on one host: what the mark knows of them, what they become, what is refused.

A target that was given once is kept, a volume that is there is never taken, and what a manifest
lets go of stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import (
    Bus,
    Disk,
    DiskDevice,
    DiskFormat,
    DomainType,
    FileSource,
    GuestDefinition,
    GuestType,
    NbdSource,
    OtherSource,
    RbdSource,
    VolumeSource,
)
from reconciler.model.desired import CdromDisk, GivenDisk, VolumeDisk
from reconciler.model.mark import Mark, MarkedDisk
from reconciler.model.names import FieldName, Target
from reconciler.model.options import BUS, NO_DISK_OPTIONS, READ_ONLY
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.planner.options import (
    Ownership,
    choose_options,
    impossible_of_device,
    options_back,
)
from reconciler.planner.targets import bus_of, device_of, free_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.definition import DiskSource, GivenSource
    from reconciler.model.desired import DesiredDisk, DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import DiskName
    from reconciler.model.observed import ObservedGuest, ObservedHost
    from reconciler.planner.differences import Owned


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What there is of the guest already; ``seed_done``: it was told all that its seed says."""

    guest: ObservedGuest
    stored: GuestDefinition
    mark: Mark
    seed_done: bool = False


def new_entry(
    disk: DesiredDisk,
    host: ObservedHost,
    desired: DesiredWorld,
    type_: GuestType,
    taken: set[Target],
) -> MarkedDisk:
    """What the mark shall say of a disk that is new."""
    device = device_of(disk)
    target = disk.target or free_target(host.domain_type, type_, device, taken, disk.bus)
    if not isinstance(disk, VolumeDisk) or disk.adopt:
        return adopted_entry(disk, target, host, desired)
    return MarkedDisk(
        name=disk.name,
        target=target,
        pool=desired.storages[disk.storage].on(host.name),
        volume=disk.volume,
        ours=True,
        filled=False,
        image=_image_words(disk),
    )


def adopted_entry(
    disk: DesiredDisk, target: Target, host: ObservedHost, desired: DesiredWorld
) -> MarkedDisk:
    """What the mark shall say of a disk whose content is not domops' making."""
    pool, volume = None, None
    if isinstance(disk, VolumeDisk):
        pool, volume = desired.storages[disk.storage].on(host.name), disk.volume
    return MarkedDisk(
        name=disk.name,
        target=target,
        pool=pool,
        volume=volume,
        ours=False,
        filled=True,
        source=disk.source.address if isinstance(disk, GivenDisk) else None,
    )


def same_disk(
    disk: DesiredDisk,
    stored: GuestDefinition,
    host: ObservedHost,
    desired: DesiredWorld,
) -> Disk | None:
    """The disk of a domain that is the one that a manifest names.

    It has its volume or address, or is a drive, and is at its target, if the manifest says one; a
    drive without a target is known by its medium.
    """
    for there in stored.disks:
        if there.device is not device_of(disk) or disk.target not in (None, there.target):
            continue
        if isinstance(disk, CdromDisk):
            if disk.target is not None or there.source == _medium(disk, host, desired):
                return there
            continue
        if isinstance(disk, GivenDisk):
            if address_of(there.source, host) == disk.source.address:
                return there
            continue
        source, pool = there.source, desired.storages[disk.storage].on(host.name)
        if isinstance(source, VolumeSource) and (source.pool, source.volume) == (pool, disk.volume):
            return there
    return None


def address_of(source: DiskSource | None, host: ObservedHost) -> str | None:
    """What tells a source on ``host`` from every other, be it told as a volume or by its path."""
    match source:
        case VolumeSource():
            pool = host.pools.get(source.pool)
            volume = pool.volumes.get(source.volume) if pool is not None else None
            return None if volume is None else volume.path
        case None | OtherSource():
            return None
        case _:
            return source.address


def owned_disks(
    entries: tuple[MarkedDisk, ...], existing: Existing | None, host: ObservedHost
) -> dict[Target, DiskName]:
    """The targets that are ours; one let go is, only while the disk that we put there is there."""
    owned: dict[Target, DiskName] = {}
    for entry in entries:
        if entry.detached is not None and _still_there(entry, existing, host):
            owned[entry.target] = entry.name
    for entry in entries:
        if entry.detached is None:
            owned[entry.target] = entry.name
    return owned


def _still_there(entry: MarkedDisk, existing: Existing | None, host: ObservedHost) -> bool:
    if existing is None:
        return False
    disks = (
        definition.disk(entry.target)
        for definition in (existing.stored, existing.guest.live)
        if definition is not None
    )
    return any(disk is not None and is_of(entry, disk, host) for disk in disks)


def is_of(entry: MarkedDisk, disk: Disk, host: ObservedHost) -> bool:
    """Whether a disk that is there is the one that the mark's entry tells of."""
    if entry.source is not None:
        return address_of(disk.source, host) == entry.source
    if entry.volume is None:
        return disk.device is DiskDevice.CDROM
    source = disk.source
    return isinstance(source, VolumeSource) and (source.pool, source.volume) == (
        entry.pool,
        entry.volume,
    )


def _image_words(disk: VolumeDisk) -> str | None:
    return f"{disk.image.storage}/{disk.image.volume}" if disk.image else None


def known_entry(disk: DesiredDisk, existing: Existing | None) -> MarkedDisk | None:
    """What the mark knows of the disk; not another one of its name that is gone without a trace."""
    entry = existing.mark.disk(disk.name) if existing is not None else None
    if existing is None or entry is None or entry.detached is None or entry.volume is not None:
        return entry
    live = existing.guest.live
    plugged_in = live is not None and live.disk(entry.target) is not None
    return entry if plugged_in or suits(disk, entry) else None


def expired(
    disk: DesiredDisk, old: MarkedDisk, guest: DesiredGuest, host: ObservedHost
) -> Change | None:
    """Why a disk that comes back is not plugged in: its volume was removed, and is not made anew.

    One whose removal was only announced is whole, and comes back like any other.
    """
    if old.expired is None or old.pool is None:
        return None
    pool = host.pools.get(old.pool)
    if pool is not None and pool.active and old.volume in pool.volumes:
        return None
    why = (
        f"it was let go on {old.detached:%Y-%m-%d} and its volume removed for good on"
        f" {old.expired:%Y-%m-%d}; for an empty disk in its place take another name"
    )
    place = f"{old.pool}/{old.volume}"
    return refusal_of(guest, f"disks[{disk.name}]", "removed", place, Reason.EMPTIED, why)


def old_entry(
    disk: DesiredDisk,
    old: MarkedDisk,
    guest: DesiredGuest,
    host: ObservedHost,
    desired: DesiredWorld,
    stored: GuestDefinition,
    refusals: list[Change],
) -> MarkedDisk:
    """Keep what was given when the disk was made; refuse what would make it another disk."""
    field = f"disks[{disk.name}]"
    fixed = "is fixed when a disk is made; add a disk under another name and move the data"
    if disk.target is not None and disk.target != old.target:
        refusals.append(
            refusal_of(
                guest,
                f"{field}.target",
                old.target,
                disk.target,
                Reason.CREATE_ONLY,
                f"the target {fixed}",
            )
        )
    kept = replace(old, detached=None, expired=None)
    if not suits(disk, old):
        after = disk.source.address if isinstance(disk, GivenDisk) else _SORTS[type(disk)]
        refusals.append(
            refusal_of(
                guest,
                field,
                old.source or (f"{old.pool}/{old.volume}" if old.volume else "a drive"),
                after,
                Reason.CREATE_ONLY,
                f"what a disk is {fixed}",
            )
        )
        return kept
    made = stored.disk(old.target)
    there, wanted = _layout(made.source if made is not None else None), _layout(disk)
    reformatted = there is not None and wanted is not None and there is not wanted
    if there is not None and wanted is not None and reformatted:
        refusals.append(
            refusal_of(
                guest,
                f"{field}.format",
                there,
                wanted,
                Reason.CREATE_ONLY,
                f"the format of a disk's bytes {fixed}",
            )
        )
    if not isinstance(disk, VolumeDisk):
        return kept
    pool = desired.storages[disk.storage].on(host.name)
    renamed = old.volume != disk.volume and not reformatted  # a derived name ends in the format
    if old.pool != pool or renamed:
        refusals.append(
            refusal_of(
                guest,
                f"{field}.{'storage' if old.pool != pool else 'volume'}",
                f"{old.pool}/{old.volume}",
                f"{pool}/{disk.volume}",
                Reason.CREATE_ONLY,
                f"the place of a volume {fixed}",
            )
        )
    if old.image != _image_words(disk):
        refusals.append(
            refusal_of(
                guest,
                f"{field}.image",
                old.image or "empty",
                _image_words(disk) or "empty",
                Reason.CREATE_ONLY,
                f"the image acts only once: it {fixed}",
            )
        )
    return kept


def _layout(of: DesiredDisk | DiskSource | None) -> DiskFormat | None:
    """How bytes are laid out where that is somebody's choice."""
    match of:
        case VolumeDisk() | VolumeSource() | FileSource() | NbdSource():
            return of.format
        case GivenDisk():
            return _layout(of.source)
        case _:
            return None


_SORTS: Mapping[type[DesiredDisk], str] = {VolumeDisk: "a volume", CdromDisk: "a drive"}


def suits(disk: DesiredDisk, entry: MarkedDisk) -> bool:
    """Whether the manifest still asks for the sort of disk that was made."""
    match disk:
        case VolumeDisk():
            return entry.volume is not None
        case CdromDisk():
            return entry.volume is None and entry.source is None
        case GivenDisk():
            return entry.source == disk.source.address
        case _:
            assert_never(disk)


def is_filled(entry: MarkedDisk, host: ObservedHost, memory: Memory) -> bool:
    """Whether the content of the volume is known to be complete, and the volume is there."""
    if entry.filled or entry.pool is None or entry.volume is None:
        return True
    pool = host.pools.get(entry.pool)
    if pool is None or entry.volume not in pool.volumes:
        return False  # memory of a volume that is gone
    return (host.name, entry.pool, entry.volume) in memory.filled


def impossible(
    disk: DesiredDisk,
    entry: MarkedDisk,
    type_: GuestType,
    host: ObservedHost,
    before: Disk | None,
) -> Iterator[tuple[FieldName, str]]:
    """The optional fields of a disk that its host cannot do, each with the reason.

    What is there already was somebody's choice, and may stay.
    """
    there = before.options if before is not None else NO_DISK_OPTIONS
    yield from impossible_of_device(disk.options, type_, host.capabilities, there=there)
    if disk.bus is None or (before is not None and before.bus is disk.bus):
        return
    denial = host.capabilities.without.get((type_, FieldName(f"disks.bus.{disk.bus}")))
    if denial is not None:
        yield BUS, denial.why
    elif host.domain_type is DomainType.XEN:
        by_name = bus_of(entry.target, host.domain_type, device_of(disk))
        if by_name is not disk.bus:
            yield BUS, f"on Xen a disk's target decides its bus, and {entry.target} is another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A disk of the manifest, whose its optional fields are, and the disk that it is already."""

    disk: DesiredDisk
    owner: Ownership
    before: Disk | None


def wish_for(
    disk: DesiredDisk,
    entry: MarkedDisk,
    guest: DesiredGuest,
    type_: GuestType,
    host: ObservedHost,
    existing: Existing | None,
    refusals: list[Change],
) -> tuple[Wish, MarkedDisk]:
    """Settle whose the disk's optional fields are, and remember it in its entry of the mark.

    There, too, stands what protects it, and nothing any more of its having been let go.
    """
    old = existing.mark.disk(disk.name) if existing is not None else None
    before = live = None
    if existing is not None and (old is not None or not entry.ours):
        before = _present(entry, existing.stored, host)
        live = _present(entry, existing.guest.live, host)
    field = f"disks[{disk.name}]"
    refused = dict(impossible(disk, entry, type_, host, before))
    refusals.extend(
        refusal_of(guest, f"{field}.{part}", "", "", Reason.NOT_SUPPORTED, why)
        for part, why in refused.items()
    )
    owner = Ownership(
        mentioned=frozenset(disk.mentioned),
        marked=frozenset(old.fields if old is not None else ()),
        refused=frozenset(refused),
    )
    back = frozenset[FieldName]()
    if before is not None:
        seen = live.options if live is not None else None
        back = options_back(NO_DISK_OPTIONS, before.options, seen)
        bus = bus_of(entry.target, host.domain_type, device_of(disk))
        both = [one for one in (before, live) if one is not None]
        back |= {BUS} if all(one.bus is bus for one in both) else frozenset()
        back |= frozenset() if any(one.read_only for one in both) else {READ_ONLY}
    wish = Wish(disk=disk, owner=owner, before=before)
    fields = owner.names(back=back)
    return wish, replace(entry, fields=fields, protected=disk.protect, approval=None)


def _present(
    entry: MarkedDisk, definition: GuestDefinition | None, host: ObservedHost
) -> Disk | None:
    disk = definition.disk(entry.target) if definition is not None else None
    return disk if disk is not None and is_of(entry, disk, host) else None


def devices(
    entries: list[MarkedDisk],
    wishes: Mapping[DiskName, Wish],
    stored: tuple[Disk, ...],
    host: ObservedHost,
    desired: DesiredWorld,
    owned: Owned,
) -> tuple[Disk, ...]:
    """The disks of the stored definition: others' as they are, ours once they are filled.

    A disk that was adopted, or a drive, stays on the bus on which it is.
    """
    disks = [
        disk for disk in stored if disk.target not in owned.disks and disk.target != owned.seed
    ]
    for entry in entries:
        if entry.detached is not None or not entry.filled:
            continue
        wish = wishes.get(entry.name)
        if wish is not None and suits(wish.disk, entry):
            disks.append(_device(entry, wish, host, desired))
            continue
        # What it would become is refused, or no manifest asks for it and it cannot go.
        there = (
            disk for disk in stored if disk.target == entry.target and is_of(entry, disk, host)
        )
        disks.extend(there)
    return tuple(sorted(disks, key=lambda disk: disk.target))


def _device(entry: MarkedDisk, wish: Wish, host: ObservedHost, desired: DesiredWorld) -> Disk:
    disk, owner, before = wish.disk, wish.owner, wish.before
    device = device_of(disk)
    default = bus_of(entry.target, host.domain_type, device) or Bus.VIRTIO
    cdrom = device is DiskDevice.CDROM
    return Disk(
        target=entry.target,
        bus=owner.choose(
            BUS,
            said=disk.bus or default,
            default=default,
            stored=before.bus if before is not None else default,
        ),
        source=_source(entry, disk, before, host, desired),
        device=device,
        read_only=cdrom
        or owner.choose(
            READ_ONLY,
            said=disk.read_only,
            default=False,
            stored=before is not None and before.read_only,
        ),
        options=choose_options(
            owner,
            disk.options,
            before.options if before is not None else NO_DISK_OPTIONS,
            NO_DISK_OPTIONS,
        ),
    )


def _source(
    entry: MarkedDisk,
    disk: DesiredDisk,
    before: Disk | None,
    host: ObservedHost,
    desired: DesiredWorld,
) -> DiskSource | None:
    """What lies in a disk; the bytes' layout is that with which it was made."""
    match disk:
        case CdromDisk():
            return _medium(disk, host, desired)
        case VolumeDisk():
            made = before.source if before is not None else None
            format_ = made.format if isinstance(made, VolumeSource) else disk.format
            assert entry.pool is not None  # noqa: S101 - it suits
            assert entry.volume is not None  # noqa: S101 - it suits
            return VolumeSource(pool=entry.pool, volume=entry.volume, format=format_)
        case GivenDisk():
            # Of a Ceph image the way to it may change; of all else the layout alone, which stays.
            if before is not None and not isinstance(disk.source, RbdSource):
                return before.source
            return _as_read(disk.source, host)
        case _:
            assert_never(disk)


def _as_read(source: GivenSource, host: ObservedHost) -> DiskSource:
    """The source as its host tells it: what lies in a storage pool is a volume there."""
    for pool in host.pools.values():
        for volume in pool.volumes.values():
            if volume.path == source.address:
                format_ = getattr(source, "format", DiskFormat.RAW)
                return VolumeSource(pool=pool.name, volume=volume.name, format=format_)
    return source


def _medium(drive: CdromDisk, host: ObservedHost, desired: DesiredWorld) -> VolumeSource | None:
    if drive.storage is None or drive.volume is None:
        return None
    return VolumeSource(pool=desired.storages[drive.storage].on(host.name), volume=drive.volume)


def refusal_of(
    guest: DesiredGuest, field: str, before: str, after: str, reason: Reason, message: str
) -> Change:
    """A wish about one field that cannot be fulfilled, and why."""
    return Change(
        guest=guest.name,
        field=field,
        before=before,
        after=after,
        label=Label.REFUSED,
        fate=Fate.REFUSED,
        reason=reason,
        message=message,
        origin=guest.where(f"spec.{field}"),
    )
