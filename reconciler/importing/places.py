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
    from reconciler.manifests.surroundings import Allowed
    from reconciler.manifests.writing import Wish
    from reconciler.model.desired import DesiredNetwork, DesiredWorld
    from reconciler.model.names import HostName, LibvirtPool
    from reconciler.model.observed import ObservedHost

_LIBVIRT_NAME: Final = re.compile(LIBVIRT_NAME)
_LONGEST_BRIDGE: Final = 15
DIRECTORIES: Final = frozenset({"dir", "fs", "netfs"})
"""libvirt's types of pool whose volumes are files in a directory, which a Storage can be."""


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
    _networks: dict[tuple[str, str], str] = field(default_factory=dict)

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
            case NetworkSource():
                sort, there = "libvirtNetwork", source.network
            case _:
                return None
        if not _LIBVIRT_NAME.fullmatch(there) or (
            sort == "bridge" and len(there) > _LONGEST_BRIDGE
        ):
            return None
        for network in self.world.networks.values():
            if _on(network, self.host.name) == (sort, there):
                return network.name
        if (sort, there) not in self._networks:
            taken = {*self.world.networks, *self._networks.values()}
            name = self._networks[sort, there] = self._name(there, taken, "network")
            self.files[f"networks/{name}.yaml"] = render_manifest(
                "Network", {"name": name}, {sort: there}
            )
        return self._networks[sort, there]

    def _name(self, there: str, taken: set[str], otherwise: str) -> str:
        """The name of the thing itself, or with its host's if another host has that already."""
        plain = allowed(there, (), otherwise=otherwise)
        return (
            plain
            if plain not in taken
            else allowed(f"{plain}-{self.host.name}", taken, otherwise=otherwise)
        )


def _on(network: DesiredNetwork, host: HostName) -> tuple[str, str]:
    sort = "bridge" if network.bridge is not None else "libvirtNetwork"
    plain = network.bridge if network.bridge is not None else network.libvirt_network
    return sort, network.hosts.get(host, plain or "")
