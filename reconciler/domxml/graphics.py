"""The screen: ``<graphics>``, and the card that draws on it.

A password is not modelled: an element that is as wanted keeps its own, whoever set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, forget, make, only, put, take_out
from reconciler.model.options import LOOPBACK, Graphics

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

_HERE = frozenset({LOOPBACK, "::1", "localhost"})
_CARD_ON_QEMU = "vga"
"""Every guest has a driver for it, firmware included."""


def read(domain: Element) -> Graphics | None:
    """Return the guest's screen, of several the one that is ours to change."""
    element = _ours(domain)
    if element is None:
        return None
    return Graphics(type=element.get("type", ""), listen=_listen(element))


def write(domain: Element, wanted: Graphics | None, kind: Kind) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain) == wanted:
        return False
    devices = only(domain, "devices")
    element = _ours(domain)
    if wanted is None:
        for one in devices.findall("graphics"):
            take_out(one)
        drop(devices, "video")
        return True
    if element is None:
        element = put(devices, make("graphics", {"type": wanted.type, "autoport": "yes"}))
    elif element.get("type") != wanted.type:
        fresh = make("graphics", {"type": wanted.type, "autoport": "yes"})
        put(devices, fresh, after=element)
        take_out(element)
        element = fresh
    # libvirt refuses an attribute and an element that contradict each other.
    drop(element, "listen")
    forget(element, "listen", "socket")
    if wanted.listen:
        element.set("listen", wanted.listen)
        put(element, make("listen", {"type": "address", "address": wanted.listen}))
    if kind.on_qemu and devices.find("video") is None:
        put(devices, make("video", {}, make("model", {"type": _CARD_ON_QEMU})))
    return True


def _ours(domain: Element) -> Element | None:
    elements = domain.findall("devices/graphics")
    vnc = (element for element in elements if element.get("type") == "vnc")
    return next(vnc, elements[0] if elements else None)


def _listen(element: Element) -> str:
    """The address; a socket of the host is as near as its loopback."""
    listen = element.find("listen")
    if element.get("socket") or (listen is not None and listen.get("type") in {"socket", "none"}):
        return LOOPBACK
    address = None if listen is None else listen.get("address")
    said = (address or element.get("listen") or "").strip()
    return LOOPBACK if said in _HERE else said
