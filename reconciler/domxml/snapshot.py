"""A snapshot of a guest as libvirt's XML, and back.

A snapshot says of itself whose it is and what it is worth: in its description, which libvirt keeps
with it and shows to people. So the hosts alone tell domops' snapshots from others', also when a
person went back to an older one and the mark with it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.domxml.document import make, number, parse, said, serialise
from reconciler.errors import StalledError
from reconciler.model.mark import Consistency
from reconciler.model.names import SnapshotName, Target
from reconciler.model.observed import ObservedSnapshot, Signature

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_ROOT = "domainsnapshot"
_LAST_SECOND = 253402300799
"""The end of the year 9999, after which Python has no dates."""
_SIGNED = re.compile(
    r"Made by domops \(([a-z-]+)\) for repository ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})",
    re.ASCII,
)


def render_snapshot(name: SnapshotName, signature: Signature) -> str:
    """The text that asks libvirt for a snapshot inside the guest's own disks."""
    signed = f"Made by domops ({signature.consistency}) for repository {signature.owner}"
    return serialise(make(_ROOT, {}, said("name", name), said("description", signed)))


def read_snapshot(text: str) -> ObservedSnapshot:
    """What the text of a snapshot says; the definition that it keeps is not looked at.

    Raises:
        StalledError: it is no snapshot's text.

    """
    root = parse(text, root=_ROOT)
    name, at = root.findtext("name"), number(root.findtext("creationTime"))
    if not name or at is None or not 0 <= at <= _LAST_SECOND:
        raise StalledError("a snapshot's XML has no name, or says not when it was taken")
    kinds = {
        Target(disk.get("name", "")): disk.get("snapshot", "")
        for disk in root.iterfind("disks/disk")
    }
    memory = _memory(root)
    return ObservedSnapshot(
        name=SnapshotName(name),
        taken=datetime.fromtimestamp(at, UTC),
        disks=tuple(sorted(target for target, kind in kinds.items() if kind == "internal")),
        memory=memory != "no",
        external=memory == "external" or "external" in kinds.values(),
        signature=_signature(root.findtext("description")),
    )


def _memory(root: Element) -> str:
    element = root.find("memory")
    return "no" if element is None else element.get("snapshot", "no")


def _signature(description: str | None) -> Signature | None:
    signed = _SIGNED.fullmatch((description or "").strip())
    if signed is None or signed[1] not in set(Consistency):
        return None
    return Signature(owner=UUID(signed[2]), consistency=Consistency(signed[1]))
