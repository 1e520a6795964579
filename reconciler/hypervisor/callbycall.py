"""The calls that a step takes on a real host, and the world after each: for the stand-in.

``planner.effects`` tells what a step leads to; between two of its calls a world is as it tells of
neither the world before nor the one after. A controller that dies leaves such worlds, so a
stand-in that cannot show them proves nothing about deaths. That the calls are those of the door to
libvirt is tested against its code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.definition import VolumeSource
from reconciler.model.observed import ObservedHost, ObservedWorld, RunState, StateReason
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
    UndefineGuest,
)
from reconciler.planner.effects import after
from reconciler.planner.rules import claimed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.names import LibvirtPool, VolumeName
    from reconciler.model.observed import ObservedGuest
    from reconciler.model.steps import Step

    Volume = tuple[LibvirtPool, VolumeName]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beneath:
    """What is so on a host and no observation tells.

    ``half`` are volumes that are not filled, ``used`` those that a guest has run on, ``frozen``
    guests whose file systems are. ``harm`` has a sentence for each thing that no controller may
    ever bring about.
    """

    half: frozenset[Volume] = frozenset()
    used: frozenset[Volume] = frozenset()
    frozen: frozenset[UUID] = frozenset()
    harm: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A host, and what is beneath."""

    host: ObservedHost
    beneath: Beneath


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One writing call of a step, by the name that libvirt gives it, and the world after it.

    ``amid`` is the world half way through a call that takes its time.
    """

    act: str
    world: World
    amid: World | None = None


_ONE_CALL: dict[type[Step], str] = {
    SetMark: "setMetadata",
    SetAutostart: "setAutostart",
    UndefineGuest: "undefineFlags",
    DeleteSnapshot: "delete",
    GrowVolume: "resize",
    GrowDisk: "blockResize",
    ShutDownGuest: "shutdown",
    DestroyGuest: "destroy",
    SetVcpus: "setVcpusFlags",
    SetMemory: "setMemoryFlags",
    SetShares: "setSchedulerParameters",
    AttachDisk: "attachDeviceFlags",
    DetachDisk: "detachDeviceFlags",
    ChangeMedium: "updateDeviceFlags",
    SetDiskLimits: "setBlockIoTune",
    AttachNic: "attachDeviceFlags",
    DetachNic: "detachDeviceFlags",
    ChangeNic: "updateDeviceFlags",
}
"""The steps that are one call, and leave nothing beneath."""


def calls(  # noqa: C901 - one row a step
    step: Step, world: World, now: datetime
) -> Iterator[Call]:
    """What is called to make ``step`` true in ``world``, in order."""
    match step:
        case DefineGuest():
            yield from _define(step, world, now)
        case CreateVolume():
            yield from _create(step, world, now)
        case CreateSeed():
            yield from _seed(step, world, now)
        case RemoveSeed():
            yield Call(act="wipe", world=_half(world, step))
            yield Call(act="delete", world=_forgotten(_after(step, world, now), step))
        case DeleteVolume():
            if _is_seed(step, world):
                yield Call(act="wipe", world=_half(world, step))
            yield Call(act="delete", world=_forgotten(_after(step, world, now), step))
        case PinVcpus():
            yield from _pin(step, world, now)
        case CreateSnapshot():
            yield from _snapshot(step, world, now)
        case ResumeGuest():
            yield from _resume(step, world, now)
        case DiscardVolume():
            yield Call(act="delete", world=_forgotten(_after(step, world, now), step))
        case StartGuest():
            yield Call(act="createWithFlags", world=_started(step, _after(step, world, now)))
        case _:
            yield Call(act=_ONE_CALL[type(step)], world=_after(step, world, now))


def undoing(step: Step, before: World, world: World) -> Iterator[Call]:
    """What is called when a call of ``step`` has failed in ``world``: what was made goes again."""
    if isinstance(step, CreateVolume | CreateSeed) and world.host is not before.host:
        yield Call(act="delete", world=before)


def _after(step: Step, world: World, now: datetime) -> World:
    host = world.host
    changed = after(step, ObservedWorld(hosts={host.name: host}), now).hosts[host.name]
    return replace(world, host=changed) if isinstance(changed, ObservedHost) else world


def _define(step: DefineGuest, world: World, now: datetime) -> Iterator[Call]:
    guest = world.host.guests.get(step.uuid)
    claims = claimed(step.definition.mark) - claimed(guest.mark if guest is not None else None)
    for _ in {pool for pool, _ in claims}:
        yield Call(act="refresh", world=world)
    yield Call(act="defineXMLFlags", world=_after(step, world, now))


def _create(step: CreateVolume, world: World, now: datetime) -> Iterator[Call]:
    whole = _after(step, world, now)
    if step.image is None:
        yield Call(act="createXML", world=whole)
        return
    image = world.host.pools[step.image.pool].volumes[step.image.volume]
    if image.format is step.format or image.capacity_bytes == step.capacity_bytes:
        yield Call(act="createXMLFrom", amid=_half(whole, step), world=whole)
        return
    small = _after(replace(step, capacity_bytes=image.capacity_bytes), world, now)
    yield Call(act="createXMLFrom", amid=_half(small, step), world=_half(small, step))
    yield Call(act="resize", world=whole)


def _seed(step: CreateSeed, world: World, now: datetime) -> Iterator[Call]:
    whole = _after(step, world, now)
    empty = _half(whole, step)
    yield Call(act="createXML", world=empty)
    yield Call(act="upload", amid=empty, world=whole)


def _pin(step: PinVcpus, world: World, now: datetime) -> Iterator[Call]:
    live = world.host.guests[step.uuid].live
    for pin in step.pin:
        if live is None or pin not in live.options.pin:
            world = _after(replace(step, pin=(pin,)), world, now)
            yield Call(act="pinVcpuFlags", world=world)


def _snapshot(step: CreateSnapshot, world: World, now: datetime) -> Iterator[Call]:
    end = _after(step, world, now)
    guest = world.host.guests[step.uuid]
    if not guest.active:
        yield Call(act="snapshotCreateXML", world=end)
        return
    named = SetMark(host=step.host, guest=step.guest, uuid=step.uuid, mark=step.mark)
    world = _after(named, world, now)
    yield Call(act="setMetadata", world=world)
    freezes = guest.agent_connected
    if freezes:
        world = _frozen(world, step.uuid)
    yield Call(act="fsFreeze", world=world)
    taken = end.host.guests[step.uuid].snapshots
    paused = _with_state(world, step.uuid, RunState.PAUSED, StateReason.BUSY)
    marked = world.host.guests[step.uuid]
    world = _with_guest(world, replace(marked, snapshots=taken))
    yield Call(act="snapshotCreateXML", amid=paused, world=world)
    if freezes:
        world = _thawed(world, step.uuid)
        yield Call(act="fsThaw", world=world)
    yield Call(act="setMetadata", world=end)


def _resume(step: ResumeGuest, world: World, now: datetime) -> Iterator[Call]:
    guest = world.host.guests[step.uuid]
    if guest.active:
        if guest.state is RunState.PAUSED:
            world = _with_state(world, step.uuid, RunState.RUNNING, StateReason.BOOTED)
            yield Call(act="resume", world=world)
        world = _thawed(world, step.uuid)
        yield Call(act="fsThaw", world=world)
    yield Call(act="setMetadata", world=_after(step, world, now))


def _started(step: StartGuest, world: World) -> World:
    """What the guest has disks of is used from now on, and should better be whole."""
    stored = world.host.guests[step.uuid].stored
    disks = stored.disks if stored is not None else ()
    has = {
        (disk.source.pool, disk.source.volume)
        for disk in disks
        if isinstance(disk.source, VolumeSource) and not disk.read_only
    }
    beneath = world.beneath
    harm = tuple(
        f"{step.guest} was started on {pool}/{volume}, which is not whole"
        for pool, volume in sorted(has & beneath.half)
    )
    return replace(
        world, beneath=replace(beneath, used=beneath.used | has, harm=beneath.harm + harm)
    )


def _is_seed(step: DeleteVolume, world: World) -> bool:
    mark = world.host.guests[step.uuid].mark
    seed = mark.seed if mark is not None else None
    return seed is not None and (seed.pool, seed.volume) == (step.pool, step.volume)


def _half(world: World, step: CreateVolume | CreateSeed | RemoveSeed | DeleteVolume) -> World:
    half = world.beneath.half | {(step.pool, step.volume)}
    return replace(world, beneath=replace(world.beneath, half=half))


def _forgotten(world: World, step: DiscardVolume | RemoveSeed | DeleteVolume) -> World:
    """The volume is no more; of one that was used, that is right only of a guest of the trash."""
    beneath, volume = world.beneath, (step.pool, step.volume)
    harm = (
        (f"{step.pool}/{step.volume} was deleted, and a guest had used it",)
        if volume in beneath.used and not isinstance(step, DeleteVolume)
        else ()
    )
    return replace(
        world,
        beneath=replace(
            beneath,
            half=beneath.half - {volume},
            used=beneath.used - {volume},
            harm=beneath.harm + harm,
        ),
    )


def _frozen(world: World, uuid: UUID) -> World:
    return replace(world, beneath=replace(world.beneath, frozen=world.beneath.frozen | {uuid}))


def _thawed(world: World, uuid: UUID) -> World:
    return replace(world, beneath=replace(world.beneath, frozen=world.beneath.frozen - {uuid}))


def _with_state(world: World, uuid: UUID, state: RunState, reason: StateReason) -> World:
    return _with_guest(world, replace(world.host.guests[uuid], state=state, reason=reason))


def _with_guest(world: World, guest: ObservedGuest) -> World:
    guests = {**world.host.guests, guest.uuid: guest}
    return replace(world, host=replace(world.host, guests=guests))
