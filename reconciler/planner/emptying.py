"""Empty the trash: remove for good a guest that has waited there for long enough.

# Note [Half emptied]
That removing has begun stands in the mark before anything is removed, and the domain, which
carries the mark, goes last. So the host alone tells what was begun, and the same rules finish it:
snapshots, the seed, volumes, the domain; what is gone already is skipped. A manifest that comes
back meanwhile stops it at once, since a guest with a manifest is not in the hands of this stage.

Whatever could be anybody's holds all of it back before the first act: what is not seen, what
another domain, another manifest or another volume needs, a snapshot of somebody else.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from reconciler.model.definition import DiskDevice, VolumeSource
from reconciler.model.desired import CdromDisk, HostState, VolumeDisk
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.model.steps import DeleteSnapshot, DeleteVolume, SetMark, UndefineGuest
from reconciler.planner import words
from reconciler.planner.case import Block, Move, On
from reconciler.planner.disks import address_of
from reconciler.planner.keeping import is_over, whole
from reconciler.planner.rules import claimed
from reconciler.planner.snapshots import is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.model.desired import DesiredGuest, DesiredStorage, DesiredWorld
    from reconciler.model.mark import Mark, MarkedDisk
    from reconciler.model.memory import Memory
    from reconciler.model.names import (
        HostName,
        LibvirtPool,
        StorageName,
        VolumeName,
    )
    from reconciler.model.observed import (
        ObservedGuest,
        ObservedSnapshot,
        ObservedVolume,
        ObservedWorld,
    )
    from reconciler.planner.case import Ground
    from reconciler.planner.match import Found

Place = tuple["LibvirtPool", "VolumeName"]


def silent_hosts(world: DesiredWorld, observed: ObservedWorld) -> list[HostName]:
    """The hosts that have not answered and were not retired."""
    return [
        name
        for name, host in sorted(world.hosts.items())
        if host.state is not HostState.RETIRED
        and not isinstance(observed.hosts.get(name), ObservedHost)
    ]


def has_begun(mark: Mark) -> bool:
    """Whether the guest's data are being removed."""
    return mark.trash is not None and mark.trash.emptying is not None


def is_due(mark: Mark, memory: Memory, now: datetime) -> bool:
    """Whether the guest's time in the trash is over, by the date and by the days."""
    trash = mark.trash
    return trash is not None and is_over(whole(mark, trash.since), trash.until, memory, now)


def begin(found: Found, now: datetime) -> Move:
    """Write first that something may be missing from now on."""
    trash = found.mark.trash
    mark = replace(found.mark, trash=trash and replace(trash, emptying=now))
    step = SetMark(**_on(found), mark=mark)
    return Move(step=step, changes=(emptying_change(found),), disruptive=True)


def go_on(found: Found) -> Move:
    """Remove the next thing; the domain goes last."""
    guest, mark, host = found.guest, found.mark, found.host
    change = emptying_change(found)
    for snapshot in guest.snapshots:
        if is_ours(snapshot, mark.owner) and is_whole(snapshot, guest, host):
            step = DeleteSnapshot(**_on(found), name=snapshot.name)
            return Move(step=step, changes=(change,), disruptive=True)
    for pool, volume in sorted(removable(mark)):
        there = host.pools[pool].volumes.get(volume)
        if there is not None:
            size = there.capacity_bytes
            delete = DeleteVolume(**_on(found), pool=pool, volume=volume, capacity_bytes=size)
            return Move(step=delete, changes=(change,), disruptive=True)
    left = UndefineGuest(**_on(found), keep_firmware=_keeps_a_disk(found), mark=mark)
    return Move(step=left, changes=(change,), disruptive=True)


def obstacle(found: Found, ground: Ground) -> Block | None:
    """Why the guest cannot be emptied, be it that it was begun."""
    uses = (use_of(place, found, ground) for place in sorted(removable(found.mark)))
    return _held_itself(found) or next((use for use in uses if use is not None), None)


def _held_itself(found: Found) -> Block | None:
    mark = found.mark
    protection = _protection(mark)
    if protection:
        return _held(Reason.PROTECTED, protection)
    if found.elsewhere:
        why = f"another copy of it could be elsewhere: {found.elsewhere}"
        return Block(reason=Reason.HOST_UNKNOWN, message=why)
    for snapshot in found.guest.snapshots:
        if not is_ours(snapshot, mark.owner):
            why = f"somebody's snapshot {snapshot.name} is inside it; delete that by hand first"
            return _held(Reason.FOREIGN, why)
    return None


def _protection(mark: Mark) -> str:
    """What protects the guest or one of its disks, in a sentence; empty where nothing does."""
    if mark.protected:
        return "it is protected, and stays in the trash"
    for disk in mark.disks:
        if disk.protected:
            return (
                f"its disk {disk.name} is protected, so it stays in the trash; bring it back with"
                " protect: false, then delete it"
            )
    return ""


def use_of(
    place: Place, found: Found, ground: Ground, *, but: MarkedDisk | None = None
) -> Block | None:
    """Why the volume cannot be removed: it is not seen, or somebody has it or may have it.

    A guest that is emptied may have its own volumes. Of one that lives, ``but`` is the disk that it
    was let go of; nothing else of it may name the volume.
    """
    seen = found.host.pools.get(place[0])
    if seen is None or not seen.active:
        why = f"{found.host.name} has no active storage pool {place[0]}, so it cannot be seen"
        return Block(reason=Reason.NO_PLACE, message=why)
    own = () if but is None else _own_uses(place, found, ground, but)
    user = next(chain(own, _users(place, found, ground)), None)
    if user is not None:
        return _held(Reason.CONFLICT, f"{user} has {place[0]}/{place[1]}, too")
    silent = _silent(place[0], found, ground)
    if silent:
        why = f"{place[0]} may be shared with {silent}, which is silent and may use it"
        return Block(reason=Reason.HOST_UNKNOWN, message=why)
    return None


def _own_uses(place: Place, found: Found, ground: Ground, but: MarkedDisk) -> tuple[str, ...]:
    """What of a living guest still names the volume of a disk that it was let go of."""
    guest, mark = found.guest, found.mark
    path = address_of(VolumeSource(pool=place[0], volume=place[1]), found.host)
    others = [one for one in mark.disks if one != but and (one.pool, one.volume) == place]
    wish = ground.world.guests.get(mark.guest)
    named = () if wish is None else _named(wish)
    wished = any(
        (ground.world.storages[name].on(found.host.name), volume) == place for name, volume in named
    )
    used = others or wished or any(_names(guest, place, path, found.host))
    return (f"{guest.name} itself",) if used else ()


def removable(mark: Mark) -> frozenset[Place]:
    """The volumes that domops made for the guest, and that nothing but the guest has."""
    adopted = {(disk.pool, disk.volume) for disk in mark.disks if not disk.ours}
    return frozenset(place for place in claimed(mark) if place not in adopted)


def is_whole(snapshot: ObservedSnapshot, guest: ObservedGuest, host: ObservedHost) -> bool:
    """Whether every disk of the snapshot is there; libvirt 9.0 dies of deleting one that is not."""
    definitions = [one for one in (guest.stored, guest.live) if one is not None]
    if snapshot.external or not definitions:
        return False
    for definition in definitions:
        for target in snapshot.disks:
            disk = definition.disk(target)
            if disk is None:
                return False
            source = disk.source
            if isinstance(source, VolumeSource) and address_of(source, host) is None:
                return False
    return True


def lost(found: Found) -> tuple[str, ...]:
    """What the mark knows of a guest that is being emptied, and that is not there any more."""
    mark, host = found.mark, found.host
    gone = [
        f"disk {disk.name}"
        for disk in mark.disks
        if disk.ours
        and disk.filled
        and disk.expired is None
        and disk.pool is not None
        and disk.volume is not None
        if _is_gone(disk.pool, disk.volume, host)
    ]
    seen = {snapshot.name for snapshot in found.guest.snapshots}
    gone += [f"snapshot {one.name}" for one in mark.snapshots if one.name not in seen]
    return tuple(gone)


def _is_gone(pool: LibvirtPool, volume: VolumeName, host: ObservedHost) -> bool:
    """Whether the volume is not there; one that cannot be seen counts as gone."""
    seen = host.pools.get(pool)
    return seen is None or not seen.active or volume not in seen.volumes


def emptying_change(found: Found) -> Change:
    """The wish that a guest be removed for good."""
    trash = found.mark.trash
    days = (trash.until - trash.since).days if trash is not None else 0
    size = sum(
        volume.capacity_bytes
        for place in removable(found.mark)
        if (volume := _volume(place, found.host)) is not None
    )
    return Change(
        guest=found.mark.guest,
        field="",
        before="in the trash",
        after="removed for good",
        label=Label.DELETE,
        fate=Fate.NOW,
        message=f"its {days} days in the trash are over; {words.size(size)} of disks go with it",
    )


def _volume(place: Place, host: ObservedHost) -> ObservedVolume | None:
    pool = host.pools.get(place[0])
    return None if pool is None else pool.volumes.get(place[1])


def _keeps_a_disk(found: Found) -> bool:
    """Whether a disk of the guest stays that is not domops' to remove."""
    ours = removable(found.mark)
    stored = found.guest.stored
    return any(
        disk.device is DiskDevice.DISK
        and not (
            isinstance(disk.source, VolumeSource) and (disk.source.pool, disk.source.volume) in ours
        )
        for disk in (stored.disks if stored is not None else ())
    )


def _users(place: Place, found: Found, ground: Ground) -> Iterator[str]:
    """Who else has the volume: another domain, another mark, or a manifest."""
    storage = _storage(place[0], found.host, ground.world)
    for host in ground.observed.answered():
        there = host.name == found.host.name
        if not there and storage is not None and not storage.shared:
            continue
        local = place if there or storage is None else (storage.on(host.name), place[1])
        path = address_of(VolumeSource(pool=local[0], volume=local[1]), host)
        for guest in host.guests.values():
            if there and guest.uuid == found.guest.uuid:
                continue
            if (guest.mark is not None and local in claimed(guest.mark)) or any(
                _names(guest, local, path, host)
            ):
                yield f"{guest.name} on {host.name}"
    for wish in ground.world.guests.values():
        named = ((ground.world.storages[name], volume) for name, volume in _named(wish))
        if wish.name != found.mark.guest and any(
            (one.on(found.host.name), volume) == place for one, volume in named
        ):
            yield f"the manifest of {wish.name}"


def _named(wish: DesiredGuest) -> Iterator[tuple[StorageName, VolumeName]]:
    """The volumes that a manifest names: its disks, the images of those, and what is in drives."""
    for disk in wish.disks:
        match disk:
            case VolumeDisk():
                yield disk.storage, disk.volume
                if disk.image is not None:
                    yield disk.image.storage, disk.image.volume
            case CdromDisk() if disk.storage is not None and disk.volume is not None:
                yield disk.storage, disk.volume
            case _:
                pass


def _names(
    guest: ObservedGuest, place: Place, path: str | None, host: ObservedHost
) -> Iterator[bool]:
    for definition in (guest.stored, guest.live):
        for disk in definition.disks if definition is not None else ():
            source = disk.source
            yield isinstance(source, VolumeSource) and (source.pool, source.volume) == place
            yield path is not None and address_of(source, host) == path


def _storage(pool: LibvirtPool, host: ObservedHost, world: DesiredWorld) -> DesiredStorage | None:
    """The storage that the libvirt pool is on this host, if a manifest says so."""
    return next((one for one in world.storages.values() if one.on(host.name) == pool), None)


def _silent(pool: LibvirtPool, found: Found, ground: Ground) -> str:
    """Hosts that may use a shared pool, and have not said whether they do."""
    storage = _storage(pool, found.host, ground.world)
    if storage is not None and not storage.shared:
        return ""
    return ", ".join(silent_hosts(ground.world, ground.observed))


def _held(reason: Reason, message: str) -> Block:
    return Block(reason=reason, message=message, fate=Fate.HELD)


def _on(found: Found) -> On:
    return On(host=found.host.name, guest=found.mark.guest, uuid=found.guest.uuid)
