"""Suspensions: somebody has taken guests out of domops' hands for a while.

While one is in force no step begins for the guests that it covers, not even one that heals. It may
be said in a manifest or at the command line; one of the command line is also written into the mark
of each guest that it covers, so that it outlives the local state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.names import GuestName, PoolName


class Scope(StrEnum):
    """What a suspension covers: one guest, the guests of one pool, or all."""

    GUEST = "guest"
    POOL = "pool"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What a suspension covers; ``name`` is that of the guest or pool, and empty for all."""

    scope: Scope
    name: str = ""

    @property
    def is_one_guest(self) -> bool:
        """Whether it is about a single guest."""
        return self.scope is Scope.GUEST

    def covers(self, guest: GuestName, pool: PoolName | None) -> bool:
        """Whether the guest of that name, in that pool, is meant."""
        match self.scope:
            case Scope.GUEST:
                return self.name == guest
            case Scope.POOL:
                return self.name == pool
            case Scope.ALL:
                return True

    def __str__(self) -> str:
        """As the command line takes it: ``web``, ``--pool main``, ``--all``."""
        match self.scope:
            case Scope.GUEST:
                return self.name
            case Scope.POOL:
                return f"--pool {self.name}"
            case Scope.ALL:
                return "--all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Who suspended what, why, and until when; without ``until`` it lasts until it is lifted.

    ``who`` is a person, or the place in the repository (``path:line``) of one that a manifest says;
    only the former has ``since``.
    """

    covered: Covered
    who: str
    why: str
    since: datetime | None = None
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it has not come to its end."""
        return self.until is None or now < self.until

    @property
    def release(self) -> str:
        """What lifts it, in words."""
        if self.since is None:
            return f"a commit that takes suspend out of {self.who} lifts it"
        return f"domops resume {self.covered} lifts it"

    def __str__(self) -> str:
        """``anna: nightly backup``."""
        return f"{self.who}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspensions:
    """What the command line has said: the suspensions that stand, and when others were lifted.

    A mark may carry one of which nothing is known here: then the local state was lost, and it
    stands.
    """

    standing: tuple[Suspension, ...] = ()
    lifted: Mapping[Covered, datetime] = field(default_factory=dict)

    def still(self, marked: Suspension) -> bool:
        """Whether a suspension that a mark carries has not been lifted or replaced."""
        lifted = self.lifted.get(marked.covered)
        if lifted is not None and (marked.since is None or marked.since <= lifted):
            return False
        return all(one == marked for one in self.standing if one.covered == marked.covered)
