"""Former names: what was renamed stays what it was, and no name means two things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.manifests.entries import Complaint
from reconciler.model.desired import DesiredGuest
from reconciler.model.names import GuestName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.manifests.drafts import Draft, Flawed
    from reconciler.manifests.kinds.devices import DiskSpec, NicSpec
    from reconciler.manifests.kinds.guest import GuestMetadata
    from reconciler.manifests.starting import HasEntry

_APPLIED = "take formerName out once the renaming was applied"


def former(draft: Draft, metadata: GuestMetadata) -> GuestName | None:
    """What the guest was called, if it was called otherwise."""
    name = metadata.former_name
    if name is None:
        return None
    if name == metadata.name:
        path = ("metadata", "formerName")
        draft.complain(path, f'"{name}" is its name still', "take formerName out")
    return GuestName(name)


def refuse_names_in_use(draft: Draft, which: str, specs: Sequence[DiskSpec | NicSpec]) -> None:
    """Refuse that an entry was called what another one is, or was."""
    names = {spec.name for spec in specs}
    seen: set[str] = set()
    for index, spec in enumerate(specs):
        name, path = spec.former_name, ("spec", which, index, "formerName")
        if name is None:
            continue
        if name == spec.name:
            draft.complain(path, f'"{name}" is its name still', "take formerName out")
        elif name in names:
            draft.complain(path, f'"{name}" is another one of the same guest', _APPLIED)
        elif name in seen:
            draft.complain(path, f'"{name}" is the former name of two', "keep one of them")
        seen.add(name)


def first_name(spec: DiskSpec | NicSpec, specs: Sequence[DiskSpec | NicSpec]) -> str:
    """What an entry was called first: its former name, where that is no other one's."""
    former_name = spec.former_name
    names = [one for each in specs for one in (each.name, each.former_name)]
    return spec.name if former_name is None or names.count(former_name) > 1 else former_name


def problems_of_names(
    built: Mapping[str, HasEntry], outcomes: Mapping[str, DesiredGuest | Flawed]
) -> Iterator[tuple[str, Complaint]]:
    """Each guest that was called what another one is, or was, and the complaint."""
    seen: dict[str, str] = {}
    for name, one in outcomes.items():
        if not isinstance(one, DesiredGuest) or one.former is None:
            continue
        path = ("metadata", "formerName")
        if one.former in built:
            there = built[one.former].entry
            message = f'"{one.former}" is a guest of its own, {there.origin}'
            yield name, Complaint(path=path, message=message, hint=_APPLIED)
            continue
        other = seen.setdefault(one.former, name)
        if other != name:
            place = built[other].entry.place_of(*path)
            message = f'"{one.former}" is the former name of "{other}" already, {place}'
            yield name, Complaint(path=path, message=message, hint="one guest cannot become two")
