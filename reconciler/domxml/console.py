"""The text console: a serial line or Xen's console, on a pseudo-terminal of the host.

libvirt gives a PV or PVH guest a console whether one was asked for or not; see ``canonical``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import make, only, put, take_out

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

_PTY = {"type": "pty"}


def read(domain: Element) -> bool:
    """Whether a person can open a console of the guest."""
    return bool(_elements(domain))


def canonical(kind: Kind, *, console: bool) -> bool:
    """What is read back where ``console`` was asked for."""
    return console or (kind.on_xen and kind.paravirtual)


def write(domain: Element, wanted: bool, kind: Kind) -> bool:  # noqa: FBT001 - a field's value
    """Make it as wanted; say whether anything had to be changed."""
    there = read(domain)
    if there is wanted or there is canonical(kind, console=wanted):
        return False
    if not wanted:
        for element in _elements(domain):
            take_out(element)
        return True
    devices = only(domain, "devices")
    if kind.paravirtual:
        put(devices, make("console", _PTY, make("target", {"type": "xen", "port": "0"})))
        return True
    lines = devices.findall("serial")
    port = {"port": str(len(lines))}
    put(devices, make("serial", _PTY, make("target", port)), after=lines[-1] if lines else None)
    if not lines:
        # libvirt's own name for the first serial line; a second line has no such twin.
        put(devices, make("console", _PTY, make("target", {"type": "serial", "port": "0"})))
    return True


def _elements(domain: Element) -> list[Element]:
    """Both names that libvirt has for the same line."""
    found = (*domain.iterfind("devices/serial"), *domain.iterfind("devices/console"))
    return [element for element in found if element.get("type") == "pty"]
