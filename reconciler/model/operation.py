"""An operation: a step that has begun and is not known to have ended; how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.names import GuestName, HostName
    from reconciler.model.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a step has come, in bytes; ``rate_bytes_s`` is None until two looks tell it."""

    done_bytes: int
    total_bytes: int
    rate_bytes_s: float | None = None

    @property
    def left_s(self) -> float | None:
        """How many seconds the rest takes at this rate; None while that is not known."""
        if not self.rate_bytes_s:
            return None
        return (self.total_bytes - self.done_bytes) / self.rate_bytes_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A step under way, its deadline, and the capacity it holds until it is known to have ended.

    ``condemned`` is set when its call was given up without an answer: the guest is then unknown and
    bound to ``host`` (promise 1). ``progress`` is None where nobody can tell.
    """

    guest: GuestName
    host: HostName
    step: Step
    began: datetime
    deadline: datetime
    memory_kib: int = 0
    condemned: bool = False
    progress: Progress | None = None
