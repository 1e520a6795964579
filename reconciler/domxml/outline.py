"""What of a domain's text no field models, told by the paths of its elements.

Nothing here lists what is modelled, but for the few elements that may be left out without a change
of meaning. An element is modelled if without it the text would be read as another guest, so a field
that the readers learn is known here at once. Only paths are told: no value, and so no secret.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domxml import mark
from reconciler.domxml.document import local_name, parse
from reconciler.domxml.domain import read_tree
from reconciler.errors import StalledError
from reconciler.model.names import MacAddress

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.model.definition import GuestDefinition

_NEVER_TOLD = frozenset(
    {"name", "uuid", "memory", "currentMemory", "vcpu", "os/type", "os/boot", "bootloader"}
)
"""Modelled in any case; that they are absent is read as what they usually say."""

_OPENED = frozenset({"os", "devices", "metadata"})
"""Elements of a domain that are told by what is in them."""

_KEYED = {"devices/disk": ("target", "dev"), "devices/interface": ("mac", "address")}
"""Devices that are told one by one, and what they are known by."""

_PARTS_OF_A_DEVICE = frozenset(
    {
        *("driver", "source", "target", "readonly", "mac", "model"),  # modelled in any case
        *("address", "alias", "backingStore"),  # the driver's own bookkeeping
    }
)
_LINES = ("devices/console", "devices/serial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """``kept`` are the paths of elements that no field models; ``cards`` the MACs as they stand."""

    kept: tuple[str, ...]
    cards: tuple[MacAddress, ...]


def outline(text: str) -> Outline:
    """Return what of the text no field models, and the order of its cards.

    Raises:
        StalledError: it is no domain, or one of a kind that domops does not know.

    """
    domain = parse(text)
    whole = _meaning(domain)
    kept: list[str] = []
    for path, elements in _parts(domain).items():
        within_kept = any(path.startswith(f"{above}/") for above in kept)
        if not within_kept and not _matter(elements, domain, whole):
            kept.append(path)
    macs = (element.get("address", "") for element in domain.iterfind("devices/interface/mac"))
    return Outline(kept=tuple(kept), cards=tuple(MacAddress(mac.lower()) for mac in macs if mac))


def _meaning(domain: Element) -> GuestDefinition:
    return replace(read_tree(domain).definition, mark=None)


def _matter(elements: list[Element], domain: Element, whole: GuestDefinition) -> bool:
    """Whether the text is read otherwise, or not at all, without ``elements``."""
    places = [
        (parent, parent.index(element), element)
        for element in elements
        if (parent := element.getparent()) is not None
    ]
    for parent, _, element in places:
        parent.remove(element)
    try:
        return _meaning(domain) != whole
    except StalledError:
        return True
    finally:
        for parent, place, element in places:
            parent.insert(place, element)


def _parts(domain: Element) -> dict[str, list[Element]]:
    """The elements to be told by their paths; a device stands before its parts."""
    groups: dict[str, list[Element]] = {}
    for element in domain.iterchildren("*"):
        tag = local_name(element)
        if tag not in _OPENED:
            groups.setdefault(tag, []).append(element)
            continue
        for child in element.iterchildren("*"):
            if tag != "metadata" or not mark.is_ours(child):
                _take_in(groups, f"{tag}/{local_name(child)}", child)
    return {path: group for path, group in groups.items() if path not in _NEVER_TOLD}


def _take_in(groups: dict[str, list[Element]], path: str, element: Element) -> None:
    key = _KEYED.get(path)
    if key is None:
        # A serial line and a console on a terminal are one thing under two names.
        terminal = path in _LINES and element.get("type") == "pty"
        groups.setdefault(_LINES[0] if terminal else path, []).append(element)
        return
    tag, attribute = key
    name = next((one.get(attribute, "") for one in element.iterchildren(tag)), "")
    path = f"{path}[{name}]" if name else path
    groups.setdefault(path, []).append(element)
    for part in element.iterchildren("*"):
        if local_name(part) not in _PARTS_OF_A_DEVICE:
            groups.setdefault(f"{path}/{local_name(part)}", []).append(part)
