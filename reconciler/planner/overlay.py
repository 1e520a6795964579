"""The overlay of a guest: which of its elements are to be put there, and which are taken out.

An overlay only adds. An element that is there already by other hands serves as it is and does not
become ours, so a revert leaves it; one that cannot be there beside what is there is refused. Ours
are those that the mark names. One that the manifest lets go is taken out of the stored definition
at once, and its entry stays in the mark until the running guest is without it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.mark import MarkedElement
from reconciler.model.overlay import OverlayElement, in_order
from reconciler.model.plan import Change, Reason
from reconciler.planner.disks import refusal_of

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredGuest
    from reconciler.planner.disks import Existing

FIELD = "xml"


def choose_overlay(
    guest: DesiredGuest, existing: Existing | None, refusals: list[Change]
) -> tuple[MarkedElement, ...]:
    """The entries that the mark shall have; those that are not let go are to be there."""
    if existing is None:
        return tuple(MarkedElement(element=one) for one in in_order(guest.overlay))
    marked = existing.mark.overlay
    ours = {entry.element for entry in marked if not entry.let_go}
    others = existing.guest.elements
    chosen: list[OverlayElement] = []
    for wanted in in_order(guest.overlay):
        if wanted not in ours:
            if any(other.covers(wanted) for other in others):
                continue
            taken = next((other for other in others if other.excludes(wanted)), None)
            if taken is not None:
                refusals.append(_refusal(guest, wanted, taken))
                continue
        chosen.append(wanted)
    live = existing.guest.live
    here = live.overlay if live is not None else ()
    let_go = [
        one
        for one in dict.fromkeys(entry.element for entry in marked)
        if one not in chosen and one in here
    ]
    return (
        *(MarkedElement(element=one) for one in chosen),
        *(MarkedElement(element=one, let_go=True) for one in let_go),
    )


def wanted_elements(entries: tuple[MarkedElement, ...]) -> tuple[OverlayElement, ...]:
    """The elements that ``entries`` ask for."""
    return tuple(entry.element for entry in entries if not entry.let_go)


def _refusal(guest: DesiredGuest, wanted: OverlayElement, taken: OverlayElement) -> Change:
    message = (
        f"<{wanted.place}> is there already, by other hands, and says something else; an overlay"
        " only adds: take it out of spec.xml, or out of the definition by hand"
    )
    before, after = str(taken.element), str(wanted.element)
    return refusal_of(guest, FIELD, before, after, Reason.CONFLICT, message)
