"""Choose the domains of a host that can be written down, and say of each other why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.importing.draft import Sketch, of_domain, of_file
from reconciler.importing.names import allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from uuid import UUID

    from reconciler.domxml import Outline
    from reconciler.hypervisor.port import NativeGuest
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedGuest, ObservedHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The guests to be written; of the others, by the domain's name, why they are passed over.

    ``unknown`` are names that were asked for and that no domain has.
    """

    sketches: tuple[Sketch, ...]
    passed_over: Mapping[str, str]
    unknown: tuple[str, ...]


def choose(
    host: ObservedHost,
    outlines: Mapping[UUID, Outline],
    world: DesiredWorld,
    *,
    names: Collection[str],
) -> Choice:
    """Choose from the host's domains: those called one of ``names``, or all if there are none."""
    sketches: list[Sketch] = []
    passed_over: dict[str, str] = {}
    taken: set[str] = set(world.guests)
    described = {one.uuid: one for one in world.guests.values()}
    there = sorted(host.guests.values(), key=lambda one: one.name)
    for domain in there:
        if names and domain.name not in names:
            continue
        why = _why_not(domain, world)
        if domain.uuid in described:
            why = f"it is described in {described[domain.uuid].origin} already"
        outline = outlines.get(domain.uuid)
        name = allowed(domain.name, taken, otherwise="guest")
        sketch = of_domain(name, domain, outline) if outline is not None else None
        if why or sketch is None:
            passed_over[domain.name] = why or "its definition changed meanwhile; try again"
            continue
        taken.add(name)
        sketches.append(sketch)
    unknown = tuple(sorted(set(names) - {one.name for one in there}))
    return Choice(sketches=tuple(sketches), passed_over=passed_over, unknown=unknown)


def sketch_file(
    native: NativeGuest, host: ObservedHost, world: DesiredWorld, *, beside: Iterable[Sketch]
) -> Sketch:
    """A sketch of the guest of a file, under a name that neither the repository nor others have."""
    taken = {*world.guests, *(one.name for one in beside)}
    return of_file(allowed(native.definition.name, taken, otherwise="guest"), native, host)


def _why_not(domain: ObservedGuest, world: DesiredWorld) -> str:
    mark = domain.mark
    if domain.mark_problem is not None:
        return domain.mark_problem
    if mark is not None and mark.owner != world.repository:
        return f"it belongs to repository {mark.owner}"
    if mark is not None and mark.uuid != domain.uuid:
        return f"it carries a copy of the mark of {mark.guest}; take the mark out first"
    if mark is not None:
        return f"it is managed already, as {mark.guest}"
    if domain.stored is None:
        return "it runs without a stored definition; define it first"
    return ""
