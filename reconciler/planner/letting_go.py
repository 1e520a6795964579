"""What a manifest lets go of: its disks and snapshots, each a counted act, see Note [Counted acts].

What is not let through stays as it is: the disk plugged in, the snapshot named. Everything else
about its guest goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.model.counted import Asked
from reconciler.model.mark import MarkedDisk, MarkedSnapshot, Phase
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.planner.budget import Kept, Passed, detachment, is_kept, letting_go, pool_of
from reconciler.planner.disks import expired, refusal_of
from reconciler.planner.snapshots import holders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from reconciler.model.desired import DesiredDisk, DesiredGuest, DesiredWorld
    from reconciler.model.names import DiskName, PoolName, Target
    from reconciler.model.observed import ObservedHost
    from reconciler.planner.budget import Rulings
    from reconciler.planner.disks import Existing


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """What the mark shall say of what a manifest lets go, what is asked for, and what is kept."""

    disks: tuple[MarkedDisk, ...] = ()
    snapshots: tuple[MarkedSnapshot, ...] = ()
    asked: tuple[Asked, ...] = ()
    changes: tuple[Change, ...] = ()
    lost: frozenset[DiskName] = frozenset()
    """The disks that the manifest wants back, and of which the volume was removed for good."""

    def wished(self, disks: Iterable[DesiredDisk]) -> tuple[DesiredDisk, ...]:
        """Those of the manifest's disks that the guest can have."""
        return tuple(disk for disk in disks if disk.name not in self.lost)

    @property
    def kept(self) -> frozenset[Target]:
        """The targets of the disks that stay plugged in."""
        return frozenset(entry.target for entry in self.disks if entry.detached is None)


def let_go(
    guest: DesiredGuest,
    existing: Existing | None,
    host: ObservedHost,
    world: DesiredWorld,
    rulings: Rulings,
    now: datetime,
) -> LetGo:
    """Say what becomes of all that the guest has and its manifest does not name."""
    if existing is None:
        return LetGo()
    return _Letting(guest, existing, host, world, rulings, now).all()


class _Letting:
    """Goes through all that one guest's manifest may let go of."""

    def __init__(
        self,
        guest: DesiredGuest,
        existing: Existing,
        host: ObservedHost,
        world: DesiredWorld,
        rulings: Rulings,
        now: datetime,
    ) -> None:
        """Begin with nothing asked for."""
        self._guest = guest
        self._existing = existing
        self._host = host
        self._pool: PoolName | None = pool_of(host.name, world)
        self._owner = world.repository
        self._rulings = rulings
        self._now = now
        self._asked: list[Asked] = []
        self._changes: list[Change] = []

    def all(self) -> LetGo:
        """Judge every disk and snapshot of ours."""
        names = {disk.name for disk in self._guest.disks}
        gone = (entry for entry in self._existing.mark.disks if entry.name not in names)
        disks = tuple(left for entry in gone if (left := self._disk(entry)) is not None)
        lost = tuple(self._lost())
        snapshots = self._snapshots()
        return LetGo(
            disks=(*disks, *lost),
            lost=frozenset(entry.name for entry in lost),
            snapshots=snapshots,
            asked=tuple(self._asked),
            changes=tuple(self._changes),
        )

    def _lost(self) -> Iterator[MarkedDisk]:
        """The entries of disks that come back too late; they stay as they are."""
        for disk in self._guest.disks:
            entry = self._existing.mark.disk(disk.name)
            refusal = expired(disk, entry, self._guest, self._host) if entry is not None else None
            if entry is not None and refusal is not None:
                self._changes.append(refusal)
                yield entry

    def _disk(self, entry: MarkedDisk) -> MarkedDisk | None:
        """The entry of a disk that no manifest names: volumes are remembered, drives forgotten."""
        live, stored = self._existing.guest.live, self._existing.stored
        plugged_in = live is not None and live.disk(entry.target) is not None
        if entry.volume is None and entry.source is None and not plugged_in:
            return None
        if entry.detached is not None:
            return entry
        field, place = f"disks[{entry.name}]", _place(entry)
        pins = holders(self._existing.guest.snapshots, entry.target)
        if pins and stored.disk(entry.target) is not None:
            # Without one of its disks a snapshot can neither be gone back to nor be deleted, and
            # libvirt 9.0 dies of the attempt.
            why = f"{pins} would be worth nothing without it; delete that first, with virsh"
            refusal = refusal_of(self._guest, field, place, "", Reason.PINNED_BY_SNAPSHOTS, why)
            self._changes.append(refusal)
            return entry
        unused = self._existing.mark.phase is Phase.CREATING
        if unused or not (entry.protected or is_kept(entry)):
            return replace(entry, detached=self._now)
        act = detachment(self._guest.name, entry)
        protected = _PROTECTED.format(name=entry.name) if entry.protected else ""
        self._asked.append(Asked(act=act, pool=self._pool, protected=protected))
        ruling = self._rulings.of(act)
        match ruling:
            case Kept():
                self._changes.append(self._kept(field, place, "unplugged", ruling))
                return entry
            case Passed():
                return replace(entry, detached=self._now, protected=False, approval=ruling.approval)
            case _:
                assert_never(ruling)

    def _snapshots(self) -> tuple[MarkedSnapshot, ...]:
        """Every snapshot of ours that is seen, and since when the manifest does not name it."""
        named = {wish.name for wish in self._guest.snapshots}
        entries: list[MarkedSnapshot] = []
        for snapshot in self._existing.guest.snapshots:
            if snapshot.signature is None or snapshot.signature.owner != self._owner:
                continue
            entry = MarkedSnapshot(
                name=snapshot.name,
                taken=snapshot.taken,
                consistency=snapshot.signature.consistency,
            )
            if snapshot.name not in named:
                entry = self._snapshot(entry)
            entries.append(entry)
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def _snapshot(self, entry: MarkedSnapshot) -> MarkedSnapshot:
        old = self._existing.mark.snapshot(entry.name)
        if old is not None and old.removed is not None:
            return replace(entry, removed=old.removed, approval=old.approval)
        act = letting_go(self._guest.name, entry.name)
        self._asked.append(Asked(act=act, pool=self._pool))
        ruling = self._rulings.of(act)
        match ruling:
            case Kept():
                field = f"snapshots[{entry.name}]"
                self._changes.append(self._kept(field, "named", "let go, kept", ruling))
                return entry
            case Passed():
                return replace(entry, removed=self._now, approval=ruling.approval)
            case _:
                assert_never(ruling)

    def _kept(self, field: str, before: str, after: str, ruling: Kept) -> Change:
        block = ruling.block
        return Change(
            guest=self._guest.name,
            field=field,
            before=before,
            after=after,
            label=Label.DELETE,
            fate=block.fate,
            reason=block.reason,
            message=block.message,
            until=block.until,
            plan_id=ruling.plan_id,
            origin=self._guest.where(f"spec.{field.partition('[')[0]}"),
        )


_PROTECTED = (
    "disk {name} is protected; put it back with protect: false in a commit of its own, then take"
    " it out"
)


def _place(entry: MarkedDisk) -> str:
    return f"{entry.target}: {entry.source or f'{entry.pool}/{entry.volume}'}"


def is_held(change: Change) -> bool:
    """Whether something stays that the manifest has let go of."""
    return change.fate is Fate.HELD and change.label is Label.DELETE
