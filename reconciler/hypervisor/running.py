"""Carry out the steps that act on a guest's life and size: start, stop, vCPUs, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from reconciler.errors import StalledError, TransientError

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.steps import (
        DestroyGuest,
        SetMemory,
        SetVcpus,
        ShutDownGuest,
        StartGuest,
    )

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_MEMORY_NOW = 2
"""Where ``virDomainGetInfo`` keeps the memory that the guest has at the moment."""


def start(door: Door, step: StartGuest) -> None:
    """Start the guest from its stored definition; never so that it ends with our connection."""
    domain = door.domain(step.uuid, step.guest)
    state, _ = domain.state()
    if domain.isActive():
        match state:
            case libvirt.VIR_DOMAIN_PAUSED:
                raise StalledError(f"{door.doing}: it is paused: resume or destroy it by hand")
            case libvirt.VIR_DOMAIN_CRASHED:
                raise StalledError(
                    f"{door.doing}: it crashed and is kept for inspection: destroy it by hand"
                )
            case libvirt.VIR_DOMAIN_SHUTOFF | libvirt.VIR_DOMAIN_SHUTDOWN:
                raise TransientError(f"{door.doing}: it is still going down")
            case _:
                return
    if domain.hasManagedSaveImage():
        raise StalledError(
            f"{door.doing}: its memory was saved, and starting would resume it: start it by hand, "
            "or remove the save with `virsh managedsave-remove`"
        )
    door.write(domain.createWithFlags, 0)


def shut_down(door: Door, step: ShutDownGuest) -> None:
    """Ask the guest to shut down, by its agent where that answers, else by the power button."""
    domain = door.domain(step.uuid, step.guest)
    if domain.isActive():
        _require_stored(door, domain)
        door.write(domain.shutdown)


def destroy(door: Door, step: DestroyGuest) -> None:
    """Stop the guest at once."""
    domain = door.domain(step.uuid, step.guest)
    if domain.isActive():
        _require_stored(door, domain)
        door.write(domain.destroy)


def set_vcpus(door: Door, step: SetVcpus) -> None:
    """Give the running guest ``count`` vCPUs."""
    door.require("vcpu_hotplug")
    domain = door.running_domain(step.uuid, step.guest)
    has = domain.vcpusFlags(_LIVE)
    if has == step.count:
        return
    if has > step.count:
        door.require("vcpu_unplug")
    door.write(domain.setVcpusFlags, step.count, _LIVE)


def set_memory(door: Door, step: SetMemory) -> None:
    """Move the running guest's balloon; whether the guest follows is seen by observing."""
    door.require("memory_balloon")
    domain = door.running_domain(step.uuid, step.guest)
    if domain.info()[_MEMORY_NOW] != step.size_kib:
        door.write(domain.setMemoryFlags, step.size_kib, _LIVE)


def _require_stored(door: Door, domain: libvirt.virDomain) -> None:
    """Stall if stopping would also undefine: a domain without a stored definition is gone then."""
    if not domain.isPersistent():
        raise StalledError(
            f"{door.doing}: it has no stored definition and would be lost: define it by hand first"
        )
