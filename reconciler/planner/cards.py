"""A guest's network cards on one host: what each is plugged into, its model, its options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.definition import (
    BridgeSource,
    DomainType,
    GuestType,
    NetworkSource,
    Nic,
)
from reconciler.model.mark import MarkedNic
from reconciler.model.names import FieldName
from reconciler.model.options import NO_NIC_OPTIONS, OPENVSWITCH
from reconciler.model.plan import Reason
from reconciler.planner.disks import refusal_of
from reconciler.planner.options import (
    Ownership,
    choose_options,
    impossible_of_device,
    options_back,
)
from reconciler.planner.renaming import at_its_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.definition import NicSource
    from reconciler.model.desired import DesiredGuest, DesiredNetwork, DesiredNic, DesiredWorld
    from reconciler.model.observed import ObservedHost
    from reconciler.model.plan import Change
    from reconciler.planner.disks import Existing

_PV_MODELS = frozenset({"pv", "netfront"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card as the stored definition shall have it, whose it is, and its entry in the mark."""

    nic: Nic
    owner: Ownership
    entry: MarkedNic


def cards(
    guest: DesiredGuest,
    type_: GuestType,
    host: ObservedHost,
    desired: DesiredWorld,
    existing: Existing | None,
) -> tuple[tuple[Card, ...], tuple[Change, ...]]:
    """The cards that the guest can have, and the refusals of what cannot be as it is wished."""
    refusals: list[Change] = []
    found = [_card(nic, guest, type_, host, desired, existing, refusals) for nic in guest.nics]
    return tuple(card for card in found if card is not None), tuple(refusals)


def _card(
    wish: DesiredNic,
    guest: DesiredGuest,
    type_: GuestType,
    host: ObservedHost,
    desired: DesiredWorld,
    existing: Existing | None,
    refusals: list[Change],
) -> Card | None:
    if existing is not None:
        wish = at_its_address(wish, existing.mark)
    before = existing.stored.nic(wish.mac) if existing is not None else None
    live = None
    if existing is not None and existing.guest.live is not None:
        live = existing.guest.live.nic(wish.mac)
    network = desired.networks[wish.network]
    mentioned = frozenset(wish.mentioned)
    if network.openvswitch is not None:
        mentioned |= {OPENVSWITCH}
    model: str | None = _model(wish, host)
    impossible = dict(_impossible(wish, model, type_, host, before))
    denial = host.capabilities.without.get((type_, FieldName("networks.openvswitch")))
    if network.openvswitch and denial is not None:
        impossible["network"] = (network.name, denial.why)
    refusals.extend(
        refusal_of(guest, f"networks[{wish.name}].{field}", "", said, Reason.NOT_SUPPORTED, why)
        for field, (said, why) in impossible.items()
    )
    if before is None and impossible.keys() & {"model", "network"}:
        return None
    if before is not None and "model" in impossible:
        model = before.model
    marked = existing.mark.nics if existing is not None else ()
    owner = Ownership(
        mentioned=mentioned,
        marked=frozenset(field for one in marked if one.mac == wish.mac for field in one.fields),
        refused=frozenset(
            field
            for field in mentioned
            if field in impossible or (field == OPENVSWITCH and "network" in impossible)
        ),
    )
    there = before.options if before is not None else NO_NIC_OPTIONS
    back = options_back(NO_NIC_OPTIONS, there, live.options if live is not None else None)
    if all(_is_plain(one) for one in (before, live) if one is not None):
        back |= {OPENVSWITCH}
    nic = Nic(
        mac=wish.mac,
        source=_source(network, host, owner, before),
        model=model,
        options=choose_options(owner, wish.options, there, NO_NIC_OPTIONS),
    )
    fields = owner.names(back=back if before is not None else ())
    return Card(nic=nic, owner=owner, entry=MarkedNic(name=wish.name, mac=wish.mac, fields=fields))


def _model(wish: DesiredNic, host: ObservedHost) -> str:
    if wish.model != "pv":
        return wish.model
    return "netfront" if host.domain_type is DomainType.XEN else "virtio"


def _impossible(
    wish: DesiredNic, model: str | None, type_: GuestType, host: ObservedHost, before: Nic | None
) -> Iterator[tuple[str, tuple[str, str]]]:
    """The fields of a card that the host cannot do: what was said of each, and why not.

    A model that is there already was somebody's choice, and works or does not without us.
    """
    models = host.capabilities.nic_models
    if before is not None and before.model == model:
        pass
    elif type_ is not GuestType.HVM and wish.model not in _PV_MODELS:
        yield "model", (wish.model, f"a {type_} guest has no card but pv")
    elif type_ is GuestType.HVM and models is not None and model not in models:
        known = ", ".join(sorted(models))
        yield "model", (wish.model, f"{host.name} emulates no {wish.model}; there are {known}")
    there = before.options if before is not None else NO_NIC_OPTIONS
    for field, why in impossible_of_device(wish.options, type_, host.capabilities, there=there):
        yield field, ("", why)


def _source(
    network: DesiredNetwork, host: ObservedHost, owner: Ownership, before: Nic | None
) -> NicSource:
    """What a card is plugged into; a port that somebody else made one of a switch stays one."""
    name = network.hosts.get(host.name)
    if network.bridge is None:
        return NetworkSource(network=name or network.libvirt_network or "")
    plain = BridgeSource(bridge=name or network.bridge)
    there = before.source if before is not None else None
    on_switch = bool(network.openvswitch)
    said = replace(plain, openvswitch=on_switch, vlan=network.vlan if on_switch else None)
    stored = plain
    if isinstance(there, BridgeSource):
        stored = replace(plain, openvswitch=there.openvswitch, vlan=there.vlan)
    return owner.choose(OPENVSWITCH, said=said, default=plain, stored=stored)


def _is_plain(nic: Nic) -> bool:
    """Whether nothing is left of a port of an Open vSwitch."""
    source = nic.source
    return not (isinstance(source, BridgeSource) and (source.openvswitch or source.vlan))


def with_others(
    found: Iterable[Card], there: tuple[Nic, ...], ours: Iterable[str]
) -> tuple[Nic, ...]:
    """Our cards, and those that belong to somebody else as they are."""
    owned = frozenset(ours)
    foreign = [nic for nic in there if nic.mac not in owned]
    return tuple(sorted([*foreign, *(card.nic for card in found)], key=lambda nic: nic.mac))
