"""The text of a new guest before any field is written into it.

Only what no field models and no hypervisor chooses well by itself stands here. It acts once: what
an existing text says in these places is its owner's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.domxml.document import make, put, said
from reconciler.errors import RefusedError
from reconciler.model.definition import (
    BootDevice,
    Bus,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    KernelBoot,
    LoaderBoot,
)
from reconciler.model.options import HostBus

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

SPARE_PORTS = 8
"""Slots kept free for what is plugged in later.

In a PCI Express machine a device can be plugged into a running guest only if a root port waits for
it, and ports themselves cannot be plugged. libvirt makes one more than a new guest has devices.
"""

# Beside disks and NICs, what libvirt puts into slots of its own: USB, balloon, agent's line, SCSI.
_PORTS_FOR_CONTROLLERS = 4

_TYPES = {
    GuestType.HVM: ("hvm", "xenfv"),
    GuestType.PV: ("linux", "xenpv"),
    GuestType.PVH: ("xenpvh", "xenpvh"),
}


def skeleton(definition: GuestDefinition, kind: Kind) -> Element:
    """Return the tree to write a new guest's fields into."""
    if kind.paravirtual and not kind.on_xen:
        raise RefusedError(f"domain {kind.name}: {kind.type} guests exist on Xen only")
    domain = make(
        "domain",
        {"type": kind.domain_type},
        said("name", kind.name),
        said("uuid", str(kind.uuid)),
        # A field is written where it differs from what is there: nought differs from all guests'.
        said("memory", "0"),
        said("currentMemory", "0"),
        said("vcpu", "0"),
        *_bootloader(definition),
        _os(definition, kind),
    )
    if kind.type is not GuestType.PV:
        features = ("acpi", "apic", "pae") if kind.on_xen else ("acpi", "apic")
        put(domain, make("features", {}, *(make(feature) for feature in features)))
    put(domain, make("clock", {"offset": "utc"}))
    put(domain, said("on_poweroff", "destroy"))
    put(domain, said("on_reboot", "restart"))
    put(domain, said("on_crash", "destroy"))
    put(domain, make("devices", {}, *_devices(definition, kind)))
    return domain


def _bootloader(definition: GuestDefinition) -> list[Element]:
    """Libxl's default, said aloud: with a bare word it takes the pygrub that came with it."""
    return [said("bootloader", "pygrub")] if isinstance(definition.boot, LoaderBoot) else []


def _os(definition: GuestDefinition, kind: Kind) -> Element:
    word, machine = _TYPES[kind.type]
    type_ = said("type", word)
    type_.set("arch", kind.arch)
    if kind.on_xen:
        type_.set("machine", machine)
    elif kind.on_qemu:
        type_.set("machine", "q35")
    os = make("os", {}, type_)
    match definition.boot:
        case FirmwareBoot(order=(BootDevice.DISK,)):
            os.append(make("boot", {"dev": "hd"}))  # libvirt's default, said aloud
        case FirmwareBoot() | KernelBoot() | LoaderBoot():
            pass
        case _:
            assert_never(definition.boot)
    return os


def _devices(definition: GuestDefinition, kind: Kind) -> list[Element]:
    if not kind.on_qemu:
        return []
    options = definition.options
    cards = sum(1 for disk in definition.disks if disk.bus is Bus.VIRTIO) + len(definition.nics)
    cards += sum(1 for one in (options.rng, options.watchdog) if one)
    cards += sum(1 for one in options.host_devices if one.bus is HostBus.PCI)
    ports = cards + _PORTS_FOR_CONTROLLERS + SPARE_PORTS
    return [
        make("controller", {"type": "pci", "model": "pcie-root"}),
        *(make("controller", {"type": "pci", "model": "pcie-root-port"}) for _ in range(ports)),
        # Lets a guest's kernel say that it panicked, so that a crash is seen as one.
        make("panic", {"model": "isa"}),
    ]
