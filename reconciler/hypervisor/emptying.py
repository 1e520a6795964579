"""Carry out the steps that remove for good what waited in the trash for long enough.

Each looks for itself, at the stored mark and at every definition of the host, whether what it is
about to remove may go: the plan may be older than the world. What cannot be seen is not removed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import read_snapshot
from reconciler.errors import RefusedError, TransientError
from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.hypervisor.guests import STORED_TEXT
from reconciler.hypervisor.volumes import names, users_of
from reconciler.model.definition import VolumeSource
from reconciler.model.mark import Phase

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.mark import Mark
    from reconciler.model.names import LibvirtPool, VolumeName
    from reconciler.model.observed import ObservedSnapshot
    from reconciler.model.steps import DeleteSnapshot, DeleteVolume, UndefineGuest


_FIRMWARE_GOES = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM
_FIRMWARE_STAYS = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM


def delete_volume(door: Door, step: DeleteVolume) -> None:
    """Delete a volume of ours, if the guest's own mark says that it may go and nobody has it.

    A seed may hold secrets, so it is overwritten first where the driver can.
    """
    volume = door.find_volume(step.pool, step.volume)
    if volume is None:
        return
    domain = door.domain(step.uuid, step.guest)
    source = VolumeSource(pool=step.pool, volume=step.volume)
    mark = _letting_go_of(door, domain, step, volume.path())
    place = (step.pool, step.volume)
    is_seed = mark.seed is not None and (mark.seed.pool, mark.seed.volume) == place
    entries = [disk for disk in mark.disks if (disk.pool, disk.volume) == place]
    if not is_seed and not (entries and all(one.ours and not one.protected for one in entries)):
        raise RefusedError(f"{door.doing}: the mark of {step.guest} does not call it ours")
    for user in users_of(door, source, volume.path(), but=step.uuid):
        raise RefusedError(f"{door.doing}: {user} uses it")
    if is_seed:
        with contextlib.suppress(RefusedError):  # a driver that overwrites nothing
            door.write(volume.wipe, 0)
    door.write(volume.delete, 0)


def delete_snapshot(door: Door, step: DeleteSnapshot) -> None:
    """Delete a snapshot of ours, all of whose disks are there."""
    domain = door.domain(step.uuid, step.guest)
    try:
        snapshot = domain.snapshotLookupByName(step.name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
            return
        raise
    seen = read_snapshot(snapshot.getXMLDesc())
    _, stored = door.stored(domain)
    definitions = [stored, door.live(domain)[1]] if domain.isActive() else [stored]
    _require_ours(door, step, seen, stored.mark)
    _require_disks(door, seen, definitions)
    door.write(snapshot.delete, 0)


def undefine(door: Door, step: UndefineGuest) -> None:
    """Forget the domain, once nothing of ours is left of it."""
    domain = door.find_domain(step.uuid)
    if domain is None:
        return
    mark = _being_emptied(door, domain, step)
    for place in sorted(_volumes_of_ours(mark)):
        if door.find_volume(*place) is not None:
            left = "/".join(place)
            raise RefusedError(f"{door.doing}: the volume {left} is still there")
    flags = 0
    if TABLE[door.identity.driver].capabilities.snapshots:
        for snapshot in domain.listAllSnapshots():
            _require_ours(door, step, read_snapshot(snapshot.getXMLDesc()), mark)
            flags |= libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    if door.identity.driver is Driver.QEMU:  # the others have no such files, nor such flags
        flags |= _FIRMWARE_STAYS if step.keep_firmware else _FIRMWARE_GOES
    door.write(domain.undefineFlags, flags)


def _letting_go_of(door: Door, domain: libvirt.virDomain, step: DeleteVolume, path: str) -> Mark:
    """The stored mark of the guest, which must say that the volume may go.

    Either the guest is being emptied; or it lives, the volume is that of a disk which has expired,
    and neither of its definitions has it any more.
    """
    _, stored = door.stored(domain)
    mark, place = stored.mark, (step.pool, step.volume)
    disks = () if mark is None else mark.disks
    entries = [disk for disk in disks if (disk.pool, disk.volume) == place]
    if mark is None or not entries or any(one.expired is None for one in entries):
        return _being_emptied(door, domain, step)
    if (mark.guest, mark.uuid) != (step.guest, step.uuid):
        raise RefusedError(f"{door.doing}: it carries a mark that is not its own")
    texts = [domain.XMLDesc(STORED_TEXT), *([domain.XMLDesc()] if domain.isActive() else [])]
    if any(names(text, VolumeSource(pool=step.pool, volume=step.volume), path) for text in texts):
        raise RefusedError(f"{door.doing}: {step.guest} still has it")
    return mark


def _being_emptied(
    door: Door, domain: libvirt.virDomain, step: DeleteVolume | UndefineGuest
) -> Mark:
    """The stored mark of the guest, which must say that it is in the trash and being emptied."""
    if domain.isActive():
        raise TransientError(f"{door.doing}: {step.guest} is running")
    _, stored = door.stored(domain)
    mark = stored.mark
    if (
        mark is None
        or (mark.guest, mark.uuid) != (step.guest, step.uuid)
        or mark.phase is not Phase.TRASH
        or mark.trash is None
        or mark.trash.emptying is None
    ):
        raise RefusedError(f"{door.doing}: its mark does not say that it is being emptied")
    return mark


def _volumes_of_ours(mark: Mark) -> set[tuple[LibvirtPool, VolumeName]]:
    places = {(disk.pool, disk.volume) for disk in mark.disks if disk.ours}
    if mark.seed is not None:
        places.add((mark.seed.pool, mark.seed.volume))
    return {(pool, volume) for pool, volume in places if pool is not None and volume is not None}


def _require_ours(
    door: Door, step: DeleteSnapshot | UndefineGuest, seen: ObservedSnapshot, mark: Mark | None
) -> None:
    owner = mark.owner if mark is not None and mark.uuid == step.uuid else None
    if seen.signature is None or seen.signature.owner != owner:
        raise RefusedError(f"{door.doing}: the snapshot {seen.name} of {step.guest} is not ours")


def _require_disks(door: Door, seen: ObservedSnapshot, definitions: list[GuestDefinition]) -> None:
    """Refuse what libvirt 9.0 dies of: a snapshot of which a disk is not there any more."""
    if seen.external:
        raise RefusedError(f"{door.doing}: some of it lies in files of its own")
    for target in seen.disks:
        for definition in definitions:
            disk = definition.disk(target)
            source = disk.source if disk is not None else None
            gone = disk is None or (
                isinstance(source, VolumeSource)
                and door.find_volume(source.pool, source.volume) is None
            )
            if gone:
                raise RefusedError(f"{door.doing}: its disk {target} is not there")
