"""What each step is expected to do to a world.

``after`` is the planner's knowledge of cause and effect. The preview alternates it with planning,
the in-memory hypervisor is built on it, and the executor asks ``reached`` whether a step's
obligation is seen true. A world in which a step changes nothing is returned as the same object.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import DiskFormat, GuestDefinition, VolumeSource
from reconciler.model.keeping import Tombstone
from reconciler.model.mark import Consistency
from reconciler.model.names import Digest
from reconciler.model.observed import (
    ObservedGuest,
    ObservedHost,
    ObservedPool,
    ObservedSnapshot,
    ObservedVolume,
    ObservedWorld,
    RunState,
    Signature,
    StateReason,
)
from reconciler.model.options import NO_LIMITS
from reconciler.model.seed import SEED_CAPACITY_BYTES
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateSnapshot,
    CreateVolume,
    DefineGuest,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    ResumeGuest,
    SetAutostart,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    Step,
    UndefineGuest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.definition import Disk, Nic
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.names import LibvirtPool, Target, VolumeName

OnLive = (
    GrowDisk
    | SetVcpus
    | SetMemory
    | PinVcpus
    | SetShares
    | AttachDisk
    | DetachDisk
    | ChangeMedium
    | SetDiskLimits
    | AttachNic
    | DetachNic
    | ChangeNic
)
"""The steps that change a running guest and leave its stored definition."""

OnVolume = CreateVolume | DiscardVolume | CreateSeed | RemoveSeed | DeleteVolume | GrowVolume
"""The steps that are about a volume of a pool."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

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
    """Whether the obligation of ``step`` is seen true.

    It never is on a host that is silent, nor while that is missing which the step would change.
    """
    host = world.hosts.get(step.host)
    if not isinstance(host, ObservedHost) or not possible(step, host):
        return False
    return _on_host(step, host, host.answered_at) is host


def possible(step: Step, host: ObservedHost) -> bool:
    """Whether that which ``step`` is about is there, so that it can have its effect."""
    match step:
        case DefineGuest() | ShutDownGuest() | DestroyGuest() | UndefineGuest():
            return True
        case (
            CreateVolume()
            | DiscardVolume()
            | CreateSeed()
            | RemoveSeed()
            | DeleteVolume()
            | GrowVolume()
        ):
            pool = host.pools.get(step.pool)
            if pool is None or not pool.active:
                return False
            return not isinstance(step, GrowVolume) or step.volume in pool.volumes
        case (
            SetMark()
            | SetAutostart()
            | StartGuest()
            | CreateSnapshot()
            | DeleteSnapshot()
            | ResumeGuest()
        ):
            guest = host.guests.get(step.uuid)
            return guest is not None and (guest.stored is not None or guest.active)
        case _:
            guest = host.guests.get(step.uuid)
            return guest is not None and guest.live is not None and _has_device(step, guest.live)


def _has_device(step: OnLive, live: GuestDefinition) -> bool:
    match step:
        case GrowDisk() | SetDiskLimits():
            return live.disk(step.target) is not None
        case ChangeMedium():
            return live.disk(step.disk.target) is not None
        case ChangeNic():
            return live.nic(step.nic.mac) is not None
        case _:
            return True


def remembered(step: Step, memory: Memory) -> Memory:
    """The memory once ``step`` is known to have ended well."""
    match step:
        case CreateVolume() | CreateSeed():
            volume = (step.host, step.pool, step.volume)
            return replace(memory, filled=memory.filled | {volume})
        case DiscardVolume() | RemoveSeed() | DeleteVolume():
            volume = (step.host, step.pool, step.volume)
            return replace(memory, filled=memory.filled - {volume})
        case UndefineGuest():
            at = (step.mark.trash.emptying if step.mark.trash else None) or _LONG_AGO
            stone = Tombstone.of(step, at=at, size_bytes=0)
            return replace(memory, tombstones={**memory.tombstones, step.guest: stone})
        case _:
            return memory


def digest_of(definition: GuestDefinition) -> Digest:
    """A digest of a definition for worlds that have no text."""
    return Digest(blake2b(repr(definition).encode(), digest_size=16).hexdigest())


def _on_host(step: Step, host: ObservedHost, now: datetime) -> ObservedHost:
    if not possible(step, host):
        return host
    match step:
        case (
            CreateVolume()
            | DiscardVolume()
            | CreateSeed()
            | RemoveSeed()
            | DeleteVolume()
            | GrowVolume()
        ):
            return _on_volume(step, host)
        case UndefineGuest():
            return _undefine(step, host)
        case DefineGuest():
            return _define(step, host, now)
        case StartGuest():
            return _start(step, host, now)
        case ShutDownGuest():
            return _stop(step, host, now, StateReason.SHUT_DOWN)
        case DestroyGuest():
            return _stop(step, host, now, StateReason.DESTROYED)
        case SetMark() | SetAutostart():
            guest = host.guests[step.uuid]
            changed = (
                _with_mark(step.mark, guest)
                if isinstance(step, SetMark)
                else _set_autostart(step, guest)
            )
            return host if changed is guest else _with_guest(host, changed)
        case CreateSnapshot() | DeleteSnapshot() | ResumeGuest():
            guest = host.guests[step.uuid]
            held = _on_snapshots(step, guest, now)
            return host if held is guest else _with_guest(host, held)
        case _:
            return _on_live(step, host)


def _set_autostart(step: SetAutostart, guest: ObservedGuest) -> ObservedGuest:
    return guest if guest.autostart == step.on else replace(guest, autostart=step.on)


def _on_live(step: OnLive, host: ObservedHost) -> ObservedHost:
    guest = host.guests[step.uuid]
    if guest.live is None:
        return host
    match step:
        case SetVcpus() | SetMemory():
            return _resize(step, guest, guest.live, host)
        case PinVcpus() | SetShares():
            return _tune(step, guest, guest.live, host)
        case GrowDisk():
            return _grow_disk(step, guest, guest.live, host)
        case AttachDisk() | ChangeMedium() | DetachDisk() | SetDiskLimits():
            live = _on_disk(step, guest.live)
            sizes = _offered(live.disks, host)
            known = {disk.target for disk in live.disks if disk in guest.live.disks}
            sizes |= {target: size for target, size in guest.disk_sizes.items() if target in known}
        case AttachNic() | ChangeNic() | DetachNic():
            live = _on_nic(step, guest.live)
            sizes = dict(guest.disk_sizes)
        case _:
            assert_never(step)
    if live is guest.live:
        return host
    return _with_guest(host, replace(guest, live=live, disk_sizes=sizes))


def _resize(
    step: SetVcpus | SetMemory, guest: ObservedGuest, live: GuestDefinition, host: ObservedHost
) -> ObservedHost:
    match step:
        case SetVcpus():
            if live.vcpus.count == step.count:
                return host
            changed = replace(live, vcpus=replace(live.vcpus, count=step.count))
            return _with_guest(host, replace(guest, live=changed))
        case SetMemory():
            more = step.size_kib - live.memory.size_kib
            if abs(more) <= BALLOON_SLACK_KIB:
                return host
            changed = replace(live, memory=replace(live.memory, size_kib=step.size_kib))
            free = host.free_memory_kib - more
            return replace(_with_guest(host, replace(guest, live=changed)), free_memory_kib=free)
        case _:
            assert_never(step)


def _tune(
    step: PinVcpus | SetShares, guest: ObservedGuest, live: GuestDefinition, host: ObservedHost
) -> ObservedHost:
    match step:
        case PinVcpus():
            pins = {pin.vcpu: pin for pin in (*live.options.pin, *step.pin)}
            options = replace(live.options, pin=tuple(pins[vcpu] for vcpu in sorted(pins)))
        case SetShares():
            options = replace(live.options, weight=step.weight, cap=step.cap)
        case _:
            assert_never(step)
    if options == live.options:
        return host
    return _with_guest(host, replace(guest, live=replace(live, options=options)))


def _grow_disk(
    step: GrowDisk, guest: ObservedGuest, live: GuestDefinition, host: ObservedHost
) -> ObservedHost:
    """The guest is offered more, and the volume behind its disk has grown with it."""
    if guest.disk_sizes.get(step.target, 0) >= step.capacity_bytes:
        return host
    sizes = {**guest.disk_sizes, step.target: step.capacity_bytes}
    host = _with_guest(host, replace(guest, disk_sizes=sizes))
    disk = live.disk(step.target)
    source = disk.source if disk is not None else None
    if not isinstance(source, VolumeSource) or source.pool not in host.pools:
        return host
    pool = host.pools[source.pool]
    volume = pool.volumes.get(source.volume)
    if volume is None or volume.capacity_bytes >= step.capacity_bytes:
        return host
    grown = replace(volume, capacity_bytes=step.capacity_bytes)
    return _with_volumes(host, pool, {**pool.volumes, volume.name: grown})


def _on_disk(
    step: AttachDisk | ChangeMedium | DetachDisk | SetDiskLimits, live: GuestDefinition
) -> GuestDefinition:
    target = step.target if isinstance(step, SetDiskLimits) else step.disk.target
    present = live.disk(target)
    match step:
        case DetachDisk():
            left = tuple(disk for disk in live.disks if disk.target != target)
            return live if present is None else replace(live, disks=left)
        case AttachDisk():
            changed = step.disk
        case ChangeMedium():
            changed = replace(present or step.disk, source=step.disk.source)
        case SetDiskLimits():
            if present is None:
                return live
            limits = None if step.limits == NO_LIMITS else step.limits
            changed = replace(present, options=replace(present.options, limits=limits))
        case _:
            assert_never(step)
    return live if present == changed else replace(live, disks=with_disk(live.disks, changed))


def _on_nic(step: AttachNic | ChangeNic | DetachNic, live: GuestDefinition) -> GuestDefinition:
    present = live.nic(step.nic.mac)
    if isinstance(step, DetachNic):
        if present is None:
            return live
        return replace(live, nics=tuple(nic for nic in live.nics if nic.mac != step.nic.mac))
    changed = step.nic
    if isinstance(step, ChangeNic) and present is not None:
        options = replace(present.options, link=step.nic.options.link)
        changed = replace(present, source=step.nic.source, options=options)
    return live if present == changed else replace(live, nics=with_nic(live.nics, changed))


def with_disk(disks: tuple[Disk, ...], disk: Disk) -> tuple[Disk, ...]:
    """``disks`` with ``disk`` at its target, in the order of targets."""
    others = [other for other in disks if other.target != disk.target]
    return tuple(sorted([*others, disk], key=lambda one: one.target))


def with_nic(nics: tuple[Nic, ...], nic: Nic) -> tuple[Nic, ...]:
    """``nics`` with ``nic`` at its address, in the order of addresses."""
    others = [other for other in nics if other.mac != nic.mac]
    return tuple(sorted([*others, nic], key=lambda one: one.mac))


def _with_mark(mark: Mark, guest: ObservedGuest) -> ObservedGuest:
    if guest.mark == mark:
        return guest
    stored = guest.stored and replace(guest.stored, mark=mark)
    live = guest.live and replace(guest.live, mark=mark)
    digest = digest_of(stored) if stored else guest.stored_digest
    return replace(guest, mark=mark, stored=stored, live=live, stored_digest=digest)


def _on_snapshots(
    step: CreateSnapshot | DeleteSnapshot | ResumeGuest, guest: ObservedGuest, now: datetime
) -> ObservedGuest:
    match step:
        case CreateSnapshot():
            return _snapshot(step, guest, now)
        case DeleteSnapshot():
            left = tuple(one for one in guest.snapshots if one.name != step.name)
            return guest if left == guest.snapshots else replace(guest, snapshots=left)
        case ResumeGuest():
            return _go_on(step, guest)
        case _:
            assert_never(step)


def _snapshot(step: CreateSnapshot, guest: ObservedGuest, now: datetime) -> ObservedGuest:
    """One more snapshot, signed; a running guest's mark is as it was before, without operation."""
    if any(snapshot.name == step.name for snapshot in guest.snapshots):
        return guest
    definition = guest.live or guest.stored
    disks = definition.disks if definition is not None else ()
    agent = guest.live is not None and guest.live.agent
    if guest.active:
        consistency = Consistency.QUIESCED if agent else Consistency.WITH_MEMORY
    else:
        in_order = guest.reason is StateReason.SHUT_DOWN
        consistency = Consistency.OFFLINE if in_order else Consistency.CRASH_CONSISTENT
    made = ObservedSnapshot(
        name=step.name,
        taken=now,
        disks=tuple(disk.target for disk in disks if not disk.read_only),
        memory=guest.active,
        signature=Signature(owner=step.mark.owner, consistency=consistency),
    )
    snapshots = tuple(sorted((*guest.snapshots, made), key=lambda one: one.name))
    if guest.active:
        guest = _with_mark(replace(step.mark, operation=None), guest)
    return replace(guest, snapshots=snapshots)


def _go_on(step: ResumeGuest, guest: ObservedGuest) -> ObservedGuest:
    """Running again, if it was held still, and the mark says no more that it is."""
    if guest.state is RunState.PAUSED:
        guest = replace(guest, state=RunState.RUNNING, reason=StateReason.BOOTED)
    return _with_mark(step.mark, guest)


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


def _undefine(step: UndefineGuest, host: ObservedHost) -> ObservedHost:
    if step.uuid not in host.guests:
        return host
    left = {uuid: other for uuid, other in host.guests.items() if uuid != step.uuid}
    return replace(host, guests=left)


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
        agent_connected=guest.stored.agent,
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
        agent_connected=False,
    )
    return replace(_with_guest(host, stopped), free_memory_kib=free)


def _on_volume(step: OnVolume, host: ObservedHost) -> ObservedHost:
    pool = host.pools.get(step.pool)
    if pool is None:
        return host
    volume = pool.volumes.get(step.volume)
    match step:
        case CreateVolume() | CreateSeed():
            if volume is not None:
                return host
            made = ObservedVolume(
                name=step.volume,
                path=f"{pool.path}/{step.volume}",
                capacity_bytes=SEED_CAPACITY_BYTES,
                allocation_bytes=0,
                format=DiskFormat.RAW,
            )
            if isinstance(step, CreateVolume):
                made = replace(made, capacity_bytes=step.capacity_bytes, format=step.format)
            return _with_volumes(host, pool, {**pool.volumes, step.volume: made})
        case DiscardVolume() | RemoveSeed() | DeleteVolume():
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
