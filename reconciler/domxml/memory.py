"""Memory: ``<memory>`` is what a guest is started with, ``<currentMemory>`` the balloon's goal.

In a running guest's text ``<currentMemory>`` is what the balloon has achieved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import number, only
from reconciler.errors import StalledError
from reconciler.model.definition import Memory

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

_KIB = 1024
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


def bytes_in(unit: str) -> int | None:
    """How many bytes libvirt takes ``unit`` for: ``KB`` is a thousand, ``K`` and ``KiB`` 1024."""
    word = unit.strip().lower()
    if word in {"b", "byte", "bytes"}:
        return 1
    power = _POWERS.get(word[:1])
    if power is None:
        return None
    return {"": 1024, "ib": 1024, "b": 1000}.get(word[1:], 0) ** power or None


def _kib(element: Element | None) -> int | None:
    if element is None:
        return None
    amount, unit = number(element.text), bytes_in(element.get("unit", "KiB"))
    return None if amount is None or unit is None else -(-amount * unit // _KIB)


def read(domain: Element, kind: Kind) -> Memory:
    """How much it has and can have; a goal above the maximum is the maximum, as libvirt has it."""
    maximum, goal = _kib(domain.find("memory")), domain.find("currentMemory")
    size = maximum if goal is None else _kib(goal)
    if maximum is None or size is None:
        raise StalledError(f"domain {kind.name}: its memory cannot be read")
    return Memory(size_kib=min(size, maximum), maximum_kib=maximum)


def write(domain: Element, wanted: Memory, kind: Kind) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    there = read(domain, kind)
    if there == wanted:
        return False
    for tag, amount in (("memory", wanted.maximum_kib), ("currentMemory", wanted.size_kib)):
        element = only(domain, tag)
        element.set("unit", "KiB")
        element.text = str(amount)
    return True
