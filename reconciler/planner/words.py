"""Sizes, spans of time and elements as a person would say them, in the sentences of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.options import IoLimits
    from reconciler.model.overlay import OverlayElement

KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(size_bytes: int) -> str:
    """``2 GiB``, ``1536 MiB``: the largest binary unit that keeps the number whole."""
    amount, unit = size_bytes, 0
    while amount and amount % KIB == 0 and unit < len(_UNITS) - 1:
        amount, unit = amount // KIB, unit + 1
    return f"{amount} {_UNITS[unit]}"


def memory(size_kib: int) -> str:
    """The same for a number of KiB."""
    return size(size_kib * KIB)


def limits(limits: IoLimits) -> str:
    """``read 100 MiB/s, 500 operations/s``: each limit that there is."""
    told = []
    for who in ("total", "read", "write"):
        prefix = "" if who == "total" else f"{who} "
        amount, number = getattr(limits, f"{who}_bytes"), getattr(limits, f"{who}_iops")
        told += [f"{prefix}{size(amount)}/s"] if amount else []
        told += [f"{prefix}{number} operations/s"] if number else []
    return ", ".join(told) or "none"


def span(seconds: float) -> str:
    """``40 s``, ``5 min``, ``2 h``, ``3 d``: rounded down to one unit."""
    whole = int(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def overlay(elements: tuple[OverlayElement, ...]) -> str:
    """The elements of an overlay, one after the other."""
    return " ".join(str(one.element) for one in elements) or "none"
