"""Carry out the steps on seeds: make one, readable by root alone, and remove one.

A seed may hold secrets. Its volume is closed to everybody else before the first byte is written,
and what it held is overwritten before the volume is deleted, because the next volume of a group may
be given the same blocks.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import libvirt

from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    UnknownOutcomeError,
)
from reconciler.hypervisor.door import volume_in
from reconciler.hypervisor.nocloud import render_seed
from reconciler.hypervisor.storagexml import render_volume
from reconciler.hypervisor.volumes import users_of
from reconciler.model.crossing import Side
from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.seed import SEED_CAPACITY_BYTES

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.steps import CreateSeed, RemoveSeed

_PIECE_BYTES = 1 << 16
"""How much is sent at once: less than the smallest seed."""


def create(door: Door, step: CreateSeed) -> None:
    """Make the volume and write the seed to it; what could not be finished is taken away."""
    door.require("volume_upload")
    pool = door.pool(step.pool)
    if volume_in(pool, step.volume) is not None:
        raise StalledError(f"{door.doing}: it is there already, and is never overwritten")
    image = render_seed(step.data, instance=step.instance, hostname=step.guest)
    text = render_volume(
        step.volume,
        capacity_bytes=SEED_CAPACITY_BYTES,
        format=DiskFormat.RAW,
        root_only=True,
    )
    volume = door.write(pool.createXML, text, 0)
    try:
        door.write(_upload, door, volume, image)
    except UnknownOutcomeError:
        raise
    except DomopsError:
        # Made by this very call, named by no definition: nobody can have used it.
        door.write(volume.delete, 0)
        raise


def _upload(door: Door, volume: libvirt.virStorageVol, content: bytes) -> None:
    stream = door.connection.newStream(0)
    rest = memoryview(content)

    def give(_stream: object, count: int, _opaque: object) -> bytes:
        nonlocal rest
        if rest and len(rest) < len(content):
            door.cross(Side.AMID, "upload")
        count = min(count, _PIECE_BYTES)
        piece, rest = rest[:count], rest[count:]
        return bytes(piece)

    volume.upload(stream, 0, len(content), 0)
    try:
        stream.sendAll(give, None)
    except libvirt.libvirtError:
        with contextlib.suppress(libvirt.libvirtError):  # it may have ended by itself
            stream.abort()
        raise
    stream.finish()


def remove(door: Door, step: RemoveSeed) -> None:
    """Delete a seed that was never finished or whose work is done, and make sure that it is one.

    The guest's own stored mark must say so, and no definition, stored or running, and no other
    volume may build on it.
    """
    volume = door.find_volume(step.pool, step.volume)
    if volume is None:
        return
    _, stored = door.stored(door.domain(step.uuid, step.guest))
    seed = stored.mark.seed if stored.mark is not None else None
    if (
        seed is None
        or (seed.pool, seed.volume) != (step.pool, step.volume)
        or (seed.filled and not seed.done)
    ):
        raise RefusedError(
            f"{door.doing}: the mark of {step.guest} does not say that it is a seed that was"
            " begun and not finished, or one whose work is done"
        )
    source = VolumeSource(pool=step.pool, volume=step.volume)
    for user in users_of(door, source, volume.path()):
        raise RefusedError(f"{door.doing}: {user} uses it")
    with contextlib.suppress(RefusedError):  # a driver that overwrites nothing
        door.write(volume.wipe, 0)
    door.write(volume.delete, 0)
