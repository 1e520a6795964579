"""Observe a host's storage pools and their volumes.

libvirt's list of a pool's volumes is as old as the pool's last refresh, while what it says of one
volume is fresh. To ask it of each costs as much as to ask for every guest's text, so what it said
is remembered for some minutes; which volumes there are is asked every time, and a step that makes,
removes or grows one has all of them asked again. Observing does not refresh: that is a writing
call, it opens every file of the pool, and libvirt denies it while a volume is being filled. A file
that was put there behind libvirt's back is found by ``DefineGuest``, which refreshes before it
claims a volume's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import libvirt

from reconciler.errors import TransientError
from reconciler.hypervisor.storagexml import read_pool, read_volume
from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.observed import ObservedPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.names import LibvirtPool, VolumeName
    from reconciler.model.observed import ObservedVolume


_KNOWN_FOR_S = 150
"""For how long at least what a volume said is believed; a volume grown by hand shows after that."""

_Place = tuple[str, str]
"""The names of a pool and of a volume in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPools:
    """All pools by name, and every volume by its path; of two pools in one place the first wins."""

    pools: Mapping[LibvirtPool, ObservedPool]
    by_path: Mapping[str, VolumeSource]

    def source_of(self, path: str) -> VolumeSource | None:
        """The volume at ``path``, if a pool holds it."""
        return self.by_path.get(path)

    def volume(self, source: VolumeSource) -> ObservedVolume | None:
        """What was seen of the volume that ``source`` names."""
        pool = self.pools.get(source.pool)
        return None if pool is None else pool.volumes.get(source.volume)


class VolumeMemo:
    """What volumes said of themselves; it may be lost at any time, and by any thread."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._known: dict[_Place, _Known] = {}

    def forget(self) -> None:
        """Ask all of them again; also what an observation under way has asked already."""
        self._known = {}

    def page(self) -> dict[_Place, _Known]:
        """Where one observation looks things up and writes them down."""
        return self._known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    volume: ObservedVolume
    key: str
    until: datetime


def observe_pools(connection: libvirt.virConnect, memo: VolumeMemo, now: datetime) -> ObservedPools:
    """Ask for every pool, for the names of all volumes, and for what is not known of them.

    Raises:
        TransientError: a pool or a volume changed while it was looked at.

    """
    page = memo.page()
    listed = connection.listAllStoragePools()
    active = {
        pool.UUIDString()
        for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    }
    pools: dict[LibvirtPool, ObservedPool] = {}
    for pool in sorted(listed, key=lambda pool: pool.name()):
        text = read_pool(pool.XMLDesc())
        is_active = pool.UUIDString() in active
        pools[text.name] = ObservedPool(
            name=text.name,
            active=is_active,
            type=text.type,
            path=text.path,
            available_bytes=text.available_bytes,
            volumes=_observe_volumes(pool, page, now) if is_active else {},
        )
    by_path: dict[str, VolumeSource] = {}
    for name, seen in pools.items():
        for volume in seen.volumes.values():
            source = VolumeSource(
                pool=name, volume=volume.name, format=volume.format or DiskFormat.RAW
            )
            by_path.setdefault(volume.path, source)
    return ObservedPools(pools=pools, by_path=by_path)


def _observe_volumes(
    pool: libvirt.virStoragePool, page: dict[_Place, _Known], now: datetime
) -> Mapping[VolumeName, ObservedVolume]:
    seen: dict[VolumeName, ObservedVolume] = {}
    vanished: set[str] = set()
    known = {place: one for place, one in page.items() if place[0] == pool.name()}
    for volume in pool.listAllVolumes():
        place, key = (pool.name(), volume.name()), volume.key()
        before = known.pop(place, None)
        if before is not None and before.key == key and now < before.until:
            seen[before.volume.name] = before.volume
            continue
        try:
            text = read_volume(volume.XMLDesc())
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
            vanished.add(volume.name())
        else:
            seen[text.observed.name] = text.observed
            spread = crc32(key.encode()) % _KNOWN_FOR_S  # not all of them at once
            until = now + timedelta(seconds=_KNOWN_FOR_S + spread)
            page[place] = _Known(volume=text.observed, key=key, until=until)
    for place in known:
        page.pop(place, None)
    if vanished and not vanished.isdisjoint(volume.name() for volume in pool.listAllVolumes()):
        raise TransientError(f"volumes of {pool.name()!r} came and went while it was looked at")
    return seen
