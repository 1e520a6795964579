"""Memory in large pages of the host: ``<memoryBacking><hugepages>``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, make, number, only, put, take_out
from reconciler.domxml.memory import bytes_in
from reconciler.model.options import HugePages

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_KIB = 1024


def read(domain: Element) -> HugePages | None:
    """Whether it is; pages that differ by NUMA node count as the host's choice."""
    element = domain.find("memoryBacking/hugepages")
    if element is None:
        return None
    pages = element.findall("page")
    if len(pages) != 1 or "nodeset" in pages[0].attrib:
        return HugePages()
    amount, unit = number(pages[0].get("size")), bytes_in(pages[0].get("unit", "KiB"))
    if not amount or unit is None:
        return HugePages()
    return HugePages(size_kib=max(1, amount * unit // _KIB))


def write(domain: Element, wanted: HugePages | None) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain) == wanted:
        return False
    backing = only(domain, "memoryBacking")
    drop(backing, "hugepages")
    if wanted is not None:
        element = put(backing, make("hugepages"))
        if wanted.size_kib is not None:
            put(element, make("page", {"size": str(wanted.size_kib), "unit": "KiB"}))
    if not len(backing):
        take_out(backing)
    return True
