"""The short way from one good commit to the next: resolve only what a change can have touched.

Most commits change a guest or two. Where nothing but guests' own files differ and all of them are
right, the world that `resolve` would build is the one before with those guests put in, and that is
what is built here. In every other case there is no short way, and `resolve` goes the long one: it
alone tells what is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from reconciler.manifests.drafts import Flawed
from reconciler.manifests.entries import Entry
from reconciler.manifests.guests import build_guest
from reconciler.manifests.included import NOTHING_INCLUDED, included_by
from reconciler.manifests.kinds import Guest
from reconciler.manifests.problems import Severity, in_order
from reconciler.manifests.renaming import problems_of_names
from reconciler.manifests.resolve import Built, Claims, Memo, Resolved, claims_of, places_of
from reconciler.manifests.starting import problems_of_order
from reconciler.model.desired import GivenDisk
from reconciler.model.names import GuestName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.manifests.parse import Document, ParsedFile
    from reconciler.manifests.problems import Problem
    from reconciler.model.desired import Commit, DesiredGuest, DesiredWorld


def resolve_change(
    previous: Resolved, changed: Mapping[str, ParsedFile | None], *, commit: Commit
) -> Resolved | None:
    """What `resolve` makes of the files of ``previous`` with ``changed`` put in or taken out.

    None where the whole must be looked at. A file that is gone is None in ``changed``.
    """
    memo, world = previous.memo, previous.world
    if world is None or not _only_guests(memo, changed):
        return None
    entries = _entries(changed)
    gone = {name for path in changed for name in memo.by_file.get(path, ())}
    if entries is None or any(name in memo.built and name not in gone for name in entries):
        return None
    built = {**memo.built}
    for name in gone - entries.keys():
        del built[name]
    fresh: dict[str, DesiredGuest] = {}
    for name, entry in entries.items():
        one = _build(entry, memo)
        if one is None or isinstance(one.outcome, Flawed) or _has_what_is_there(one.outcome):
            return None
        built[name], fresh[name] = one, one.outcome
    claims = _claims(memo, gone, fresh)
    if claims is None or _any_waits_in_vain(built) or _any_name_means_two(built):
        return None
    by_file = _by_file(memo, changed)
    files = previous.files + len(by_file.keys() - memo.by_file.keys())
    return Resolved(
        world=_world(world, gone, fresh, commit),
        problems=(),
        warnings=_warnings(previous, changed, entries, built),
        files=files - len(memo.by_file.keys() - by_file.keys()),
        memo=replace(memo, built=built, by_file=by_file, claims=claims),
    )


def _only_guests(memo: Memo, changed: Mapping[str, ParsedFile | None]) -> bool:
    """Whether these files hold nothing but guests, and take nothing in."""
    return memo.others.isdisjoint(changed) and not any(
        file.faults or file.includes or any(one.kind != Guest.__name__ for one in file.documents)
        for file in changed.values()
        if file is not None
    )


def _entries(changed: Mapping[str, ParsedFile | None]) -> dict[str, Entry] | None:
    """The guests that the changed files say; None if two of them have one name."""
    entries: dict[str, Entry] = {}
    for path, file in sorted(changed.items()):
        if file is None:
            continue
        for document in file.documents:
            if document.name in entries:
                return None
            entries[document.name] = Entry(path=path, file=file, document=document)
    return entries


def _build(entry: Entry, memo: Memo) -> Built | None:
    guest_class: Document | None = None
    name = entry.document.spec.get("class")
    if isinstance(name, str):
        guest_class = memo.classes.get(name)
        if guest_class is None or included_by(guest_class.spec):
            return None
    outcome, warnings = build_guest(entry, guest_class, memo.around, NOTHING_INCLUDED)
    return Built(
        entry=entry,
        guest_class=guest_class,
        included=NOTHING_INCLUDED,
        outcome=outcome,
        warnings=warnings,
    )


def _has_what_is_there(guest: DesiredGuest) -> bool:
    """Whether it has a disk that domops did not make, which another guest may have as well."""
    return any(isinstance(disk, GivenDisk) for disk in guest.disks)


def _claims(memo: Memo, gone: Iterable[str], fresh: Mapping[str, DesiredGuest]) -> Claims | None:
    """What every guest claims for itself; None if two want the same."""
    claims = {**memo.claims}
    places = places_of(memo.around)
    for name in gone:
        for key, _ in claims_of(name, memo.built[name].outcome, places):
            del claims[key]
    for name, guest in fresh.items():
        for key, claim in claims_of(name, guest, places):
            if key in claims:
                return None
            claims[key] = claim
    return claims


def _any_waits_in_vain(built: Mapping[str, Built]) -> bool:
    if not any(map(attrgetter("outcome.start_after"), built.values())):
        return False
    outcomes = {name: one.outcome for name, one in built.items()}
    return any(True for _ in problems_of_order(built, outcomes, frozenset()))


def _any_name_means_two(built: Mapping[str, Built]) -> bool:
    outcomes = {name: one.outcome for name, one in built.items()}
    return any(True for _ in problems_of_names(built, outcomes))


def _by_file(memo: Memo, changed: Mapping[str, ParsedFile | None]) -> Mapping[str, tuple[str, ...]]:
    by_file = {**memo.by_file}
    for path, file in changed.items():
        if file is None:
            by_file.pop(path, None)
        else:
            by_file[path] = tuple(document.name for document in file.documents)
    return by_file


def _warnings(
    previous: Resolved,
    changed: Mapping[str, ParsedFile | None],
    entries: Mapping[str, Entry],
    built: Mapping[str, Built],
) -> tuple[Problem, ...]:
    kept = [one for one in previous.warnings if one.path not in changed]
    fresh = [
        entry.problem(one, Severity.WARNING)
        for name, entry in entries.items()
        for one in built[name].warnings
    ]
    return in_order([*kept, *fresh])


def _world(
    world: DesiredWorld, gone: Iterable[str], fresh: Mapping[str, DesiredGuest], commit: Commit
) -> DesiredWorld:
    guests = {**world.guests}
    for name in gone:
        if name not in fresh:
            del guests[GuestName(name)]
    for name, guest in fresh.items():
        guests[GuestName(name)] = guest
    return replace(world, commit=commit, guests=guests, approvals=frozenset(), lifted=frozenset())
