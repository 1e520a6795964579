"""Observe the snapshots of a host's guests.

libvirt tells in one call which guests have snapshots at all, and only those are asked for more;
what a snapshot says of itself is read once. Nothing is done on the strength of what is remembered:
whoever acts on a snapshot reads it anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import libvirt

from reconciler.domxml import read_snapshot
from reconciler.errors import StalledError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.observed import ObservedSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    names: tuple[str, ...]
    snapshots: tuple[ObservedSnapshot, ...]


class SnapshotMemo:
    """What each guest's snapshots said of themselves; it may be lost at any time."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._known: dict[UUID, _Known] = {}

    def read(self, uuid: UUID, listed: list[libvirt.virDomainSnapshot]) -> _Known:
        """What the snapshots ``listed`` say; read only if the names are new."""
        names = tuple(sorted(snapshot.getName() for snapshot in listed))
        known = self._known.get(uuid)
        if known is None or known.names != names:
            read = (read_snapshot(snapshot.getXMLDesc()) for snapshot in listed)
            snapshots = tuple(sorted(read, key=lambda snapshot: snapshot.name))
            known = _Known(names=names, snapshots=snapshots)
            self._known[uuid] = known
        return known

    def keep_only(self, uuids: frozenset[UUID]) -> None:
        """Forget guests without snapshots, and those that are gone."""
        self._known = {uuid: known for uuid, known in self._known.items() if uuid in uuids}


def observe_snapshots(
    connection: libvirt.virConnect, memo: SnapshotMemo
) -> Mapping[UUID, tuple[ObservedSnapshot, ...]]:
    """The snapshots of every guest that has some.

    Raises:
        TransientError: snapshots came and went while they were looked at.

    """
    seen: dict[UUID, tuple[ObservedSnapshot, ...]] = {}
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT):
        uuid = UUID(bytes=domain.UUID())
        try:
            seen[uuid] = memo.read(uuid, domain.listAllSnapshots()).snapshots
        except StalledError as error:
            raise TransientError(f"the snapshots of {domain.name()}: {error}") from error
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                continue  # who lists the domains notices
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
                raise TransientError(
                    f"the snapshots of {domain.name()} changed while they were looked at"
                ) from error
            raise
    memo.keep_only(frozenset(seen))
    return seen
