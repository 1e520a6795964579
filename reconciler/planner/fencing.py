"""Fencing: what a person's word that a host is cut off takes from that host.

Note [Fenced]: ``state: fenced`` says that the machine was switched off, or cut from power, storage
and network, by somebody who made sure of it; who and why stands in the commit. Three things follow.
While the host is silent, no guest counts as being on it. A call that was begun there binds its
guest no longer. And when it answers again while it is still fenced, what is on it is looked at, and
nothing is done to any of it: a guest that is seen there alone is not made a second time, one that
runs there keeps all others of it from starting, and a stopped copy beside another is a leftover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.desired import HostState

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import HostName
    from reconciler.model.operation import Operation


def fenced_hosts(desired: DesiredWorld) -> frozenset[HostName]:
    """The hosts that are declared fenced."""
    return frozenset(name for name, host in desired.hosts.items() if host.state is HostState.FENCED)


def binding(operations: tuple[Operation, ...], desired: DesiredWorld) -> tuple[Operation, ...]:
    """The operations that keep their guests from everything else, see Note [Fenced]."""
    fenced = fenced_hosts(desired)
    return tuple(one for one in operations if one.host not in fenced)
