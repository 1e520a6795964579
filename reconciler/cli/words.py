"""Numbers and instants as people say them: 2 GiB, 4 min, 02:00, 3 hosts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.cli.page import Page

KIB = 1024
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MINUTE, HOUR, DAY = 60, 3600, 86400
_JUST_NOW_S = 5


def size(size_bytes: int) -> str:
    """``size_bytes`` in the largest binary unit in which it is exact, or rounded to one decimal."""
    value, unit = float(size_bytes), 0
    while value >= KIB and unit < len(_BINARY) - 1:
        value, unit = value / KIB, unit + 1
    return f"{value:.0f} {_BINARY[unit]}" if value == int(value) else f"{value:.1f} {_BINARY[unit]}"


def duration(seconds: float) -> str:
    """``seconds`` in the one unit that says enough: ``40 s``, ``4 min``, ``3 h``, ``12 days``."""
    whole = max(int(seconds), 0)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return f"{whole // HOUR} h"
    return f"{whole // DAY} days"


def ago(then: datetime, page: Page) -> str:
    """How long before the page's now ``then`` was; ``just now`` within five seconds."""
    seconds = (page.now - then).total_seconds()
    return "just now" if seconds < _JUST_NOW_S else f"{duration(seconds)} ago"


def since(then: datetime | None, page: Page) -> str:
    """`` for 4 min``, or nothing where it has only just begun or is not known."""
    seconds = (page.now - then).total_seconds() if then is not None else 0
    return f" for {duration(seconds)}" if seconds >= _JUST_NOW_S else ""


def clock(instant: datetime, page: Page) -> str:
    """The local time of ``instant``: with its date unless that is today, seconds if they matter."""
    local, today = instant.astimezone(page.zone), page.now.astimezone(page.zone)
    near = abs((instant - page.now).total_seconds()) < HOUR
    time = local.strftime("%H:%M:%S" if near else "%H:%M")
    if local.date() == today.date():
        return time
    return f"{local.strftime('%Y-%m-%d')} {time}"


_SPANS = {"s": 1, "min": MINUTE, "h": HOUR, "d": DAY}
_SPAN = re.compile(r"(\d{1,6})\s*(s|min|h|d)")


def instant(text: str, page: Page) -> datetime:
    """The instant that ``text`` names: so long before the page's now, or a local date and time.

    Raises:
        ValueError: it names none.

    """
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return page.now - timedelta(seconds=int(span[1]) * _SPANS[span[2]])
    named = datetime.fromisoformat(text)
    return named if named.tzinfo is not None else named.replace(tzinfo=page.zone)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 guest``, ``2 guests``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(words: Iterable[str], *, most: int | None = None) -> str:
    """``a``, ``a and b``, ``a, b and c``; at most ``most`` of them, then ``and 7 more``."""
    parts = list(words)
    if most is not None and len(parts) > most:
        parts = [*parts[:most], f"{len(parts) - most} more"]
    if len(parts) < 2:  # noqa: PLR2004 - two words are what "and" needs
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def field(path: str) -> str:
    """A manifest's field as a person names it: ``disks[root].size`` is ``disk root``.

    The size is what one means by a disk; any other part of it keeps its name.
    """
    for group, noun in (
        ("disks[", "disk "),
        ("networks[", "network "),
        ("snapshots[", "snapshot "),
    ):
        if path.startswith(group):
            name, _, rest = path[len(group) :].partition("]")
            rest = rest.lstrip(".")
            return f"{noun}{name}" if rest in ("", "size") else f"{noun}{name} {rest}"
    return path.removeprefix("spec.")


def operation(step: str) -> str:
    """The name of a step's class as words: ``ShutDownGuest`` is ``shut down guest``."""
    return "".join(f" {one.lower()}" if one.isupper() else one for one in step).strip()


def kind(event: str) -> str:
    """The kind of an event as words: ``commit-applied`` is ``commit applied``."""
    return event.replace("-", " ")
