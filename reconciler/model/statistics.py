"""What a host's guests use: the figures of every domain, as its hypervisor counts them.

A figure that the hypervisor does not count is None. Times are in nanoseconds, memory in KiB, as
they are counted; whoever shows them converts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStatistics:
    """The guest's memory; ``available``, ``usable`` and ``unused`` are what the guest says."""

    maximum_kib: int | None = None
    current_kib: int | None = None
    resident_kib: int | None = None
    available_kib: int | None = None
    usable_kib: int | None = None
    unused_kib: int | None = None
    disk_cache_kib: int | None = None
    major_faults: int | None = None
    minor_faults: int | None = None
    swapped_in_kib: int | None = None
    swapped_out_kib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VcpuStatistics:
    """One virtual CPU."""

    number: int
    time_ns: int | None = None
    wait_ns: int | None = None
    delay_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStatistics:
    """One disk, by its target."""

    target: str
    read_bytes: int | None = None
    read_requests: int | None = None
    read_ns: int | None = None
    write_bytes: int | None = None
    write_requests: int | None = None
    write_ns: int | None = None
    flush_requests: int | None = None
    flush_ns: int | None = None
    capacity_bytes: int | None = None
    allocation_bytes: int | None = None
    physical_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceStatistics:
    """One network card, by the name of the host's end; seen from the guest."""

    target: str
    receive_bytes: int | None = None
    receive_packets: int | None = None
    receive_errors: int | None = None
    receive_drops: int | None = None
    transmit_bytes: int | None = None
    transmit_packets: int | None = None
    transmit_errors: int | None = None
    transmit_drops: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatistics:
    """All figures of one domain, ours or not, as of ``at``.

    ``whole`` is false where the hypervisor left out what it would have had to wait for.
    """

    name: GuestName
    uuid: UUID
    at: datetime
    state: RunState
    whole: bool = True
    cpu_ns: int | None = None
    vcpu_count: int | None = None
    memory: MemoryStatistics
    vcpus: tuple[VcpuStatistics, ...] = ()
    blocks: tuple[BlockStatistics, ...] = ()
    interfaces: tuple[InterfaceStatistics, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatistics:
    """The last figures of every domain of a host.

    ``answered`` is when the host last answered, None if it never did; ``why`` says why it has not
    answered just now. Each guest's own ``at`` may be older still.
    """

    host: HostName
    answered: datetime | None
    why: str | None
    guests: tuple[GuestStatistics, ...]
