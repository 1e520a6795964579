"""What each step is expected to do to a world.

``after`` is the planner's knowledge of cause and effect. The preview alternates it with planning,
the in-memory hypervisor is built on it, and the executor asks ``reached`` whether a step's obligation
is seen true. A world in which a step changes nothing is returned as the same object.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import GuestDefinition, VolumeSource
from reconciler.model.names import Digest
from reconciler.model.observed import (
    ObservedGuest,
    ObservedHost,
    ObservedPool,
    ObservedVolume,
    ObservedWorld,
    RunState,
    StateReason,
)
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateVolume,
    DefineGuest,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    SetAutostart,
    SetMark,
    SetMemory,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.definition import Disk, Nic
    from reconciler.model.memory import Memory
    from reconciler.model.names import LibvirtPool, Target, VolumeName

BALLOON_SLACK_KIB = 1024
"""How far an achieved memory size may lie from its goal and still count as reached."""


def after(step: Step, world: ObservedWorld, now: datetime) -> ObservedWorld:
    """The world once ``step`` has done what it must, with everything else as it was."""
    host = world.hosts.get(step.host)
    if not isinstance(host, ObservedHost):
        return world
    changed = _on_host(step, host, now)
    if changed is host:
        return world
    return replace(world, hosts={**world.hosts, host.name: changed})


def reached(step: Step, world: ObservedWorld) -> bool:
    """Whether the obligation of ``step`` is seen true; never so on a host that is silent."""
    host = world.hosts.get(step.host)
    return isinstance(host, ObservedHost) and _on_host(step, host, host.answered_at) is host


def remembered(step: Step, memory: Memory) -> Memory:
    """The memory once ``step`` is known to have ended well."""
    match step:
        case CreateVolume():
            volume = (step.host, step.pool, step.volume)
            return replace(memory, filled=memory.filled | {volume})
        case DiscardVolume():
            volume = (step.host, step.pool, step.volume)
            return replace(memory, filled=memory.filled - {volume})
        case _:
            return memory


def digest_of(definition: GuestDefinition) -> Digest:
    """A digest of a definition for worlds that have no text."""
    return Digest(blake2b(repr(definition).encode(), digest_size=16).hexdigest())


def _on_host(step: Step, host: ObservedHost, now: datetime) -> ObservedHost:
    match step:
        case CreateVolume() | DiscardVolume() | GrowVolume():
            return _on_volume(step, host)
        case DefineGuest():
            return _define(step, host, now)
        case StartGuest():
            return _start(step, host, now)
        case ShutDownGuest():
            return _stop(step, host, now, StateReason.SHUT_DOWN)
        case DestroyGuest():
            return _stop(step, host, now, StateReason.DESTROYED)
        case _:
            guest = host.guests.get(step.uuid)
            if guest is None:
                return host
            changed = _on_guest(step, guest, host)
            return host if changed is guest else _with_guest(host, changed)


def _on_guest(
    step: SetMark
    | GrowDisk
    | SetVcpus
    | SetMemory
    | AttachDisk
    | DetachDisk
    | ChangeMedium
    | AttachNic
    | DetachNic
    | ChangeNic
    | SetAutostart,
    guest: ObservedGuest,
    host: ObservedHost,
) -> ObservedGuest:
    match step:
        case SetMark():
            return _set_mark(step, guest)
        case SetAutostart():
            return guest if guest.autostart == step.on else replace(guest, autostart=step.on)
        case _:
            if guest.live is None:
                return guest
            return _on_live(step, guest, guest.live, host)


def _on_live(
    step: GrowDisk
    | SetVcpus
    | SetMemory
    | AttachDisk
    | DetachDisk
    | ChangeMedium
    | AttachNic
    | DetachNic
    | ChangeNic,
    guest: ObservedGuest,
    live: GuestDefinition,
    host: ObservedHost,
) -> ObservedGuest:
    match step:
        case GrowDisk():
            if guest.disk_sizes.get(step.target, 0) >= step.capacity_bytes:
                return guest
            sizes = {**guest.disk_sizes, step.target: step.capacity_bytes}
            return replace(guest, disk_sizes=sizes)
        case SetVcpus():
            if live.vcpus.count == step.count:
                return guest
            vcpus = replace(live.vcpus, count=step.count)
            return replace(guest, live=replace(live, vcpus=vcpus))
        case SetMemory():
            if abs(live.memory.size_kib - step.size_kib) <= BALLOON_SLACK_KIB:
                return guest
            memory = replace(live.memory, size_kib=step.size_kib)
            return replace(guest, live=replace(live, memory=memory))
        case AttachDisk() | ChangeMedium():
            if live.disk(step.disk.target) == step.disk:
                return guest
            disks = with_disk(live.disks, step.disk)
            sizes = {**guest.disk_sizes, **_offered((step.disk,), host)}
            return replace(guest, live=replace(live, disks=disks), disk_sizes=sizes)
        case DetachDisk():
            if live.disk(step.disk.target) is None:
                return guest
            disks = tuple(disk for disk in live.disks if disk.target != step.disk.target)
            sizes = {t: size for t, size in guest.disk_sizes.items() if t != step.disk.target}
            return replace(guest, live=replace(live, disks=disks), disk_sizes=sizes)
        case AttachNic() | ChangeNic():
            if live.nic(step.nic.mac) == step.nic:
                return guest
            return replace(guest, live=replace(live, nics=with_nic(live.nics, step.nic)))
        case DetachNic():
            if live.nic(step.nic.mac) is None:
                return guest
            nics = tuple(nic for nic in live.nics if nic.mac != step.nic.mac)
            return replace(guest, live=replace(live, nics=nics))
        case _:
            assert_never(step)


def with_disk(disks: tuple[Disk, ...], disk: Disk) -> tuple[Disk, ...]:
    """``disks`` with ``disk`` at its target, in the order of targets."""
    others = [other for other in disks if other.target != disk.target]
    return tuple(sorted([*others, disk], key=lambda one: one.target))


def with_nic(nics: tuple[Nic, ...], nic: Nic) -> tuple[Nic, ...]:
    """``nics`` with ``nic`` at its address, in the order of addresses."""
    others = [other for other in nics if other.mac != nic.mac]
    return tuple(sorted([*others, nic], key=lambda one: one.mac))


def _set_mark(step: SetMark, guest: ObservedGuest) -> ObservedGuest:
    if guest.mark == step.mark:
        return guest
    stored = guest.stored and replace(guest.stored, mark=step.mark)
    live = guest.live and replace(guest.live, mark=step.mark)
    digest = digest_of(stored) if stored else guest.stored_digest
    return replace(guest, mark=step.mark, stored=stored, live=live, stored_digest=digest)


def _define(step: DefineGuest, host: ObservedHost, now: datetime) -> ObservedHost:
    guest = host.guests.get(step.uuid)
    if guest is None:
        return _with_guest(
            host,
            ObservedGuest(
                name=step.definition.name,
                uuid=step.uuid,
                state=RunState.SHUT_OFF,
                reason=StateReason.UNKNOWN,
                state_since=now,
                stored=step.definition,
                live=None,
                stored_digest=digest_of(step.definition),
                autostart=False,
                managed_save=False,
                mark=step.definition.mark,
                mark_problem=None,
                disk_sizes=_offered(step.definition.disks, host),
            ),
        )
    if guest.stored == step.definition:
        return host
    sizes = guest.disk_sizes if guest.active else _offered(step.definition.disks, host)
    return _with_guest(
        host,
        replace(
            guest,
            stored=step.definition,
            stored_digest=digest_of(step.definition),
            mark=step.definition.mark,
            disk_sizes=sizes,
        ),
    )


def _start(step: StartGuest, host: ObservedHost, now: datetime) -> ObservedHost:
    guest = host.guests.get(step.uuid)
    if guest is None or guest.stored is None or guest.active:
        return host
    started = replace(
        guest,
        state=RunState.RUNNING,
        reason=StateReason.BOOTED,
        state_since=now,
        live=guest.stored,
        disk_sizes=_offered(guest.stored.disks, host),
    )
    free = host.free_memory_kib - guest.stored.memory.size_kib
    return replace(_with_guest(host, started), free_memory_kib=free)


def _stop(
    step: ShutDownGuest | DestroyGuest, host: ObservedHost, now: datetime, reason: StateReason
) -> ObservedHost:
    guest = host.guests.get(step.uuid)
    if guest is None or not guest.active:
        return host
    free = host.free_memory_kib + (guest.live.memory.size_kib if guest.live else 0)
    if guest.stored is None:
        left = {uuid: other for uuid, other in host.guests.items() if uuid != step.uuid}
        return replace(host, guests=left, free_memory_kib=free)
    stopped = replace(
        guest,
        state=RunState.SHUT_OFF,
        reason=reason,
        state_since=now,
        live=None,
        disk_sizes=_offered(guest.stored.disks, host),
    )
    return replace(_with_guest(host, stopped), free_memory_kib=free)


def _on_volume(step: CreateVolume | DiscardVolume | GrowVolume, host: ObservedHost) -> ObservedHost:
    pool = host.pools.get(step.pool)
    if pool is None:
        return host
    volume = pool.volumes.get(step.volume)
    match step:
        case CreateVolume():
            if volume is not None:
                return host
            made = ObservedVolume(
                name=step.volume,
                path=f"{pool.path}/{step.volume}",
                capacity_bytes=step.capacity_bytes,
                allocation_bytes=0,
                format=step.format,
            )
            return _with_volumes(host, pool, {**pool.volumes, step.volume: made})
        case DiscardVolume():
            if volume is None:
                return host
            left = {name: other for name, other in pool.volumes.items() if name != step.volume}
            return _with_volumes(host, pool, left)
        case GrowVolume():
            if volume is None or volume.capacity_bytes >= step.capacity_bytes:
                return host
            grown = replace(volume, capacity_bytes=step.capacity_bytes)
            return _with_volumes(host, pool, {**pool.volumes, step.volume: grown})
        case _:
            assert_never(step)


def _with_volumes(
    host: ObservedHost, pool: ObservedPool, volumes: Mapping[VolumeName, ObservedVolume]
) -> ObservedHost:
    pools: dict[LibvirtPool, ObservedPool] = {
        **host.pools,
        pool.name: replace(pool, volumes=volumes),
    }
    changed = replace(host, pools=pools)
    guests = {
        uuid: guest
        if guest.active or guest.stored is None
        else replace(guest, disk_sizes=_offered(guest.stored.disks, changed))
        for uuid, guest in host.guests.items()
    }
    return replace(changed, guests=guests)


def _with_guest(host: ObservedHost, guest: ObservedGuest) -> ObservedHost:
    return replace(host, guests={**host.guests, guest.uuid: guest})


def _offered(disks: tuple[Disk, ...], host: ObservedHost) -> dict[Target, int]:
    """The sizes that the host's volumes give to ``disks``."""
    sizes: dict[Target, int] = {}
    for disk in disks:
        if isinstance(disk.source, VolumeSource) and disk.source.pool in host.pools:
            volume = host.pools[disk.source.pool].volumes.get(disk.source.volume)
            if volume is not None:
                sizes[disk.target] = volume.capacity_bytes
    return sizes
