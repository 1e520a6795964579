"""What every step is carried out with: a connection, the gate, and the driver's row.

One ``Door`` lives for one step. The rooms that carry steps out (``definitions``, ``running``,
``devices``, ``volumes``) take it as their first argument, read freely, and write only through it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import libvirt

from reconciler.domxml import read
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.hypervisor.guests import STORED_TEXT
from reconciler.model.crossing import Side, crossing, unwatched
from reconciler.model.definition import VolumeSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    from reconciler.hypervisor.gate import Gate
    from reconciler.hypervisor.node import Identity
    from reconciler.model.crossing import Watch
    from reconciler.model.definition import Disk, GuestDefinition
    from reconciler.model.names import GuestName, HostName, LibvirtPool, VolumeName
    from reconciler.model.steps import Step

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way to one host while ``step`` is carried out; ``doing`` is that step in words.

    ``watch`` is told of each writing call before and after it; see Note [Crossings] in the model.
    """

    host: HostName
    step: Step
    doing: str
    connection: libvirt.virConnect
    gate: Gate
    identity: Identity
    watch: Watch = unwatched

    def write(self, call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Make one writing call through the gate."""
        act = call.__name__.strip("_")
        self.cross(Side.BEFORE, act)
        result = self.gate.write(self.doing, call, *args, **kwargs)
        self.cross(Side.AFTER, act)
        return result

    def cross(self, side: Side, act: str) -> None:
        """Say where the step has come to."""
        self.watch(crossing(self.step, side, act))

    def require(self, capability: str) -> None:
        """Let the step on only if the driver has ``capability``.

        Raises:
            RefusedError: it has not; the reason stands in the table.

        """
        row = TABLE[self.identity.driver]
        if not getattr(row.capabilities, capability):
            raise RefusedError(f"{self.doing}: {row.because[capability]}")

    def find_domain(self, uuid: UUID) -> libvirt.virDomain | None:
        """The domain with ``uuid``, or None."""
        try:
            domain = self.connection.lookupByUUID(uuid.bytes)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        if self.identity.driver is Driver.XEN and domain.ID() == 0:
            raise RefusedError(f"{self.doing}: Domain-0 is the host itself")
        return domain

    def domain(self, uuid: UUID, name: GuestName) -> libvirt.virDomain:
        """The domain with ``uuid``.

        Raises:
            TransientError: it is not there (any more): look again.

        """
        domain = self.find_domain(uuid)
        if domain is None:
            raise TransientError(f"{self.doing}: there is no domain of {name} on {self.host}")
        return domain

    def running_domain(self, uuid: UUID, name: GuestName) -> libvirt.virDomain:
        """The domain with ``uuid``, which must be running.

        Raises:
            TransientError: it is not there or does not run (any more): look again.

        """
        domain = self.domain(uuid, name)
        if not domain.isActive():
            raise TransientError(f"{self.doing}: {name} does not run")
        return domain

    def pool(self, name: LibvirtPool) -> libvirt.virStoragePool:
        """The storage pool ``name``, which must be active.

        Raises:
            StalledError: it is not defined or not active; starting pools is the administrator's.

        """
        pool = self.connection.storagePoolLookupByName(name)
        if not pool.isActive():
            raise StalledError(f"{self.doing}: the storage pool {name!r} is not active")
        return pool

    def find_volume(self, pool: LibvirtPool, name: VolumeName) -> libvirt.virStorageVol | None:
        """The volume ``name`` of an active pool, or None."""
        return volume_in(self.pool(pool), name)

    def volume_at(self, path: str) -> VolumeSource | None:
        """The volume that lies at ``path``, if a pool holds it."""
        try:
            volume = self.connection.storageVolLookupByPath(path)
            pool = volume.storagePoolLookupByVolume()
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
                return None
            raise
        return VolumeSource(pool=pool.name(), volume=volume.name())

    def paths_for(self, disks: Iterable[Disk]) -> Mapping[tuple[LibvirtPool, VolumeName], str]:
        """Where the volumes of ``disks`` lie.

        Drivers that know only paths need them all. Others need none, but a disk that somebody told
        them by its path is known by it, and is left as it is told.

        Raises:
            StalledError: a volume that must be told by its path is not there.

        """
        needed = not TABLE[self.identity.driver].capabilities.volume_sources
        sources = [disk.source for disk in disks if isinstance(disk.source, VolumeSource)]
        paths: dict[tuple[LibvirtPool, VolumeName], str] = {}
        for source in sources:
            volume = self.find_volume(source.pool, source.volume) if needed else self._seen(source)
            if volume is not None:
                paths[source.pool, source.volume] = volume.path()
            elif needed:
                raise StalledError(
                    f"{self.doing}: there is no volume {source.volume!r} in {source.pool!r}"
                )
        return paths

    def _seen(self, source: VolumeSource) -> libvirt.virStorageVol | None:
        """The volume, or None where it or its pool is not there or not to be asked now."""
        try:
            pool = self.connection.storagePoolLookupByName(source.pool)
            return volume_in(pool, source.volume) if pool.isActive() else None
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_POOL:
                return None
            raise

    def stored(self, domain: libvirt.virDomain) -> tuple[str, GuestDefinition]:
        """The stored text, secrets included, and what it says."""
        text = domain.XMLDesc(STORED_TEXT)
        return text, read(text, volumes=self.volume_at).definition

    def live(self, domain: libvirt.virDomain) -> tuple[str, GuestDefinition]:
        """The running definition's text, secrets included, and what it says."""
        text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
        return text, read(text, volumes=self.volume_at).definition


def volume_in(pool: libvirt.virStoragePool, name: VolumeName) -> libvirt.virStorageVol | None:
    """The volume ``name`` of ``pool``, or None."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_STORAGE_VOL:
            return None
        raise
