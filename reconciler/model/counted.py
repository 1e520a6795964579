"""Counted acts: what a pool's budget bounds, each told by what it is and by nothing else.

Neither commit, host nor time is in an act, so that the same act asked for again is an equal value,
and a digest of acts means the same wherever and whenever it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.names import GuestName, PlanId, PoolName


class Counted(StrEnum):
    """The classes of acts, each with a number of its own in the budget.

    ``EMPTYING`` is counted by the number of deletions, apart from them: it is the clock that asks
    for it and no commit, so it is paced instead of held.
    """

    DELETION = "deletion"
    EMPTYING = "emptying"
    RESTART = "restart"
    MIGRATION = "migration"


class Verb(StrEnum):
    """What is done: of a guest, or of one of its disks or snapshots.

    ``DELETE``: the guest goes to the trash. ``DETACH``: a disk is unplugged, its volume kept.
    ``LET_GO``: a snapshot is named no more, and kept. ``EMPTY``: what is in the trash is removed
    for good. ``RESTART``: the guest is shut down and started. ``MIGRATE``: it is moved.
    """

    DELETE = "delete"
    DETACH = "detach"
    LET_GO = "let go"
    EMPTY = "empty"
    RESTART = "restart"
    MIGRATE = "migrate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One counted act: whose, what, of which of its parts, and what is changed into what.

    ``before`` and ``after`` are digests of intents, or the names of what is given up.
    """

    guest: GuestName
    verb: Verb
    part: str = ""
    before: str = ""
    after: str = ""

    @property
    def counted(self) -> Counted:
        """The class that the act belongs to."""
        match self.verb:
            case Verb.DELETE | Verb.DETACH | Verb.LET_GO:
                return Counted.DELETION
            case Verb.EMPTY:
                return Counted.EMPTYING
            case Verb.RESTART:
                return Counted.RESTART
            case Verb.MIGRATE:
                return Counted.MIGRATION
            case _:
                assert_never(self.verb)

    def __str__(self) -> str:
        """``delete old-web``, ``detach disks[data] of lists``."""
        part = f"{self.part} of " if self.part else ""
        return f"{self.verb} {part}{self.guest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An act that is wanted and has not begun; ``pool`` is None where no manifest names the host.

    ``protected`` is the sentence that says what protects from it, empty where nothing does.
    """

    act: Act
    pool: PoolName | None
    protected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An act that has begun: when, and the approval that let it through, if it needed one."""

    act: Act
    since: datetime
    approval: PlanId | None = None
