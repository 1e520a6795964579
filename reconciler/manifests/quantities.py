"""Sizes and durations, which a manifest always writes with their unit.

A bare number is never taken: whoever reads ``memory: 2048`` should not have to know in what.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

SIZE_UNITS: Final = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "PiB": 1 << 50,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "PB": 1000**5,
}
DURATION_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

MAXIMUM_BYTES: Final = (1 << 63) - 1
"""libvirt counts in signed 64 bits in places."""

MAXIMUM_SECONDS: Final = 100 * 366 * 86400
"""A hundred years: later instants overflow before they matter."""

SIZE_PATTERN: Final = r"^[0-9]{1,19}(\.[0-9]{1,9})?(B|KiB|MiB|GiB|TiB|PiB|kB|MB|GB|TB|PB)$"
DURATION_PATTERN: Final = r"^[0-9]{1,12}(s|m|h|d|w)$"

_TOO_MANY_DIGITS = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*[A-Za-z]+\s*\Z", re.ASCII)
_QUANTITY = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*\Z", re.ASCII)
_SIZE_HINT = "write it with one, as in 512MiB or 20GiB"
_DURATION_HINT = "write it with one, as in 60s, 5m, 2h or 30d"


class QuantityError(ValueError):
    """The text is no size, or no duration; ``hint`` says what would be."""

    def __init__(self, message: str, hint: str) -> None:
        """Keep the hint apart: it is shown apart."""
        super().__init__(message)
        self.hint = hint


@lru_cache(maxsize=4096)
def parse_size(text: str) -> int:
    """The size in bytes that ``text`` (``2GiB``, ``20GB``) says."""
    number, unit = _split(text, _SIZE_HINT)
    factor = SIZE_UNITS.get(unit)
    if factor is None:
        if not unit:
            raise QuantityError(f'"{text}" has no unit', _size_hint(number, unit))
        raise QuantityError(f'"{text}" has no unit domops knows', _size_hint(number, unit))
    if text != f"{number}{unit}":
        raise QuantityError(f'"{text}" holds spaces', f"write {number}{unit}")
    size = Fraction(number) * factor
    if size.denominator != 1:
        raise QuantityError(f'"{text}" is no whole number of bytes', "write it in a smaller unit")
    if size > MAXIMUM_BYTES:
        raise QuantityError(f'"{text}" is more than any host can count', "at most 8191PiB")
    return int(size)


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> int:
    """The time in seconds that ``text`` (``60s``, ``30d``) says."""
    number, unit = _split(text, _DURATION_HINT)
    factor = DURATION_UNITS.get(unit)
    if factor is None:
        if not unit:
            raise QuantityError(f'"{text}" has no unit', f"write {number}s if seconds are meant")
        raise QuantityError(f'"{text}" has no unit domops knows', "write s, m, h, d or w")
    if text != f"{number}{unit}":
        raise QuantityError(f'"{text}" holds spaces', f"write {number}{unit}")
    if "." in number:
        raise QuantityError(f'"{text}" is no whole number', "write it in a smaller unit")
    seconds = int(number) * factor
    if seconds > MAXIMUM_SECONDS:
        raise QuantityError(f'"{text}" is more than a hundred years', "write less")
    return seconds


def render_size(size: int) -> str:
    """Render ``size`` bytes in the largest unit that says it exactly, a binary one if there is."""
    for unit in ("PiB", "TiB", "GiB", "MiB", "TB", "GB", "MB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"


def render_duration(seconds: int) -> str:
    """Render ``seconds`` in the largest unit that says it exactly; weeks are shown as days."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % DURATION_UNITS[unit] == 0:
            return f"{seconds // DURATION_UNITS[unit]}{unit}"
    return f"{seconds}s"


def _split(text: str, hint: str) -> tuple[str, str]:
    match = _QUANTITY.match(text)
    if match is None and _TOO_MANY_DIGITS.match(text):
        raise QuantityError(f'"{text[:60]}" has more digits than any quantity needs', "write less")
    if match is None:
        raise QuantityError(f'"{text[:60]}" is no number with a unit', hint)
    return match[1], match[2]


def _size_hint(number: str, unit: str) -> str:
    for known in SIZE_UNITS:
        if unit and unit.lower() == known.lower():
            return f"write {number}{known}"
    prefix = unit[:1].upper()
    if prefix and prefix in "KMGTP" and len(unit) == 1:
        decimal = "k" if prefix == "K" else prefix
        return f"write {number}{prefix}iB or {number}{decimal}B"
    return _SIZE_HINT
