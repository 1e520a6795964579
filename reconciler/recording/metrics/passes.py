"""``domops_*`` from the last pass: read from its values at every scrape, and kept nowhere.

A guest, host or pool that is gone from the pass is gone from the next scrape.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from reconciler.model.mark import Phase
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Health, Sync
from reconciler.planner.emptying import removable
from reconciler.recording.metrics import families
from reconciler.recording.metrics.text import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from uuid import UUID

    from reconciler.model.mark import Mark
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedGuest, ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import GuestStatus
    from reconciler.recording.metrics.text import Sample, Series
    from reconciler.recording.sight import Sight

_KIB = 1024
_NO_FIELD = frozenset({"", "state", "mark"})
"""What changes name that concerns the guest as a whole, or only our own notes."""

_SYNCED = {Sync.YES: 1, Sync.NO: 0, Sync.UNKNOWN: None}
_HEALTHY = {Health.YES: 1, Health.NO: 0, Health.UNKNOWN: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """What is read off just now, rather than from the last pass.

    ``writes`` are the writing calls of each host's door, ``operations`` the steps under way,
    ``depth`` and ``adds`` those of the queue.
    """

    writes: Mapping[HostName, int]
    operations: tuple[Operation, ...]
    depth: int
    adds: int


def of_pass(sight: Sight | None, meters: Meters) -> Iterator[str]:
    """Everything that the last pass and the meters tell."""
    yield from render(_of_meters(meters))
    if sight is not None:
        yield from render(_of_loop(sight))
        yield from render(_of_guests(sight))
        yield from render(_of_hosts(sight))


def _of_meters(meters: Meters) -> Iterator[Series]:
    yield families.BUILD, [((version("domops"), platform.python_version()), 1)]
    yield families.QUEUE_DEPTH, [((), meters.depth)]
    yield families.QUEUE_ADDS, [((), meters.adds)]
    yield families.WRITES, [((host,), count) for host, count in sorted(meters.writes.items())]
    under_way = [((one.guest, one.host, type(one.step).__name__), one) for one in meters.operations]
    yield families.OPERATION, [(names, one.began.timestamp()) for names, one in under_way]
    yield (
        families.OPERATION_DONE,
        [(names, one.progress.done_bytes if one.progress else None) for names, one in under_way],
    )
    yield (
        families.OPERATION_TOTAL,
        [(names, one.progress.total_bytes if one.progress else None) for names, one in under_way],
    )


def _of_loop(sight: Sight) -> Iterator[Series]:
    if sight.world is not None:
        commit = sight.world.commit
        yield families.COMMIT, [((commit.sha,), 1)]
        yield families.COMMITTED, [((), commit.committed_at.timestamp())]
    yield families.HEAD_REFUSED, [((), int(sight.head_refused))]
    yield families.SOURCE_UP, [((), int(not sight.source_failing))]
    if sight.source_read is not None:
        yield families.SOURCE_READ, [((), sight.source_read.timestamp())]
    yield families.LAST_PASS, [((), sight.now.timestamp())]
    yield families.PROBLEMS, [((), len(sight.problems))]
    pools = sight.world.pools if sight.world is not None else {}
    yield families.POOL, [((name, pool.mode), 1) for name, pool in sorted(pools.items())]


def _of_guests(sight: Sight) -> Iterator[Series]:
    statuses = sight.plan.statuses if sight.plan is not None else {}
    wanted = sight.world.guests if sight.world is not None else {}
    pools = {name: wanted[name].pool if name in wanted else "" for name in statuses}

    def each(value: Callable[[GuestStatus], float | None]) -> Iterator[Sample]:
        return (((name, pools[name]), value(one)) for name, one in statuses.items())

    yield (
        families.GUEST,
        (
            ((name, pools[name], one.host or "", one.type, one.state, one.phase or ""), 1)
            for name, one in statuses.items()
        ),
    )
    yield families.GUEST_SYNCED, _synced(statuses, pools)
    yield families.GUEST_HEALTHY, each(lambda one: _HEALTHY[one.healthy])
    yield (
        families.GUEST_UNKNOWN,
        each(lambda one: None if one.off else int(one.healthy is Health.UNKNOWN)),
    )
    yield families.DRIFT, _counted(_drift(statuses, pools))
    yield families.CHANGES, _counted(_unmade(statuses, pools))
    yield families.SUSPENDED, _suspended(statuses, pools)
    if sight.plan is not None:
        yield (
            families.HELD_PLANS,
            _counted((held.pool or "", held.counted) for held in sight.plan.held),
        )
        yield families.FOREIGN, _counted((one.host,) for one in sight.plan.foreign)


def _synced(
    statuses: Mapping[GuestName, GuestStatus], pools: Mapping[GuestName, str]
) -> Iterator[Sample]:
    for name, one in statuses.items():
        yield (name, pools[name], "stored"), _SYNCED[one.stored]
        yield (name, pools[name], "live"), _SYNCED[one.live]


def _suspended(
    statuses: Mapping[GuestName, GuestStatus], pools: Mapping[GuestName, str]
) -> list[Sample]:
    return [
        ((name, pools[name], scope), 1)
        for name, one in statuses.items()
        for scope in sorted({each.covered.scope for each in one.suspended})
    ]


def _drift(
    statuses: Mapping[GuestName, GuestStatus], pools: Mapping[GuestName, str]
) -> Iterator[tuple[str, ...]]:
    for name, one in statuses.items():
        for change in one.changes:
            field = change.field.partition("[")[0].partition(".")[0]
            if field not in _NO_FIELD:
                yield pools[name], field


def _unmade(
    statuses: Mapping[GuestName, GuestStatus], pools: Mapping[GuestName, str]
) -> Iterator[tuple[str, ...]]:
    for name, one in statuses.items():
        for change in one.changes:
            yield pools[name], change.fate, change.reason or ""


def _counted(labels: Iterator[tuple[str, ...]]) -> list[Sample]:
    return sorted(Counter(labels).items())


def _of_hosts(sight: Sight) -> Iterator[Series]:
    wanted = sight.world.hosts if sight.world is not None else {}
    hosts = [wanted[name] for name in sorted(wanted)]
    yield families.HOST, [((one.name, one.pool, one.state, one.role), 1) for one in hosts]
    observed = sight.observed
    if observed is None:
        return
    yield (
        families.HOST_UP,
        [
            (
                (name, wanted[name].pool if name in wanted else ""),
                int(isinstance(host, ObservedHost)),
            )
            for name, host in sorted(observed.hosts.items())
        ],
    )
    yield (
        families.HOST_ANSWER,
        [
            ((name,), at.timestamp())
            for name, at in sorted(sight.last_complete.items())
            if name in observed.hosts
        ],
    )
    condemned = Counter(one.host for one in sight.operations if one.condemned)
    yield families.CONDEMNED, [((name,), condemned[name]) for name in sorted(observed.hosts)]
    yield (
        families.HOST_MEMORY_RESERVED,
        [((one.name,), one.reserve_memory_kib * _KIB) for one in hosts],
    )
    yield from _of_capacity(observed)
    if sight.world is not None:
        yield from _of_trash(observed, sight.world.repository)


def _of_trash(observed: ObservedWorld, repository: UUID) -> Iterator[Series]:
    """The deleted guests of each host; disks and snapshots of living ones are not among them."""
    binned = [
        (host, [mark for mark in map(_ours(repository), host.guests.values()) if mark is not None])
        for host in observed.answered()
    ]
    yield families.TRASH_GUESTS, [((host.name,), len(marks)) for host, marks in binned]
    yield (
        families.TRASH_BYTES,
        [((host.name,), sum(_size(mark, host) for mark in marks)) for host, marks in binned],
    )
    yield (
        families.TRASH_UNTIL,
        [
            ((host.name,), min(mark.trash.until.timestamp() for mark in marks if mark.trash))
            for host, marks in binned
            if marks
        ],
    )


def _ours(repository: UUID) -> Callable[[ObservedGuest], Mark | None]:
    """The mark of a guest of ours that is in the trash."""

    def binned(guest: ObservedGuest) -> Mark | None:
        mark = guest.mark
        if mark is None or mark.trash is None or mark.phase is not Phase.TRASH:
            return None
        return mark if (mark.owner, mark.uuid) == (repository, guest.uuid) else None

    return binned


def _size(mark: Mark, host: ObservedHost) -> int:
    """What the volumes promise that would go with the guest."""
    return sum(
        host.pools[pool].volumes[volume].capacity_bytes
        for pool, volume in removable(mark)
        if pool in host.pools and volume in host.pools[pool].volumes
    )


def _of_capacity(observed: ObservedWorld) -> Iterator[Series]:
    answered = observed.answered()
    running = {
        host.name: [guest.live for guest in host.guests.values() if guest.live is not None]
        for host in answered
    }

    def each(value: Callable[[ObservedHost], float]) -> list[Sample]:
        return [((host.name,), value(host)) for host in answered]

    yield families.HOST_CPUS, each(lambda host: host.cpus)
    yield (
        families.HOST_VCPUS,
        each(lambda host: sum(one.vcpus.count for one in running[host.name])),
    )
    yield families.HOST_MEMORY, each(lambda host: host.memory_kib * _KIB)
    yield families.HOST_MEMORY_FREE, each(lambda host: host.free_memory_kib * _KIB)
    yield (
        families.HOST_GUEST_MEMORY,
        each(lambda host: sum(one.memory.size_kib for one in running[host.name]) * _KIB),
    )
    yield (
        families.HOST_GUESTS,
        _counted((host.name, guest.state) for host in answered for guest in host.guests.values()),
    )
    pools = [(host.name, pool) for host in answered for pool in host.pools.values() if pool.active]
    yield (
        families.STORAGE_AVAILABLE,
        [((host, pool.name), pool.available_bytes) for host, pool in pools],
    )
    yield (
        families.STORAGE_ALLOCATED,
        [
            ((host, pool.name), sum(one.allocation_bytes for one in pool.volumes.values()))
            for host, pool in pools
        ],
    )
    yield (
        families.STORAGE_PROMISED,
        [
            ((host, pool.name), sum(one.capacity_bytes for one in pool.volumes.values()))
            for host, pool in pools
        ],
    )
