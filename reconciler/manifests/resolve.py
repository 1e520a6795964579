"""Resolve the files of one commit into the desired world, or into every problem of the commit.

A commit counts as a whole or not at all (promise 2): there is a world only if there is no problem.
``resolve`` is a function of its arguments; given what it returned the last time, it builds only the
guests that a change can have touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from reconciler.manifests.drafts import Flawed
from reconciler.manifests.entries import Complaint, Entry, dangling
from reconciler.manifests.guests import build_guest
from reconciler.manifests.included import Included, looks_like_a_manifest
from reconciler.manifests.kinds import Guest, GuestClass, Repository
from reconciler.manifests.parse import Document, ParsedFile, parse_file
from reconciler.manifests.peripherals import field_of
from reconciler.manifests.problems import Problem, Severity, in_order
from reconciler.manifests.renaming import problems_of_names
from reconciler.manifests.starting import problems_of_order
from reconciler.manifests.surroundings import Allowed, Surroundings, SurroundingsBuilder
from reconciler.manifests.suspending import suspension
from reconciler.model.desired import DesiredGuest, DesiredWorld, GivenDisk, VolumeDisk
from reconciler.model.names import GuestName, StorageName
from reconciler.model.suspension import Covered, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.manifests.construct import Key
    from reconciler.model.desired import Commit
    from reconciler.model.names import PlanId
    from reconciler.model.suspension import Suspension

REPOSITORY_FILE: Final = "domops.yaml"
_SUFFIXES: Final = (".yaml", ".yml")


def is_manifest(path: str) -> bool:
    """Whether the file at ``path`` is read: ``*.yaml`` and ``*.yml``, nothing hidden."""
    return path.endswith(_SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Which guests stand on what: by class, pool, host, storage, network and file.

    ``files`` has manifests and what they take in.
    """

    classes: Mapping[str, frozenset[GuestName]]
    pools: Mapping[str, frozenset[GuestName]]
    hosts: Mapping[str, frozenset[GuestName]]
    storages: Mapping[str, frozenset[GuestName]]
    networks: Mapping[str, frozenset[GuestName]]
    files: Mapping[str, frozenset[GuestName]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A guest and all that it was built from."""

    entry: Entry
    guest_class: Document | None
    included: Included
    outcome: DesiredGuest | Flawed
    warnings: tuple[Complaint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What a later `resolve` may take over; a value without meaning to anybody else.

    ``by_file`` names the guests of each file that holds nothing else, ``others`` are the files that
    do, and those that manifests take in. ``claims`` says what is whose.
    """

    around: Surroundings
    built: Mapping[str, Built]
    classes: Mapping[str, Document]
    by_file: Mapping[str, tuple[str, ...]]
    others: frozenset[str]
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Either ``world`` is there, or ``problems`` are; ``warnings`` may be there beside either.

    ``files`` is how many files were read.
    """

    world: DesiredWorld | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    files: int
    memo: Memo = field(repr=False, compare=False)

    def index(self) -> Index:
        """Which guests stand on what; counted out at each call."""
        return _index(self.memo.built.values())


def load(
    files: Mapping[str, bytes],
    *,
    commit: Commit,
    approvals: frozenset[PlanId] = frozenset(),
    refused: Mapping[str, str] | None = None,
    allowed: Allowed | None = None,
) -> Resolved:
    """Parse and resolve in one go, for callers that keep nothing between commits.

    Files that are no manifests by their name are passed over.
    """
    parsed = {path: parse_file(content) for path, content in files.items() if is_manifest(path)}
    return resolve(
        parsed,
        included={path: files[path] for path in included_paths(parsed) if path in files},
        commit=commit,
        approvals=approvals,
        refused=refused,
        allowed=allowed,
    )


def included_paths(files: Mapping[str, ParsedFile]) -> frozenset[str]:
    """The paths of the files that manifests take in; whoever calls `resolve` reads them."""
    return frozenset().union(*[file.includes for file in files.values() if file.includes])


def resolve(
    files: Mapping[str, ParsedFile],
    *,
    included: Mapping[str, bytes | None],
    commit: Commit,
    approvals: frozenset[PlanId] = frozenset(),
    refused: Mapping[str, str] | None = None,
    allowed: Allowed | None = None,
    previous: Resolved | None = None,
) -> Resolved:
    """Resolve the manifests of ``commit``; ``files`` are by path below the repository's folder.

    ``included`` are the contents of the files that `included_paths` names, as far as there are such
    files; None for one that is too large to be read.
    ``refused`` are entries of the tree that are no files (symbolic links, submodules), with what
    they are. ``allowed`` is what the controller lets manifests name; None where that is not known,
    as on somebody's laptop: then it is not checked.
    """
    manifests, texts = _sorted_out(files, included)
    resolver = _Resolver(
        files=manifests,
        included=texts,
        previous=previous.memo if previous is not None else None,
    )
    resolver.gather(refused or {})
    repository = resolver.repository()
    builder = SurroundingsBuilder(entries=resolver.entries, suspects=resolver.suspects)
    around = builder.build(repository or _NOBODY, allowed or Allowed())
    if previous is not None and previous.memo.around == around:
        around = previous.memo.around  # the same objects for what is the same
    resolver.problems.extend(builder.problems)
    resolver.build_guests(around)
    resolver.compare_names()
    resolver.compare_claims(around)
    resolver.compare_given()
    resolver.compare_order()
    problems = in_order(resolver.problems)
    by_file = {
        path: tuple(document.name for document in file.documents)
        for path, file in manifests.items()
        if all(document.kind == Guest.__name__ for document in file.documents)
    }
    world = None
    if not problems and repository is not None:
        world = DesiredWorld(
            repository=repository,
            commit=commit,
            hosts=around.hosts,
            pools=around.pools,
            storages=around.storages,
            networks=around.networks,
            guests=resolver.guests(),
            approvals=approvals,
            suspend=resolver.suspend,
        )
    return Resolved(
        world=world,
        problems=problems,
        warnings=in_order(resolver.warnings),
        files=len(files) + len(refused or {}),
        memo=Memo(
            around=around,
            built=resolver.built,
            classes={
                name: entry.document
                for name, entry in resolver.entries.get(GuestClass.__name__, {}).items()
            },
            by_file=by_file,
            others=frozenset(files.keys() - by_file.keys()) | included_paths(files),
            claims=resolver.claims,
        ),
    )


def _sorted_out(
    files: Mapping[str, ParsedFile], included: Mapping[str, bytes | None]
) -> tuple[Mapping[str, ParsedFile], Included]:
    """Tell manifests from the files that they take in.

    A file that is named is no manifest, though it may end in ``.yaml``. But a manifest stays one
    whoever names it: it would leave the world without a word, and its guests be deleted.
    """
    why: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    for path, content in included.items():
        if path in files and looks_like_a_manifest(files[path].content):
            why[path] = "is a manifest, and no text for a guest"
        elif content is None:
            why[path] = "is too large to be read"
        else:
            contents[path] = content
    manifests = {
        path: file
        for path, file in files.items()
        if path not in included or (path in why and looks_like_a_manifest(file.content))
    }
    return manifests, Included(contents=contents, unreadable=why)


_NOBODY: Final = UUID(int=0)
"""Stands for the id of a repository that names none, so that its guests can be checked too."""


@dataclass(slots=True, kw_only=True)
class _Resolver:
    """One commit on its way; ``problems`` fills while its parts are put together."""

    files: Mapping[str, ParsedFile]
    included: Included
    previous: Memo | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    entries: dict[str, dict[str, Entry]] = field(default_factory=dict)
    suspects: frozenset[str] = frozenset()
    built: dict[str, Built] = field(default_factory=dict)
    claims: dict[ClaimKey, Claim] = field(default_factory=dict)
    suspend: Suspension | None = None
    misnamed: set[str] = field(default_factory=set)

    def gather(self, refused: Mapping[str, str]) -> None:
        """Collect documents by kind and name; a name that is taken is a problem of the later."""
        for path, why in refused.items():
            hint = "put a file in its place"
            self.problems.append(
                Problem(path=path, line=1, column=1, field="", message=why, hint=hint)
            )
        suspects: set[str] = set()
        for path in sorted(self.files):
            file = self.files[path]
            self.problems.extend(Problem.of(path, fault) for fault in file.faults)
            suspects |= file.suspects
            for document in file.documents:
                entry = Entry(path=path, file=file, document=document)
                first = self.entries.setdefault(document.kind, {}).setdefault(document.name, entry)
                if first is not entry:
                    self._complain(
                        entry,
                        ("metadata", "name"),
                        f'"{document.name}" is already taken by'
                        f" {first.place_of('metadata', 'name')}",
                        "give it another name, or take one of the two out",
                    )
        self.suspects = frozenset(suspects)

    def repository(self) -> UUID | None:
        """The repository's id, from the one file that may say it, which may suspend all too."""
        found = None
        for entry in self.entries.get(Repository.__name__, {}).values():
            if entry.path != REPOSITORY_FILE:
                hint = f"the repository is described in {REPOSITORY_FILE} at the root, once"
                self._complain(entry, ("kind",), "a Repository does not belong here", hint)
                continue
            manifest = entry.document.read()
            if isinstance(manifest, Repository):
                if found is not None:
                    self._complain(entry, ("kind",), "a second Repository", "keep one")
                found = found or manifest.spec.id
                self.suspend = suspension(manifest.spec.suspend, entry, Covered(scope=Scope.ALL))
        own = self.files.get(REPOSITORY_FILE)
        if found is None and (own is None or not own.faults):
            self.problems.append(
                Problem(
                    path=REPOSITORY_FILE,
                    line=1,
                    column=1,
                    field="",
                    message="missing"
                    if own is None
                    else "says nothing of the repository (kind: Repository)",
                    hint="domops init writes it",
                )
            )
        return found

    def build_guests(self, around: Surroundings) -> None:
        """Build every guest, taking over those that nothing has touched since the last time."""
        before: Mapping[str, Built] = {}
        if self.previous is not None and self.previous.around is around:
            before = self.previous.built
        for name, entry in self.entries.get(Guest.__name__, {}).items():
            guest_class = self._class_of(entry)
            built = before.get(name)
            included = self.included.of(entry, guest_class)
            if built is None or not _same(built, entry, guest_class, included):
                outcome, warnings = build_guest(entry, guest_class, around, included)
                built = Built(
                    entry=entry,
                    guest_class=guest_class,
                    included=included,
                    outcome=outcome,
                    warnings=warnings,
                )
            self.built[name] = built
            self.warnings.extend(entry.problem(one, Severity.WARNING) for one in built.warnings)
            if isinstance(built.outcome, Flawed):
                self.problems.extend(map(entry.problem, built.outcome.complaints))

    def _class_of(self, entry: Entry) -> Document | None:
        name = entry.document.spec.get("class")
        if not isinstance(name, str):
            return None
        classes = self.entries.get(GuestClass.__name__, {})
        found = classes.get(name)
        if found is not None:
            return found.document
        if name not in self.suspects:
            complaint = dangling(("spec", "class"), GuestClass.__name__, name, classes)
            self.problems.append(entry.problem(complaint))
        return None

    def compare_claims(self, around: Surroundings) -> None:
        """Refuse that two guests want the same UUID, address or volume."""
        places = places_of(around)
        for name, built in self.built.items():
            if name in self.misnamed:
                continue  # what is derived from a name that is another's would be told once more
            for key, claim in claims_of(name, built.outcome, places):
                first = self.claims.setdefault(key, claim)
                if first is not claim:
                    thing = self._in_words(claim, key)
                    self._taken(claim, first, _CLAIMED_IN[claim[1]], thing)

    def compare_given(self) -> None:
        """Refuse that two guests have what is there without domops, if one could write to it.

        One path on two hosts is taken for one thing: on shared storage it is, and a local device
        has a name below ``/dev/disk/by-id`` that no other has.
        """
        given: dict[str, tuple[Claim, GivenDisk]] = {}
        for name, built in self.built.items():
            for disk in built.outcome.disks:
                if not isinstance(disk, GivenDisk):
                    continue
                claim = (name, "disks", disk.name)
                first, theirs = given.setdefault(disk.source.address, (claim, disk))
                if first is not claim and not (disk.read_only and theirs.read_only):
                    hint = "name another, or write readOnly: true for both"
                    self._taken(claim, first, field_of(disk), f'"{disk.source.address}"', hint)

    def compare_order(self) -> None:
        """Refuse to wait for a guest that is not there, or for ever."""
        outcomes = {name: built.outcome for name, built in self.built.items()}
        for name, complaint in problems_of_order(self.built, outcomes, self.suspects):
            self.problems.append(self.built[name].entry.problem(complaint))

    def compare_names(self) -> None:
        """Refuse that a name is one guest's, and another's former one."""
        outcomes = {name: built.outcome for name, built in self.built.items()}
        for name, complaint in problems_of_names(self.built, outcomes):
            self.misnamed.add(name)
            self.problems.append(self.built[name].entry.problem(complaint))

    def _taken(
        self, claim: Claim, first: Claim, field_name: str, thing: str, hint: str = ""
    ) -> None:
        there = self.built[first[0]].entry
        place = there.place_of(*_path(there, first, field_name))
        entry = self.built[claim[0]].entry
        self._complain(
            entry,
            _path(entry, claim, field_name),
            f'{thing} is already that of guest "{first[0]}", {place}',
            hint or f"write another {field_name}",
        )

    def _in_words(self, claim: Claim, key: ClaimKey) -> str:
        kind, _, thing = key
        if kind == "uuid":
            return f'the UUID "{thing}"'
        if kind == "mac":
            return f'the address "{thing}"'
        name, which, entry = claim
        outcome = self.built[name].outcome
        if which == "cloudInit" and isinstance(outcome, DesiredGuest) and outcome.cloud_init:
            storage = outcome.cloud_init.storage
        else:
            disks = [disk for disk in outcome.disks if isinstance(disk, VolumeDisk)]
            storage = next(disk.storage for disk in disks if disk.name == entry)
        return f'the volume "{thing}" of storage "{storage}"'

    def _complain(self, entry: Entry, path: tuple[Key, ...], message: str, hint: str) -> None:
        self.problems.append(entry.problem(Complaint(path=path, message=message, hint=hint)))

    def guests(self) -> dict[GuestName, DesiredGuest]:
        """The guests that are right, by name."""
        return {
            GuestName(name): built.outcome
            for name, built in self.built.items()
            if isinstance(built.outcome, DesiredGuest)
        }


def _index(everything: Iterable[Built]) -> Index:
    tables: tuple[dict[str, set[GuestName]], ...] = ({}, {}, {}, {}, {}, {})
    classes, pools, hosts, storages, networks, files = tables
    for built in everything:
        guest = built.outcome
        if isinstance(guest, Flawed):
            continue
        name = guest.name
        for path in (built.entry.path, *built.included.contents):
            files.setdefault(path, set()).add(name)
        pools.setdefault(guest.pool, set()).add(name)
        if built.guest_class is not None:
            classes.setdefault(built.guest_class.name, set()).add(name)
        if guest.host is not None:
            hosts.setdefault(guest.host, set()).add(name)
        for nic in guest.nics:
            networks.setdefault(nic.network, set()).add(name)
        for storage in _storages_of(guest):
            storages.setdefault(storage, set()).add(name)
    return Index(
        classes=_frozen(classes),
        pools=_frozen(pools),
        hosts=_frozen(hosts),
        storages=_frozen(storages),
        networks=_frozen(networks),
        files=_frozen(files),
    )


def _storages_of(guest: DesiredGuest) -> Iterator[StorageName]:
    for disk in guest.disks:
        if not isinstance(disk, GivenDisk) and disk.storage is not None:
            yield disk.storage
        if isinstance(disk, VolumeDisk) and disk.image is not None:
            yield disk.image.storage
    if guest.cloud_init is not None:
        yield guest.cloud_init.storage


Claim = tuple[str, str, str]
"""A guest, the list that the claim stands in (or nothing), and the entry's name."""


_CLAIMED_IN: Final = {"": "uuid", "networks": "mac", "disks": "volume", "cloudInit": "storage"}
"""The field that a claim is made in, by the list that it stands in."""

ClaimKey = tuple[str, object, object]
"""What kind of thing is claimed, where it counts, and which it is."""

Claims = Mapping[ClaimKey, Claim]


def claims_of(
    name: str, outcome: DesiredGuest | Flawed, places: Mapping[StorageName, object]
) -> Iterator[tuple[ClaimKey, Claim]]:
    """What a guest wants that no other may want."""
    yield ("uuid", None, outcome.uuid), (name, "", "")
    for nic in outcome.nics:
        yield ("mac", None, nic.mac), (name, "networks", nic.name)
    for disk in outcome.disks:
        if isinstance(disk, VolumeDisk):
            place = places.get(disk.storage, disk.storage)
            yield ("volume", place, disk.volume), (name, "disks", disk.name)
    if isinstance(outcome, DesiredGuest) and outcome.cloud_init is not None:
        seed = outcome.cloud_init
        place = places.get(seed.storage, seed.storage)
        yield ("volume", place, seed.volume), (name, "cloudInit", "")


def places_of(around: Surroundings) -> Mapping[StorageName, object]:
    """Two Storages that every host calls the same are one place."""
    return {
        name: (storage.libvirt_pool, tuple(sorted(storage.hosts.items())))
        for name, storage in around.storages.items()
    }


def _path(entry: Entry, claim: Claim, field_name: str) -> tuple[Key, ...]:
    _, which, name = claim
    if not which:
        return "metadata", field_name
    if which == "cloudInit" and which in entry.document.spec:
        return "spec", which
    entries = entry.document.spec.get(which, ())
    if isinstance(entries, tuple):
        for index, value in enumerate(entries):
            if isinstance(value, dict) and value.get("name") == name:
                return "spec", which, index, field_name
    return "spec", "class"  # the class says so


def _same(built: Built, entry: Entry, guest_class: Document | None, included: Included) -> bool:
    return (
        built.entry.document is entry.document
        and built.entry.path == entry.path
        and built.guest_class is guest_class
        and built.included == included
    )


def _frozen(sets: Mapping[str, set[GuestName]]) -> dict[str, frozenset[GuestName]]:
    return {key: frozenset(names) for key, names in sets.items()}
