"""What keeps a disk that the mark does not know from being had; nothing is taken unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.definition import (
    DiskFormat,
    FileSource,
    GuestType,
    VolumeSource,
)
from reconciler.model.desired import GivenDisk, VolumeDisk
from reconciler.model.plan import Change, Reason
from reconciler.planner.ability import sort_of
from reconciler.planner.disks import Existing, address_of, refusal_of
from reconciler.planner.targets import bus_of, device_of

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.desired import DesiredDisk, DesiredGuest
    from reconciler.model.mark import MarkedDisk
    from reconciler.model.names import LibvirtPool, Target, VolumeName
    from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedPool


def may_adopt(disk: DesiredDisk, guest: DesiredGuest) -> bool:
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
    disk: DesiredDisk,
    entry: MarkedDisk,
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing | None,
    type_: GuestType,
    kept: frozenset[Target],
) -> Change | None:
    """Why a disk that the mark does not know cannot be had; nothing there is taken unasked.

    ``kept`` are the targets of disks that the manifest lets go of and that stay all the same.
    """
    field = f"disks[{disk.name}]"
    if disk.bus is None and bus_of(entry.target, host.domain_type, device_of(disk)) is None:
        why = f"{host.name} has no bus for {entry.target}"
        return refusal_of(guest, f"{field}.target", "", entry.target, Reason.NOT_SUPPORTED, why)
    if isinstance(disk, GivenDisk):
        uuid = guest.uuid if existing is None else existing.guest.uuid
        unfit = given_obstacle(disk, uuid, type_, host)
        if unfit is not None:
            reason, why = unfit
            return refusal_of(guest, field, "none", disk.source.address, reason, why)
    if existing is None:
        return None  # placement looks at what is there
    if entry.target in kept:
        why = f"{entry.target} is in use by a disk that the manifest lets go of and that stays"
        return refusal_of(guest, f"{field}.target", "", entry.target, Reason.CONFLICT, why)
    if _is_others(entry.target, guest, existing):
        why = f"{entry.target} is in use by a disk that is not in the manifest"
        return refusal_of(guest, f"{field}.target", "", entry.target, Reason.CONFLICT, why)
    if entry.pool is None or entry.volume is None:
        return None
    return _volume_obstacle(disk, entry.pool, entry.volume, guest, host, existing)


def _volume_obstacle(
    disk: DesiredDisk,
    pool_name: LibvirtPool,
    volume: VolumeName,
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing,
) -> Change | None:
    """Why the volume of a new disk cannot be made, or taken where that is asked for."""
    field = f"disks[{disk.name}]"
    place = f"{pool_name}/{volume}"
    pool = host.pools.get(pool_name)
    if pool is None or not pool.active:
        why = f"{host.name} has no active storage pool {pool_name}"
        return refusal_of(guest, field, "none", place, Reason.NO_PLACE, why)
    if isinstance(disk, VolumeDisk) and disk.adopt:
        why = cannot_adopt(disk, pool, host, existing.guest.uuid)
        if not why:
            return None
        return refusal_of(guest, field, "none", place, Reason.CONFLICT, f"{host.name} {why}")
    if volume in pool.volumes:
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


def given_obstacle(
    disk: GivenDisk, uuid: UUID, type_: GuestType, host: ObservedHost
) -> tuple[Reason, str] | None:
    """Why a guest cannot have what is there without domops, as far as its host can tell."""
    source, address = disk.source, disk.source.address
    unable = host.capabilities.without.get((type_, sort_of(source)))
    if unable is not None:
        return Reason.NOT_SUPPORTED, unable.why
    for pool in host.pools.values():
        paths = {volume.path for volume in pool.volumes.values()}
        in_folder = (
            isinstance(source, FileSource)
            and pool.path is not None
            and pool.type in _FOLDERS
            and source.path.rpartition("/")[0] == pool.path.rstrip("/")
        )
        if address in paths or in_folder:
            why = f"{address} lies in the storage pool {pool.name} of {host.name}, whose volumes"
            return Reason.CONFLICT, f"{why} are named by their Storage"
    for other in host.guests.values():
        if other.uuid != uuid and _writes_or_is_written(disk, other, host):
            return Reason.CONFLICT, f"{address} is a disk of {other.name} on {host.name} already"
    return None


_FOLDERS = frozenset({"dir", "fs", "netfs"})
"""The types of pools whose volumes are all the files of one folder."""


def _writes_or_is_written(disk: GivenDisk, other: ObservedGuest, host: ObservedHost) -> bool:
    """Whether another guest has the disk too, and one of the two may write to it."""
    definitions = [one for one in (other.stored, other.live) if one is not None]
    return any(
        address_of(there.source, host) == disk.source.address
        and not (there.read_only and disk.read_only)
        for definition in definitions
        for there in definition.disks
    )
