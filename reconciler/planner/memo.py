"""What one plan may take over from the one before; it may be lost at any time.

Note [Memo]: a plan is a function of its arguments, so whatever was made from the same values comes
out the same. The values are compared by identity: who observes and resolves hands out the same
object for what has not changed. Two things are taken over. The whole plan, if nothing at all has
changed and nothing in it hangs on the time. And the verdict on a *quiet* guest, one that was found
as its manifest wants it, so that nothing was to be said of it: if neither it, nor its manifest, nor
anything that its host or the world has for all guests has changed, it is as quiet as before.

Only quiet verdicts are kept one by one, because what a guest waits for may lie anywhere. And each
is made anew after some minutes: a rule that looks at the time without saying until when is a
mistake, and must not be one for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName
    from reconciler.model.observed import ObservedHost, ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan
    from reconciler.model.policy import Policy
    from reconciler.planner.case import Verdict
    from reconciler.planner.match import Copy, Found, Index, Part

_QUIET_FOR_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that a plan is made from, but for the time."""

    desired: DesiredWorld
    observed: ObservedWorld
    operations: tuple[Operation, ...]
    memory: Memory
    policy: Policy

    def are(self, others: Inputs) -> bool:
        """Whether these are the same, the large ones by identity."""
        hosts, before = others.observed.hosts, self.observed.hosts
        return (
            self.desired is others.desired
            and len(hosts) == len(before)
            and all(before.get(name) is host for name, host in hosts.items())
            and self.operations == others.operations
            and self.policy == others.policy
            and self.memory == others.memory
        )


@dataclass(slots=True, kw_only=True)
class _Quiet:
    guest: DesiredGuest
    copy: Copy
    verdict: Verdict
    since: datetime
    until: datetime


@dataclass(slots=True)
class Memo:
    """Plans and verdicts of one controller, see Note [Memo]."""

    parts: dict[HostName, Part] = field(default_factory=dict)
    """What the index of a plan has of each host; `match` keeps it."""

    _inputs: Inputs | None = None
    _made_at: datetime | None = None
    _plan: Plan | None = None
    _ground: tuple[object, ...] = ()
    _hosts: dict[HostName, tuple[object, ...]] = field(default_factory=dict)
    _quiet: dict[GuestName, _Quiet] = field(default_factory=dict)

    def same_plan(self, inputs: Inputs, now: datetime) -> Plan | None:
        """The plan that was made from the same inputs, if the time between cannot matter."""
        if self._inputs is None or self._made_at is None or now < self._made_at:
            return None
        return self._plan if self._inputs.are(inputs) else None

    def keep_plan(self, inputs: Inputs, outcome: Plan, now: datetime) -> None:
        """Remember a plan that says nothing of what hangs on the time."""
        later = outcome.wake_at is not None or outcome.waits
        timeless = not outcome.steps and not outcome.held and not later
        self._inputs, self._made_at = inputs, now
        self._plan = outcome if timeless else None

    def quiet(
        self, inputs: Inputs, index: Index, busy: Collection[GuestName], now: datetime
    ) -> dict[GuestName, Verdict]:
        """The verdicts on guests that are as they were when they were found quiet.

        ``busy`` are guests that have more to be said of than what is seen of them.
        """
        self._keep_ground(inputs)
        changed = self._changed_hosts(inputs.observed)
        known, owned = self._quiet, index.owned
        strange = index.strange_uuids
        taken: dict[GuestName, Verdict] = {}
        for name, guest in inputs.desired.guests.items():
            one = known.get(name)
            if one is None or one.guest is not guest or now >= one.until:
                continue
            copies = owned.get(name)
            if copies is None or len(copies) != 1 or guest.former in owned:
                continue
            copy = copies[0]
            if copy is not one.copy:
                if copy.guest is not one.copy.guest or copy.host.name != one.copy.host.name:
                    continue
                one.copy = copy
            if copy.host.name in changed or (busy and name in busy):
                continue
            if copy.guest.uuid in strange or not (index.certain or copy.guest.active):
                continue
            taken[name] = one.verdict
        return taken

    def keep_quiet(
        self, guest: DesiredGuest, found: Found, copy: Copy, verdict: Verdict, now: datetime
    ) -> Verdict:
        """Remember a verdict, if there was nothing to say; return the one that is kept."""
        seen = found.guest
        known = self._quiet.pop(guest.name, None)
        if known is not None and known.verdict == verdict:
            verdict = known.verdict
        dated = seen.active or seen.state_since is not None
        quiet = verdict.step is None and not verdict.status.changes and not found.elsewhere
        if quiet and dated:
            spread = crc32(guest.name.encode()) % _QUIET_FOR_S  # not all of them at once
            until = now + timedelta(seconds=_QUIET_FOR_S + spread)
            self._quiet[guest.name] = _Quiet(
                guest=guest, copy=copy, verdict=verdict, since=now, until=until
            )
        return verdict

    def quiet_since(self, name: GuestName) -> datetime | None:
        """When the verdict was made that is kept of a guest."""
        one = self._quiet.get(name)
        return None if one is None else one.since

    def homes(self, names: Iterable[GuestName]) -> frozenset[HostName]:
        """The hosts on which these guests were quiet; a step for one will rest on its host."""
        known = (self._quiet.get(name) for name in names)
        return frozenset(one.copy.host.name for one in known if one is not None)

    def _keep_ground(self, inputs: Inputs) -> None:
        """Forget all verdicts if what they have in common has changed."""
        desired, memory = inputs.desired, inputs.memory
        ground = (
            desired.repository,
            desired.hosts,
            desired.pools,
            desired.storages,
            desired.networks,
            memory.filled,
            replace(inputs.policy, approvals=frozenset(), enforce=False),
        )
        if ground != self._ground:
            self._quiet.clear()
            self._ground = ground
        elif len(self._quiet) > len(desired.guests):
            for name in self._quiet.keys() - desired.guests.keys():
                del self._quiet[name]

    def _changed_hosts(self, observed: ObservedWorld) -> set[HostName]:
        """The hosts that have something new for all their guests; what goes is never forgotten."""
        changed: set[HostName] = set()
        for host in observed.answered():
            level = _level(host)
            if self._hosts.get(host.name) != level:
                changed.add(host.name)
            self._hosts[host.name] = level
        if changed:
            stale = [name for name, one in self._quiet.items() if one.copy.host.name in changed]
            for name in stale:
                del self._quiet[name]
        return changed


def _level(host: ObservedHost) -> tuple[object, ...]:
    """What a host has for all its guests; free memory only matters to one that is not quiet."""
    return (
        host.uuid,
        host.domain_type,
        host.guest_types,
        host.capabilities,
        host.cpus,
        host.pools,
        host.networks,
        host.bridges,
    )


def busy(operations: Mapping[GuestName, Operation], memory: Memory) -> frozenset[GuestName]:
    """The guests that an operation or a failure says more of."""
    return frozenset(operations) | frozenset(memory.failures)
