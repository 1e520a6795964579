"""What one command has learnt: the values that every renderer draws from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.observed import ObservedHost, SilentHost
from reconciler.model.plan import Fate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.desired import DesiredWorld
    from reconciler.model.keeping import Kept
    from reconciler.model.names import GuestName, PoolName
    from reconciler.model.observed import ObservedGuest, ObservedWorld
    from reconciler.model.plan import Change, Plan, PlannedStep


UPKEEP = "mark"
"""The field of a change that only brings a mark up to date; of no interest beside any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The desired world, what the hosts say, and the plan between the two.

    ``source`` is what the user calls the place that the commit was read from: a ref, or a folder.
    ``expected`` is every change on the way to the fixpoint, as it first comes up, ``steps`` every
    step; both begin with those of ``plan``. ``converges`` is whether that way has an end.
    ``problems`` are sentences about commits that are not in force: the last good one is planned
    instead.
    """

    source: str
    world: DesiredWorld
    observed: ObservedWorld
    plan: Plan
    expected: tuple[Change, ...] = ()
    steps: tuple[PlannedStep, ...] = ()
    converges: bool = True
    problems: tuple[str, ...] = ()
    days: Mapping[Kept, int] = field(default_factory=dict)
    """On how many days each thing was seen that waits to be removed for good."""

    def changes(self) -> tuple[Change, ...]:
        """Every change that is to come, by guest; upkeep of a mark only where nothing else is."""
        statuses = self.plan.statuses
        known = self.expected or tuple(
            change for name in sorted(statuses) for change in statuses[name].changes
        )
        told = {change.guest for change in known if change.field != UPKEEP}
        return tuple(
            change for change in known if change.field != UPKEEP or change.guest not in told
        )

    def silent(self) -> tuple[SilentHost, ...]:
        """The hosts about which nothing is known, by name."""
        hosts = (self.observed.hosts[name] for name in sorted(self.observed.hosts))
        return tuple(host for host in hosts if isinstance(host, SilentHost))

    def pools(self) -> Iterator[tuple[PoolName, int, int]]:
        """Each pool with how many of its hosts answered, and how many it has."""
        for name in sorted(self.world.pools):
            hosts = [host.name for host in self.world.hosts.values() if host.pool == name]
            answered = sum(
                isinstance(self.observed.hosts.get(host), ObservedHost) for host in hosts
            )
            yield name, answered, len(hosts)

    def seen(self, guest: GuestName) -> tuple[ObservedHost, ObservedGuest] | None:
        """The guest where its status says that it lives, if its host answered and has it."""
        status = self.plan.statuses.get(guest)
        host = self.observed.hosts.get(status.host) if status and status.host else None
        if not isinstance(host, ObservedHost):
            return None
        for found in host.guests.values():
            if found.mark is not None and found.mark.guest == guest:
                return host, found
        called = (status.domain if status else None) or guest
        return next(((host, found) for found in host.guests.values() if found.name == called), None)

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done, nothing is kept back, and every host has answered."""
        return not self.changes() and not self.plan.steps and not self.silent()


RANK = {
    Fate.NOW: 0,
    Fate.RUNNING: 1,
    Fate.WAITING: 2,
    Fate.HELD: 3,
    Fate.REFUSED: 4,
}
"""The order in which fates are shown: what happens first, what needs a person last."""
