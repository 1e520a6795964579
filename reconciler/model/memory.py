"""What the controller remembers beyond one pass.

Everything here may be lost at any time. Absence only ever makes a plan more careful: an unknown
history counts as the worst one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.suspension import Suspensions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.desired import OpenPort
    from reconciler.model.keeping import Kept, Tombstone
    from reconciler.model.names import (
        Digest,
        GuestName,
        HostName,
        LibvirtPool,
        PoolName,
        VolumeName,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestHistory:
    """Where a guest may have been.

    Exists only for a guest whose first commit domops itself saw arrive: it was not in the last good
    commit before. ``pools`` are all pools it was ever in. ``first_seen`` is when that first commit
    was taken into force; ``touched`` are the hosts on which any step for the guest ever began.
    """

    first_seen: datetime
    pools: frozenset[PoolName]
    touched: frozenset[HostName] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartedHost:
    """A host whose manifest went without ``state: retired``: guests may still run on it."""

    name: HostName
    pool: PoolName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How often in a row a guest's steps failed or the guest crashed, and when to try again.

    ``stalled`` means that trying again is pointless until the intent at which it stalled changes.
    ``optional`` says that the guest lives without what failed (a snapshot): only that waits.
    """

    message: str
    count: int
    retry_at: datetime
    stalled: bool
    intent: Digest | None
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whether a port took a connection at the instant ``at``."""

    at: datetime
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The controller's memory, as the planner is given it.

    ``departed`` is None when it is not known which hosts have left: then no guest is missing.
    ``renamed`` are hosts whose machine was known under a name that has left: that it has not left
    is known from their answers alone.
    ``changed`` says when a commit last changed a guest, of those that came while we watched: they
    are served before the many that wait since a start.
    ``filled`` are the volumes whose creation was seen to end well, while their marks still say
    otherwise. ``crashes`` are the instants at which a guest was seen crashed, oldest first.
    ``waits`` says since when each guest waits for others before it is started (``Plan.waits`` of
    the plan before), ``probes`` what was last seen of the ports that it waits for.
    ``suspensions`` are those of the command line.
    ``days`` says on how many days each thing was seen waiting for its removal, the first one not
    counted; ``tombstones`` which guests were removed for good.
    """

    guests: Mapping[GuestName, GuestHistory] = field(default_factory=dict)
    last_complete: Mapping[HostName, datetime] = field(default_factory=dict)
    departed: tuple[DepartedHost, ...] | None = None
    renamed: frozenset[HostName] = frozenset()
    changed: Mapping[GuestName, datetime] = field(default_factory=dict)
    filled: frozenset[tuple[HostName, LibvirtPool, VolumeName]] = frozenset()
    failures: Mapping[GuestName, Failure] = field(default_factory=dict)
    crashes: Mapping[GuestName, tuple[datetime, ...]] = field(default_factory=dict)
    waits: Mapping[GuestName, datetime] = field(default_factory=dict)
    probes: Mapping[OpenPort, Probe] = field(default_factory=dict)
    suspensions: Suspensions = field(default_factory=Suspensions)
    days: Mapping[Kept, int] = field(default_factory=dict)
    tombstones: Mapping[GuestName, Tombstone] = field(default_factory=dict)
