"""Tell what is not as it should be, in the manifest's words, and how a guest stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.definition import VolumeSource
from reconciler.model.desired import GuestState, VolumeDisk
from reconciler.model.mark import Phase
from reconciler.model.observed import RunState
from reconciler.model.plan import (
    Change,
    Fate,
    GuestStatus,
    Health,
    Label,
    Reason,
    Sync,
)
from reconciler.planner import words
from reconciler.planner.budget import Kept, Passed, needs_ruling, restart_of
from reconciler.planner.case import Block, Case, Move
from reconciler.planner.differences import Difference, cost, differences
from reconciler.planner.ignoring import ignored_changes
from reconciler.planner.letting_go import is_held
from reconciler.planner.options import as_told
from reconciler.planner.seeds import done_at
from reconciler.planner.snapshots import holders
from reconciler.planner.windows import never_restarts, restarts_later

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest
    from reconciler.model.mark import MarkedDisk
    from reconciler.model.operation import Operation
    from reconciler.planner.match import Found


def live_differences(case: Case, live: GuestDefinition) -> Iterator[tuple[Difference, Label]]:
    """What of the running definition is not as wanted, and what putting it right costs."""
    definition = case.wanted.definition
    live = replace(live, options=as_told(live.options, definition.options))
    for difference in differences(
        definition, live, case.wanted.owned, slack_kib=case.policy.balloon_slack_kib
    ):
        label = cost(difference, definition, live, case.host.capabilities)
        if label is not Label.NONE:
            yield difference, label


def field_changes(case: Case) -> tuple[Change, ...]:
    """Every field that is not as the manifest wants it, each once, with its cost and fate."""
    changes: dict[str, Change] = {change.field: change for change in case.wanted.refusals}
    live = case.guest.live
    if live is not None:
        for difference, label in live_differences(case, live):
            changes.setdefault(difference.field, _live_change(case, difference, label))
    for difference in differences(case.wanted.definition, case.stored, case.wanted.owned):
        label = Label.OFFLINE if live is None else Label.NONE
        changes.setdefault(
            difference.field,
            field_change(
                case.desired, difference.field, difference.before, difference.after, label
            ),
        )
    for change in _size_changes(case):
        changes.setdefault(change.field, change)
    for change in _seed_changes(case):
        told = changes.setdefault(change.field, change)
        if (
            told is not change
        ):  # a refusal has the field, and the seed goes at its time all the same
            changes[change.field] = replace(told, until=told.until or change.until)
    for entry in case.wanted.unfilled:
        field = f"disks[{entry.name}]"
        after = f"{entry.target}: {entry.pool}/{entry.volume}"
        changes.setdefault(field, field_change(case.desired, field, "none", after, Label.CREATE))
    return tuple(changes.values())


def _live_change(case: Case, difference: Difference, label: Label) -> Change:
    change = field_change(
        case.desired, difference.field, difference.before, difference.after, label
    )
    if label is not Label.RESTART:
        return change
    ruling = case.rulings.of(restart_of(case)) if needs_ruling(case) else Passed()
    if isinstance(ruling, Kept):
        return kept_by(change, ruling)
    block = restart_block(case)
    return change if block is None else blocked_by(change, block)


def restart_block(case: Case) -> Block | None:
    """What keeps a change that needs a restart from causing one now, but for the budget."""
    pool = case.world.pools.get(case.desired.pool)
    return never_restarts(case.desired, pool) or restarts_later(case.desired, pool, case.now)


def disk_sizes(case: Case) -> Iterator[tuple[VolumeDisk, MarkedDisk, int]]:
    """Disks whose size can be told: the wish, the entry of the mark, the size that is seen."""
    for disk in case.desired.disks:
        entry = case.wanted.mark.disk(disk.name)
        if not isinstance(disk, VolumeDisk) or entry is None or not entry.filled:
            continue
        if entry.pool is None or entry.volume is None:
            continue
        for definition in (case.stored, case.guest.live or case.stored):
            there = definition.disk(entry.target)
            source = there.source if there is not None else None
            if not isinstance(source, VolumeSource) or (source.pool, source.volume) != (
                entry.pool,
                entry.volume,
            ):
                break  # what is there is not our volume: its size is no business of ours
        else:
            actual = case.guest.disk_sizes.get(entry.target)
            if actual is not None:
                yield disk, entry, actual


def _size_changes(case: Case) -> Iterator[Change]:
    capabilities = case.host.capabilities
    for disk, entry, actual in disk_sizes(case):
        field = f"disks[{disk.name}].size"
        if disk.size_bytes == actual:
            continue
        label = Label.LIVE if case.guest.active else Label.OFFLINE
        change = field_change(
            case.desired, field, words.size(actual), words.size(disk.size_bytes), label
        )
        if disk.size_bytes < actual:
            message = (
                f"disks never shrink; it stays at {words.size(actual)}."
                " To make it smaller, add a new disk and move the data"
            )
            refused = Block(reason=Reason.NEVER_SHRINKS, message=message, fate=Fate.REFUSED)
            yield replace(blocked_by(change, refused), label=Label.REFUSED)
            continue
        possible = (
            capabilities.grow_running_disk
            if case.guest.active
            else capabilities.grow_stopped_volume
        )
        pins = holders(case.guest.snapshots, entry.target)
        if pins:
            why = f"{pins} inside it keeps it at its size; delete that first, with virsh"
            pinned = Block(reason=Reason.PINNED_BY_SNAPSHOTS, message=why, fate=Fate.REFUSED)
            change = blocked_by(change, pinned)
        elif not possible:
            when = "while its guest runs" if case.guest.active else "here"
            change = blocked_by(
                change,
                Block(
                    reason=Reason.NOT_SUPPORTED,
                    message=f"{case.host.name} cannot grow a disk {when}",
                    fate=Fate.REFUSED,
                ),
            )
        yield change


def _seed_changes(case: Case) -> Iterator[Change]:
    """A seed that is still to be made, or that waits for the guest to have read it."""
    seed, wish = case.wanted.seeding.seed, case.desired.cloud_init
    if seed is None:
        return
    place = f"seed {seed.pool}/{seed.volume}"
    if case.wanted.seeding.make and wish is not None:
        after = f"{place} ({wish.data})"
        yield field_change(case.desired, "cloudInit", "none", after, Label.CREATE)
    elif case.wanted.seeding.remove or seed.done:
        change = field_change(case.desired, "cloudInit", place, "removed", Label.NONE)
        if case.guest.live is not None and not case.host.capabilities.disk_hotplug:
            why = f"{case.host.name} unplugs no disk; the seed leaves with the guest's next start"
            change = blocked_by(change, Block(reason=Reason.NOT_SUPPORTED, message=why))
        if case.wanted.seeding.shared is not None:
            why = f"{case.wanted.seeding.shared} has the seed too; take it out there by hand"
            change = blocked_by(change, Block(reason=Reason.CONFLICT, message=why))
        yield change
    elif wish is None or not wish.keep:
        until = done_at(case.guest, case.mark, case.policy, case.now)
        if until is not None:
            block = Block(
                reason=Reason.SETTLING,
                message="it was started with its seed, which goes once it has been running for"
                f" {words.span(case.policy.seed_after_s)}",
                until=until,
            )
            change = field_change(case.desired, "cloudInit", place, "removed", Label.NONE)
            yield blocked_by(change, block)


def run_state_changes(case: Case) -> Iterator[Change]:
    """The wishes about the guest as a whole: renamed, made, restored, running, stopped."""
    if case.mark.guest != case.desired.name:
        yield field_change(case.desired, "name", case.mark.guest, case.desired.name, Label.NONE)
    if case.mark.phase is Phase.TRASH:
        yield field_change(case.desired, "", "in the trash", "restored", Label.CREATE)
    if case.mark.phase is Phase.CREATING:
        yield field_change(case.desired, "", "half made", "ready", Label.CREATE)
    if case.wants_running and not case.guest.active:
        yield state_change(case, "running")
    if not case.wants_running and case.guest.active:
        yield state_change(case, "stopped")


def state_change(case: Case, after: str) -> Change:
    """The wish that the guest be ``after``."""
    return field_change(case.desired, "state", case.guest.state, after, Label.STATE)


def upkeep(case: Case, move: Move) -> Change:
    """What a step is for that serves no field of the manifest."""
    what = type(move.step).__name__
    return field_change(case.desired, "mark", "", f"brought up to date ({what})", Label.NONE)


def field_change(
    guest: DesiredGuest,
    field: str,
    before: str,
    after: str,
    label: Label,
    *,
    block: Block | None = None,
) -> Change:
    """A wish about one field, to be served now unless ``block`` keeps it back."""
    change = Change(
        guest=guest.name,
        field=field,
        before=before,
        after=after,
        label=label,
        fate=Fate.NOW,
        origin=guest.where(f"spec.{field}") if field else guest.origin,
    )
    return change if block is None else blocked_by(change, block)


def blocked_by(change: Change, block: Block) -> Change:
    """The change, kept back by ``block`` unless something else keeps it back already."""
    if change.fate is not Fate.NOW:
        return change
    return replace(
        change, fate=block.fate, reason=block.reason, message=block.message, until=block.until
    )


def kept_by(change: Change, ruling: Kept) -> Change:
    """The change, kept back by the ruling on a counted act."""
    return replace(blocked_by(change, ruling.block), plan_id=ruling.plan_id)


def with_fate(change: Change, fate: Fate) -> Change:
    """The change with ``fate``, unless something keeps it back already."""
    return replace(change, fate=fate) if change.fate is Fate.NOW else change


def status_of(
    desired: DesiredGuest,
    found: Found,
    changes: tuple[Change, ...],
    operation: Operation | None,
    case: Case | None,
) -> GuestStatus:
    """How the guest stands on the three axes."""
    guest = found.guest
    stored = live = Sync.YES
    if case is not None:
        owned = case.wanted.owned
        if differences(case.wanted.definition, case.stored, owned):
            stored = Sync.NO
        if case.wanted.unfilled or case.wanted.seeding.pending:
            stored = Sync.NO
        if guest.live is not None and any(True for _ in live_differences(case, guest.live)):
            live = Sync.NO
        if any(change.label is Label.REFUSED or is_held(change) for change in changes):
            stored = Sync.NO
        if any(change.field.startswith("snapshots[") for change in changes):
            stored = Sync.NO
        if any(disk.size_bytes > actual for disk, _entry, actual in disk_sizes(case)):
            stored = Sync.NO
    wants_running = desired.state is GuestState.RUNNING
    up = guest.state is RunState.RUNNING
    return GuestStatus(
        guest=desired.name,
        host=found.host.name,
        type=guest.stored.type if guest.stored else "",
        state=guest.state,
        stored=stored,
        live=live,
        healthy=Health.YES if up == wants_running else Health.NO,
        operation=type(operation.step).__name__ if operation else None,
        phase=found.mark.phase,
        changes=changes,
        ignored=ignored_changes(case) if case is not None else (),
        domain=None if guest.name == desired.name else guest.name,
    )
