"""The instants at which a sudden end of the controller leaves something to be understood.

# Note [Crossings]
Whoever makes a step true says so at each of these instants: the executor around an intent and an
outcome, the door around each writing call and within each that it streams itself. In production
nobody looks. A test of promise 7 does, and lets the controller die there. The names come from the
steps and from the calls themselves, so that a step or a call that is added later has its crossings
without anybody's doing, and the kill matrix is not whole before it was killed at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.steps import Step


class Side(StrEnum):
    """Where an instant lies from what it is about."""

    BEFORE = "before"
    AMID = "amid"
    AFTER = "after"


INTENT = "intent"
"""The journal's record that the step begins."""

OUTCOME = "outcome"
"""The journal's record of how the step ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """One instant of a step, around the journal's record or the call that ``act`` names."""

    step: str
    side: Side
    act: str

    def __str__(self) -> str:
        """As tables and tests name it: ``DefineGuest: after defineXMLFlags``."""
        return f"{self.step}: {self.side} {self.act}"


def crossing(step: Step, side: Side, act: str) -> Crossing:
    """The instant of ``step`` on that ``side`` of ``act``."""
    return Crossing(step=type(step).__name__, side=side, act=act)


if TYPE_CHECKING:
    Watch = Callable[[Crossing], None]
    """Who is told of each crossing, on the thread that crosses."""


def unwatched(_crossing: Crossing) -> None:
    """Nobody looks."""
