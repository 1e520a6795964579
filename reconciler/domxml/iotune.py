"""The limits of a disk: ``<iotune>``, of which six values a second are modelled.

Bursts and groups belong to whoever wrote them. A burst needs the limit that it exceeds, so it goes
with its limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, make, number, put, take_out, tell
from reconciler.model.options import IoLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element as Element

LIMITS: Mapping[str, str] = {
    "total_bytes": "total_bytes_sec",
    "read_bytes": "read_bytes_sec",
    "write_bytes": "write_bytes_sec",
    "total_iops": "total_iops_sec",
    "read_iops": "read_iops_sec",
    "write_iops": "write_iops_sec",
}
"""libvirt's word for each limit, in XML and in its calls."""


def read(disk: Element) -> IoLimits | None:
    """The limits of a disk, or None where there are none."""
    tune = disk.find("iotune")
    if tune is None:
        return None
    found = {name: number(tune.findtext(tag)) or 0 for name, tag in LIMITS.items()}
    return IoLimits(**found) if any(found.values()) else None


def write(disk: Element, wanted: IoLimits | None) -> None:
    """Make them as wanted."""
    tune = disk.find("iotune")
    if tune is None:
        tune = put(disk, make("iotune"), after=disk.find("target"))
    for name, tag in LIMITS.items():
        value = getattr(wanted, name) if wanted is not None else 0
        tell(tune, tag, str(value) if value else None)
        if not value:
            drop(tune, f"{tag}_max", f"{tag}_max_length")
    if not len(tune):
        take_out(tune)
