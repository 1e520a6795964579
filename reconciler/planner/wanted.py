"""What a guest's stored definition shall be on one host: names resolved, targets given, mark made.

The manifest speaks of storages and networks, a host of its pools and bridges; the manifest may
leave targets open, the mark remembers which were given. Whatever of the stored definition the
manifest does not own is carried over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.model.definition import DiskDevice, DomainType, GuestDefinition, GuestType
from reconciler.model.mark import Mark, MarkedDisk, Phase
from reconciler.model.names import FieldName
from reconciler.model.options import NO_OPTIONS, pins_of_present
from reconciler.model.plan import Change, Reason
from reconciler.model.policy import RENDERER
from reconciler.planner.budget import NO_RULINGS
from reconciler.planner.cards import cards, with_others
from reconciler.planner.differences import Owned
from reconciler.planner.disks import (
    Existing,
    adopted_entry,
    devices,
    is_filled,
    known_entry,
    new_entry,
    old_entry,
    owned_disks,
    refusal_of,
    same_disk,
    wish_for,
)
from reconciler.planner.hostdevices import choose_devices, devices_back, impossible_devices
from reconciler.planner.ignoring import left_alone
from reconciler.planner.letting_go import let_go
from reconciler.planner.obstacles import may_adopt, obstacle
from reconciler.planner.options import (
    as_told,
    choose_options,
    default_options,
    impossible_options,
    options_back,
    ownership,
    pins_beyond,
)
from reconciler.planner.overlay import choose_overlay, wanted_elements
from reconciler.planner.renaming import in_their_volumes, renamed
from reconciler.planner.seeds import resolve_seed, seed_target, with_seed
from reconciler.planner.targets import free_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.model.counted import Asked
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import DiskName, Target
    from reconciler.model.observed import ObservedHost
    from reconciler.model.options import Options
    from reconciler.planner.budget import Rulings
    from reconciler.planner.cards import Card
    from reconciler.planner.disks import Wish
    from reconciler.planner.options import Ownership
    from reconciler.planner.seeds import Seeding

_PIN = FieldName("cpus.pin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The definition that a guest shall have, what is refused of it, and what is still to be made.

    ``meant`` is the same without regard to what the manifest says to ignore.
    ``blocked`` is true when a refusal makes it pointless to go on with the guest at all. ``asked``
    are the counted acts that it needs, let through or not.
    """

    definition: GuestDefinition
    meant: GuestDefinition
    owned: Owned
    unfilled: tuple[MarkedDisk, ...]
    seeding: Seeding
    refusals: tuple[Change, ...]
    blocked: bool
    asked: tuple[Asked, ...]

    @property
    def mark(self) -> Mark:
        """The mark of the definition, which a wanted one always has."""
        if self.definition.mark is None:
            message = "a wanted definition without a mark"
            raise AssertionError(message)
        return self.definition.mark


def wanted(
    guest: DesiredGuest,
    host: ObservedHost,
    desired: DesiredWorld,
    memory: Memory,
    now: datetime,
    existing: Existing | None,
    *,
    rulings: Rulings = NO_RULINGS,
) -> Wanted:
    """Resolve ``guest`` for ``host``; ``existing`` is None where it is to be made.

    Of what the manifest lets go of, ``rulings`` say what may go.
    """
    refusals: list[Change] = []
    existing, blocked = renamed(guest, existing, refusals)
    gone = let_go(guest, existing, host, desired, rulings, now)
    refusals += gone.changes
    creating = existing is None or existing.mark.phase is Phase.CREATING
    type_ = _type(guest, host, existing, refusals)
    _keep_uuid(guest, existing, refusals)
    entries: list[MarkedDisk] = []
    wishes: dict[DiskName, Wish] = {}
    taken = _taken(guest, existing)
    for disk in gone.wished(in_their_volumes(guest, existing)):
        old = known_entry(disk, existing)
        there = same_disk(disk, existing.stored, host, desired) if existing else None
        if old is None and there is not None and may_adopt(disk, guest):
            entry = adopted_entry(disk, there.target, host, desired)
        elif old is None or existing is None:
            entry = new_entry(disk, host, desired, type_, taken)
            refusal = obstacle(disk, entry, guest, host, existing, type_, gone.kept)
            if refusal is not None:
                refusals.append(refusal)
                blocked = blocked or creating
                continue  # a guest that is in use goes on without the disk
        else:
            entry = old_entry(disk, old, guest, host, desired, existing.stored, refusals)
        taken.add(entry.target)
        wish, entry = wish_for(disk, entry, guest, type_, host, existing, refusals)
        blocked = blocked or (creating and bool(wish.owner.refused))
        entries.append(entry)
        wishes[disk.name] = wish
    entries.extend(gone.disks)
    entries.sort(key=lambda entry: entry.name)
    filled = [is_filled(entry, host, memory) for entry in entries]
    present = [entry.detached is None for entry in entries]
    seeding = resolve_seed(
        guest,
        host,
        desired,
        memory,
        existing,
        creating=creating,
        target=lambda: free_target(host.domain_type, type_, DiskDevice.DISK, taken),
    )
    refusals.extend(seeding.refused)
    all_filled = all(full for full, here in zip(filled, present, strict=True) if here)
    if not creating or (all_filled and not seeding.pending):
        seeding = seeding.filled()
        entries = [
            entry if entry.detached else replace(entry, filled=full)  # let go unused, it stays so
            for entry, full in zip(entries, filled, strict=True)
        ]
    unfilled = tuple(
        entry
        for entry, full, here in zip(entries, filled, present, strict=True)
        if here and not full
    )
    found, odd = cards(guest, type_, host, desired, existing)
    default = default_options(existing.stored.domain_type if existing else host.domain_type)
    owner = _owner(guest, host, type_, existing, refusals)
    blocked = blocked or (creating and bool(owner.refused or odd or seeding.refused))
    fields = owner.names(back=_back(existing, default))
    mark = replace(
        _mark(
            guest,
            desired,
            existing,
            entries,
            found,
            fields,
            unfilled=bool(unfilled) or seeding.pending,
        ),
        seed=seeding.seed,
        cloud_init=seeding.cloud_init,
        tokens=seeding.tokens,
        snapshots=gone.snapshots,
        overlay=choose_overlay(guest, existing, refusals),
    )
    before = existing.mark if existing else mark  # what was let go is still ours to take away
    owned = Owned(
        disks=owned_disks((*before.disks, *entries), existing, host),
        nics={entry.mac: entry.name for entry in (*before.nics, *mark.nics)},
        fields=owner.owned,
        seed=seed_target(seeding.seed, existing),
        of_disks=_of_disks(entries, wishes),
        of_nics={card.nic.mac: card.owner.owned for card in found},
    )
    disks = devices(
        entries, wishes, existing.stored.disks if existing else (), host, desired, owned
    )
    definition = GuestDefinition(
        name=existing.stored.name if existing else guest.name,
        uuid=existing.stored.uuid if existing else guest.uuid,
        domain_type=existing.stored.domain_type if existing else host.domain_type,
        type=type_,
        arch=existing.stored.arch if existing else guest.arch,
        vcpus=guest.cpus,
        memory=guest.memory,
        boot=guest.boot,
        disks=with_seed(disks, seeding.seed, host),
        nics=with_others(found, existing.stored.nics if existing else (), owned.nics),
        # libxl gives a console to every PV and PVH guest, asked for or not.
        console=guest.console or type_ in (GuestType.PV, GuestType.PVH),
        agent=guest.agent,
        options=_options(owner, guest, existing, default, host),
        overlay=wanted_elements(mark.overlay),
        mark=mark,
    )
    return _ignoring(
        guest.ignore_drift,
        existing,
        Wanted(
            definition=definition,
            meant=definition,
            owned=owned,
            unfilled=unfilled,
            seeding=seeding,
            refusals=(*refusals, *odd),
            blocked=blocked,
            asked=gone.asked,
        ),
    )


def _ignoring(fields: tuple[str, ...], existing: Existing | None, resolved: Wanted) -> Wanted:
    """What is wanted of a guest that is there, with these fields as they are."""
    if existing is None or existing.mark.phase is Phase.CREATING or not fields:
        return resolved
    ignored = frozenset(fields)
    return replace(
        resolved,
        definition=left_alone(resolved.definition, existing.stored, ignored),
        owned=replace(resolved.owned, ignored=ignored),
    )


def _taken(guest: DesiredGuest, existing: Existing | None) -> set[Target]:
    """The targets that are given or asked for already."""
    taken = {disk.target for disk in guest.disks if disk.target}
    if existing is not None:
        taken |= {disk.target for disk in existing.stored.disks}
        taken |= {entry.target for entry in existing.mark.disks}
        taken |= {existing.mark.seed.target} if existing.mark.seed is not None else set()
    return taken


def _type(
    guest: DesiredGuest,
    host: ObservedHost,
    existing: Existing | None,
    refusals: list[Change],
) -> GuestType:
    default = GuestType.PVH if host.domain_type is DomainType.XEN else GuestType.HVM
    if existing is None:
        return guest.type or default
    stored = existing.stored
    if guest.type is not None and guest.type is not stored.type:
        refusals.append(
            refusal_of(
                guest,
                "type",
                stored.type,
                guest.type,
                Reason.CREATE_ONLY,
                "the type is fixed when a guest is made; make a new guest and move the data",
            )
        )
    if guest.arch is not stored.arch:
        refusals.append(
            refusal_of(
                guest,
                "arch",
                stored.arch,
                guest.arch,
                Reason.CREATE_ONLY,
                "the architecture is fixed when a guest is made; make a new guest",
            )
        )
    return stored.type


def _owner(
    guest: DesiredGuest,
    host: ObservedHost,
    type_: GuestType,
    existing: Existing | None,
    refusals: list[Change],
) -> Ownership:
    """Whose the optional fields are; what the host cannot do is refused and stays as it is."""
    refused = dict(impossible_options(guest.options, type_, host.domain_type, host.capabilities))
    refused |= impossible_devices(guest.options, type_, host.capabilities, there=NO_OPTIONS)
    for pin in pins_beyond(guest.options.pin, host.cpus):
        refused[_PIN] = f"{host.name} has {host.cpus} processors, 0 to {host.cpus - 1}, not {pin}"
    refusals.extend(
        refusal_of(guest, field, "", "", Reason.NOT_SUPPORTED, why)
        for field, why in refused.items()
    )
    return ownership(guest, existing.mark if existing else None, refused)


def _of_disks(
    entries: list[MarkedDisk], wishes: Mapping[DiskName, Wish]
) -> Mapping[Target, frozenset[FieldName]]:
    """The optional fields that are ours of each disk of the manifest."""
    return {
        entry.target: wishes[entry.name].owner.owned for entry in entries if entry.name in wishes
    }


def _keep_uuid(guest: DesiredGuest, existing: Existing | None, refusals: list[Change]) -> None:
    """Refuse another UUID than the guest has; libvirt could not change it either."""
    if existing is None or not guest.uuid_said or guest.uuid == existing.stored.uuid:
        return
    refusal = refusal_of(
        guest,
        "uuid",
        str(existing.stored.uuid),
        str(guest.uuid),
        Reason.CREATE_ONLY,
        "the UUID is fixed when a guest is made; write the one that it has, or none",
    )
    refusals.append(replace(refusal, origin=guest.where("metadata.uuid")))


def _options(
    owner: Ownership,
    guest: DesiredGuest,
    existing: Existing | None,
    default: Options,
    host: ObservedHost,
) -> Options:
    """The options that the stored definition shall have."""
    there = existing.stored.options if existing else default
    chosen = choose_options(owner, guest.options, there, default)
    if host.domain_type is DomainType.XEN:
        chosen = replace(chosen, pin=pins_of_present(chosen.pin, guest.cpus.count))
    return choose_devices(owner, guest.options, chosen)


def _back(existing: Existing | None, default: Options) -> frozenset[FieldName]:
    """The fields that are seen at their defaults in all definitions of the guest."""
    if existing is None:
        return frozenset()
    live = existing.guest.live
    seen = as_told(live.options, existing.stored.options) if live is not None else None
    stored = existing.stored.options
    return options_back(default, stored, seen) | devices_back(existing.mark.fields, stored, seen)


def _mark(
    guest: DesiredGuest,
    desired: DesiredWorld,
    existing: Existing | None,
    disks: list[MarkedDisk],
    found: tuple[Card, ...],
    fields: tuple[FieldName, ...],
    *,
    unfilled: bool,
) -> Mark:
    nics = {card.nic.mac: card.entry for card in found}
    phase = Phase.CREATING if existing is None else _phase(existing.mark, unfilled=unfilled)
    if existing is None:
        old = Mark(
            owner=desired.repository,
            guest=guest.name,
            uuid=guest.uuid,
            generation=1,
            phase=phase,
            commit=desired.commit.sha,
            intent=guest.intent,
            renderer=RENDERER,
            shutdown=guest.shutdown,
        )
    else:
        old = existing.mark
        live = existing.guest.live
        for entry in old.nics:  # a NIC that is let go is ours until it is unplugged
            if entry.mac not in nics and live is not None and live.nic(entry.mac) is not None:
                nics[entry.mac] = entry
    return replace(
        old,
        guest=guest.name,
        phase=phase,
        commit=old.commit if old.intent == guest.intent else desired.commit.sha,
        intent=guest.intent,
        renderer=RENDERER,
        protected=guest.protect,
        shutdown=guest.shutdown,
        disks=tuple(disks),
        nics=tuple(nics[mac] for mac in sorted(nics)),
        fields=fields,
        trash=None,
    )


def _phase(mark: Mark, *, unfilled: bool) -> Phase:
    """The phase after this define; a guest from the trash was never used if nothing is full."""
    match mark.phase:
        case Phase.READY:
            return Phase.READY
        case Phase.CREATING:
            return Phase.CREATING if unfilled else Phase.READY
        case Phase.TRASH:
            used = any(entry.filled and entry.volume is not None for entry in mark.disks)
            return Phase.CREATING if unfilled and not used else Phase.READY
        case _:
            assert_never(mark.phase)


def adds_nothing(new: Mark, old: Mark) -> bool:
    """Whether writing ``new`` over ``old`` would tell a later reader nothing that matters.

    Under another version of the renderer intent digests cannot be compared: an upgrade of domops
    alone touches no guest.
    """
    if old.renderer == new.renderer:
        return new == old
    return replace(new, renderer=old.renderer, intent=old.intent, commit=old.commit) == old
