"""What is in the trash: deleted guests, disks that were let go, snapshots named no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.mark import Phase
from reconciler.planner.emptying import has_begun, removable
from reconciler.planner.keeping import days_needed, part, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.cli.picture import Picture
    from reconciler.model.keeping import Kept
    from reconciler.model.mark import Mark, MarkedDisk
    from reconciler.model.names import GuestName, HostName, Sha
    from reconciler.model.observed import ObservedHost


class Sort(StrEnum):
    """What a thing in the trash is."""

    GUEST = "guest"
    DISK = "disk"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trashed:
    """One thing that waits to be removed for good.

    ``name`` is that of the disk or snapshot, and the guest's own for a guest. ``seen`` of
    ``needed`` days were counted. ``removing`` says that its removal has begun. ``size_bytes`` is
    None where nobody knows, ``commit`` where the mark does not say.
    """

    sort: Sort
    guest: GuestName
    name: str
    host: HostName
    since: datetime
    until: datetime
    seen: int
    needed: int
    removing: bool
    size_bytes: int | None
    commit: Sha | None

    @property
    def back(self) -> str:
        """How to have it back."""
        match self.sort:
            case Sort.GUEST:
                return f"git revert, or domops trash restore {self.guest}"
            case Sort.DISK:
                return f"put disk {self.name} back into the manifest of {self.guest}"
            case Sort.SNAPSHOT:
                return f"name snapshot {self.name} in the manifest of {self.guest} again"


def trashed(picture: Picture) -> tuple[Trashed, ...]:
    """Everything in the trash of the hosts that answered, what goes first before the rest."""
    found = [
        one
        for host in picture.observed.answered()
        for guest in host.guests.values()
        if guest.mark is not None
        and (guest.mark.owner, guest.mark.uuid) == (picture.world.repository, guest.uuid)
        for one in _of(guest.mark, host, picture)
    ]
    return tuple(sorted(found, key=lambda one: (one.until, one.guest, one.sort, one.name)))


def _of(mark: Mark, host: ObservedHost, picture: Picture) -> Iterator[Trashed]:
    trash = mark.trash
    if mark.phase is Phase.TRASH and trash is not None:
        sizes = [
            host.pools[pool].volumes.get(volume)
            for pool, volume in removable(mark)
            if pool in host.pools
        ]
        yield _entry(
            whole(mark, trash.since),
            mark,
            host,
            picture,
            sort=Sort.GUEST,
            name=mark.guest,
            until=trash.until,
            removing=has_begun(mark),
            size_bytes=sum(one.capacity_bytes for one in sizes if one is not None),
            commit=trash.commit,
        )
        return
    manifest = picture.world.hosts.get(host.name)
    pool = picture.world.pools.get(manifest.pool) if manifest is not None else None
    if pool is None:
        return
    keep = timedelta(seconds=pool.trash_keep_s)
    for disk in mark.disks:
        size = _size(disk, host)
        if disk.detached is not None and disk.ours and size is not None:
            yield _entry(
                part(mark, f"disks[{disk.name}]", disk.detached),
                mark,
                host,
                picture,
                sort=Sort.DISK,
                name=disk.name,
                until=disk.detached + keep,
                removing=disk.expired is not None,
                size_bytes=size,
                commit=None,
            )
    for snapshot in mark.snapshots:
        if snapshot.removed is not None:
            yield _entry(
                part(mark, f"snapshots[{snapshot.name}]", snapshot.removed),
                mark,
                host,
                picture,
                sort=Sort.SNAPSHOT,
                name=snapshot.name,
                until=snapshot.removed + keep,
                removing=False,
                size_bytes=None,
                commit=None,
            )


def _entry(
    thing: Kept,
    mark: Mark,
    host: ObservedHost,
    picture: Picture,
    *,
    sort: Sort,
    name: str,
    until: datetime,
    removing: bool,
    size_bytes: int | None,
    commit: Sha | None,
) -> Trashed:
    return Trashed(
        sort=sort,
        guest=mark.guest,
        name=name,
        host=host.name,
        since=thing.since,
        until=until,
        seen=picture.days.get(thing, 0),
        needed=days_needed(thing.since, until),
        removing=removing,
        size_bytes=size_bytes,
        commit=commit,
    )


def _size(disk: MarkedDisk, host: ObservedHost) -> int | None:
    """How large the volume is; None where it is gone, or cannot be seen."""
    pool = host.pools.get(disk.pool) if disk.pool is not None else None
    volume = pool.volumes.get(disk.volume) if pool is not None and disk.volume else None
    return None if volume is None else volume.capacity_bytes
