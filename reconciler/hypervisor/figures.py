"""Turn what libvirt counts of a domain into our figures: from one call for all, or guest by guest.

A figure that a driver does not count is left out, never guessed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import libvirt

from reconciler.hypervisor.guests import uuid_of
from reconciler.hypervisor.parsing import parse
from reconciler.hypervisor.states import read_state
from reconciler.model.names import GuestName
from reconciler.model.observed import RunState
from reconciler.model.statistics import (
    BlockStatistics,
    GuestStatistics,
    InterfaceStatistics,
    MemoryStatistics,
    VcpuStatistics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from lxml import etree

_T = TypeVar("_T")

_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
_ASKED_OF_QEMU = ("balloon.rss", "block.0.rd.bytes")
"""Figures that QEMU itself has to be asked for; one of them is there if it was."""

_NOT_COUNTED = (
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_INTERNAL_ERROR,
)
"""What drivers say of a device that they have no figures for; they do not agree on a word."""

_TARGETS = "devices/disk/target"
_MAXIMUM, _MEMORY, _VCPUS, _CPU_TIME = 1, 2, 3, 4
"""Where ``virDomainGetInfo`` keeps what it tells, after the state."""


def figures_of_all(connection: libvirt.virConnect, at: datetime) -> Iterator[GuestStatistics]:
    """The figures of every domain, without waiting for one that is busy."""
    answers = connection.getAllDomainStats(
        _GROUPS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    )
    for domain, said in answers:
        state, _ = read_state(said["state.state"], said.get("state.reason", 0))
        yield GuestStatistics(
            name=GuestName(domain.name()),
            uuid=uuid_of(domain),
            at=at,
            state=state,
            whole=state is RunState.SHUT_OFF or any(key in said for key in _ASKED_OF_QEMU),
            cpu_ns=said.get("cpu.time"),
            vcpu_count=said.get("vcpu.current"),
            memory=_memory(said),
            vcpus=tuple(_vcpus(said)),
            blocks=tuple(_blocks(said)),
            interfaces=tuple(_interfaces(said)),
        )


def _memory(said: Mapping[str, Any]) -> MemoryStatistics:
    return MemoryStatistics(
        maximum_kib=said.get("balloon.maximum"),
        current_kib=said.get("balloon.current"),
        resident_kib=said.get("balloon.rss"),
        available_kib=said.get("balloon.available"),
        usable_kib=said.get("balloon.usable"),
        unused_kib=said.get("balloon.unused"),
        disk_cache_kib=said.get("balloon.disk_caches"),
        major_faults=said.get("balloon.major_fault"),
        minor_faults=said.get("balloon.minor_fault"),
        swapped_in_kib=said.get("balloon.swap_in"),
        swapped_out_kib=said.get("balloon.swap_out"),
    )


def _vcpus(said: Mapping[str, Any]) -> Iterator[VcpuStatistics]:
    for number in range(said.get("vcpu.maximum", 0)):
        if f"vcpu.{number}.time" in said:
            yield VcpuStatistics(
                number=number,
                time_ns=said[f"vcpu.{number}.time"],
                wait_ns=said.get(f"vcpu.{number}.wait"),
                delay_ns=said.get(f"vcpu.{number}.delay"),
            )


def _blocks(said: Mapping[str, Any]) -> Iterator[BlockStatistics]:
    for number in range(said.get("block.count", 0)):
        own = f"block.{number}"
        yield BlockStatistics(
            target=said[f"{own}.name"],
            read_bytes=said.get(f"{own}.rd.bytes"),
            read_requests=said.get(f"{own}.rd.reqs"),
            read_ns=said.get(f"{own}.rd.times"),
            write_bytes=said.get(f"{own}.wr.bytes"),
            write_requests=said.get(f"{own}.wr.reqs"),
            write_ns=said.get(f"{own}.wr.times"),
            flush_requests=said.get(f"{own}.fl.reqs"),
            flush_ns=said.get(f"{own}.fl.times"),
            capacity_bytes=said.get(f"{own}.capacity"),
            allocation_bytes=said.get(f"{own}.allocation"),
            physical_bytes=said.get(f"{own}.physical"),
        )


def _interfaces(said: Mapping[str, Any]) -> Iterator[InterfaceStatistics]:
    for number in range(said.get("net.count", 0)):
        own = f"net.{number}"
        if f"{own}.name" in said:
            yield InterfaceStatistics(
                target=said[f"{own}.name"],
                receive_bytes=said.get(f"{own}.rx.bytes"),
                receive_packets=said.get(f"{own}.rx.pkts"),
                receive_errors=said.get(f"{own}.rx.errs"),
                receive_drops=said.get(f"{own}.rx.drop"),
                transmit_bytes=said.get(f"{own}.tx.bytes"),
                transmit_packets=said.get(f"{own}.tx.pkts"),
                transmit_errors=said.get(f"{own}.tx.errs"),
                transmit_drops=said.get(f"{own}.tx.drop"),
            )


def figures_of_one(domain: libvirt.virDomain, at: datetime) -> GuestStatistics:
    """The figures of one domain, from as many calls as it has devices."""
    state, _ = read_state(*domain.state())
    info = domain.info()
    running = domain.isActive() and state is not RunState.SHUT_OFF
    root = parse(domain.XMLDesc(), "domain") if running else None
    cards = [] if root is None else map(_name_of, root.iterfind("devices/interface"))
    disks = [] if root is None else [one.get("dev", "") for one in root.iterfind(_TARGETS)]
    return GuestStatistics(
        name=GuestName(domain.name()),
        uuid=uuid_of(domain),
        at=at,
        state=state,
        cpu_ns=info[_CPU_TIME] if running else None,
        vcpu_count=info[_VCPUS],
        memory=_memory_of(domain, info)
        if running
        else MemoryStatistics(maximum_kib=info[_MAXIMUM]),
        blocks=tuple(one for one in map(partial(_disk_of, domain), disks) if one is not None),
        interfaces=tuple(one for one in map(partial(_card_of, domain), cards) if one is not None),
    )


def _memory_of(domain: libvirt.virDomain, info: list[int]) -> MemoryStatistics:
    said: Mapping[str, int] = _if_counted(domain.memoryStats) or {}
    return MemoryStatistics(
        maximum_kib=info[_MAXIMUM],
        current_kib=info[_MEMORY],
        resident_kib=said.get("rss"),
        available_kib=said.get("available"),
        usable_kib=said.get("usable"),
        unused_kib=said.get("unused"),
        disk_cache_kib=said.get("disk_caches"),
        major_faults=said.get("major_fault"),
        minor_faults=said.get("minor_fault"),
        swapped_in_kib=said.get("swap_in"),
        swapped_out_kib=said.get("swap_out"),
    )


def _disk_of(domain: libvirt.virDomain, target: str) -> BlockStatistics | None:
    told = _if_counted(partial(domain.blockStats, target))
    if told is None:
        return None
    read_requests, read_bytes, write_requests, write_bytes, _ = told
    return BlockStatistics(
        target=target,
        read_bytes=_counted(read_bytes),
        read_requests=_counted(read_requests),
        write_bytes=_counted(write_bytes),
        write_requests=_counted(write_requests),
    )


def _card_of(domain: libvirt.virDomain, name: str) -> InterfaceStatistics | None:
    told = _if_counted(partial(domain.interfaceStats, name))
    if told is None:
        return None
    return InterfaceStatistics(
        target=name,
        receive_bytes=_counted(told[0]),
        receive_packets=_counted(told[1]),
        receive_errors=_counted(told[2]),
        receive_drops=_counted(told[3]),
        transmit_bytes=_counted(told[4]),
        transmit_packets=_counted(told[5]),
        transmit_errors=_counted(told[6]),
        transmit_drops=_counted(told[7]),
    )


def _name_of(card: etree._Element) -> str:
    """How libvirt is asked for a card: by the host's end, or by its address where that has none."""
    for place, attribute in (("target", "dev"), ("mac", "address")):
        found = card.find(place)
        if found is not None and found.get(attribute):
            return str(found.get(attribute))
    return ""


def _counted(number: int) -> int | None:
    """``number``, unless it is libvirt's word for "not counted"."""
    return None if number < 0 else number


def _if_counted(ask: Callable[[], _T]) -> _T | None:
    """What ``ask`` returns; None where this driver has no figures for that."""
    try:
        return ask()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _NOT_COUNTED:
            raise
        return None
