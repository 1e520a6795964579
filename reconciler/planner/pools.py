"""What a pool lets be done: nothing while it is switched off, and deletions inside its windows.

A pool that is off is looked at all the same: that a guest is not on its hosts is what keeps another
from being started twice (promise 1). But nothing is compared, nothing told to differ, and nothing
done, whoever asks. Only a guest that we hold still is let go on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.desired import PoolMode
from reconciler.model.mark import Phase
from reconciler.model.plan import Health, Sync
from reconciler.model.steps import ResumeGuest, SetMark
from reconciler.model.windows import Act
from reconciler.planner.case import Verdict
from reconciler.planner.telling import blocked_by
from reconciler.planner.windows import OPEN, opening, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import GuestName, PoolName


def pool_of(name: GuestName, verdict: Verdict, desired: DesiredWorld) -> PoolName | None:
    """The pool that the guest's manifest names, or of a guest without one, its host's."""
    guest = desired.guests.get(name)
    if guest is not None:
        return guest.pool
    host = verdict.status.host
    manifest = desired.hosts.get(host) if host is not None else None
    return manifest.pool if manifest is not None else None


def is_off(pool: PoolName | None, desired: DesiredWorld) -> bool:
    """Whether the pool is switched off."""
    manifest = desired.pools.get(pool) if pool is not None else None
    return manifest is not None and manifest.mode is PoolMode.OFF


def switched_off(
    verdicts: Mapping[GuestName, Verdict], desired: DesiredWorld
) -> dict[GuestName, Verdict]:
    """The verdicts on guests of pools that are off: how they are, and nothing else."""
    if not any(pool.mode is PoolMode.OFF for pool in desired.pools.values()):
        return {}
    silenced: dict[GuestName, Verdict] = {}
    for name, verdict in verdicts.items():
        if not is_off(pool_of(name, verdict, desired), desired):
            continue
        status = replace(
            verdict.status,
            stored=Sync.UNKNOWN,
            live=Sync.UNKNOWN,
            healthy=Health.UNKNOWN,
            changes=(),
            ignored=(),
            off=True,
        )
        planned = verdict.step
        held_still = planned is not None and isinstance(planned.step, ResumeGuest)
        silenced[name] = Verdict(status=status, step=planned if held_still else None)
    return silenced


def keep_to_windows(
    verdicts: Mapping[GuestName, Verdict], desired: DesiredWorld, now: datetime
) -> dict[GuestName, Verdict]:
    """Take back the deletions that would begin outside their pool's windows.

    Restarts are kept to them where they are decided, because what else a guest needs goes on.
    """
    if not any(pool.windows for pool in desired.pools.values()):
        return {}
    held: dict[GuestName, Verdict] = {}
    for name, verdict in verdicts.items():
        step = verdict.step
        if step is None or step.pool is None or not _begins_deletion(verdict):
            continue
        pool = desired.pools.get(step.pool)
        found = opening(pool.windows, Act.DELETE, now) if pool is not None else OPEN
        if not found.now:
            block = waiting(Act.DELETE, found)
            changes = tuple(blocked_by(change, block) for change in verdict.status.changes)
            held[name] = Verdict(status=replace(verdict.status, changes=changes))
    return held


def _begins_deletion(verdict: Verdict) -> bool:
    step = verdict.step.step if verdict.step is not None else None
    becomes = isinstance(step, SetMark) and step.mark.phase is Phase.TRASH
    return becomes and verdict.status.phase is not Phase.TRASH
