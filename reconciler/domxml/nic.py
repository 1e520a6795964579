"""Network cards: ``<interface>``, known by their MAC address."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from reconciler.domxml.document import (
    digest_of_tree,
    drop,
    forget,
    make,
    number,
    only,
    put,
    take_out,
)
from reconciler.errors import RefusedError
from reconciler.model.definition import BridgeSource, NetworkSource, Nic, OtherNicSource
from reconciler.model.names import MacAddress
from reconciler.model.options import NO_NIC_OPTIONS, Link, NicOptions

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.definition import NicSource

NETFRONT = "netfront"
"""The only card of a PV or PVH guest; libvirt leaves the word out or in, and means the same."""

_LINKS = {str(one): one for one in Link}

# What a running guest's text adds to a source: the port it was given, not another source.
_OF_THE_RUN = ("portid", "index")


def read(domain: Element, kind: Kind) -> tuple[Nic, ...]:
    """The cards by MAC address; one without an address cannot be known again and is left out."""
    elements = domain.iterfind("devices/interface")
    nics = (_read_one(element, kind) for element in elements)
    return tuple(sorted((nic for nic in nics if nic), key=lambda nic: nic.mac))


def write(domain: Element, wanted: tuple[Nic, ...], kind: Kind) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    devices = only(domain, "devices")
    present: dict[MacAddress, list[Element]] = {}
    for element in devices.findall("interface"):
        mac = _mac(element)
        if mac is not None:
            present.setdefault(mac, []).append(element)
    changed = False
    staying: list[tuple[Nic, Element | None]] = []
    for one in wanted:
        nic = canonical(one, kind)
        elements = present.get(nic.mac)
        staying.append((nic, elements.pop(0) if elements else None))
    for element in (element for elements in present.values() for element in elements):
        take_out(element)
        changed = True
    for nic, there in staying:
        if there is None:
            cards = devices.findall("interface")
            put(devices, render(nic, kind), after=cards[-1] if cards else None)
            changed = True
        elif change(there, nic, kind):
            changed = True
    return changed


def render(nic: Nic, kind: Kind) -> Element:
    """Return a new element for ``nic``."""
    element = make("interface", {"type": "bridge"}, make("mac", {"address": nic.mac}))
    _write_source(element, nic.source, kind)
    if nic.model is not None:
        put(element, make("model", {"type": nic.model}))
    _write_options(element, NO_NIC_OPTIONS, nic.options)
    return element


def change(element: Element, wanted: Nic, kind: Kind) -> bool:
    """Make an existing element what ``wanted`` says; say whether anything had to be changed."""
    there = _read_one(element, kind)
    if there is None:
        raise RefusedError(f"domain {kind.name}: a card without a MAC address cannot be changed")
    nic = canonical(wanted, kind)
    changed = False
    if there.source != nic.source:
        _write_source(element, nic.source, kind)
        changed = True
    if there.model != nic.model:
        drop(element, "address", "alias")  # another model may need another kind of slot
        if nic.model is None:
            drop(element, "model")
        else:
            only(element, "model").set("type", nic.model)
        changed = True
    return _write_options(element, there.options, nic.options) or changed


def as_defined(element: Element) -> None:
    """Tell what a card of a running guest is plugged into as its definition tells it.

    The running text calls a network's card one of the network's bridge, and libvirt, given that
    back, would take it at its word.
    """
    source = element.find("source")
    if source is not None and source.get("network") and element.get("type") == "bridge":
        element.set("type", "network")
        forget(source, "bridge", *_OF_THE_RUN)


def find(domain: Element, mac: MacAddress) -> Element | None:
    """The element of the card with the address ``mac``."""
    elements = domain.iterfind("devices/interface")
    wanted = mac.lower()
    return next((element for element in elements if _mac(element) == wanted), None)


def canonical(nic: Nic, kind: Kind) -> Nic:
    """The card as it is read back: addresses in lower case, and no PV guest without a model."""
    model = NETFRONT if nic.model is None and kind.on_xen and kind.paravirtual else nic.model
    return replace(nic, mac=MacAddress(nic.mac.lower()), model=model)


def _mac(element: Element) -> MacAddress | None:
    mac = element.find("mac")
    address = None if mac is None else mac.get("address")
    return MacAddress(address.lower()) if address else None


def _read_one(element: Element, kind: Kind) -> Nic | None:
    mac, model = _mac(element), element.find("model")
    if mac is None:
        return None
    word = None if model is None else model.get("type") or None
    options = _read_options(element)
    return canonical(Nic(mac=mac, source=_read_source(element), model=word, options=options), kind)


def _read_options(element: Element) -> NicOptions:
    link, driver = element.find("link"), element.find("driver")
    return NicOptions(
        link=None if link is None else _LINKS.get(link.get("state", "")),
        queues=None if driver is None else number(driver.get("queues")),
    )


def _write_options(element: Element, there: NicOptions, wanted: NicOptions) -> bool:
    """Write the options that differ; say whether any did."""
    if there.link is not wanted.link:
        drop(element, "link")
        if wanted.link is not None:
            put(element, make("link", {"state": wanted.link}), after=element.find("model"))
    if there.queues != wanted.queues:
        driver = only(element, "driver")
        forget(driver, "queues")
        if wanted.queues is not None:
            driver.set("queues", str(wanted.queues))
        elif not driver.attrib and not len(driver):
            take_out(driver)
    return there != wanted


def _read_source(element: Element) -> NicSource:
    kind, source = element.get("type", ""), element.find("source")
    if source is not None:
        # The text of a running guest calls a network that hands out a bridge's ports a bridge.
        network, bridge = source.get("network"), source.get("bridge")
        if network and kind in {"network", "bridge"}:
            return NetworkSource(network=network)
        if bridge and kind == "bridge":
            tag = _vlan(element)
            return BridgeSource(bridge=bridge, openvswitch=_on_openvswitch(element), vlan=tag)
    other = make("interface", {"type": kind})
    if source is not None:
        copy = deepcopy(source)
        copy.tail = None
        forget(copy, *_OF_THE_RUN)
        other.append(copy)
    return OtherNicSource(digest=digest_of_tree(other))


def _on_openvswitch(element: Element) -> bool:
    port = element.find("virtualport")
    return port is not None and port.get("type") == "openvswitch"


def _vlan(element: Element) -> int | None:
    """The one tag of a port; a trunk of several is somebody's own, and no field models it."""
    vlan = element.find("vlan")
    if vlan is None or vlan.attrib or len(vlan) != 1 or set(vlan[0].attrib) != {"id"}:
        return None
    return number(vlan[0].get("id"))


def _write_port(element: Element, wanted: BridgeSource) -> None:
    """Make the port one of an Open vSwitch, or of a plain bridge, in the VLAN that is wanted."""
    if wanted.openvswitch is not _on_openvswitch(element):
        drop(element, "virtualport")
        if wanted.openvswitch:
            port = make("virtualport", {"type": "openvswitch"})
            put(element, port, after=element.find("source"))
    if wanted.vlan != _vlan(element):
        drop(element, "vlan")
        if wanted.vlan is not None:
            vlan = make("vlan", {}, make("tag", {"id": str(wanted.vlan)}))
            put(element, vlan, after=element.find("source"))


def _write_source(element: Element, wanted: NicSource, kind: Kind) -> None:
    match wanted:
        case BridgeSource():
            word, place = "bridge", {"bridge": wanted.bridge}
        case NetworkSource():
            word, place = "network", {"network": wanted.network}
        case OtherNicSource():
            raise RefusedError(
                f"domain {kind.name}: a card's connection that domops does not model "
                "can be kept but not made"
            )
        case _:
            assert_never(wanted)
    element.set("type", word)
    old = element.find("source")
    put(element, make("source", place), after=element.find("mac") if old is None else old)
    if old is not None:
        take_out(old)
    if isinstance(wanted, BridgeSource):
        _write_port(element, wanted)
