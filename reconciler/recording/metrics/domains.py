"""``libvirt_domain_*`` of one host, named as the libvirt exporters name them.

Dashboards made for those work with these. The labels are ``host`` and ``domain``, and the device's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.observed import RunState
from reconciler.recording.metrics.text import Family, Kind, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from reconciler.model.statistics import (
        BlockStatistics,
        GuestStatistics,
        HostStatistics,
        InterfaceStatistics,
        VcpuStatistics,
    )
    from reconciler.recording.metrics.text import Series

_KIB = 1024
_NS = 1e9
_DOMAIN = ("host", "domain")
_DEVICE = (*_DOMAIN, "target_device")

_CODES = {
    RunState.RUNNING: 1,
    RunState.PAUSED: 3,
    RunState.SHUTTING_DOWN: 4,
    RunState.SHUT_OFF: 5,
    RunState.CRASHED: 6,
    RunState.SUSPENDED: 7,
}
"""libvirt's own numbers, which the exporters give."""


def _gauge(name: str, means: str, *labels: str) -> Family:
    return Family(name=name, kind=Kind.GAUGE, means=means, labels=labels)


def _counter(name: str, means: str, *labels: str) -> Family:
    return Family(name=name, kind=Kind.COUNTER, means=means, labels=labels)


UP = _gauge("libvirt_up", "1 if the host answered just now; if not, the figures are old.", "host")
AGE = _gauge(
    "libvirt_stats_age_seconds",
    "How long ago the host last answered; no series if it never did.",
    "host",
)
DOMAINS = _gauge("libvirt_domains", "How many domains the host has, ours or not.", "host")
GUEST_AGE = _gauge(
    "libvirt_domain_stats_age_seconds",
    "How old the domain's figures are: a busy or hanging domain keeps its last ones.",
    *_DOMAIN,
)
META = _gauge("libvirt_domain_info_meta", "Always 1; the UUID of the domain.", *_DOMAIN, "uuid")


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


_OF_GUESTS: tuple[tuple[Family, Callable[[GuestStatistics], float | None]], ...] = (
    (
        _gauge(
            "libvirt_domain_info_vstate",
            "State of the domain: 1 running, 3 paused, 4 shutting down, 5 shut off, 6 crashed, "
            "7 suspended.",
            *_DOMAIN,
        ),
        lambda one: _CODES[one.state],
    ),
    (
        _gauge("libvirt_domain_info_virtual_cpus", "Virtual CPUs of the domain.", *_DOMAIN),
        lambda one: one.vcpu_count,
    ),
    (
        _counter(
            "libvirt_domain_info_cpu_time_seconds_total",
            "Processor time that the domain has used.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.cpu_ns, 1 / _NS),
    ),
    (
        _gauge(
            "libvirt_domain_info_maximum_memory_bytes",
            "Memory that the domain can be given without a restart.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.maximum_kib, _KIB),
    ),
    (
        _gauge("libvirt_domain_info_memory_usage_bytes", "Memory of the domain.", *_DOMAIN),
        lambda one: _scaled(one.memory.current_kib, _KIB),
    ),
    (
        _gauge(
            "libvirt_domain_memory_stats_rss_bytes",
            "Memory that the domain's process takes on the host.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.resident_kib, _KIB),
    ),
    (
        _gauge(
            "libvirt_domain_memory_stats_available_bytes",
            "Memory that the guest has, as it says itself.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.available_kib, _KIB),
    ),
    (
        _gauge(
            "libvirt_domain_memory_stats_usable_bytes",
            "Memory that the guest could use without swapping, as it says itself.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.usable_kib, _KIB),
    ),
    (
        _gauge(
            "libvirt_domain_memory_stats_unused_bytes",
            "Memory that the guest uses for nothing, as it says itself.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.unused_kib, _KIB),
    ),
    (
        _gauge(
            "libvirt_domain_memory_stats_disk_cache_bytes",
            "Memory that the guest uses as a cache, as it says itself.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.disk_cache_kib, _KIB),
    ),
    (
        _counter(
            "libvirt_domain_memory_stats_major_fault_total",
            "Page faults in the guest that had to read from a disk.",
            *_DOMAIN,
        ),
        lambda one: one.memory.major_faults,
    ),
    (
        _counter(
            "libvirt_domain_memory_stats_minor_fault_total",
            "Page faults in the guest that read from no disk.",
            *_DOMAIN,
        ),
        lambda one: one.memory.minor_faults,
    ),
    (
        _counter(
            "libvirt_domain_memory_stats_swap_in_bytes_total",
            "What the guest has read back from its swap.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.swapped_in_kib, _KIB),
    ),
    (
        _counter(
            "libvirt_domain_memory_stats_swap_out_bytes_total",
            "What the guest has written to its swap.",
            *_DOMAIN,
        ),
        lambda one: _scaled(one.memory.swapped_out_kib, _KIB),
    ),
)

_OF_VCPUS: tuple[tuple[Family, Callable[[VcpuStatistics], float | None]], ...] = (
    (
        _counter(
            "libvirt_domain_vcpu_time_seconds_total",
            "Processor time of the virtual CPU.",
            *_DOMAIN,
            "vcpu",
        ),
        lambda one: _scaled(one.time_ns, 1 / _NS),
    ),
    (
        _counter(
            "libvirt_domain_vcpu_wait_seconds_total",
            "Time that the virtual CPU waited for the host's input and output.",
            *_DOMAIN,
            "vcpu",
        ),
        lambda one: _scaled(one.wait_ns, 1 / _NS),
    ),
    (
        _counter(
            "libvirt_domain_vcpu_delay_seconds_total",
            "Time that the virtual CPU waited for a processor of the host.",
            *_DOMAIN,
            "vcpu",
        ),
        lambda one: _scaled(one.delay_ns, 1 / _NS),
    ),
)


def _block(name: str, means: str) -> Family:
    return _counter(f"libvirt_domain_block_stats_{name}", means, *_DEVICE)


def _card(name: str, means: str) -> Family:
    return _counter(f"libvirt_domain_interface_stats_{name}", means, *_DEVICE)


_OF_BLOCKS: tuple[tuple[Family, Callable[[BlockStatistics], float | None]], ...] = (
    (_block("read_bytes_total", "Read from the disk."), lambda one: one.read_bytes),
    (_block("read_requests_total", "Reads of the disk."), lambda one: one.read_requests),
    (
        _block("read_time_seconds_total", "Time that reads of the disk took."),
        lambda one: _scaled(one.read_ns, 1 / _NS),
    ),
    (_block("write_bytes_total", "Written to the disk."), lambda one: one.write_bytes),
    (_block("write_requests_total", "Writes to the disk."), lambda one: one.write_requests),
    (
        _block("write_time_seconds_total", "Time that writes to the disk took."),
        lambda one: _scaled(one.write_ns, 1 / _NS),
    ),
    (
        _block("flush_requests_total", "Flushes of the disk's cache."),
        lambda one: one.flush_requests,
    ),
    (
        _block("flush_time_seconds_total", "Time that flushes took."),
        lambda one: _scaled(one.flush_ns, 1 / _NS),
    ),
    (
        _gauge(
            "libvirt_domain_block_stats_capacity_bytes",
            "Size of the disk, as the guest sees it.",
            *_DEVICE,
        ),
        lambda one: one.capacity_bytes,
    ),
    (
        _gauge(
            "libvirt_domain_block_stats_allocation", "Bytes of the disk that are taken.", *_DEVICE
        ),
        lambda one: one.allocation_bytes,
    ),
    (
        _gauge(
            "libvirt_domain_block_stats_physicalsize_bytes",
            "Size of the file or device that holds the disk.",
            *_DEVICE,
        ),
        lambda one: one.physical_bytes,
    ),
)

_OF_CARDS: tuple[tuple[Family, Callable[[InterfaceStatistics], float | None]], ...] = (
    (_card("receive_bytes_total", "Received by the guest."), lambda one: one.receive_bytes),
    (
        _card("receive_packets_total", "Packets received by the guest."),
        lambda one: one.receive_packets,
    ),
    (_card("receive_errors_total", "Errors in receiving."), lambda one: one.receive_errors),
    (_card("receive_drops_total", "Packets dropped in receiving."), lambda one: one.receive_drops),
    (_card("transmit_bytes_total", "Sent by the guest."), lambda one: one.transmit_bytes),
    (
        _card("transmit_packets_total", "Packets sent by the guest."),
        lambda one: one.transmit_packets,
    ),
    (_card("transmit_errors_total", "Errors in sending."), lambda one: one.transmit_errors),
    (_card("transmit_drops_total", "Packets dropped in sending."), lambda one: one.transmit_drops),
)

OF_HOSTS = (
    UP,
    AGE,
    DOMAINS,
    GUEST_AGE,
    META,
    *(family for table in (_OF_GUESTS, _OF_VCPUS, _OF_BLOCKS, _OF_CARDS) for family, _ in table),
)
"""Made anew at every scrape of a host."""


def of_host(said: HostStatistics, now: datetime) -> Iterator[str]:
    """Everything that is known of what the host's guests use."""
    yield from render(_of_host(said, now))


def _of_host(said: HostStatistics, now: datetime) -> Iterator[Series]:
    host, guests = said.host, said.guests
    yield UP, [((host,), int(said.why is None))]
    if said.answered is not None:
        yield AGE, [((host,), _age(said.answered, now))]
        yield DOMAINS, [((host,), len(guests))]
    yield GUEST_AGE, (((host, one.name), _age(one.at, now)) for one in guests)
    yield META, (((host, one.name, str(one.uuid)), 1) for one in guests)
    for family, figure in _OF_GUESTS:
        yield family, (((host, one.name), figure(one)) for one in guests)
    for family, of_vcpu in _OF_VCPUS:
        yield (
            family,
            (
                ((host, one.name, str(cpu.number)), of_vcpu(cpu))
                for one in guests
                for cpu in one.vcpus
            ),
        )
    for family, of_block in _OF_BLOCKS:
        yield (
            family,
            (
                ((host, one.name, disk.target), of_block(disk))
                for one in guests
                for disk in one.blocks
            ),
        )
    for family, of_card in _OF_CARDS:
        yield (
            family,
            (
                ((host, one.name, card.target), of_card(card))
                for one in guests
                for card in one.interfaces
            ),
        )


def _age(at: datetime, now: datetime) -> float:
    return max((now - at).total_seconds(), 0)
