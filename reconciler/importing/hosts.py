"""The host that is imported: one of the repository, or a new one with a manifest of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reconciler.errors import RefusedError
from reconciler.importing.names import allowed
from reconciler.manifests.kinds.host import check_uri
from reconciler.manifests.writing import render_manifest
from reconciler.model.names import HostName, PoolName

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host to look at; ``pool`` is that of its new manifest, None where it has one already."""

    name: HostName
    uri: str
    pool: PoolName | None

    def manifests(self, seen: ObservedHost) -> dict[str, str]:
        """The manifest of a host that has none yet."""
        if self.pool is None:
            return {}
        spec = {"uri": self.uri, "hostUUID": str(seen.uuid), "pool": self.pool}
        return {f"hosts/{self.name}.yaml": render_manifest("Host", {"name": self.name}, spec)}


def find_place(address: str, world: DesiredWorld, pool: str | None) -> Place:
    """The host that ``address``, a name or a libvirt URI, means.

    Raises:
        RefusedError: there is no such host, or no telling in which pool a new one belongs.

    """
    host = world.hosts.get(HostName(address)) or next(
        (one for one in world.hosts.values() if one.uri == address), None
    )
    if host is not None:
        return Place(name=host.name, uri=host.uri, pool=None)
    if "://" not in address:
        known = ", ".join(sorted(world.hosts)) or "none"
        raise RefusedError(
            f"the repository has no host {address} (its hosts: {known}); give a libvirt URI, as in"
            " xen+tls://dom0-a.example.org/system."
        )
    try:
        uri = check_uri(address)
    except ValueError as error:
        raise RefusedError(f"{address[:200]}: {error}") from error
    parts = urlsplit(uri)
    address, _, rest = (parts.hostname or "").partition(".")
    if address.isdecimal():
        address = f"{address}.{rest}"
    name = address or unquote(parts.path).rpartition("/")[2]
    name = f"{parts.scheme.partition('+')[0]}-host" if name in ("", "system") else name
    return Place(
        name=HostName(allowed(name, world.hosts, otherwise="host")),
        uri=uri,
        pool=_pool(world, pool),
    )


def _pool(world: DesiredWorld, wish: str | None) -> PoolName:
    if wish is not None:
        if PoolName(wish) in world.pools:
            return PoolName(wish)
        raise RefusedError(f"the repository has no pool {wish}.")
    if len(world.pools) == 1:
        return next(iter(world.pools))
    known = ", ".join(sorted(world.pools)) or "none; write one first"
    raise RefusedError(f"say with --pool to which pool the new host belongs: {known}.")
