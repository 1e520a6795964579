"""What guests are built against: the repository, and its hosts, pools, storages and networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reconciler.manifests.entries import Complaint, Entry, dangling
from reconciler.manifests.kinds import Host, Network, Pool, Storage
from reconciler.manifests.suspending import suspension
from reconciler.model.desired import (
    Budget,
    DesiredHost,
    DesiredNetwork,
    DesiredPool,
    DesiredStorage,
    HostRole,
    HostState,
    PoolMode,
)
from reconciler.model.names import HostName, LibvirtPool, NetworkName, PoolName, StorageName
from reconciler.model.suspension import Covered, Scope
from reconciler.model.windows import Act, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from uuid import UUID

    from reconciler.manifests.construct import Key
    from reconciler.manifests.kinds.network import NetworkOnHost, NetworkSpec
    from reconciler.manifests.kinds.windows import PoolWindow
    from reconciler.manifests.problems import Problem

KIB = 1024

NamedT = TypeVar("NamedT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the controller's settings let manifests name; None where they are not known.

    ``kernel_prefixes`` are paths for ``boot.kernel``, ``device_prefixes`` and ``file_prefixes`` for
    a disk's ``device`` and ``file``, ``overlay_elements`` places for ``xml``,
    ``host_devices`` devices for ``hostDevices``, as ``dom0-a/pci/0000:03:00.0``.
    """

    kernel_prefixes: tuple[str, ...] | None = None
    device_prefixes: tuple[str, ...] | None = None
    file_prefixes: tuple[str, ...] | None = None
    overlay_elements: tuple[str, ...] | None = None
    host_devices: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that is not a guest; ``suspects`` are names that a faulty manifest may define."""

    repository: UUID
    hosts: Mapping[HostName, DesiredHost]
    pools: Mapping[PoolName, DesiredPool]
    storages: Mapping[StorageName, DesiredStorage]
    networks: Mapping[NetworkName, DesiredNetwork]
    suspects: frozenset[str] = frozenset()
    allowed: Allowed
    hypervisors: Mapping[PoolName, frozenset[str]]
    """By pool, the drivers (``xen``, ``qemu``) of its hosts that have not left."""

    def missing(self, names: Mapping[NamedT, object], name: NamedT) -> bool:
        """Whether ``name`` is surely not defined."""
        return name not in names and name not in self.suspects


def _hypervisors(hosts: Iterable[DesiredHost]) -> dict[PoolName, frozenset[str]]:
    found: dict[PoolName, set[str]] = {}
    for host in hosts:
        if host.state is not HostState.RETIRED:
            found.setdefault(host.pool, set()).add(driver_of(host))
    return {name: frozenset(drivers) for name, drivers in found.items()}


def driver_of(host: DesiredHost) -> str:
    """The hypervisor that the host's URI names."""
    return host.uri.split(":", 1)[0].split("+", 1)[0]


@dataclass(slots=True)
class SurroundingsBuilder:
    """Builds `Surroundings` out of entries; ``problems`` fills with what does not fit together."""

    entries: Mapping[str, Mapping[str, Entry]]
    """By kind, then by name."""

    suspects: frozenset[str]
    problems: list[Problem] = field(default_factory=list)

    def build(
        self,
        repository: UUID,
        allowed: Allowed,
    ) -> Surroundings:
        """Build everything that is not a guest."""
        pools = {name: self._pool(entry) for name, entry in self._of("Pool").items()}
        hosts = {name: self._host(entry) for name, entry in self._of("Host").items()}
        self._refuse_one_machine_twice(hosts)
        storages = {name: self._storage(entry) for name, entry in self._of("Storage").items()}
        networks = {name: self._network(entry) for name, entry in self._of("Network").items()}
        self._refuse_two_vlans_on_one_bridge(networks)
        return Surroundings(
            repository=repository,
            hosts={host.name: host for host in hosts.values()},
            pools={pool.name: pool for pool in pools.values()},
            storages={storage.name: storage for storage in storages.values()},
            networks={network.name: network for network in networks.values()},
            suspects=self.suspects,
            allowed=allowed,
            hypervisors=_hypervisors(hosts.values()),
        )

    def _of(self, kind: str) -> Mapping[str, Entry]:
        return self.entries.get(kind, {})

    def _complain(self, entry: Entry, complaint: Complaint) -> None:
        self.problems.append(entry.problem(complaint))

    def _check(self, entry: Entry, path: tuple[Key, ...], kind: str, name: str) -> None:
        if name not in self._of(kind) and name not in self.suspects:
            at_key = path[-1] == name
            self._complain(entry, dangling(path, kind, name, self._of(kind), at_key=at_key))

    def _pool(self, entry: Entry) -> DesiredPool:
        manifest = entry.document.read()
        assert isinstance(manifest, Pool)  # noqa: S101 - the key of the entry says so
        spec = manifest.spec
        return DesiredPool(
            name=PoolName(manifest.metadata.name),
            mode=PoolMode(spec.mode),
            budget=Budget(
                deletions=spec.budget.deletions,
                restarts=spec.budget.restarts,
                percent=spec.budget.percent,
            ),
            overcommit_cpus=spec.overcommit.cpus,
            trash_keep_s=spec.trash.keep,
            origin=entry.origin,
            suspend=suspension(
                spec.suspend, entry, Covered(scope=Scope.POOL, name=manifest.metadata.name)
            ),
            windows=tuple(map(_window, spec.windows)),
        )

    def _host(self, entry: Entry) -> DesiredHost:
        manifest = entry.document.read()
        assert isinstance(manifest, Host)  # noqa: S101 - the key of the entry says so
        spec = manifest.spec
        self._check(entry, ("spec", "pool"), "Pool", spec.pool)
        return DesiredHost(
            name=HostName(manifest.metadata.name),
            uri=spec.uri,
            uuid=spec.host_uuid,
            pool=PoolName(spec.pool),
            role=HostRole(spec.role),
            state=HostState(spec.state),
            reserve_memory_kib=-(-spec.reserve.memory // KIB),
            reserve_cpus=spec.reserve.cpus,
            labels=manifest.metadata.labels,
            origin=entry.origin,
        )

    def _refuse_one_machine_twice(self, hosts: Mapping[str, DesiredHost]) -> None:
        """A machine under two names could be given one guest twice (promise 1)."""
        seen: dict[object, str] = {}
        for name, host in sorted(hosts.items()):
            entry = self._of("Host")[name]
            for field_name, value in (("uri", host.uri), ("hostUUID", host.uuid)):
                if value is None:
                    continue
                other = seen.setdefault((field_name, value), name)
                if other != name:
                    place = self._of("Host")[other].place_of("spec", field_name)
                    self._complain(
                        entry,
                        Complaint(
                            path=("spec", field_name),
                            message=f'"{value}" is already host "{other}", {place}',
                            hint="one machine has one manifest",
                        ),
                    )

    def _storage(self, entry: Entry) -> DesiredStorage:
        manifest = entry.document.read()
        assert isinstance(manifest, Storage)  # noqa: S101 - the key of the entry says so
        spec = manifest.spec
        for host in spec.hosts:
            self._check(entry, ("spec", "hosts", host), "Host", host)
        return DesiredStorage(
            name=StorageName(manifest.metadata.name),
            libvirt_pool=LibvirtPool(spec.libvirt_pool or manifest.metadata.name),
            hosts={
                HostName(host): LibvirtPool(there.libvirt_pool)
                for host, there in spec.hosts.items()
            },
            shared=spec.shared,
            origin=entry.origin,
        )

    def _network(self, entry: Entry) -> DesiredNetwork:
        manifest = entry.document.read()
        assert isinstance(manifest, Network)  # noqa: S101 - the key of the entry says so
        spec = manifest.spec
        for complaint in _one_of("spec", spec):
            self._complain(entry, complaint)
        if spec.openvswitch and spec.bridge is None and spec.libvirt_network is not None:
            self._complain(
                entry,
                Complaint(
                    path=("spec", "openvswitch"),
                    message="means nothing beside libvirtNetwork, which knows by itself what it is",
                    hint="take it out, or name the bridge",
                ),
            )
        by_host: dict[HostName, str] = {}
        for host, there in spec.hosts.items():
            self._check(entry, ("spec", "hosts", host), "Host", host)
            for complaint in _same_sort(host, there, spec):
                self._complain(entry, complaint)
            by_host[HostName(host)] = there.bridge or there.libvirt_network or ""
        return DesiredNetwork(
            name=NetworkName(manifest.metadata.name),
            bridge=spec.bridge,
            libvirt_network=spec.libvirt_network,
            hosts=by_host,
            origin=entry.origin,
            vlan=spec.vlan,
            openvswitch=spec.openvswitch,
        )

    def _refuse_two_vlans_on_one_bridge(self, networks: Mapping[str, DesiredNetwork]) -> None:
        """A plain bridge is in one VLAN: a tag that libvirt cannot set there is asked of nobody."""
        seen: dict[tuple[HostName | None, str], DesiredNetwork] = {}
        for name, network in sorted(networks.items()):
            for place in _bridges(network):
                other = seen.setdefault(place, network)
                if other is network or _get_along(network, other):
                    continue
                entry, there = self._of("Network")[name], self._of("Network")[other.name]
                self._complain(entry, _two_vlans(place[1], network, other, there))
                break


def _window(spec: PoolWindow) -> Window:
    return Window(
        allows=spec.allow is not None,
        cron=spec.allow or spec.deny or "",
        open_s=spec.open_for,
        zone=spec.zone,
        acts=frozenset(map(Act, spec.acts)),
    )


def _bridges(network: DesiredNetwork) -> Iterator[tuple[HostName | None, str]]:
    """The bridges of a network, each with the host that calls it so; None for all the others."""
    if network.bridge is not None:
        yield None, network.bridge
        yield from network.hosts.items()


def _get_along(one: DesiredNetwork, other: DesiredNetwork) -> bool:
    """Whether both may be said of one bridge."""
    if bool(one.openvswitch) is not bool(other.openvswitch):
        return False
    return bool(one.openvswitch) or None in (one.vlan, other.vlan) or one.vlan == other.vlan


def _two_vlans(
    bridge: str, network: DesiredNetwork, other: DesiredNetwork, there: Entry
) -> Complaint:
    if bool(network.openvswitch) is not bool(other.openvswitch):
        is_one = "an" if other.openvswitch else "no"
        return Complaint(
            path=("spec", "bridge"),
            message=f'"{bridge}" is {is_one} Open vSwitch in network "{other.name}",'
            f" {there.place_of('spec', 'bridge')}",
            hint="write openvswitch the same in both",
        )
    return Complaint(
        path=("spec", "vlan"),
        message=f'"{bridge}" is VLAN {other.vlan} in network "{other.name}",'
        f" {there.place_of('spec', 'vlan')}, and a plain bridge cannot tag",
        hint="give each VLAN its own bridge, or write openvswitch: true",
    )


def _one_of(path: str, spec: NetworkSpec) -> list[Complaint]:
    if spec.bridge is None and spec.libvirt_network is None:
        return [
            Complaint(
                path=(path,),
                message="neither bridge nor libvirtNetwork is said",
                hint="write one of them",
            )
        ]
    if spec.bridge is not None and spec.libvirt_network is not None:
        return [
            Complaint(
                path=(path, "libvirtNetwork"),
                message="both bridge and libvirtNetwork are said",
                hint="keep one of them",
            )
        ]
    return []


def _same_sort(host: str, there: NetworkOnHost, spec: NetworkSpec) -> list[Complaint]:
    wanted = "bridge" if spec.bridge is not None else "libvirtNetwork"
    said = {
        name
        for name, value in (("bridge", there.bridge), ("libvirtNetwork", there.libvirt_network))
        if value is not None
    }
    if said == {wanted}:
        return []
    return [
        Complaint(
            path=("spec", "hosts", host),
            message=f"a host may call the network otherwise, but it stays a {wanted}",
            hint=f"write {wanted}, and nothing else",
        )
    ]
