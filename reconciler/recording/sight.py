"""What one pass saw and did, as those who show it are given it; the last one is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One pass, in values that nobody changes any more.

    ``world``, ``observed`` and ``plan`` are None where there was no good commit to plan for.
    ``head_refused`` says that the newest commit is not in force because it is not good;
    ``source_failing`` that git could not be fetched or read; ``source_read`` is when it last could.
    """

    now: datetime
    took_s: float
    world: DesiredWorld | None = None
    observed: ObservedWorld | None = None
    plan: Plan | None = None
    operations: tuple[Operation, ...] = ()
    last_complete: Mapping[HostName, datetime] = field(default_factory=dict)
    head_refused: bool = False
    source_failing: bool = False
    source_read: datetime | None = None
    problems: tuple[str, ...] = ()


class Latest:
    """The last sight, for any thread; a reader gets one pass or another, never half of one."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        """When waiting for the first pass began."""
        self._sight: Sight | None = None
        self._ready = False
        self._hearers: list[Callable[[Sight], None]] = []

    @property
    def sight(self) -> Sight | None:
        """What the last pass saw; None before the first."""
        return self._sight

    @property
    def ready(self) -> bool:
        """Whether a pass over a good commit was ever made."""
        return self._ready

    def put(self, sight: Sight) -> None:
        """A pass is over."""
        self._sight = sight
        self._ready = self._ready or sight.plan is not None
        for hear in tuple(self._hearers):
            hear(sight)

    def hear(self, hear: Callable[[Sight], None]) -> None:
        """Call ``hear`` after every pass from now on, on the thread that makes them."""
        self._hearers.append(hear)
