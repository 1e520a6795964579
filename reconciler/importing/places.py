"""Storages and networks for what guests refer to: the repository's own, or new ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.importing.names import allowed
from reconciler.manifests.fields import LIBVIRT_NAME
from reconciler.manifests.writing import render_manifest
from reconciler.model.definition import BridgeSource, NetworkSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.surroundings import Allowed
    from reconciler.manifests.writing import Wish
    from reconciler.model.desired import DesiredNetwork, DesiredWorld
    from reconciler.model.names import HostName, LibvirtPool
    from reconciler.model.observed import ObservedHost

_LIBVIRT_NAME: Final = re.compile(LIBVIRT_NAME)
_LONGEST_BRIDGE: Final = 15
DIRECTORIES: Final = frozenset({"dir", "fs", "netfs"})
"""libvirt's types of pool whose volumes are files in a directory, which a Storage can be."""


@dataclass(frozen=True, slots=True)
class _End:
    """The other end of a card: a bridge or a network of libvirt's, by name.

    ``openvswitch`` is whether it is a port of a switch, in ``vlan`` if that is tagged; None where
    nobody says, so that each card's port stays as it is.
    """

    sort: str
    there: str
    openvswitch: bool | None = None
    vlan: int | None = None

    def disagrees(self, other: _End) -> bool:
        """Whether one of the two says that the bridge is a switch, and the other that it is not."""
        same = (self.sort, self.there) == (other.sort, other.there)
        return same and self.openvswitch is not None and self.openvswitch != other.openvswitch

    def spec(self) -> Mapping[str, Wish]:
        """What a manifest says of it."""
        said: dict[str, Wish] = {self.sort: self.there}
        if self.openvswitch:
            said["openvswitch"] = True
        if self.vlan is not None:
            said["vlan"] = self.vlan
        return said


@dataclass(slots=True, kw_only=True)
class Places:
    """What guests of ``host`` refer to; ``files`` fills with manifests that were missing.

    ``allowed`` are the paths of hosts that the controller lets manifests name.
    """

    world: DesiredWorld
    host: ObservedHost
    allowed: Allowed
    files: dict[str, str] = field(default_factory=dict)
    _storages: dict[LibvirtPool, str] = field(default_factory=dict)
    _networks: dict[_End, str] = field(default_factory=dict)

    def storage(self, pool: LibvirtPool) -> str | None:
        """The Storage that this host's pool is, made if there is none; None if it cannot be one."""
        seen = self.host.pools.get(pool)
        if seen is None or seen.type not in DIRECTORIES or not _LIBVIRT_NAME.fullmatch(pool):
            return None
        for storage in self.world.storages.values():
            if storage.on(self.host.name) == pool:
                return storage.name
        if pool not in self._storages:
            taken = {*self.world.storages, *self._storages.values()}
            name = self._storages[pool] = self._name(pool, taken, "storage")
            spec: dict[str, Wish] = {"type": "dir", "libvirtPool": pool}
            self.files[f"storages/{name}.yaml"] = render_manifest("Storage", {"name": name}, spec)
        return self._storages[pool]

    def network(self, source: object) -> str | None:
        """The Network that a card's other end is, made if there is none; None if there is no word.

        A Network that the repository has under the same name for something else is not touched.
        """
        match source:
            case BridgeSource():
                sort, there = "bridge", source.bridge
                end = _End(sort, there, source.openvswitch, source.vlan)
            case NetworkSource():
                sort, there = "libvirtNetwork", source.network
                end = _End(sort, there)
            case _:
                return None
        if not _LIBVIRT_NAME.fullmatch(there) or (
            sort == "bridge" and len(there) > _LONGEST_BRIDGE
        ):
            return None
        known = {
            network.name: _on(network, self.host.name) for network in self.world.networks.values()
        }
        # One that says which port of a switch it is, before one that leaves that to the card.
        for called, one in sorted(known.items(), key=lambda pair: pair[1].openvswitch is None):
            if one in (end, _End(sort, there)):
                return called
        if any(one.disagrees(end) for one in known.values()):
            return None
        if end not in self._networks:
            taken = {*self.world.networks, *self._networks.values()}
            wish = there if end.vlan is None else f"{there}-{end.vlan}"
            name = self._networks[end] = self._name(wish, taken, "network")
            self.files[f"networks/{name}.yaml"] = render_manifest(
                "Network", {"name": name}, end.spec()
            )
        return self._networks[end]

    def _name(self, there: str, taken: set[str], otherwise: str) -> str:
        """The name of the thing itself, or with its host's if another host has that already."""
        plain = allowed(there, (), otherwise=otherwise)
        return (
            plain
            if plain not in taken
            else allowed(f"{plain}-{self.host.name}", taken, otherwise=otherwise)
        )


def _on(network: DesiredNetwork, host: HostName) -> _End:
    """What the Network is on this host, which may call it otherwise."""
    if network.bridge is None:
        there = network.hosts.get(host, network.libvirt_network or "")
        return _End("libvirtNetwork", there)
    there = network.hosts.get(host, network.bridge)
    if network.openvswitch is None:
        return _End("bridge", there)
    return _End("bridge", there, network.openvswitch, network.vlan if network.openvswitch else None)
