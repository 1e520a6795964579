"""What a guest's stored definition shall be on one host: names resolved, targets given, mark made.

The manifest speaks of storages and networks, a host of its pools and bridges; the manifest may
leave targets open, the mark remembers which were given. Whatever of the stored definition the
manifest does not own is carried over.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import (
    BridgeSource,
    Bus,
    Disk,
    DiskDevice,
    DomainType,
    GuestDefinition,
    GuestType,
    NetworkSource,
    Nic,
    VolumeSource,
)
from reconciler.model.desired import CdromDisk, VolumeDisk
from reconciler.model.mark import Mark, MarkedDisk, MarkedNic, Phase
from reconciler.model.names import Target
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.model.policy import RENDERER
from reconciler.planner.differences import Owned

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.definition import NicSource
    from reconciler.model.desired import DesiredGuest, DesiredNic, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import DiskName
    from reconciler.model.observed import ObservedGuest, ObservedHost

_BUSES_XEN = {"xvd": Bus.XEN, "hd": Bus.IDE, "sd": Bus.SCSI}
_BUSES_QEMU = {"vd": Bus.VIRTIO, "sd": Bus.SATA}
_TARGET = re.compile(r"^(xvd|vd|sd|hd)([a-z]+)([0-9]*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The definition that a guest shall have, what is refused of it, and what is still to be made.

    ``blocked`` is true when a refusal makes it pointless to go on with the guest at all.
    """

    definition: GuestDefinition
    owned: Owned
    unfilled: tuple[MarkedDisk, ...]
    refusals: tuple[Change, ...]
    blocked: bool

    @property
    def mark(self) -> Mark:
        """The mark of the definition, which a wanted one always has."""
        if self.definition.mark is None:
            message = "a wanted definition without a mark"
            raise AssertionError(message)
        return self.definition.mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What there is of the guest already."""

    guest: ObservedGuest
    stored: GuestDefinition
    mark: Mark


def wanted(
    guest: DesiredGuest,
    host: ObservedHost,
    desired: DesiredWorld,
    memory: Memory,
    now: datetime,
    existing: Existing | None,
    *,
    generation: int = 1,
) -> Wanted:
    """Resolve ``guest`` for ``host``; ``existing`` is None where it is to be made."""
    refusals: list[Change] = []
    blocked = False
    creating = existing is None or existing.mark.phase is Phase.CREATING
    type_ = _type(guest, host, existing, refusals)
    stored_disks = existing.stored.disks if existing else ()
    entries: list[MarkedDisk] = []
    drives: dict[Target, CdromDisk] = {}
    taken = {disk.target for disk in stored_disks}
    taken |= {disk.target for disk in guest.disks if disk.target}
    taken |= {entry.target for entry in (existing.mark.disks if existing else ())}
    for disk in guest.disks:
        old = existing.mark.disk(disk.name) if existing else None
        if old is None:
            entry = _new_entry(disk, host, desired, type_, taken)
            refusal = _obstacle(disk, entry, guest, host, existing)
            if refusal is not None:
                refusals.append(refusal)
                blocked = blocked or creating
                continue  # a guest that is in use goes on without the disk
        else:
            entry = _old_entry(disk, old, guest, host, desired, refusals)
        taken.add(entry.target)
        entries.append(entry)
        if isinstance(disk, CdromDisk):
            drives[entry.target] = disk
    entries.extend(_left_over(guest, existing, now))
    entries.sort(key=lambda entry: entry.name)
    filled = [_is_filled(entry, host, memory) for entry in entries]
    present = [entry.detached is None for entry in entries]
    all_filled = all(full for full, here in zip(filled, present, strict=True) if here)
    if not creating or all_filled:
        entries = [replace(entry, filled=full) for entry, full in zip(entries, filled, strict=True)]
    unfilled = tuple(
        entry
        for entry, full, here in zip(entries, filled, present, strict=True)
        if here and not full
    )
    nics = [_nic(nic, host, desired) for nic in guest.nics]
    mark = _mark(guest, desired, existing, entries, generation, unfilled=bool(unfilled))
    before = existing.mark if existing else mark  # what was let go is still ours to take away
    owned = Owned(
        disks=_owned_disks((*before.disks, *entries), existing),
        nics={entry.mac: entry.name for entry in (*before.nics, *mark.nics)},
    )
    definition = GuestDefinition(
        name=existing.stored.name if existing else guest.name,
        uuid=existing.stored.uuid if existing else guest.uuid,
        domain_type=existing.stored.domain_type if existing else host.domain_type,
        type=type_,
        arch=existing.stored.arch if existing else guest.arch,
        vcpus=guest.cpus,
        memory=guest.memory,
        boot=guest.boot,
        disks=_devices(entries, drives, stored_disks, host, desired, owned, guest),
        nics=_all_nics(nics, existing, owned),
        console=guest.console,
        agent=guest.agent,
        mark=mark,
    )
    return Wanted(
        definition=definition,
        owned=owned,
        unfilled=unfilled,
        refusals=tuple(refusals),
        blocked=blocked,
    )


def bus_of(target: Target, domain_type: DomainType, device: DiskDevice) -> Bus | None:
    """The bus that a target's name stands for on a kind of host; None where it has none."""
    parts = _TARGET.match(target)
    if parts is None:
        return None
    if domain_type is DomainType.XEN:
        return _BUSES_XEN.get(parts[1])
    bus = _BUSES_QEMU.get(parts[1])
    return None if bus is Bus.VIRTIO and device is DiskDevice.CDROM else bus


def _type(
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing | None,
    refusals: list[Change],
) -> GuestType:
    default = GuestType.PVH if host.domain_type is DomainType.XEN else GuestType.HVM
    if existing is None:
        return guest.type or default
    stored = existing.stored
    if guest.type is not None and guest.type is not stored.type:
        refusals.append(
            _refusal(
                guest,
                "type",
                stored.type,
                guest.type,
                Reason.CREATE_ONLY,
                "the type is fixed when a guest is made; make a new guest and move the data",
            )
        )
    if guest.arch is not stored.arch:
        refusals.append(
            _refusal(
                guest,
                "arch",
                stored.arch,
                guest.arch,
                Reason.CREATE_ONLY,
                "the architecture is fixed when a guest is made; make a new guest",
            )
        )
    return stored.type


def _device(disk: VolumeDisk | CdromDisk) -> DiskDevice:
    return DiskDevice.CDROM if isinstance(disk, CdromDisk) else DiskDevice.DISK


def _new_entry(
    disk: VolumeDisk | CdromDisk,
    host: ObservedHost,
    desired: DesiredWorld,
    type_: GuestType,
    taken: set[Target],
) -> MarkedDisk:
    target = disk.target or _free_target(host.domain_type, type_, _device(disk), taken)
    if isinstance(disk, CdromDisk):
        return MarkedDisk(
            name=disk.name, target=target, pool=None, volume=None, ours=False, filled=True
        )
    return MarkedDisk(
        name=disk.name,
        target=target,
        pool=desired.storages[disk.storage].on(host.name),
        volume=disk.volume,
        ours=True,
        filled=False,
        image=_image_words(disk),
    )


def _obstacle(
    disk: VolumeDisk | CdromDisk,
    entry: MarkedDisk,
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing | None,
) -> Change | None:
    """Why a disk that the mark does not know cannot be had; never is anything there taken over."""
    field = f"disks[{disk.name}]"
    if bus_of(entry.target, host.domain_type, _device(disk)) is None:
        why = f"{host.name} has no bus for {entry.target}"
        return _refusal(guest, f"{field}.target", "", entry.target, Reason.NOT_SUPPORTED, why)
    if existing is None:
        return None  # placement looks at what is there
    if _is_others(entry.target, guest, existing):
        why = f"{entry.target} is in use by a disk that is not in the manifest"
        return _refusal(guest, f"{field}.target", "", entry.target, Reason.CONFLICT, why)
    if entry.pool is None or entry.volume is None:
        return None
    place = f"{entry.pool}/{entry.volume}"
    pool = host.pools.get(entry.pool)
    if pool is None or not pool.active:
        why = f"{host.name} has no active storage pool {entry.pool}"
        return _refusal(guest, field, "none", place, Reason.NO_PLACE, why)
    if entry.volume in pool.volumes:
        why = f"{host.name} has a volume {place} already; domops never takes or overwrites one"
        return _refusal(guest, field, "none", place, Reason.CONFLICT, why)
    return None


def _is_others(target: Target, guest: DesiredGuest, existing: Existing) -> bool:
    """Whether a disk at ``target`` belongs neither to the manifest nor to an earlier one."""
    names = {disk.name for disk in guest.disks}
    let_go = {entry.target for entry in existing.mark.disks if entry.name not in names}
    there = any(disk.target == target for disk in existing.stored.disks)
    return there and target not in let_go


def _owned_disks(
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


def _free_target(
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


def _old_entry(
    disk: VolumeDisk | CdromDisk,
    old: MarkedDisk,
    guest: DesiredGuest,
    host: ObservedHost,
    desired: DesiredWorld,
    refusals: list[Change],
) -> MarkedDisk:
    """Keep what was given when the disk was made; refuse what would make it another disk."""
    field = f"disks[{disk.name}]"
    fixed = "is fixed when a disk is made; add a disk under another name and move the data"
    if disk.target is not None and disk.target != old.target:
        refusals.append(
            _refusal(
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
    pool = desired.storages[disk.storage].on(host.name)
    if (old.pool, old.volume) != (pool, disk.volume):
        refusals.append(
            _refusal(
                guest,
                f"{field}.storage",
                f"{old.pool}/{old.volume}",
                f"{pool}/{disk.volume}",
                Reason.CREATE_ONLY,
                f"the place of a volume {fixed}",
            )
        )
    if old.image != _image_words(disk):
        refusals.append(
            _refusal(
                guest,
                f"{field}.image",
                old.image or "empty",
                _image_words(disk) or "empty",
                Reason.CREATE_ONLY,
                f"the image acts only once: it {fixed}",
            )
        )
    return kept


def _left_over(guest: DesiredGuest, existing: Existing | None, now: datetime) -> list[MarkedDisk]:
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


def _is_filled(entry: MarkedDisk, host: ObservedHost, memory: Memory) -> bool:
    if entry.filled or entry.pool is None or entry.volume is None:
        return True
    pool = host.pools.get(entry.pool)
    if pool is None or entry.volume not in pool.volumes:
        return False  # memory of a volume that is gone
    return (host.name, entry.pool, entry.volume) in memory.filled


def _devices(
    entries: list[MarkedDisk],
    drives: dict[Target, CdromDisk],
    stored: tuple[Disk, ...],
    host: ObservedHost,
    desired: DesiredWorld,
    owned: Owned,
    guest: DesiredGuest,
) -> tuple[Disk, ...]:
    disks = [disk for disk in stored if disk.target not in owned.disks]
    formats = {disk.name: disk.format for disk in guest.disks if isinstance(disk, VolumeDisk)}
    before = {disk.target: disk for disk in stored}
    for entry in entries:
        if entry.detached is not None or not entry.filled:
            continue
        drive = drives.get(entry.target)
        device = DiskDevice.CDROM if drive else DiskDevice.DISK
        bus = bus_of(entry.target, host.domain_type, device) or Bus.VIRTIO
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
        made = before.get(entry.target)
        if made is not None and isinstance(made.source, VolumeSource):
            format_ = made.source.format
        else:
            format_ = formats[entry.name]
        disks.append(
            Disk(
                target=entry.target,
                bus=bus,
                source=VolumeSource(pool=entry.pool, volume=entry.volume, format=format_),
            )
        )
    return tuple(sorted(disks, key=lambda disk: disk.target))


def _medium(drive: CdromDisk, host: ObservedHost, desired: DesiredWorld) -> VolumeSource | None:
    if drive.storage is None or drive.volume is None:
        return None
    return VolumeSource(pool=desired.storages[drive.storage].on(host.name), volume=drive.volume)


def _nic(nic: DesiredNic, host: ObservedHost, desired: DesiredWorld) -> Nic:
    network = desired.networks[nic.network]
    name = network.hosts.get(host.name)
    source: NicSource
    if network.bridge is not None:
        source = BridgeSource(bridge=name or network.bridge)
    else:
        source = NetworkSource(network=name or network.libvirt_network or "")
    model = nic.model
    if model == "pv":
        model = "netfront" if host.domain_type is DomainType.XEN else "virtio"
    return Nic(mac=nic.mac, source=source, model=model)


def _all_nics(nics: list[Nic], existing: Existing | None, owned: Owned) -> tuple[Nic, ...]:
    others = existing.stored.nics if existing else ()
    foreign = [nic for nic in others if nic.mac not in owned.nics]
    return tuple(sorted([*foreign, *nics], key=lambda nic: nic.mac))


def _mark(
    guest: DesiredGuest,
    desired: DesiredWorld,
    existing: Existing | None,
    disks: list[MarkedDisk],
    generation: int,
    *,
    unfilled: bool,
) -> Mark:
    nics = {nic.mac: MarkedNic(name=nic.name, mac=nic.mac) for nic in guest.nics}
    phase = Phase.CREATING if existing is None else _phase(existing.mark, unfilled=unfilled)
    if existing is None:
        old = Mark(
            owner=desired.repository,
            guest=guest.name,
            uuid=guest.uuid,
            generation=generation,
            phase=phase,
            commit=desired.commit.sha,
            intent=guest.intent,
            renderer=RENDERER,
            shutdown=guest.shutdown,
        )
    else:
        old = existing.mark
        live = existing.guest.live
        for entry in old.nics:  # a NIC that is let go is ours until it is unplugged
            if entry.mac not in nics and live is not None and live.nic(entry.mac) is not None:
                nics[entry.mac] = entry
    return replace(
        old,
        phase=phase,
        commit=old.commit if old.intent == guest.intent else desired.commit.sha,
        intent=guest.intent,
        renderer=RENDERER,
        protected=guest.protect,
        shutdown=guest.shutdown,
        disks=tuple(disks),
        nics=tuple(nics[mac] for mac in sorted(nics)),
        trash=None,
    )


def _phase(mark: Mark, *, unfilled: bool) -> Phase:
    """The phase after this define; a guest from the trash was never used if nothing is full."""
    match mark.phase:
        case Phase.READY:
            return Phase.READY
        case Phase.CREATING:
            return Phase.CREATING if unfilled else Phase.READY
        case Phase.TRASH:
            used = any(entry.filled and entry.volume is not None for entry in mark.disks)
            return Phase.CREATING if unfilled and not used else Phase.READY
        case _:
            assert_never(mark.phase)


def adds_nothing(new: Mark, old: Mark) -> bool:
    """Whether writing ``new`` over ``old`` would tell a later reader nothing that matters.

    Under another version of the renderer intent digests cannot be compared: an upgrade of domops
    alone touches no guest.
    """
    if old.renderer == new.renderer:
        return new == old
    return replace(new, renderer=old.renderer, intent=old.intent, commit=old.commit) == old


def _refusal(
    guest: DesiredGuest, field: str, before: str, after: str, reason: Reason, message: str
) -> Change:
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
