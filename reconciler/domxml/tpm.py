"""The trusted platform module, emulated by the host beside the guest.

What it has sealed lies with the host, by the domain's UUID, and outlives every redefinition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, make, only, put
from reconciler.model.options import Tpm

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_MODELS = {"2.0": "tpm-crb", "1.2": "tpm-tis"}
"""The interface that came with each version; every guest that knows the version knows it."""


def read(domain: Element) -> Tpm | None:
    """Return the guest's module."""
    element = domain.find("devices/tpm")
    if element is None:
        return None
    backend = element.find("backend")
    emulated = backend is not None and backend.get("type") == "emulator"
    version = backend.get("version") if backend is not None and emulated else None
    if emulated and not version:
        version = Tpm().version  # libvirt's choice for the interface that came with it
    return Tpm(version=version or "")


def write(domain: Element, wanted: Tpm | None) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain) == wanted:
        return False
    devices = only(domain, "devices")
    drop(devices, "tpm")
    if wanted is not None:
        backend = make("backend", {"type": "emulator", "version": wanted.version})
        put(devices, make("tpm", {"model": _MODELS[wanted.version]}, backend))
    return True
