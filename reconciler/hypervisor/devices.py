"""Carry out the steps that change a running guest's devices.

libvirt wants the XML of the one device. It is cut out of the whole running text, into which the
device is merged first: so there is one renderer for a device, whether cold or hot, and what no
field models (address, alias, serial) is told back to libvirt exactly as it gave it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
from lxml import etree

from reconciler.domxml import merge
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.hypervisor.parsing import parse
from reconciler.model.definition import BlockSource, GuestDefinition, VolumeSource
from reconciler.planner.effects import with_disk, with_nic

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.definition import DiskSource
    from reconciler.model.names import MacAddress, Target
    from reconciler.model.steps import (
        AttachDisk,
        AttachNic,
        ChangeMedium,
        ChangeNic,
        DetachDisk,
        DetachNic,
        GrowDisk,
    )

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CAPACITY = 0
"""Where ``virDomainGetBlockInfo`` keeps the size that the guest is offered."""


def attach_disk(door: Door, step: AttachDisk) -> None:
    """Plug the disk in, unless it is; another disk in its place stays."""
    door.require("disk_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.disk(step.disk.target)
    if there == step.disk:
        return
    if there is not None:
        raise StalledError(f"{door.doing}: another disk is at {step.disk.target} already")
    wanted = replace(live, disks=with_disk(live.disks, step.disk))
    merged = _merged(door, text, wanted)
    door.write(domain.attachDeviceFlags, _disk_text(merged, step.disk.target), _LIVE)


def detach_disk(door: Door, step: DetachDisk) -> None:
    """Unplug the disk, if it is that disk; its volume stays."""
    door.require("disk_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.disk(step.disk.target)
    if there is None:
        return
    if there.source != step.disk.source:
        raise TransientError(f"{door.doing}: another disk is at {step.disk.target} now")
    door.write(domain.detachDeviceFlags, _disk_text(text, step.disk.target), _LIVE)


def change_medium(door: Door, step: ChangeMedium) -> None:
    """Put the medium into the drive, or take out the one that is there."""
    door.require("media_change")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.disk(step.disk.target)
    if there is None or there.device is not step.disk.device:
        raise TransientError(f"{door.doing}: there is no such drive at {step.disk.target}")
    if there.source == step.disk.source:
        return
    wanted = replace(live, disks=with_disk(live.disks, replace(there, source=step.disk.source)))
    merged = _merged(door, text, wanted)
    door.write(domain.updateDeviceFlags, _disk_text(merged, step.disk.target), _LIVE)


def attach_nic(door: Door, step: AttachNic) -> None:
    """Plug the card in, unless it is; another card with its address stays."""
    door.require("nic_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.nic(step.nic.mac)
    if there == step.nic:
        return
    if there is not None:
        raise StalledError(f"{door.doing}: another card has {step.nic.mac} already")
    wanted = replace(live, nics=with_nic(live.nics, step.nic))
    merged = _merged(door, text, wanted)
    door.write(domain.attachDeviceFlags, _nic_text(merged, step.nic.mac), _LIVE)


def detach_nic(door: Door, step: DetachNic) -> None:
    """Unplug the card."""
    door.require("nic_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    if live.nic(step.nic.mac) is not None:
        door.write(domain.detachDeviceFlags, _nic_text(text, step.nic.mac), _LIVE)


def change_nic(door: Door, step: ChangeNic) -> None:
    """Connect the card elsewhere; its model stays, because no guest would survive the change."""
    door.require("nic_change")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.nic(step.nic.mac)
    if there is None:
        raise TransientError(f"{door.doing}: there is no card {step.nic.mac}")
    if there.source == step.nic.source:
        return
    wanted = replace(live, nics=with_nic(live.nics, replace(there, source=step.nic.source)))
    merged = _merged(door, text, wanted)
    door.write(domain.updateDeviceFlags, _nic_text(merged, step.nic.mac), _LIVE)


def grow_disk(door: Door, step: GrowDisk) -> None:
    """Make the running guest's disk larger, and QEMU tell the guest; it never gets smaller."""
    door.require("grow_running_disk")
    domain = door.running_domain(step.uuid, step.guest)
    _, live = door.live(domain)
    disk = live.disk(step.target)
    if disk is None:
        raise TransientError(f"{door.doing}: there is no disk at {step.target}")
    if disk.read_only:
        raise RefusedError(f"{door.doing}: the disk at {step.target} is read-only")
    _require_file(door, disk.source)
    if int(domain.blockInfo(step.target)[_CAPACITY]) < step.capacity_bytes:
        door.write(
            domain.blockResize,
            step.target,
            step.capacity_bytes,
            libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES,
        )


def _require_file(door: Door, source: DiskSource | None) -> None:
    """Refuse to grow what QEMU cannot: a block device has the size that its host gives it."""
    is_block = isinstance(source, BlockSource)
    if isinstance(source, VolumeSource):
        volume = door.find_volume(source.pool, source.volume)
        is_block = volume is not None and volume.info()[0] == libvirt.VIR_STORAGE_VOL_BLOCK
    if is_block:
        raise RefusedError(f"{door.doing}: it is a block device, which grows on the host first")


def _merged(door: Door, text: str, wanted: GuestDefinition) -> str:
    merged: str = merge(text, wanted, paths=door.paths_for(wanted))
    return merged


def _disk_text(text: str, target: Target) -> str:
    devices = parse(text, "domain").iterfind("devices/disk")
    found = [disk for disk in devices if disk.find(f"target[@dev='{target}']") is not None]
    return etree.tostring(found[0], encoding="unicode", with_tail=False)


def _nic_text(text: str, mac: MacAddress) -> str:
    devices = parse(text, "domain").iterfind("devices/interface")
    found = [nic for nic in devices if nic.find(f"mac[@address='{mac}']") is not None]
    return etree.tostring(found[0], encoding="unicode", with_tail=False)
