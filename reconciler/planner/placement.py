"""Place: on which host a guest that exists nowhere is made (third stage, across guests).

A host is asked in turn for everything that the guest needs of it, and each host that is passed over
is named with its reason. Of the hosts that remain, the one with the most free memory wins, then the
first by name, so that the same worlds always give the same placement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.definition import DomainType, GuestType
from reconciler.model.desired import CdromDisk, GuestState, HostState, VolumeDisk
from reconciler.model.mark import Phase
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Label,
    PlannedStep,
    Reason,
    Sync,
)
from reconciler.model.steps import DefineGuest
from reconciler.planner import words
from reconciler.planner.case import Verdict
from reconciler.planner.obstacles import cannot_adopt
from reconciler.planner.wanted import Wanted, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredGuest, DesiredHost, DesiredWorld
    from reconciler.model.memory import Failure, Memory
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedWorld


class Placing:
    """Places one guest after another, remembering what the earlier ones have taken."""

    def __init__(
        self,
        world: DesiredWorld,
        observed: ObservedWorld,
        *,
        taken_kib: Mapping[HostName, int],
        memory: Memory,
        now: datetime,
    ) -> None:
        """``taken_kib`` is the memory that operations under way hold on each host."""
        self._world = world
        self._observed = observed
        self._taken_kib = dict(taken_kib)
        self._taken_cpus: dict[HostName, int] = {}
        self._promised_kib: dict[HostName, int] = {}
        self._used_cpus: dict[HostName, int] = {}
        self._memory = memory
        self._now = now

    def place(self, guest: DesiredGuest) -> Verdict:
        """Define the guest on the best host, or say of each host why it cannot be there."""
        failure = self._memory.failures.get(guest.name)
        if failure is not None and not failure.optional and failure.intent == guest.intent:
            if failure.stalled:
                return _waiting(guest, Reason.STALLED, failure, Fate.REFUSED)
            if self._now < failure.retry_at:
                return _waiting(guest, Reason.BACKOFF, failure, Fate.WAITING)
        fitting: list[tuple[int, HostName, ObservedHost, Wanted]] = []
        refusals: list[str] = []
        for manifest in self._candidates(guest):
            if manifest.state is not HostState.ACTIVE:
                refusals.append(f"{manifest.name} is {manifest.state}")
                continue
            host = self._observed.hosts.get(manifest.name)
            if not isinstance(host, ObservedHost):
                refusals.append(f"{manifest.name} is silent")
                continue
            why = next(self._obstacles(guest, manifest, host), None)
            if why is not None:
                refusals.append(f"{manifest.name} {why}")
                continue
            resolved = wanted(guest, host, self._world, self._memory, self._now, None)
            if resolved.blocked:
                refusals.append(f"{manifest.name}: {resolved.refusals[-1].message}")
                continue
            fitting.append((-self._free_kib(manifest, host), host.name, host, resolved))
        if not fitting:
            why = "; ".join(refusals) or f"pool {guest.pool} has no active host"
            return _nowhere(guest, why)
        _, _, host, resolved = min(fitting, key=lambda one: one[:2])
        self._taken_kib[host.name] = self._taken_kib.get(host.name, 0) + guest.memory.size_kib
        self._taken_cpus[host.name] = self._taken_cpus.get(host.name, 0) + guest.cpus.count
        return self._verdict(guest, host, resolved)

    def _candidates(self, guest: DesiredGuest) -> Iterator[DesiredHost]:
        for name in sorted(self._world.hosts):
            host = self._world.hosts[name]
            pinned = guest.host == name
            if pinned or (guest.host is None and host.pool == guest.pool):
                yield host

    def _free_kib(self, manifest: DesiredHost, host: ObservedHost) -> int:
        taken = self._taken_kib.get(host.name, 0)
        if host.name not in self._promised_kib:
            self._promised_kib[host.name] = sum(
                other.stored.memory.size_kib
                for other in host.guests.values()
                if not other.active
                and other.stored is not None
                and other.mark is not None
                and other.mark.phase is Phase.CREATING
            )
        promised = self._promised_kib[host.name]
        return host.free_memory_kib - manifest.reserve_memory_kib - taken - promised

    def _obstacles(
        self, guest: DesiredGuest, manifest: DesiredHost, host: ObservedHost
    ) -> Iterator[str]:
        xen = host.domain_type is DomainType.XEN
        type_ = guest.type or (GuestType.PVH if xen else GuestType.HVM)
        if (type_, guest.arch) not in host.guest_types:
            yield f"runs no {type_} guests for {guest.arch}"
        free = self._free_kib(manifest, host)
        if guest.state is GuestState.RUNNING and guest.memory.size_kib > free:
            yield (
                f"has {words.memory(max(free, 0))} of memory free,"
                f" {words.memory(guest.memory.size_kib)} are needed"
            )
        yield from self._cpu_obstacle(guest, manifest, host)
        yield from self._storage_obstacles(guest, host)
        yield from self._network_obstacles(guest, host)

    def _cpu_obstacle(
        self, guest: DesiredGuest, manifest: DesiredHost, host: ObservedHost
    ) -> Iterator[str]:
        overcommit = self._world.pools[guest.pool].overcommit_cpus
        if host.name not in self._used_cpus:
            self._used_cpus[host.name] = sum(
                other.live.vcpus.count for other in host.guests.values() if other.live is not None
            )
        used = self._taken_cpus.get(host.name, 0) + self._used_cpus[host.name]
        most = int((host.cpus - manifest.reserve_cpus) * overcommit)
        if used + guest.cpus.count > most:
            yield f"has {max(most - used, 0)} virtual CPUs free, {guest.cpus.count} are needed"

    def _storage_obstacles(self, guest: DesiredGuest, host: ObservedHost) -> Iterator[str]:
        for disk in guest.disks:
            match disk:
                case VolumeDisk():
                    pool = self._world.storages[disk.storage].on(host.name)
                    found = host.pools.get(pool)
                    if found is None or not found.active:
                        yield f"has no active storage pool {pool}"
                    elif disk.adopt:
                        why = cannot_adopt(disk, found, host, guest.uuid)
                        if why:
                            yield why
                    elif disk.volume in found.volumes:
                        yield (
                            f"has a volume {pool}/{disk.volume} already;"
                            " domops never takes or overwrites one unless the disk says adopt: true"
                        )
                    yield from self._image_obstacle(disk, host)
                case CdromDisk(storage=storage, volume=volume) if storage and volume:
                    pool = self._world.storages[storage].on(host.name)
                    found = host.pools.get(pool)
                    if found is None or volume not in found.volumes:
                        yield f"has no volume {pool}/{volume}"
                case _:
                    continue

    def _image_obstacle(self, disk: VolumeDisk, host: ObservedHost) -> Iterator[str]:
        if disk.image is None:
            return
        pool = self._world.storages[disk.image.storage].on(host.name)
        found = host.pools.get(pool)
        image = found.volumes.get(disk.image.volume) if found else None
        if image is None:
            yield f"has no image {pool}/{disk.image.volume}"
        elif image.capacity_bytes > disk.size_bytes:
            yield (
                f"has an image {pool}/{disk.image.volume} of {words.size(image.capacity_bytes)},"
                f" larger than disk {disk.name}"
            )

    def _network_obstacles(self, guest: DesiredGuest, host: ObservedHost) -> Iterator[str]:
        for nic in guest.nics:
            network = self._world.networks[nic.network]
            name = network.hosts.get(host.name)
            if network.bridge is not None:
                bridge = name or network.bridge
                if host.bridges is not None and bridge not in host.bridges:
                    yield f"has no bridge {bridge}"
            elif not host.networks.get(name or network.libvirt_network or ""):
                yield f"has no active network {name or network.libvirt_network}"

    def _verdict(self, guest: DesiredGuest, host: ObservedHost, resolved: Wanted) -> Verdict:
        change = _creation(guest, f"on {host.name}")
        step = DefineGuest(
            host=host.name,
            guest=guest.name,
            uuid=guest.uuid,
            definition=resolved.definition,
            replaces=None,
        )
        planned = PlannedStep(
            step=step,
            pool=guest.pool,
            changes=(change,),
            disruptive=False,
            commit=self._world.commit.sha,
        )
        return Verdict(status=_status(guest, (change,), host.name), step=planned)


def _creation(guest: DesiredGuest, after: str) -> Change:
    return Change(
        guest=guest.name,
        field="",
        before="missing",
        after=after,
        label=Label.CREATE,
        fate=Fate.NOW,
        origin=guest.origin,
    )


def _nowhere(guest: DesiredGuest, why: str) -> Verdict:
    change = Change(
        guest=guest.name,
        field="",
        before="missing",
        after=f"in pool {guest.pool}",
        label=Label.CREATE,
        fate=Fate.WAITING,
        reason=Reason.NO_PLACE,
        message=why,
        origin=guest.origin,
    )
    return Verdict(status=_status(guest, (change,), None))


def _waiting(guest: DesiredGuest, reason: Reason, failure: Failure, fate: Fate) -> Verdict:
    change = Change(
        guest=guest.name,
        field="",
        before="missing",
        after=f"in pool {guest.pool}",
        label=Label.CREATE,
        fate=fate,
        reason=reason,
        message=failure.message,
        until=None if failure.stalled else failure.retry_at,
        origin=guest.origin,
    )
    return Verdict(status=_status(guest, (change,), None))


def _status(guest: DesiredGuest, changes: tuple[Change, ...], host: HostName | None) -> GuestStatus:
    return GuestStatus(
        guest=guest.name,
        host=host,
        type=guest.type or "auto",
        state="missing",
        stored=Sync.NO,
        live=Sync.NO,
        healthy=Health.NO if guest.state is GuestState.RUNNING else Health.YES,
        operation=None,
        phase=None,
        changes=changes,
    )
