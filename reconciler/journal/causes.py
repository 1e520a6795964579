"""Why a step began, read from what came before it: the manifest changed, or the guest did.

A step itself says which field it serves and where that is written. Whether the wish was new is told
by its past: a definition carries the digest of the intent that it was made for, and a running guest
is brought up to a new intent field by field, or all at once by a start. What is put right under an
intent that had been reached before was changed by somebody else; by whom, nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from reconciler.journal.records import Outcome
from reconciler.model.mark import Phase
from reconciler.model.plan import Label
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateSnapshot,
    CreateVolume,
    DefineGuest,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    ResumeGuest,
    SetAutostart,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    UndefineGuest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.journal.records import Deed
    from reconciler.model.mark import Mark
    from reconciler.model.names import Digest
    from reconciler.model.plan import PlannedStep

_STATE, _MARK = "state", "mark"


class Cause(StrEnum):
    """Why a step began.

    ``COMMIT``: a commit asked for something new. ``DRIFT``: nothing new was asked for; the guest
    had been changed by hand. ``HEALING``: it had stopped, and its manifest wants it to run.
    ``UPKEEP``: only domops' own notes were brought up to date. ``UNKNOWN``: another version of
    domops wrote the step in words that this one does not have.
    """

    COMMIT = "commit"
    DRIFT = "drift"
    HEALING = "healing"
    UPKEEP = "upkeep"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A deed with its cause; ``path`` is the file of its guest, also where that is gone by now."""

    deed: Deed
    cause: Cause
    path: str | None


def accounts(deeds: Iterable[Deed]) -> tuple[Account, ...]:
    """The deeds of one guest, oldest first, each with its cause."""
    past = _Past()
    told = []
    for deed in deeds:
        past.look_for_path(deed)
        told.append(Account(deed=deed, cause=past.cause(deed), path=past.path))
        past.add(deed)
    return tuple(told)


@dataclass(slots=True, kw_only=True)
class _Past:
    """What is known of one guest from the deeds so far.

    ``open`` are the fields of the intent that the running guest does not have yet.
    """

    intent: Digest | None = None
    open: set[str] = field(default_factory=set)
    autostart: bool | None = None
    stopped: bool = False
    path: str | None = None

    def look_for_path(self, deed: Deed) -> None:
        """Remember in which file the guest was last written."""
        for change in deed.planned.changes if deed.planned else ():
            if change.origin is not None:
                self.path = change.origin.path

    def cause(self, deed: Deed) -> Cause:
        """Why the deed began."""
        planned = deed.planned
        if planned is None:
            return Cause.UNKNOWN
        changes = planned.changes
        if any(change.label is Label.HEAL for change in changes):
            return Cause.HEALING
        fields = {change.field for change in changes}
        if fields == {_MARK} or (isinstance(planned.step, SetMark) and "" not in fields):
            return Cause.UPKEEP
        if "" in fields or self._is_new(planned, fields):
            return Cause.COMMIT
        return Cause.DRIFT

    def _is_new(self, planned: PlannedStep, fields: set[str]) -> bool:
        """Whether the step serves a wish that was not reached before."""
        if fields & self.open or "" in self.open:
            return True
        step = planned.step
        match step:
            case DefineGuest():
                mark = step.definition.mark
                return mark is None or self._is_new_intent(mark, planned)
            case ShutDownGuest() | DestroyGuest():
                return not self.stopped
            case SetAutostart():
                return step.on != self.autostart
            case (
                SetVcpus()
                | SetMemory()
                | AttachDisk()
                | DetachDisk()
                | ChangeMedium()
                | AttachNic()
                | DetachNic()
                | ChangeNic()
                | SetDiskLimits()
                | PinVcpus()
                | SetShares()
            ):
                return self.intent is None
            case (
                StartGuest()
                | SetMark()
                | CreateVolume()
                | DiscardVolume()
                | GrowVolume()
                | GrowDisk()
                | CreateSeed()
                | RemoveSeed()
                | CreateSnapshot()
                | DeleteSnapshot()
                | DeleteVolume()
                | UndefineGuest()
                | ResumeGuest()
            ):
                return True  # of these none puts right what a hand has set
            case _:
                assert_never(step)

    def _is_new_intent(self, mark: Mark, planned: PlannedStep) -> bool:
        if self.intent is None:
            # Nothing older is known: the mark says at which commit its intent came up.
            return mark.commit == planned.commit
        return mark.intent != self.intent

    def add(self, deed: Deed) -> None:
        """Take in what the deed brought about."""
        if deed.planned is None or deed.outcome is not Outcome.DONE:
            return
        step, changes = deed.planned.step, deed.planned.changes
        fields = {change.field for change in changes}
        match step:
            case DefineGuest(definition=definition) if definition.mark is not None:
                if definition.mark.intent != self.intent:
                    self.open |= {one.field for one in changes if one.label is not Label.OFFLINE}
                if definition.mark.phase is Phase.CREATING:
                    self.autostart = False
                else:
                    self.open.discard("")
                self.intent = definition.mark.intent
            case SetMark(mark=mark):
                self.intent = mark.intent
            case StartGuest():
                self.open.clear()
                self.stopped = False
            case ShutDownGuest() | DestroyGuest():
                self.stopped = _STATE in fields
            case SetAutostart(on=on):
                self.autostart = on
            case _:
                self.open -= fields
