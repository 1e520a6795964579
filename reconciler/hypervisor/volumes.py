"""Carry out the steps on volumes: create, discard what was never used, grow.

Nothing here overwrites, shrinks, or deletes what could be anybody's data. libvirt itself refuses to
create a volume whose file is there, listed or not; the rest of the care is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import read
from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    TransientError,
    UnknownOutcomeError,
)
from reconciler.hypervisor.door import volume_in
from reconciler.hypervisor.guests import STORED_TEXT
from reconciler.hypervisor.parsing import parse
from reconciler.hypervisor.storagexml import read_volume, render_volume
from reconciler.model.definition import VolumeSource
from reconciler.model.operation import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from reconciler.hypervisor.door import Door
    from reconciler.model.steps import CreateVolume, DiscardVolume, GrowVolume

_CAPACITY, _ALLOCATION = 1, 2
"""Where ``virStorageVolGetInfo`` keeps the size, and what of it is taken."""

_TAKEN = (libvirt.VIR_ERR_STORAGE_VOL_EXIST, libvirt.VIR_ERR_OPERATION_INVALID)
"""What libvirt says when a volume, or a file in its place that it had not listed, is there."""


def create(door: Door, step: CreateVolume) -> None:
    """Make the volume, as a copy of its image or empty, taking no more space than it must."""
    pool = door.pool(step.pool)
    if volume_in(pool, step.volume) is not None:
        raise StalledError(f"{door.doing}: it is there already, and is never overwritten")
    text = render_volume(step.volume, capacity_bytes=step.capacity_bytes, format=step.format)
    image = None if step.image is None else _image(door, step, step.image)
    try:
        if image is None:
            volume = door.write(pool.createXML, text, 0)
        else:
            volume = door.write(pool.createXMLFrom, text, image, 0)
    except UnknownOutcomeError:
        raise
    except DomopsError as error:
        raise _after_failed_creation(door, step, error) from error
    try:
        # A conversion between formats comes out as large as the image was.
        if volume.info()[_CAPACITY] < step.capacity_bytes:
            door.write(volume.resize, step.capacity_bytes, 0)
    except UnknownOutcomeError:
        raise
    except (DomopsError, libvirt.libvirtError):
        # Made by this very call, named by no definition: nobody can have used it.
        door.write(volume.delete, 0)
        raise


def _image(door: Door, step: CreateVolume, source: VolumeSource) -> libvirt.virStorageVol:
    image = door.find_volume(source.pool, source.volume)
    if image is None:
        raise StalledError(
            f"{door.doing}: there is no image {source.volume!r} in {source.pool!r} on {door.host}"
        )
    capacity = image.info()[_CAPACITY]
    if capacity > step.capacity_bytes:
        raise StalledError(
            f"{door.doing}: the image {source.volume!r} has {capacity} bytes, more than the "
            f"{step.capacity_bytes} that the disk shall have"
        )
    return image


def _after_failed_creation(door: Door, step: CreateVolume, error: DomopsError) -> DomopsError:
    """``error``, with what the failure left.

    libvirt removes what it could not finish. If something of that name is there nevertheless, it is
    not known to be ours alone, and stays until ``DiscardVolume`` has looked at the mark.
    """
    cause = error.__cause__
    if isinstance(cause, libvirt.libvirtError) and cause.get_error_code() in _TAKEN:
        return StalledError(str(error))
    if door.find_volume(step.pool, step.volume) is None:
        return error
    return type(error)(f"{error}; a half-made volume was left")


def progress(
    connection: libvirt.virConnect, step: CreateVolume, source: VolumeSource
) -> Progress | None:
    """How far the copy has come: what the volume takes by now, of what its image takes.

    While a volume is being filled its pool lists it and tells its size like any other.
    """
    image = volume_in(connection.storagePoolLookupByName(source.pool), source.volume)
    copy = volume_in(connection.storagePoolLookupByName(step.pool), step.volume)
    total = image.info()[_ALLOCATION] if image is not None else 0
    if copy is None or not total:
        return None
    return Progress(done_bytes=min(copy.info()[_ALLOCATION], total), total_bytes=total)


def discard(door: Door, step: DiscardVolume) -> None:
    """Delete a volume that was never used, and make sure that it is one.

    The guest's own stored mark must say that we began to make it and did not finish, and no
    definition, stored or running, and no other volume may build on it.
    """
    volume = door.find_volume(step.pool, step.volume)
    if volume is None:
        return
    _require_unfinished(door, step)
    source = VolumeSource(pool=step.pool, volume=step.volume)
    path = volume.path()
    for user in users_of(door, source, path):
        raise RefusedError(f"{door.doing}: {user} uses it")
    door.write(volume.delete, 0)


def _require_unfinished(door: Door, step: DiscardVolume) -> None:
    domain = door.domain(step.uuid, step.guest)
    _, stored = door.stored(domain)
    disks = () if stored.mark is None else stored.mark.disks
    if not any(
        disk.ours and not disk.filled and (disk.pool, disk.volume) == (step.pool, step.volume)
        for disk in disks
    ):
        raise RefusedError(
            f"{door.doing}: the mark of {step.guest} does not say that its making was begun and "
            "not finished"
        )


def users_of(
    door: Door, source: VolumeSource, path: str, *, but: UUID | None = None
) -> Iterator[str]:
    """Who on this host refers to the volume, as a disk, in a mark, or as what it builds on.

    The domain ``but`` is not looked at: it is that guest's own volume.
    """
    for domain in door.connection.listAllDomains():
        if but is not None and domain.UUID() == but.bytes:
            continue
        stored = domain.XMLDesc(STORED_TEXT)
        texts = [stored]
        if domain.isActive():
            texts.append(domain.XMLDesc())
        if any(names(text, source, path) for text in texts) or _claims(stored, source):
            yield f"the guest {domain.name()!r}"
    active = libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
    for pool in door.connection.listAllStoragePools(active):
        for other in pool.listAllVolumes():
            if read_volume(other.XMLDesc()).backing == path:
                yield f"the volume {other.name()!r} in {pool.name()!r}"


def names(text: str, source: VolumeSource, path: str) -> bool:
    """Whether a domain's text names the volume, outside its metadata."""
    root = parse(text, "domain")
    for part in root:
        if part.tag == "metadata":
            continue
        for element in part.iter():
            if path in element.attrib.values() or element.text == path:
                return True
            if (element.get("pool"), element.get("volume")) == (source.pool, source.volume):
                return True
    return False


def _claims(stored: str, source: VolumeSource) -> bool:
    """Whether a domain's mark says that the volume is finished and needed.

    Only the stored text is asked: the mark of a running one is as old as its last start.
    """
    try:
        mark = read(stored, volumes=None).definition.mark
    except StalledError:
        return False  # no domain of a kind that we could have marked
    if mark is None:
        return False
    seeds = () if mark.seed is None or mark.seed.done else (mark.seed,)
    return any(
        one.filled and (one.pool, one.volume) == (source.pool, source.volume)
        for one in (*mark.disks, *seeds)
    )


def grow(door: Door, step: GrowVolume) -> None:
    """Make the volume larger while its guest is off; libvirt shrinks only when told to."""
    door.require("grow_stopped_volume")
    domain = door.domain(step.uuid, step.guest)
    if domain.isActive():
        raise TransientError(f"{door.doing}: {step.guest} runs, and would not notice")
    volume = door.find_volume(step.pool, step.volume)
    if volume is None:
        raise StalledError(f"{door.doing}: there is no volume {step.volume!r} in {step.pool!r}")
    if volume.info()[_CAPACITY] < step.capacity_bytes:
        door.write(volume.resize, step.capacity_bytes, 0)
