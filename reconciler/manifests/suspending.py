"""Build what a manifest suspends: who is the place where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.suspension import Covered, Suspension

if TYPE_CHECKING:
    from reconciler.manifests.entries import Entry
    from reconciler.manifests.kinds.suspending import SuspendSpec


def suspension(spec: SuspendSpec | None, entry: Entry, covered: Covered) -> Suspension | None:
    """The suspension that the manifest of ``entry`` says, if it says one."""
    if spec is None:
        return None
    place = entry.place_of("spec", "suspend")
    return Suspension(covered=covered, who=place, why=spec.reason, until=spec.until)
