"""The overlay: whole elements that no field models, put in and taken out again.

Which elements are ours stands in the mark of the same text, in the words in which they were put
there. libvirt completes what it is given, so ours is the element that says all of that, maybe among
more; of several such elements the one that says least, and the wordiest of ours chooses first. What
is there by other hands is never taken out and never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import local_name, make, only, put, take_out
from reconciler.errors import RefusedError
from reconciler.model.overlay import OverlayElement, XmlElement, closed, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.mark import Mark

_DEPTH = 16
"""No element of libvirt's is as deep; a deeper one is somebody else's."""


def read(domain: Element, mark: Mark | None) -> tuple[OverlayElement, ...]:
    """The elements that are ours and there.

    A running guest's text also has those that were let go since it was started.
    """
    running = "id" in domain.attrib
    return in_order(tuple(_ours(domain, mark, let_go=running)))


def others(domain: Element, mark: Mark | None, places: Iterable[str]) -> tuple[OverlayElement, ...]:
    """The elements at ``places`` that are there by other hands."""
    ours = set(_ours(domain, mark, let_go=False).values())
    found: list[OverlayElement] = []
    for place in sorted(set(places)):
        group, _, tag = place.rpartition("/")
        for element in domain.iterfind(place):
            parsed = None if element in ours else parse_element(element)
            if parsed is not None and parsed.tag == tag:
                found.append(OverlayElement(group=group, element=parsed))
    return tuple(found)


def write(
    domain: Element, wanted: tuple[OverlayElement, ...], there: Mark | None, kind: Kind
) -> bool:
    """Make ours as wanted; say whether anything had to be changed.

    Raises:
        RefusedError: an element belongs to a place that is open to nobody.

    """
    ours = _ours(domain, there, let_go=False)
    for one in (*ours, *wanted):
        why = closed(one.place)
        if why is not None:
            raise RefusedError(f"domain {kind.name}: <{one.place}> {why}")
    gone = [one for one in ours if one not in wanted]
    new = [one for one in wanted if one not in ours]
    for one in gone:
        group = ours[one].getparent()
        take_out(ours[one])
        if one.group and one.group != "devices" and group is not None and _is_bare(group):
            take_out(group)
    for one in new:
        put(only(domain, one.group) if one.group else domain, _build(one.element))
    return bool(gone or new)


def canonical(wanted: tuple[OverlayElement, ...], mark: Mark | None) -> tuple[OverlayElement, ...]:
    """What is read back of ``wanted`` beside ``mark``: only what it calls ours."""
    marked = {entry.element for entry in (mark.overlay if mark else ()) if not entry.let_go}
    return in_order(tuple(one for one in set(wanted) if one in marked))


def parse_element(element: Element) -> XmlElement | None:
    """The element as a value; None if it holds what no overlay can (a namespace, great depth)."""
    return _parse(element, _DEPTH)


def _parse(element: Element, depth: int) -> XmlElement | None:
    tag = local_name(element)
    names = [str(name) for name in element.attrib]
    if depth == 0 or tag != element.tag or any("{" in name for name in names):
        return None
    children = [_parse(child, depth - 1) for child in element.iterchildren("*")]
    parsed = tuple(child for child in children if child is not None)
    if len(parsed) != len(children):
        return None
    return XmlElement(
        tag=tag,
        attributes=tuple(sorted((str(name), str(text)) for name, text in element.items())),
        text="" if parsed else " ".join((element.text or "").split()),
        children=parsed,
    )


def _ours(domain: Element, mark: Mark | None, *, let_go: bool) -> dict[OverlayElement, Element]:
    """The element of the text that each entry of the mark stands for, where there is one."""
    if mark is None or not mark.overlay:
        return {}
    found: dict[OverlayElement, Element] = {}
    for entry in sorted(mark.overlay, key=lambda one: (one.let_go, -one.element.element.size)):
        if entry.let_go and not let_go:
            continue
        candidates = [
            (parsed.size, -place, element)
            for place, element in enumerate(domain.iterfind(entry.element.place))
            if element not in found.values()
            and (parsed := parse_element(element)) is not None
            and parsed.covers(entry.element.element)
        ]
        if candidates:
            found[entry.element] = min(candidates, key=lambda one: one[:2])[2]
    return found


def _is_bare(group: Element) -> bool:
    return not len(group) and not group.attrib and not (group.text or "").strip()


def _build(element: XmlElement) -> Element:
    made = make(element.tag, dict(element.attributes), *map(_build, element.children))
    if element.text:
        made.text = element.text
    return made
