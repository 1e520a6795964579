"""Windows: the times at which acts of a class may begin, and those at which they may not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Act(StrEnum):
    """The classes of acts that a window may be about; everything else is done at any time."""

    RESTART = "restart"
    MIGRATE = "migrate"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Opens at each time that ``cron`` names in ``zone``, and for ``open_s`` seconds.

    With ``allows`` the acts may begin only while it is open, else only while it is not. ``cron``
    has five fields and does come round.
    """

    allows: bool
    cron: str
    open_s: int
    zone: ZoneInfo
    acts: frozenset[Act]
