"""What of a whole definition a host's driver cannot do; asked by every door before it writes.

libvirt takes many a word that its driver then does nothing with, so its silence proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.definition import BridgeSource, GuestType, NbdSource, RbdSource
from reconciler.model.names import FieldName
from reconciler.model.options import NO_DISK_OPTIONS, NO_NIC_OPTIONS, NO_OPTIONS
from reconciler.planner.hostdevices import impossible_devices
from reconciler.planner.options import impossible_of_device, impossible_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.definition import Disk, DiskSource, GuestDefinition, Nic
    from reconciler.model.observed import Capabilities


def impossible_in(
    wanted: GuestDefinition, stored: GuestDefinition | None, capabilities: Capabilities
) -> Iterator[tuple[str, str]]:
    """Each field of ``wanted`` that cannot be, with its reason; what is ``stored`` may stay."""
    there = stored.options if stored is not None else NO_OPTIONS
    yield from impossible_options(
        wanted.options, wanted.type, wanted.domain_type, capabilities, there=there
    )
    yield from impossible_devices(wanted.options, wanted.type, capabilities, there=there)
    for disk in wanted.disks:
        before = stored.disk(disk.target) if stored is not None else None
        for field, why in _in_disk(disk, before, wanted.type, capabilities):
            yield f"{disk.target} {field}", why
    for nic in wanted.nics:
        card = stored.nic(nic.mac) if stored is not None else None
        for field, why in _in_nic(nic, card, wanted.type, capabilities):
            yield f"{nic.mac} {field}", why


def sort_of(source: DiskSource | None) -> FieldName:
    """What a capability table calls a source that not every driver can open; else nothing."""
    match source:
        case NbdSource():
            return FieldName("disks.nbd")
        case RbdSource():
            return FieldName("disks.rbd")
        case _:
            return FieldName("")


def _in_disk(
    disk: Disk, before: Disk | None, type_: GuestType, capabilities: Capabilities
) -> Iterator[tuple[str, str]]:
    there = before.options if before is not None else NO_DISK_OPTIONS
    yield from impossible_of_device(disk.options, type_, capabilities, there=there)
    if before is None or before.bus is not disk.bus:
        denial = capabilities.without.get((type_, FieldName(f"disks.bus.{disk.bus}")))
        if denial is not None:
            yield "bus", denial.why
    if before is None or before.source != disk.source:
        denial = capabilities.without.get((type_, sort_of(disk.source)))
        if denial is not None:
            yield "source", denial.why


def _in_nic(
    nic: Nic, before: Nic | None, type_: GuestType, capabilities: Capabilities
) -> Iterator[tuple[str, str]]:
    there = before.options if before is not None else NO_NIC_OPTIONS
    yield from impossible_of_device(nic.options, type_, capabilities, there=there)
    if isinstance(nic.source, BridgeSource) and nic.source.openvswitch:
        denial = capabilities.without.get((type_, FieldName("networks.openvswitch")))
        if denial is not None and (before is None or before.source != nic.source):
            yield "network", denial.why
    models = capabilities.nic_models
    if nic.model is None or models is None or type_ is not GuestType.HVM:
        return
    if nic.model not in models and (before is None or before.model != nic.model):
        yield "model", f"{nic.model} is not emulated; there are {', '.join(sorted(models))}"
