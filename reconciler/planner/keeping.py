"""What waits to be removed for good, and whether it has waited for long enough.

# Note [Date and days]
What waits is removed after its date *and* after as many days on which a pass saw it waiting as the
date is days away. The date is in the mark; the days are in the journal, and a lost one begins
counting anew. So a clock that jumps a year ahead makes the date come, and gives one day; one that
goes back and forth counts no day twice; a controller that was off for a month, in which nobody
could look at what it would remove, begins with the rest of the days.
"""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from reconciler.model.keeping import Kept
from reconciler.model.mark import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import date, datetime
    from uuid import UUID

    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.observed import ObservedHost

_DAY = timedelta(days=1)


def waiting_on(host: ObservedHost, repository: UUID) -> Iterator[Kept]:
    """Everything of ours that waits on ``host`` to be removed."""
    for guest in host.guests.values():
        mark = guest.mark
        if mark is not None and (mark.owner, mark.uuid) == (repository, guest.uuid):
            yield from _of(mark)


def _of(mark: Mark) -> Iterator[Kept]:
    if mark.phase is Phase.TRASH and mark.trash is not None:
        yield whole(mark, mark.trash.since)
        return  # the rest of it goes with it
    for disk in mark.disks:
        if disk.detached is not None and disk.ours and disk.volume is not None:
            yield part(mark, f"disks[{disk.name}]", disk.detached)
    for snapshot in mark.snapshots:
        if snapshot.removed is not None:
            yield part(mark, f"snapshots[{snapshot.name}]", snapshot.removed)


def whole(mark: Mark, since: datetime) -> Kept:
    """The guest as a whole, in the trash since then."""
    return Kept(uuid=mark.uuid, what="", since=since)


def part(mark: Mark, what: str, since: datetime) -> Kept:
    """A disk or snapshot that the guest was let go of then."""
    return Kept(uuid=mark.uuid, what=what, since=since)


def days_of(waiting: Mapping[Kept, Collection[date]]) -> Mapping[Kept, int]:
    """How many days count for each thing: those after the one on which it went."""
    return {
        thing: sum(day > thing.since.astimezone(UTC).date() for day in days)
        for thing, days in waiting.items()
    }


def days_needed(since: datetime, until: datetime) -> int:
    """On how many days a thing must have been seen that waits from ``since`` to ``until``."""
    return max(1, -(-(until - since) // _DAY))


def is_over(kept: Kept, until: datetime, memory: Memory, now: datetime) -> bool:
    """Whether the thing has waited for long enough, see Note [Date and days]."""
    return now >= until and memory.days.get(kept, 0) >= days_needed(kept.since, until)
