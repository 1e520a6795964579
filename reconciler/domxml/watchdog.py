"""The watchdog: a device that acts when the guest no longer says that it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, make, only, put
from reconciler.model.options import Watchdog, WatchdogAction

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_ACTIONS = {str(action): action for action in WatchdogAction}


def read(domain: Element) -> Watchdog | None:
    """Return the guest's watchdog; without a word libvirt's action is a reset."""
    element = domain.find("devices/watchdog")
    if element is None:
        return None
    action = _ACTIONS.get(element.get("action", ""), WatchdogAction.RESET)
    return Watchdog(model=element.get("model", ""), action=action)


def write(domain: Element, wanted: Watchdog | None) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    there = read(domain)
    if there == wanted:
        return False
    devices = only(domain, "devices")
    if there is not None and wanted is not None and there.model == wanted.model:
        for element in devices.findall("watchdog")[:1]:
            element.set("action", wanted.action)
        return True
    drop(devices, "watchdog")
    if wanted is not None:
        put(devices, make("watchdog", {"model": wanted.model, "action": wanted.action}))
    return True
