"""What a guest starts with: a kernel or boot loader of the host, or firmware of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from reconciler.domxml.document import drop, forget, make, number, only, put, said, tell
from reconciler.errors import RefusedError, StalledError
from reconciler.model.definition import (
    BootDevice,
    Firmware,
    FirmwareBoot,
    KernelBoot,
    Loader,
    LoaderBoot,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.definition import Boot

_WORDS = {
    BootDevice.DISK: "hd",
    BootDevice.CDROM: "cdrom",
    BootDevice.NETWORK: "network",
}
_DEVICES = {word: device for device, word in _WORDS.items()}
_DEFAULT_ORDER = (BootDevice.DISK,)

_OVMF_ON_XEN = "/usr/lib/xen/boot/ovmf.bin"
"""What libvirt itself writes for xl's ``bios="ovmf"``; its libxl driver has no automatic choice.

libxl takes the loader's type as the wish for OVMF and looks for the file by itself.
"""


_OWN_KEYS = {"enabled": "no", "name": "enrolled-keys"}
"""Of the files that there are, one that trusts nobody's keys yet.

libvirt's first choice on Debian trusts Microsoft's alone, and so starts no image that is signed by
nobody. What a person wrote of features is theirs and stays.
"""

_VARIABLES = re.compile(r"/var/lib/libvirt/qemu/nvram/[^/]+_VARS\.fd")
"""Where libvirt keeps and finds again a guest's variables if nobody says otherwise."""


def read(domain: Element, kind: Kind) -> Boot:
    """Return what it starts with.

    A PV or PVH guest that names neither kernel nor boot loader is booted by libxl with pygrub.
    """
    os = only(domain, "os")
    kernel, bootloader = os.findtext("kernel"), domain.findtext("bootloader")
    if kind.paravirtual and (bootloader or not kernel):
        if bootloader and not _base_name(bootloader).startswith("pygrub"):
            raise StalledError(f"domain {kind.name}: domops knows no boot loader {bootloader!r}")
        return LoaderBoot(loader=Loader.PYGRUB)
    if kernel:
        return KernelBoot(
            kernel=kernel,
            initrd=os.findtext("initrd") or None,
            cmdline=os.findtext("cmdline") or None,
        )
    firmware = Firmware.UEFI if _is_uefi(os, kind) else Firmware.BIOS
    return FirmwareBoot(firmware=firmware, order=_order(domain, os))


def write(domain: Element, wanted: Boot, kind: Kind) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    there = read(domain, kind)
    if there == wanted:
        return False
    os = only(domain, "os")
    match wanted:
        case KernelBoot():
            drop(domain, "bootloader", "bootloader_args")
            tell(os, "kernel", wanted.kernel)
            tell(os, "initrd", wanted.initrd)
            tell(os, "cmdline", wanted.cmdline)
        case FirmwareBoot():
            if kind.paravirtual:
                raise RefusedError(f"domain {kind.name}: a {kind.type} guest has no firmware")
            if not wanted.order:
                raise RefusedError(f"domain {kind.name}: firmware needs a device to start from")
            drop(os, "kernel", "initrd", "cmdline")
            _write_firmware(os, wanted.firmware, kind)
            if _order(domain, os) != wanted.order:
                _write_order(domain, os, wanted.order)
        case LoaderBoot():
            if not kind.paravirtual:
                raise RefusedError(
                    f"domain {kind.name}: a boot loader of the host starts only PV and PVH guests"
                )
            if wanted.loader is not Loader.PYGRUB:
                raise RefusedError(
                    f"domain {kind.name}: boot loader {wanted.loader}: not built yet"
                )
            drop(os, "kernel", "initrd", "cmdline")
            drop(domain, "bootloader_args")
            # Without a path libxl takes the one that came with it, also after an upgrade of Xen.
            tell(domain, "bootloader", "pygrub")
        case _:
            assert_never(wanted)
    return True


def _base_name(path: str) -> str:
    return path.strip().rpartition("/")[2]


def _is_uefi(os: Element, kind: Kind) -> bool:
    if os.get("firmware") == "efi" and not kind.on_xen:  # libxl's driver does not look at it
        return True
    return any(_is_uefi_loader(loader) for loader in os.findall("loader"))


def _is_uefi_loader(loader: Element) -> bool:
    return loader.get("type") == "pflash" or "ovmf" in _base_name(loader.text or "").lower()


def _write_firmware(os: Element, wanted: Firmware, kind: Kind) -> None:
    """Let the hypervisor choose the file; one that was chosen for the other firmware must go."""
    if _is_uefi(os, kind) is (wanted is Firmware.UEFI):
        return
    variables = (os.findtext("nvram") or "").strip()
    if variables and not _VARIABLES.fullmatch(variables):
        raise RefusedError(
            f"domain {kind.name}: its firmware's variables lie at {variables}, and nothing would "
            "lead back to them: change its firmware by hand"
        )
    drop(os, "loader", "nvram", "firmware")
    match wanted:
        case Firmware.UEFI if kind.on_xen:
            loader = said("loader", _OVMF_ON_XEN)
            loader.attrib.update({"readonly": "yes", "type": "pflash"})
            put(os, loader, after=os.find("type"))
        case Firmware.UEFI:
            os.set("firmware", "efi")
            put(os, make("firmware", {}, make("feature", _OWN_KEYS)), after=os.find("type"))
        case Firmware.BIOS:
            forget(os, "firmware")
        case _:
            assert_never(wanted)


def _order(domain: Element, os: Element) -> tuple[BootDevice, ...]:
    """The classes of devices in the order in which they are tried; libvirt's default is the disk.

    A text has either a list of classes or numbers at single devices, never both.
    """
    words = [element.get("dev", "") for element in os.findall("boot")]
    if words:
        return tuple(_DEVICES[word] for word in words if word in _DEVICES)
    numbered = sorted(_numbered(domain), key=lambda pair: pair[0])
    return tuple(dict.fromkeys(device for _, device in numbered)) or _DEFAULT_ORDER


def _numbered(domain: Element) -> Iterable[tuple[int, BootDevice]]:
    for element in domain.iterfind("devices/*/boot"):
        place, owner = number(element.get("order")), element.getparent()
        if place is None or owner is None:
            continue
        if owner.tag == "interface":
            yield place, BootDevice.NETWORK
        elif owner.tag == "disk":
            cdrom = owner.get("device") == "cdrom"
            yield place, BootDevice.CDROM if cdrom else BootDevice.DISK


def _write_order(domain: Element, os: Element, wanted: tuple[BootDevice, ...]) -> None:
    """Write classes; a class that no field models (a floppy) is still tried, after the others."""
    for owner in domain.iterfind("devices/*"):
        drop(owner, "boot")
    rest = [one.get("dev", "") for one in os.findall("boot") if one.get("dev") not in _DEVICES]
    drop(os, "boot")
    for word in (*(_WORDS[device] for device in wanted), *rest):
        put(os, make("boot", {"dev": word}))
