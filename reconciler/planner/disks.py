"""A guest's disks on one host: what the mark knows of them, what they become, what is refused.

A target that was given once is kept, a volume that is there is never taken, and what a manifest
lets go of stays where it is.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.definition import (
    Bus,
    Disk,
    DiskDevice,
    DiskFormat,
    DomainType,
    GuestDefinition,
    GuestType,
    VolumeSource,
)
from reconciler.model.desired import CdromDisk, VolumeDisk
from reconciler.model.mark import Mark, MarkedDisk
from reconciler.model.names import Target
from reconciler.model.plan import Change, Fate, Label, Reason

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import DiskName, LibvirtPool, VolumeName
    from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedPool
    from reconciler.planner.differences import Owned

_BUSES_XEN = {"xvd": Bus.XEN, "hd": Bus.IDE, "sd": Bus.SCSI}
_BUSES_QEMU = {"vd": Bus.VIRTIO, "sd": Bus.SATA}
_TARGET = re.compile(r"^(xvd|vd|sd|hd)([a-z]+)([0-9]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What there is of the guest already; ``seed_done``: it was told all that its seed says."""

    guest: ObservedGuest
    stored: GuestDefinition
    mark: Mark
    seed_done: bool = False


def bus_of(target: Target, domain_type: DomainType, device: DiskDevice) -> Bus | None:
    """The bus that a target's name stands for on a kind of host; None where it has none."""
    parts = _TARGET.match(target)
    if parts is None:
        return None
    if domain_type is DomainType.XEN:
        return _BUSES_XEN.get(parts[1])
    bus = _BUSES_QEMU.get(parts[1])
    return None if bus is Bus.VIRTIO and device is DiskDevice.CDROM else bus


def device_of(disk: VolumeDisk | CdromDisk) -> DiskDevice:
    """What the guest takes the disk for."""
    return DiskDevice.CDROM if isinstance(disk, CdromDisk) else DiskDevice.DISK


def new_entry(
    disk: VolumeDisk | CdromDisk,
    host: ObservedHost,
    desired: DesiredWorld,
    type_: GuestType,
    taken: set[Target],
) -> MarkedDisk:
    """What the mark shall say of a disk that is new."""
    target = disk.target or free_target(host.domain_type, type_, device_of(disk), taken)
    if isinstance(disk, CdromDisk) or disk.adopt:
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
    disk: VolumeDisk | CdromDisk, target: Target, host: ObservedHost, desired: DesiredWorld
) -> MarkedDisk:
    """What the mark shall say of a disk whose content is not domops' making."""
    pool, volume = None, None
    if isinstance(disk, VolumeDisk):
        pool, volume = desired.storages[disk.storage].on(host.name), disk.volume
    return MarkedDisk(
        name=disk.name, target=target, pool=pool, volume=volume, ours=False, filled=True
    )


def same_disk(
    disk: VolumeDisk | CdromDisk,
    stored: GuestDefinition,
    host: ObservedHost,
    desired: DesiredWorld,
) -> Disk | None:
    """The disk of a domain that is the one that a manifest names.

    It has its volume, or is a drive, and is at its target, if the manifest says one; a drive
    without a target is known by its medium.
    """
    for there in stored.disks:
        if there.device is not device_of(disk) or disk.target not in (None, there.target):
            continue
        if isinstance(disk, CdromDisk):
            if disk.target is not None or there.source == _medium(disk, host, desired):
                return there
            continue
        source, pool = there.source, desired.storages[disk.storage].on(host.name)
        if isinstance(source, VolumeSource) and (source.pool, source.volume) == (pool, disk.volume):
            return there
    return None


def may_adopt(disk: VolumeDisk | CdromDisk, guest: DesiredGuest) -> bool:
    """Whether a disk that the domain has already may become the manifest's."""
    return guest.adopt or (isinstance(disk, VolumeDisk) and disk.adopt)


def cannot_adopt(disk: VolumeDisk, pool: ObservedPool, host: ObservedHost, uuid: UUID) -> str:
    """Why the volume of ``disk`` cannot be taken as it is, in words that follow a host's name."""
    place = f"{pool.name}/{disk.volume}"
    volume = pool.volumes.get(disk.volume)
    if volume is None:
        return f"has no volume {place} that could be adopted"
    if (volume.format or DiskFormat.RAW) is not disk.format:
        return f"has {place} in format {volume.format}, the manifest says {disk.format}"
    for other in host.guests.values():
        if other.uuid != uuid and _has_volume(other, pool.name, disk.volume):
            return f"has {other.name}, which has {place}"
    return ""


def _has_volume(guest: ObservedGuest, pool: LibvirtPool, volume: VolumeName) -> bool:
    return any(
        isinstance(disk.source, VolumeSource)
        and (disk.source.pool, disk.source.volume) == (pool, volume)
        for definition in (guest.stored, guest.live)
        if definition is not None
        for disk in definition.disks
    )


def obstacle(
    disk: VolumeDisk | CdromDisk,
    entry: MarkedDisk,
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing | None,
) -> Change | None:
    """Why a disk that the mark does not know cannot be had; nothing there is taken unasked."""
    field = f"disks[{disk.name}]"
    if bus_of(entry.target, host.domain_type, device_of(disk)) is None:
        why = f"{host.name} has no bus for {entry.target}"
        return refusal_of(guest, f"{field}.target", "", entry.target, Reason.NOT_SUPPORTED, why)
    if existing is None:
        return None  # placement looks at what is there
    if _is_others(entry.target, guest, existing):
        why = f"{entry.target} is in use by a disk that is not in the manifest"
        return refusal_of(guest, f"{field}.target", "", entry.target, Reason.CONFLICT, why)
    if entry.pool is None or entry.volume is None:
        return None
    place = f"{entry.pool}/{entry.volume}"
    pool = host.pools.get(entry.pool)
    if pool is None or not pool.active:
        why = f"{host.name} has no active storage pool {entry.pool}"
        return refusal_of(guest, field, "none", place, Reason.NO_PLACE, why)
    if isinstance(disk, VolumeDisk) and disk.adopt:
        why = cannot_adopt(disk, pool, host, existing.guest.uuid)
        if not why:
            return None
        return refusal_of(guest, field, "none", place, Reason.CONFLICT, f"{host.name} {why}")
    if entry.volume in pool.volumes:
        why = (
            f"{host.name} has a volume {place} already; domops never takes or overwrites one"
            " unless the disk says adopt: true"
        )
        return refusal_of(guest, field, "none", place, Reason.CONFLICT, why)
    return None


def _is_others(target: Target, guest: DesiredGuest, existing: Existing) -> bool:
    """Whether a disk at ``target`` belongs neither to the manifest nor to an earlier one."""
    names = {disk.name for disk in guest.disks}
    let_go = {entry.target for entry in existing.mark.disks if entry.name not in names}
    there = any(disk.target == target for disk in existing.stored.disks)
    return there and target not in let_go


def owned_disks(
    entries: tuple[MarkedDisk, ...], existing: Existing | None
) -> dict[Target, DiskName]:
    """The targets that are ours; one let go is, only while the disk that we put there is there."""
    owned: dict[Target, DiskName] = {}
    for entry in entries:
        if entry.detached is not None and _still_there(entry, existing):
            owned[entry.target] = entry.name
    for entry in entries:
        if entry.detached is None:
            owned[entry.target] = entry.name
    return owned


def _still_there(entry: MarkedDisk, existing: Existing | None) -> bool:
    if existing is None:
        return False
    for definition in (existing.stored, existing.guest.live):
        disk = definition.disk(entry.target) if definition is not None else None
        if disk is None:
            continue
        if entry.volume is None and disk.device is DiskDevice.CDROM:
            return True
        source = disk.source
        if isinstance(source, VolumeSource) and (source.pool, source.volume) == (
            entry.pool,
            entry.volume,
        ):
            return True
    return False


def _image_words(disk: VolumeDisk) -> str | None:
    return f"{disk.image.storage}/{disk.image.volume}" if disk.image else None


def free_target(
    domain_type: DomainType, type_: GuestType, device: DiskDevice, taken: set[Target]
) -> Target:
    """The first free letter; on Xen HVM a letter is one place, whatever its prefix."""
    cdrom = device is DiskDevice.CDROM
    if domain_type is DomainType.XEN:
        prefix = "hd" if cdrom and type_ is GuestType.HVM else "xvd"
        used = {parts[2] for target in taken if (parts := _TARGET.match(target))}
    else:
        prefix = "sd" if cdrom else "vd"
        used = {
            parts[2] for target in taken if (parts := _TARGET.match(target)) and parts[1] == prefix
        }
    letters = string.ascii_lowercase
    free = (one for one in letters if one not in used and not (prefix == "hd" and one < "c"))
    more = (a + b for a in letters for b in letters if a + b not in used)
    return Target(prefix + (next(free, None) or next(more)))


def old_entry(
    disk: VolumeDisk | CdromDisk,
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
    kept = replace(old, detached=None)
    if isinstance(disk, CdromDisk):
        return kept
    made = stored.disk(old.target)
    source = made.source if made is not None else None
    reformatted = isinstance(source, VolumeSource) and source.format is not disk.format
    if isinstance(source, VolumeSource) and reformatted:
        refusals.append(
            refusal_of(
                guest,
                f"{field}.format",
                source.format,
                disk.format,
                Reason.CREATE_ONLY,
                f"the format of a volume {fixed}",
            )
        )
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


def left_over(guest: DesiredGuest, existing: Existing | None, now: datetime) -> list[MarkedDisk]:
    """Entries of disks that the manifest let go: volumes are remembered, drives until unplugged."""
    if existing is None:
        return []
    names = {disk.name for disk in guest.disks}
    live = existing.guest.live
    gone = [entry for entry in existing.mark.disks if entry.name not in names]
    return [
        replace(entry, detached=entry.detached or now)
        for entry in gone
        if entry.volume is not None or (live is not None and live.disk(entry.target) is not None)
    ]


def is_filled(entry: MarkedDisk, host: ObservedHost, memory: Memory) -> bool:
    """Whether the content of the volume is known to be complete, and the volume is there."""
    if entry.filled or entry.pool is None or entry.volume is None:
        return True
    pool = host.pools.get(entry.pool)
    if pool is None or entry.volume not in pool.volumes:
        return False  # memory of a volume that is gone
    return (host.name, entry.pool, entry.volume) in memory.filled


def devices(
    entries: list[MarkedDisk],
    drives: dict[Target, CdromDisk],
    stored: tuple[Disk, ...],
    host: ObservedHost,
    desired: DesiredWorld,
    owned: Owned,
    guest: DesiredGuest,
) -> tuple[Disk, ...]:
    """The disks of the stored definition: others' as they are, ours once they are filled.

    A disk that was adopted, or a drive, stays on the bus on which it is.
    """
    disks = [
        disk for disk in stored if disk.target not in owned.disks and disk.target != owned.seed
    ]
    formats = {disk.name: disk.format for disk in guest.disks if isinstance(disk, VolumeDisk)}
    before = {disk.target: disk for disk in stored}
    for entry in entries:
        if entry.detached is not None or not entry.filled:
            continue
        drive = drives.get(entry.target)
        device = DiskDevice.CDROM if drive else DiskDevice.DISK
        there = before.get(entry.target)
        kept = there if there is not None and not entry.ours and there.device is device else None
        bus = kept.bus if kept else bus_of(entry.target, host.domain_type, device) or Bus.VIRTIO
        if entry.volume is None or entry.pool is None:
            source = _medium(drive, host, desired) if drive else None
            disks.append(
                Disk(
                    target=entry.target,
                    bus=bus,
                    source=source,
                    device=DiskDevice.CDROM,
                    read_only=True,
                )
            )
            continue
        if there is not None and isinstance(there.source, VolumeSource):
            format_ = there.source.format
        else:
            format_ = formats[entry.name]
        disks.append(
            Disk(
                target=entry.target,
                bus=bus,
                source=VolumeSource(pool=entry.pool, volume=entry.volume, format=format_),
                read_only=kept.read_only if kept else False,
            )
        )
    return tuple(sorted(disks, key=lambda disk: disk.target))


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
