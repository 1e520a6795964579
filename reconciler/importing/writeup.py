"""Write up a host: which guests, into which files, and whether what was written fits.

# Note [Read back]
Every manifest is resolved together with the repository's own and planned against what the host
said. A disk or a card that would be changed is left out of its manifest and written again without;
a guest of which anything else would change, or that the grammar refuses, is not written, with the
reason. So whatever no field can say yet shows here, and what a field learns is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.importing.guests import render_guest
from reconciler.importing.places import Places
from reconciler.manifests import load
from reconciler.model.definition import DomainType
from reconciler.model.memory import Memory
from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedWorld, RunState
from reconciler.model.options import DISK_FIELDS, FIELDS, NIC_FIELDS
from reconciler.model.plan import Label
from reconciler.model.policy import Policy
from reconciler.planner import plan
from reconciler.planner.differences import differences
from reconciler.planner.wanted import wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.importing.draft import Sketch
    from reconciler.manifests import Problem
    from reconciler.manifests.surroundings import Allowed
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedHost
    from reconciler.model.plan import Change

_DEVICE: Final = re.compile(r"((?:disks|networks)\[[^\]]+\])(\.\w+)?")
_DEVICE_OPTIONS: Final = frozenset({*DISK_FIELDS, *NIC_FIELDS})
_MOST_ROUNDS: Final = 4
"""Leaving out disks and cards takes one; what they were needed for may take another."""


class Layout(StrEnum):
    """What a file holds: one guest, or all of a host."""

    GUEST = "guest"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be written up, and into what.

    ``repository`` is every manifest that there is, by path, and ``world`` what they say together.
    ``around`` are manifests that the guests need beside those, such as that of a new host.
    """

    repository: Mapping[str, bytes]
    world: DesiredWorld
    host: ObservedHost
    around: Mapping[str, str]
    layout: Layout
    allowed: Allowed
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """New files by path, the guests that stand in them, and those that could not be written."""

    files: Mapping[str, str]
    guests: tuple[Sketch, ...]
    unwritten: Mapping[str, str]


def write_up(request: Request, sketches: Sequence[Sketch]) -> Imported:
    """Write the manifests of ``sketches``; see Note [Read back]."""
    left, unwritten = list(sketches), dict[str, str]()
    for _ in range(_MOST_ROUNDS):
        places = Places(world=request.world, host=request.host, allowed=request.allowed)
        texts = {_path(sketch): render_guest(sketch, places) for sketch in left}
        around = {**request.around, **places.files}
        faults = list(_faults(request, {**around, **texts}, left))
        if not faults:
            return Imported(
                files={**around, **_laid_out(request, texts)},
                guests=tuple(left),
                unwritten=unwritten,
            )
        for sketch, fault in faults:
            part = _part(fault.field)
            if part is not None and part not in sketch.left_out:
                sketch.left_out[part] = fault.why
            elif part is not None and part.partition("].")[1]:
                # Without the option it does not fit either: then without the disk or the card.
                sketch.left_out[f"{part.partition('].')[0]}]"] = fault.why
            else:
                unwritten.setdefault(sketch.name, f"{fault.field}: {fault.why}")
        left = [sketch for sketch in left if sketch.name not in unwritten]
    message = f"the manifests of {', '.join(one.name for one in left)} do not settle"
    raise AssertionError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """A field that does not fit, and why."""

    field: str
    why: str


def _part(field: str) -> str | None:
    """What of a guest can be left out of its manifest on account of ``field``."""
    device = _DEVICE.match(field)
    if device is not None:
        option = (device[2] or "")[1:]
        return f"{device[1]}.{option}" if option in _DEVICE_OPTIONS else device[1]
    return next((name for name in FIELDS if field == name or field.startswith(f"{name}.")), None)


def _path(sketch: Sketch) -> str:
    return f"guests/{sketch.name}.yaml"


def _laid_out(request: Request, texts: Mapping[str, str]) -> Mapping[str, str]:
    match request.layout:
        case Layout.GUEST:
            return texts
        case Layout.HOST:
            whole = "---\n".join(texts[path] for path in sorted(texts))
            return {f"guests/{request.host.name}.yaml": whole} if texts else {}


def _faults(
    request: Request, files: Mapping[str, str], sketches: Sequence[Sketch]
) -> Iterator[tuple[Sketch, _Fault]]:
    """Whatever the repository would refuse, or a plan would do beyond the mark."""
    new = {path: text.encode() for path, text in files.items()}
    resolved = load({**request.repository, **new}, commit=request.world.commit)
    by_path = {_path(sketch): sketch for sketch in sketches}
    if resolved.world is None:
        for problem in resolved.problems:
            sketch = by_path.get(problem.path)
            if sketch is not None:
                yield sketch, _Fault(field=_field(problem), why=problem.message)
        return
    changes = _changes(request, resolved.world)
    for sketch in sketches:
        name = GuestName(sketch.name)
        if sketch.domain is None:
            yield from _unlike(request, resolved.world, sketch)
            continue
        for change in changes.get(name, ()):
            if change.label is not Label.ADOPT:
                yield sketch, _Fault(field=change.field, why=_would(change))


def _field(problem: Problem) -> str:
    return problem.field.removeprefix("spec.")


def _would(change: Change) -> str:
    return f"a manifest would change it from {change.before or 'none'} to {change.after or 'none'}"


def _changes(request: Request, world: DesiredWorld) -> Mapping[GuestName, Sequence[Change]]:
    """What a plan would say of each guest, were it stopped: what runs may differ for a while."""
    host = request.host
    alone = replace(
        world,
        hosts={host.name: world.hosts[host.name]},
        guests={name: one for name, one in world.guests.items() if one.host == host.name},
    )
    guests = {
        uuid: replace(one, state=RunState.SHUT_OFF, live=None, job=None, managed_save=False)
        for uuid, one in host.guests.items()
    }
    outcome = plan(
        alone,
        ObservedWorld(hosts={host.name: replace(host, guests=guests)}),
        operations=(),
        memory=Memory(departed=()),
        policy=Policy(enforce=True),
        now=request.now,
    )
    return {
        name: [change for change in status.changes if change.field != "state"]
        for name, status in outcome.statuses.items()
    }


def _unlike(
    request: Request, world: DesiredWorld, sketch: Sketch
) -> Iterator[tuple[Sketch, _Fault]]:
    """Where a guest that would be made new would not be as its file says."""
    guest = world.guests[GuestName(sketch.name)]
    memory = Memory(departed=())
    made = wanted(guest, request.host, world, memory, request.now, None)
    file = replace(sketch.definition, domain_type=DomainType.XEN)
    for difference in differences(made.definition, file, made.owned):
        why = f"it would become {difference.after}, the file says {difference.before}"
        yield sketch, _Fault(field=difference.field, why=why)
