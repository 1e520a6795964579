"""One step under way: what the executor knows of it between intent and outcome."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.observed import ObservedHost
from reconciler.model.operation import Operation
from reconciler.model.steps import DefineGuest, SetMemory, StartGuest

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.executor.patience import Patience
    from reconciler.model.names import Digest
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Progress
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import Step


_INERTIA = 0.7
"""How much of the rate that was shown stays at each look: time left that jumps is of no use."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A step whose intent is written. Changed only under the executor's lock.

    ``returned`` is when its call came back; ``cut`` says that it came back without an answer;
    ``condemned`` that it was given up before it came back.
    """

    number: int
    planned: PlannedStep
    intent: Digest | None
    began: datetime
    patience: Patience
    memory_kib: int
    returned: datetime | None = None
    cut: str | None = None
    condemned: bool = False
    progress: Progress | None = None
    progress_at: datetime | None = None

    @property
    def calling(self) -> bool:
        """Whether the call is still out, and not given up."""
        return self.returned is None and not self.condemned

    @property
    def deadline(self) -> datetime:
        """When this stops being waited for: the call first, then the guest."""
        if self.returned is None:
            return self.began + timedelta(seconds=self.patience.call_s)
        return self.returned + timedelta(seconds=self.patience.follow_s or 0)

    def came_to(self, seen: Progress, now: datetime) -> None:
        """Take in how far the step has come, and how fast since it was last looked at."""
        rate = None
        if self.progress is not None and self.progress_at is not None:
            seconds = (now - self.progress_at).total_seconds()
            moved = max(seen.done_bytes - self.progress.done_bytes, 0)
            rate = moved / seconds if seconds > 0 else None
            before = self.progress.rate_bytes_s
            if rate is not None and before is not None:
                rate = _INERTIA * before + (1 - _INERTIA) * rate
        self.progress = replace(seen, rate_bytes_s=rate)
        self.progress_at = now

    def operation(self) -> Operation:
        """What the planner is told."""
        step = self.planned.step
        return Operation(
            guest=step.guest,
            host=step.host,
            step=step,
            began=self.began,
            deadline=self.deadline,
            memory_kib=self.memory_kib,
            condemned=self.condemned or self.cut is not None,
            progress=self.progress if self.calling else None,
        )


def memory_held(step: Step, observed: ObservedWorld) -> int:
    """The host memory in KiB that ``step`` will take, beyond what its host shows as used."""
    host = observed.hosts.get(step.host)
    guest = host.guests.get(step.uuid) if isinstance(host, ObservedHost) else None
    stored = guest.stored if guest else None
    live = guest.live if guest else None
    match step:
        case DefineGuest():
            return step.definition.memory.size_kib if live is None else 0
        case StartGuest():
            return stored.memory.size_kib if stored and live is None else 0
        case SetMemory():
            return max(step.size_kib - live.memory.size_kib, 0) if live else 0
        case _:
            return 0
