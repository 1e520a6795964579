"""Record what a real libxl stores and shows, for tests that read it without a dom0.

``python -m tests.lab.xen.record`` defines and starts guests on a dom0 of its own and writes, into
``tests/golden/recorded/xen/``, each definition as it was given (``NAME.given.xml``), as libvirt
stored it (``NAME.stored.xml``) and as it shows it while the guest runs (``NAME.live.xml``); texts
that are not domains go into the folder ``host/``. All identities are fixed, so that a recording
differs from the last one only where libvirt does.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import libvirt

from tests.lab.cache import CHECKOUT
from tests.lab.xen import recipe
from tests.lab.xen.dom0 import Dom0
from tests.lab.xen.errors import LabError

TARGET = CHECKOUT / "tests" / "golden" / "recorded" / "xen"
STORED = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
IMAGES = "/var/lib/libvirt/images"
VOLUME = "<volume><name>{}</name><capacity unit='MiB'>32</capacity></volume>"
PATIENCE_S = 120.0

KERNEL = (
    f"<kernel>{recipe.GUEST_KERNEL_COMPRESSED}</kernel><initrd>{recipe.GUEST_INITRD}</initrd>"
    "<cmdline>console=hvc0 loglevel=4</cmdline>"
)
FILE_DISK = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
    f"<source file='{IMAGES}/root'/><target dev='xvda' bus='xen'/></disk>"
)
PLAIN_DISK = (
    f"<disk type='file' device='disk'><source file='{IMAGES}/data'/>"
    "<target dev='xvdb1' bus='xen'/></disk>"
)
CDROM = (
    f"<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>"
    f"<source file='{IMAGES}/data'/><target dev='hdc' bus='ide'/><readonly/></disk>"
)
NIC = (
    "<interface type='bridge'><mac address='02:00:00:00:00:{:02x}'/><source bridge='br0'/>"
    "</interface>"
)
MARK = "<m:mark xmlns:m='urn:example:mark' owner='somebody'><m:disk target='xvda'/></m:mark>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A definition to record; one that is not started has no live text."""

    name: str
    os: str
    devices: str = ""
    before: str = ""
    memory: str = "<memory unit='MiB'>128</memory>"
    processors: str = "<vcpu>1</vcpu>"
    started: bool = False

    def text(self, number: int) -> str:
        """Write the definition out, with an identity that its number gives it."""
        return (
            "<domain type='xen'>\n"
            f"<name>{self.name}</name>\n"
            f"<uuid>00000000-0000-4000-8000-{number:012x}</uuid>\n"
            f"{self.before}{self.memory}{self.processors}\n<os>{self.os}</os>\n"
            f"<devices>{self.devices}</devices>\n</domain>\n"
        )


SPECIMENS = (
    Specimen(name="pv-minimal", os=f"<type>linux</type>{KERNEL}"),
    Specimen(name="pvh-minimal", os=f"<type>xenpvh</type>{KERNEL}"),
    Specimen(name="hvm-minimal", os="<type>hvm</type><boot dev='hd'/>"),
    Specimen(
        name="pv-full",
        os=f"<type arch='x86_64' machine='xenpv'>linux</type>{KERNEL}",
        before=f"<metadata>{MARK}</metadata>",
        memory="<memory unit='MiB'>160</memory><currentMemory unit='MiB'>128</currentMemory>",
        processors="<vcpu current='1'>2</vcpu>",
        devices=f"{FILE_DISK}{PLAIN_DISK}{NIC.format(1)}{NIC.format(2)}<console type='pty'/>",
        started=True,
    ),
    Specimen(
        name="pvh-full",
        os=f"<type arch='x86_64' machine='xenpvh'>xenpvh</type>{KERNEL}",
        before=f"<metadata>{MARK}</metadata>",
        processors="<vcpu current='1'>2</vcpu>",
        devices=f"{FILE_DISK}{NIC.format(3)}<console type='pty'/>",
        started=True,
    ),
    Specimen(
        name="hvm-full",
        os="<type arch='x86_64' machine='xenfv'>hvm</type><boot dev='cdrom'/><boot dev='hd'/>",
        before=f"<metadata>{MARK}</metadata>",
        devices=(
            f"{FILE_DISK}{CDROM}{NIC.format(4)}<console type='pty'/>"
            "<graphics type='vnc' port='-1' listen='127.0.0.1'/>"
        ),
    ),
)


def main() -> int:
    """Record everything anew."""
    (TARGET / "host").mkdir(parents=True, exist_ok=True)
    with Dom0(number=1, say=print) as dom0:
        connection = libvirt.open(dom0.uri)
        host = connection.lookupByID(0)
        _write("domain-0.live.xml", host.XMLDesc(0))
        _write("domain-0.stored.xml", host.XMLDesc(STORED))
        _write("host/capabilities.xml", connection.getCapabilities())
        _write("host/sysinfo.xml", connection.getSysinfo(0))
        for machine in ("xenpv", "xenpvh", "xenfv"):
            text = connection.getDomainCapabilities(None, "x86_64", machine, "xen", 0)
            _write(f"host/domain-capabilities-{machine}.xml", text)
        pool = connection.storagePoolLookupByName("guests")
        _write("host/pool.xml", pool.XMLDesc(0))
        pool.createXML(VOLUME.format("root"), 0)
        _write("host/volume.xml", pool.createXML(VOLUME.format("data"), 0).XMLDesc(0))
        for number, specimen in enumerate(SPECIMENS, start=1):
            _record(dom0, connection, specimen, specimen.text(number))
    return 0


def _record(dom0: Dom0, connection: libvirt.virConnect, specimen: Specimen, given: str) -> None:
    _write(f"{specimen.name}.given.xml", given)
    guest = connection.defineXMLFlags(given, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    _write(f"{specimen.name}.stored.xml", guest.XMLDesc(STORED))
    if specimen.started:
        guest.create()
        _await(lambda: bool(dom0.says(specimen.name)), f"{specimen.name} says nothing")
        _write(f"{specimen.name}.live.xml", guest.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
        guest.destroy()
    guest.undefine()


def _await(test: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not test():
        if time.monotonic() > deadline:
            raise LabError(complaint)
        time.sleep(0.2)  # what libxl does it does beside us


def _write(name: str, text: str) -> None:
    path = Path(TARGET / name)
    path.write_text(text if text.endswith("\n") else f"{text}\n")
    print(f"wrote {path.relative_to(CHECKOUT)}")


if __name__ == "__main__":
    sys.exit(main())
