"""An operation: a step that has begun and is not known to have ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.names import GuestName, HostName
    from reconciler.model.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A step under way, its deadline, and the capacity it holds until it is known to have ended.

    ``condemned`` is set when its call was given up without an answer: the guest is then unknown and
    bound to ``host`` (promise 1).
    """

    guest: GuestName
    host: HostName
    step: Step
    began: datetime
    deadline: datetime
    memory_kib: int = 0
    condemned: bool = False
