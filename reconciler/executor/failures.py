"""What went wrong for each guest, and when trying again is not pointless any more.

Kept in memory only: after a restart everything is tried once more, which is what a person who
restarts a controller expects.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.memory import Failure
from reconciler.model.observed import ObservedHost
from reconciler.model.steps import CreateSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.names import Digest, GuestName, HostName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.steps import Step

_FIRST_PAUSE_S = 5
_LONGEST_PAUSE_S = 600

_FRUITLESS_AT = 3
"""How often a host may take the same kind of step without effect before that counts as failing."""


def pause_after(count: int) -> timedelta:
    """How long to wait after so many failures in a row: doubled each time, up to a bound."""
    doublings = min(count - 1, 16)
    return timedelta(seconds=min(_FIRST_PAUSE_S * 2**doublings, _LONGEST_PAUSE_S))


class Failures:
    """Failures in a row, by guest. Not locked: the executor's lock covers it."""

    def __init__(self) -> None:
        self._failures: dict[GuestName, Failure] = {}
        self._stalled_at: dict[GuestName, tuple[HostName, int | None]] = {}
        self._fruitless: Counter[tuple[GuestName, str]] = Counter()

    def all(self) -> Mapping[GuestName, Failure]:
        """A copy, as the planner is given it."""
        return dict(self._failures)

    def failed(
        self,
        step: Step,
        message: str,
        *,
        stalled: bool,
        intent: Digest | None,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        """Count a failure; a guest without a manifest never stalls, it only waits longer."""
        before = self._failures.get(step.guest)
        count = before.count + 1 if before and before.intent == intent else 1
        self._failures[step.guest] = Failure(
            message=message,
            count=count,
            retry_at=until or now + pause_after(count),
            stalled=stalled and intent is not None,
            intent=intent,
            optional=_is_optional(step),
        )
        if stalled:
            self._stalled_at[step.guest] = (step.host, None)

    def fruitless(self, step: Step, *, intent: Digest | None, now: datetime) -> None:
        """Count a step that succeeded and showed no effect: the third in a row is a failure."""
        key = (step.guest, type(step).__name__)
        self._fruitless[key] += 1
        if self._fruitless[key] >= _FRUITLESS_AT:
            message = f"the host took it {self._fruitless[key]} times, and it is still not so"
            self.failed(step, message, stalled=False, intent=intent, now=now)
        else:
            self._forget(step)

    def succeeded(self, step: Step) -> None:
        """Forget what failed before."""
        self._forget(step)
        for key in [key for key in self._fruitless if key[0] == step.guest]:
            del self._fruitless[key]

    def keep_back(self, step: Step, intent: Digest | None, now: datetime) -> bool:
        """Whether beginning a step of this guest now would be too early."""
        failure = self._failures.get(step.guest)
        if failure is None or failure.intent != intent:
            return False
        if failure.optional and not _is_optional(step):
            return False
        return failure.stalled or now < failure.retry_at

    def commit_changed(self, now: datetime) -> None:
        """Let everything that failed be tried at once: the commit may have put it right."""
        for guest in list(self._failures):
            self._revive(guest, now)

    def saw(self, world: ObservedWorld, now: datetime) -> None:
        """Let what stalled be tried once more where its host has changed since."""
        for guest, (name, shape) in list(self._stalled_at.items()):
            host = world.hosts.get(name)
            if not isinstance(host, ObservedHost):
                continue
            seen = _shape(host)
            if shape is None:
                self._stalled_at[guest] = (name, seen)
            elif seen != shape:
                self._revive(guest, now)

    def next_retry(self, now: datetime) -> datetime | None:
        """The earliest instant at which a pause ends."""
        retries = (
            one.retry_at
            for one in self._failures.values()
            if not one.stalled and one.retry_at > now
        )
        return min(retries, default=None)

    def _forget(self, step: Step) -> None:
        """What is optional and failed is not put right by what succeeded beside it."""
        failure = self._failures.get(step.guest)
        if failure is not None and failure.optional and not _is_optional(step):
            return
        self._failures.pop(step.guest, None)
        self._stalled_at.pop(step.guest, None)

    def _revive(self, guest: GuestName, now: datetime) -> None:
        self._stalled_at.pop(guest, None)
        failure = self._failures.get(guest)
        if failure is not None:
            self._failures[guest] = replace(failure, stalled=False, count=0, retry_at=now)


def _is_optional(step: Step) -> bool:
    """Whether the guest lives without the step, so that its failing holds nothing else back."""
    return isinstance(step, CreateSnapshot)


def _shape(host: ObservedHost) -> int:
    """A number for what a person may have put right at a host: its pools, networks, definitions."""
    return hash(
        (
            host.uuid,
            tuple(
                (name, pool.active, tuple(sorted(pool.volumes)))
                for name, pool in sorted(host.pools.items())
            ),
            tuple(sorted(host.networks.items())),
            tuple(sorted(host.bridges or ())),
            tuple(sorted((str(uuid), guest.stored_digest) for uuid, guest in host.guests.items())),
        )
    )
