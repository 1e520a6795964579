"""Carry out the steps that change a running guest's devices.

libvirt wants the XML of the one device. A new one is rendered; one that is there is cut out of the
running text and changed in it, so that what no field models (address, alias, serial) is told back
to libvirt exactly as it gave it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import (
    LIMITS,
    extract_disk,
    extract_nic,
    merge_disk,
    merge_nic,
    render_disk,
    render_nic,
)
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.model.definition import BlockSource, VolumeSource
from reconciler.model.options import NO_LIMITS

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.definition import DiskSource
    from reconciler.model.steps import (
        AttachDisk,
        AttachNic,
        ChangeMedium,
        ChangeNic,
        DetachDisk,
        DetachNic,
        GrowDisk,
        SetDiskLimits,
    )

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_CAPACITY = 0
"""Where ``virDomainGetBlockInfo`` keeps the size that the guest is offered."""


def attach_disk(door: Door, step: AttachDisk) -> None:
    """Plug the disk in, unless it is; another disk in its place stays."""
    door.require("disk_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    _, live = door.live(domain)
    there = live.disk(step.disk.target)
    if there == step.disk:
        return
    if there is not None:
        raise StalledError(f"{door.doing}: another disk is at {step.disk.target} already")
    text = render_disk(step.disk, live, paths=door.paths_for((step.disk,)))
    door.write(domain.attachDeviceFlags, text, _LIVE)


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
    door.write(domain.detachDeviceFlags, extract_disk(text, step.disk.target), _LIVE)


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
    wanted = replace(there, source=step.disk.source)
    changed = merge_disk(text, wanted, paths=door.paths_for((wanted,)))
    door.write(domain.updateDeviceFlags, changed, _LIVE)


def attach_nic(door: Door, step: AttachNic) -> None:
    """Plug the card in, unless it is; another card with its address stays."""
    door.require("nic_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    _, live = door.live(domain)
    there = live.nic(step.nic.mac)
    if there == step.nic:
        return
    if there is not None:
        raise StalledError(f"{door.doing}: another card has {step.nic.mac} already")
    door.write(domain.attachDeviceFlags, render_nic(step.nic, live), _LIVE)


def detach_nic(door: Door, step: DetachNic) -> None:
    """Unplug the card."""
    door.require("nic_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    if live.nic(step.nic.mac) is not None:
        door.write(domain.detachDeviceFlags, extract_nic(text, step.nic.mac), _LIVE)


def change_nic(door: Door, step: ChangeNic) -> None:
    """Connect the card elsewhere, or put its cable in or out; its model and queues stay."""
    door.require("nic_change")
    domain = door.running_domain(step.uuid, step.guest)
    text, live = door.live(domain)
    there = live.nic(step.nic.mac)
    if there is None:
        raise TransientError(f"{door.doing}: there is no card {step.nic.mac}")
    options = replace(there.options, link=step.nic.options.link)
    wanted = replace(there, source=step.nic.source, options=options)
    if there == wanted:
        return
    changed = merge_nic(text, wanted)
    door.write(domain.updateDeviceFlags, changed, _LIVE)


def set_disk_limits(door: Door, step: SetDiskLimits) -> None:
    """Hold the running guest's disk to the limits, all six at once: one that is not said goes."""
    door.require("disk_limits")
    domain = door.running_domain(step.uuid, step.guest)
    _, live = door.live(domain)
    disk = live.disk(step.target)
    if disk is None:
        raise TransientError(f"{door.doing}: there is no disk at {step.target}")
    if (disk.options.limits or NO_LIMITS) == step.limits:
        return
    values = {word: getattr(step.limits, name) for name, word in LIMITS.items()}
    door.write(domain.setBlockIoTune, step.target, values, _LIVE)


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
