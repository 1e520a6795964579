"""Ask a host what only a check-up wants to know; nothing here writes."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

import libvirt

from reconciler.hypervisor.capabilities import Driver
from reconciler.model.checkup import Inspection
from reconciler.model.names import LibvirtPool

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.hypervisor.pools import ObservedPools

_NO_CALL = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)


def inspect(
    connection: libvirt.virConnect,
    driver: Driver,
    pools: ObservedPools,
    *,
    paths: Collection[str],
) -> Inspection:
    """Ask for versions, for what starts with the host, for Domain-0, and for ``paths``."""
    return Inspection(
        libvirt=_version(connection.getLibVersion()),
        hypervisor=f"{connection.getType()} {_version(connection.getVersion())}",
        dom0_memory_kib=_dom0_memory(connection) if driver is Driver.XEN else None,
        files={path: _is_there(path, pools) for path in sorted(paths)},
        idle_pools=frozenset(
            LibvirtPool(pool.name())
            for pool in connection.listAllStoragePools(
                libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART
            )
        ),
        idle_networks=_idle_networks(connection),
    )


def _version(number: int) -> str:
    """A version as libvirt packs it: millions are its first part, thousands its second."""
    return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"


def _dom0_memory(connection: libvirt.virConnect) -> tuple[int, int] | None:
    """What Domain-0 has and may have, in KiB."""
    try:
        _, most, now, _, _ = connection.lookupByID(0).info()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return int(now), int(most)


def _is_there(path: str, pools: ObservedPools) -> bool | None:
    """Whether a file is there, if a storage pool would show it."""
    if pools.source_of(path) is not None:
        return True
    folder = posixpath.dirname(path)
    shown = any(
        pool.active and pool.type == "dir" and pool.path == folder for pool in pools.pools.values()
    )
    return False if shown else None


def _idle_networks(connection: libvirt.virConnect) -> frozenset[str]:
    try:
        idle = connection.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_NO_AUTOSTART)
    except libvirt.libvirtError as error:
        if error.get_error_code() in _NO_CALL:
            return frozenset()
        raise
    return frozenset(network.name() for network in idle)
