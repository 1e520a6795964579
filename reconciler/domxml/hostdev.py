"""Devices of the host that a guest has for itself: ``<hostdev>``, known by their addresses.

Those that are told in another way (by a mediated device, a SCSI address) are not modelled and stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from reconciler.domxml.document import make, only, put, take_out
from reconciler.model.options import HostBus, HostDevice

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,4}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,3}", re.ASCII)


def read(domain: Element) -> tuple[HostDevice, ...]:
    """Return the devices whose addresses can be read, sorted."""
    found = (_device(element) for element in domain.iterfind("devices/hostdev"))
    return tuple(sorted({device for device in found if device is not None}))


def write(domain: Element, wanted: tuple[HostDevice, ...]) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    if read(domain) == wanted:
        return False
    devices = only(domain, "devices")
    there = set()
    for element in devices.findall("hostdev"):
        device = _device(element)
        if device is not None and device not in wanted:
            take_out(element)
        there.add(device)
    for device in wanted:
        if device not in there:
            put(devices, _render(device))
    return True


def _render(device: HostDevice) -> Element:
    said = {"mode": "subsystem", "type": str(device.bus)}
    match device.bus:
        case HostBus.PCI:
            domain, bus, rest = device.address.split(":")
            slot, function = rest.split(".")
            parts = {"domain": domain, "bus": bus, "slot": slot, "function": function}
            address = make("address", {name: f"0x{part}" for name, part in parts.items()})
            return make("hostdev", {**said, "managed": "yes"}, make("source", {}, address))
        case HostBus.USB if ":" in device.address:
            vendor, product = device.address.split(":")
            ids = (make("vendor", {"id": f"0x{vendor}"}), make("product", {"id": f"0x{product}"}))
            return make("hostdev", said, make("source", {}, *ids))
        case HostBus.USB:
            bus, number = device.address.split(".")
            address = make("address", {"bus": bus, "device": number})
            return make("hostdev", said, make("source", {}, address))
        case _:
            assert_never(device.bus)


def _device(element: Element) -> HostDevice | None:
    source = element.find("source")
    if element.get("mode") != "subsystem" or source is None:
        return None
    match element.get("type"):
        case "pci":
            address = _pci(source.find("address"))
            return None if address is None else HostDevice(bus=HostBus.PCI, address=address)
        case "usb":
            address = _usb(source)
            return None if address is None else HostDevice(bus=HostBus.USB, address=address)
        case _:
            return None


def _pci(element: Element | None) -> str | None:
    if element is None:
        return None
    parts = [element.get(name, "") for name in ("bus", "slot", "function")]
    numbers = _numbers(element.get("domain", "0x0000"), *parts)
    return None if numbers is None else "{:04x}:{:02x}:{:02x}.{:x}".format(*numbers)


def _usb(source: Element) -> str | None:
    """By vendor and product where they are said: a running guest's text adds where it was found."""
    ids = [source.find(name) for name in ("vendor", "product")]
    numbers = _numbers(*("" if one is None else one.get("id", "") for one in ids))
    if numbers is not None:
        return "{:04x}:{:04x}".format(*numbers)
    address = source.find("address")
    parts = [] if address is None else [address.get(name, "") for name in ("bus", "device")]
    if not parts or not all(map(_DECIMAL.fullmatch, parts)):
        return None
    return ".".join(str(int(part)) for part in parts)


def _numbers(*texts: str) -> list[int] | None:
    if not all(map(_HEXADECIMAL.fullmatch, texts)):
        return None
    return [int(text, 16) for text in texts]
