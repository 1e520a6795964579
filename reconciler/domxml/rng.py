"""The random number generator: a guest that has just been made has no other good source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import make, only, put, said, take_out

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_SOURCE = "/dev/urandom"
"""The one that libvirt and the kernel's authors recommend: it never blocks the guest."""


def read(domain: Element) -> bool:
    """Whether the guest has one, of whatever model and source."""
    return domain.find("devices/rng") is not None


def write(domain: Element, wanted: bool) -> bool:  # noqa: FBT001 - a field's value
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain) is wanted:
        return False
    devices = only(domain, "devices")
    if not wanted:
        for element in devices.findall("rng"):
            take_out(element)
        return True
    backend = said("backend", _SOURCE)
    backend.set("model", "random")
    put(devices, make("rng", {"model": "virtio"}, backend))
    return True
