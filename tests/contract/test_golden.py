"""Every golden definition is accepted by the hypervisor that it is meant for, and read back whole.

Three things no test machine has: hardware that helps (a KVM definition is tried as the QEMU one it
otherwise is), UEFI firmware, and a Xen that runs paravirtual guests of 32 bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.domxml import canonical, read, render
from reconciler.hypervisor.guests import STORED_TEXT
from reconciler.model.definition import (
    Arch,
    DomainType,
    Firmware,
    FirmwareBoot,
    GuestType,
    VolumeSource,
)
from tests.golden.definitions import DEFINITIONS, PATHS

if TYPE_CHECKING:
    from reconciler.model.definition import GuestDefinition
    from tests.lab.qemu import QemuHost
    from tests.lab.xen.dom0 import Dom0

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

VOLUMES = {path: VolumeSource(pool=pool, volume=name) for (pool, name), path in PATHS.items()}


def needs_uefi(definition: GuestDefinition) -> bool:
    """Whether the host must have UEFI firmware to keep the definition."""
    boot = definition.boot
    return isinstance(boot, FirmwareBoot) and boot.firmware is Firmware.UEFI


def kept(connection: libvirt.virConnect, definition: GuestDefinition) -> GuestDefinition:
    """What the host says of ``definition`` after it was told."""
    text = render(definition, paths=PATHS)
    domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        return read(domain.XMLDesc(STORED_TEXT), volumes=VOLUMES.get).definition
    finally:
        domain.undefine()


ON_QEMU = [
    name
    for name, one in DEFINITIONS.items()
    if one.domain_type in (DomainType.KVM, DomainType.QEMU) and not needs_uefi(one)
]
ON_XEN = [
    name
    for name, one in DEFINITIONS.items()
    if one.domain_type is DomainType.XEN and (one.type, one.arch) != (GuestType.PV, Arch.I686)
]


@pytest.mark.parametrize("name", ON_QEMU)
def test_qemu_keeps_what_it_is_told(qemu_host: QemuHost, name: str) -> None:
    nics = tuple(
        # A card without a model is the one thing that libvirt fills in; domops always names one.
        nic if nic.model else replace(nic, model="virtio")
        for nic in DEFINITIONS[name].nics
    )
    definition = replace(DEFINITIONS[name], domain_type=DomainType.QEMU, nics=nics)
    connection = qemu_host.connect()
    try:
        assert kept(connection, definition) == canonical(definition)
    finally:
        connection.close()


@pytest.mark.xen
@pytest.mark.parametrize("name", ON_XEN)
def test_xen_keeps_what_it_is_told(xen_host: Dom0, name: str) -> None:
    definition = DEFINITIONS[name]
    connection = libvirt.open(xen_host.uri)
    try:
        assert kept(connection, definition) == canonical(definition)
    finally:
        connection.close()
