"""A manifest that comes back: what it finds of the guest that it once was.

In the trash the guest is whole, and is taken out of it by the ordinary rules. Where something was
removed for good, it is held, with a sentence that says what: disks that come back empty would
deceive everybody who reverts a commit to have their data back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.desired import TrashChoice, VolumeDisk
from reconciler.model.mark import Phase
from reconciler.model.plan import Change, Fate, GuestStatus, Health, Label, Reason, Sync
from reconciler.planner import words
from reconciler.planner.budget import emptying, plan_id
from reconciler.planner.case import Verdict
from reconciler.planner.disks import Existing
from reconciler.planner.emptying import has_begun, lost
from reconciler.planner.wanted import wanted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.desired import DesiredGuest
    from reconciler.model.names import GuestName
    from reconciler.planner.match import Found
    from reconciler.planner.memo import Inputs

_ANEW = "for a new guest with empty disks write trash: discard in its manifest"


@dataclass(slots=True)
class Returned:
    """The manifests of one plan whose guest was deleted before.

    A guest that ``stays_away`` is treated as if it had no manifest; one that is ``spared`` stays in
    the trash as it is, whatever the time, until a person has said what shall become of it.
    """

    inputs: Inputs
    now: datetime
    spared: set[GuestName] = field(default_factory=set)
    _why: dict[GuestName, Verdict] = field(default_factory=dict)

    def stays_away(self, guest: DesiredGuest, found: Found) -> bool:
        """Whether the guest in the trash is not to be taken out of it for this manifest."""
        if found.mark.phase is not Phase.TRASH:
            return False
        if is_half_emptied(found):
            verdict = _half_emptied(guest, found)
        elif guest.trash is not TrashChoice.RESTORE and (why := self._differs(guest, found)):
            verdict = _name_taken(guest, found, why)
        else:
            return False
        self._why[guest.name] = verdict
        if guest.trash is not TrashChoice.DISCARD:
            self.spared.add(guest.name)
        return True

    def told(self, verdicts: Mapping[GuestName, Verdict]) -> Mapping[GuestName, Verdict]:
        """The same verdicts, with why a manifest waits where nothing else is to be said."""
        return {
            name: self._why.get(name, one) if not one.status.changes else one
            for name, one in verdicts.items()
        }

    def is_mourned(self, guest: DesiredGuest) -> bool:
        """Whether the guest was removed for good, and might be made with empty disks.

        One that has volumes, all of which are there to be adopted, is made of those.
        """
        volumes = [disk for disk in guest.disks if isinstance(disk, VolumeDisk)]
        adopts = bool(volumes) and all(disk.adopt for disk in volumes)
        buried = guest.name in self.inputs.memory.tombstones
        return buried and not adopts and guest.trash is not TrashChoice.DISCARD

    def emptied(self, guest: DesiredGuest) -> Verdict:
        """Hold a guest that was removed for good before its manifest came back."""
        stone = self.inputs.memory.tombstones[guest.name]
        gone = ", ".join(stone.lost) or "nothing but its definition"
        size = f" ({words.size(stone.size_bytes)})" if stone.size_bytes else ""
        message = (
            f"it was deleted by commit {stone.commit[:10]} and removed from the trash on"
            f" {stone.emptied:%Y-%m-%d}; this is gone: {gone}{size}."
            f" Restore its volumes and adopt them, or {_ANEW}"
        )
        return _held(guest, None, Reason.EMPTIED, "removed from the trash", message)

    def _differs(self, guest: DesiredGuest, found: Found) -> str:
        """What the manifest asks for that the guest cannot become, so that it means another."""
        stored, mark = found.guest.stored, found.mark
        if stored is None or guest.intent == mark.intent:
            return ""
        existing = Existing(guest=found.guest, stored=stored, mark=mark)
        world, memory = self.inputs.desired, self.inputs.memory
        meant = wanted(guest, found.host, world, memory, self.now, existing)
        return ", ".join(
            f"{change.field} {change.before} → {change.after}"
            for change in meant.refusals
            if change.reason is Reason.CREATE_ONLY
        )


def is_half_emptied(found: Found) -> bool:
    """Whether the guest's data began to be removed, and some of them are not there any more."""
    return has_begun(found.mark) and bool(lost(found))


def _half_emptied(guest: DesiredGuest, found: Found) -> Verdict:
    """Hold a guest that was being emptied when its manifest came back; nothing more goes."""
    since = found.mark.trash.emptying if found.mark.trash is not None else None
    when = f" since {since:%Y-%m-%d %H:%M} UTC" if since is not None else ""
    gone = ", ".join(lost(found))
    message = (
        f"it was being removed from the trash{when}, and this is gone: {gone}. The rest is kept."
        f" Bring the volumes back by hand, or {_ANEW}"
    )
    return _held(guest, found, Reason.EMPTIED, "half removed from the trash", message)


def _name_taken(guest: DesiredGuest, found: Found, why: str) -> Verdict:
    """Hold a manifest that evidently means another guest than the one in the trash."""
    trash = found.mark.trash
    until = f" until {trash.until:%Y-%m-%d}" if trash is not None else ""
    message = (
        f"a deleted guest of that name is in the trash{until}, and differs in what is fixed at"
        f" creation: {why}. Write trash: restore to have that one back, or choose another name"
    )
    if guest.trash is TrashChoice.DISCARD:
        message = (
            f"the deleted guest of that name is in the trash{until}; the new one is made when that"
            f" is removed. domops approve {plan_id([emptying(found.mark)])} removes it now"
        )
    return _held(guest, found, Reason.NAME_TAKEN, "in the trash", message)


def _held(
    guest: DesiredGuest, found: Found | None, reason: Reason, before: str, message: str
) -> Verdict:
    change = Change(
        guest=guest.name,
        field="",
        before=before,
        after="restored",
        label=Label.CREATE,
        fate=Fate.HELD,
        reason=reason,
        message=message,
        origin=guest.origin,
    )
    stored = found.guest.stored if found is not None else None
    status = GuestStatus(
        guest=guest.name,
        host=found.host.name if found is not None else None,
        type=stored.type if stored is not None else "",
        state=found.guest.state if found is not None else "missing",
        stored=Sync.NO,
        live=Sync.NO,
        healthy=Health.NO,
        operation=None,
        phase=found.mark.phase if found is not None else None,
        changes=(change,),
    )
    return Verdict(status=status)
