"""The channel on which QEMU's guest agent listens inside the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import make, only, put, take_out
from reconciler.errors import RefusedError

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

CHANNEL = "org.qemu.guest_agent.0"
"""The name by which the agent looks for its channel; it is the same in every guest."""


def read(domain: Element) -> bool:
    """Whether the guest has the channel."""
    return bool(_elements(domain))


def connected(domain: Element) -> bool:
    """Whether the agent inside a running guest has opened the channel; a stored text never says."""
    targets = domain.iterfind("devices/channel/target")
    return any(one.get("name") == CHANNEL and one.get("state") == "connected" for one in targets)


def write(domain: Element, wanted: bool, kind: Kind) -> bool:  # noqa: FBT001 - a field's value
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain) is wanted:
        return False
    if not wanted:
        for element in _elements(domain):
            take_out(element)
        return True
    if kind.on_xen:
        raise RefusedError(f"domain {kind.name}: Xen has no channel for QEMU's guest agent")
    target = make("target", {"type": "virtio", "name": CHANNEL})
    put(only(domain, "devices"), make("channel", {"type": "unix"}, target))
    return True


def _elements(domain: Element) -> list[Element]:
    targets = domain.iterfind("devices/channel/target")
    channels = (one.getparent() for one in targets if one.get("name") == CHANNEL)
    return [channel for channel in channels if channel is not None]
