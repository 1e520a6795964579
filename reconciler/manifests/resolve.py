"""Resolve the files of one commit into the desired world, or into every problem of the commit.

A commit counts as a whole or not at all (promise 2): there is a world only if there is no problem.
``resolve`` is a function of its arguments; given what it returned the last time, it builds only the
guests that a change can have touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from reconciler.manifests.entries import Complaint, Entry, dangling
from reconciler.manifests.guests import Draft, build_guest
from reconciler.manifests.kinds import Guest, Repository
from reconciler.manifests.parse import ParsedFile, parse_file
from reconciler.manifests.problems import Problem, in_order
from reconciler.manifests.surroundings import Surroundings, SurroundingsBuilder
from reconciler.model.desired import Commit, DesiredGuest, DesiredWorld, VolumeDisk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.construct import Key
    from reconciler.model.names import GuestName, PlanId, StorageName

REPOSITORY_FILE: Final = "domops.yaml"
_SUFFIXES: Final = (".yaml", ".yml")


def is_manifest(path: str) -> bool:
    """Whether the file at ``path`` is read: ``*.yaml`` and ``*.yml``, nothing hidden."""
    return path.endswith(_SUFFIXES) and not any(part.startswith(".") for part in path.split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Which guests stand on what: by class, pool, host, storage, network and file."""

    classes: Mapping[str, frozenset[GuestName]]
    pools: Mapping[str, frozenset[GuestName]]
    hosts: Mapping[str, frozenset[GuestName]]
    storages: Mapping[str, frozenset[GuestName]]
    networks: Mapping[str, frozenset[GuestName]]
    files: Mapping[str, frozenset[GuestName]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What a later `resolve` may take over; a value without meaning to anybody else."""

    around: Surroundings
    drafts: Mapping[str, tuple[Entry, Entry | None, Draft]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Either ``world`` is there, or ``problems`` are.

    ``files`` is how many files were read, ``index`` is of the guests that are right.
    """

    world: DesiredWorld | None
    problems: tuple[Problem, ...]
    index: Index
    files: int
    memo: Memo | None = field(default=None, repr=False, compare=False)


def load(
    files: Mapping[str, bytes],
    *,
    commit: Commit,
    approvals: frozenset[PlanId] = frozenset(),
    refused: Mapping[str, str] | None = None,
    kernel_prefixes: tuple[str, ...] | None = None,
) -> Resolved:
    """Parse and resolve in one go, for callers that keep nothing between commits.

    Files that are no manifests by their name are passed over.
    """
    parsed = {path: parse_file(content) for path, content in files.items() if is_manifest(path)}
    return resolve(
        parsed,
        commit=commit,
        approvals=approvals,
        refused=refused,
        kernel_prefixes=kernel_prefixes,
    )


def resolve(
    files: Mapping[str, ParsedFile],
    *,
    commit: Commit,
    approvals: frozenset[PlanId] = frozenset(),
    refused: Mapping[str, str] | None = None,
    kernel_prefixes: tuple[str, ...] | None = None,
    previous: Resolved | None = None,
) -> Resolved:
    """Resolve the manifests of ``commit``; ``files`` are by path below the repository's folder.

    ``refused`` are entries of the tree that are no files (symbolic links, submodules), with what
    they are. ``kernel_prefixes`` are the controller's allowed paths for ``boot.kernel``; None where
    they are not known, as on somebody's laptop: then they are not checked.
    """
    resolver = _Resolver(files=files, previous=previous.memo if previous is not None else None)
    resolver.gather(refused or {})
    repository = resolver.repository()
    builder = SurroundingsBuilder(entries=resolver.entries, suspects=resolver.suspects)
    around = builder.build(repository or _NOBODY, kernel_prefixes)
    resolver.problems.extend(builder.problems)
    resolver.build_guests(around)
    resolver.compare_claims(around)
    problems = in_order(resolver.problems)
    guests = resolver.guests()
    world = None
    if not problems and repository is not None:
        world = DesiredWorld(
            repository=repository,
            commit=commit,
            hosts=around.hosts,
            pools=around.pools,
            storages=around.storages,
            networks=around.networks,
            guests=guests,
            approvals=approvals,
        )
    return Resolved(
        world=world,
        problems=problems,
        index=resolver.index(guests),
        files=len(files) + len(refused or {}),
        memo=Memo(around=around, drafts=resolver.drafts) if repository is not None else None,
    )


_NOBODY: Final = UUID(int=0)
"""Stands for the id of a repository that names none, so that its guests can be checked too."""


@dataclass(slots=True, kw_only=True)
class _Resolver:
    """One commit on its way; ``problems`` fills while its parts are put together."""

    files: Mapping[str, ParsedFile]
    previous: Memo | None
    problems: list[Problem] = field(default_factory=list)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    suspects: frozenset[str] = frozenset()
    drafts: dict[str, tuple[Entry, Entry | None, Draft]] = field(default_factory=dict)

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
                first = self.entries.setdefault((document.kind, document.name), entry)
                if first is not entry and document.kind != Repository.__name__:
                    self._complain(
                        entry,
                        ("metadata", "name"),
                        f'"{document.name}" is already taken by'
                        f" {first.place_of('metadata', 'name')}",
                        "give it another name, or take one of the two out",
                    )
        self.suspects = frozenset(suspects)

    def repository(self) -> UUID | None:
        """The repository's id, from the one file that may say it."""
        found = None
        for path, file in self.files.items():
            for document in file.documents:
                if not isinstance(document.manifest, Repository):
                    continue
                entry = Entry(path=path, file=file, document=document)
                if path != REPOSITORY_FILE:
                    hint = f"the repository is described in {REPOSITORY_FILE} at the root, once"
                    self._complain(entry, ("kind",), "a second Repository", hint)
                elif found is not None:
                    self._complain(entry, ("kind",), "a second Repository", "keep one")
                else:
                    found = document.manifest.spec.id
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
        remembered: Mapping[str, tuple[Entry, Entry | None, Draft]] = {}
        if self.previous is not None and self.previous.around == around:
            remembered = self.previous.drafts
        for (kind, name), entry in self.entries.items():
            if kind != Guest.__name__:
                continue
            guest_class = self._class_of(entry)
            before = remembered.get(name)
            if before is not None and _same(before[0], entry) and _same(before[1], guest_class):
                self.drafts[name] = before
            else:
                self.drafts[name] = (entry, guest_class, build_guest(entry, guest_class, around))
            for complaint in self.drafts[name][2].complaints:
                self.problems.append(entry.problem(complaint))

    def _class_of(self, entry: Entry) -> Entry | None:
        manifest = entry.document.manifest
        name = manifest.spec.class_ if isinstance(manifest, Guest) else None
        if name is None:
            return None
        found = self.entries.get(("GuestClass", name))
        if found is None and name not in self.suspects:
            classes = [of for kind, of in self.entries if kind == "GuestClass"]
            complaint = dangling(("spec", "class"), "GuestClass", name, classes)
            self.problems.append(entry.problem(complaint))
        return found

    def compare_claims(self, around: Surroundings) -> None:
        """Refuse that two guests want the same UUID, address or volume."""
        uuids: dict[UUID, tuple[str, tuple[Key, ...]]] = {}
        macs: dict[str, tuple[str, tuple[Key, ...]]] = {}
        volumes: dict[object, tuple[str, tuple[Key, ...]]] = {}
        for name, (entry, _, draft) in self.drafts.items():
            path: tuple[Key, ...] = ("metadata", "uuid")
            first = uuids.setdefault(draft.uuid, (name, path))
            if first[0] != name:
                self._taken(entry, path, f'the UUID "{draft.uuid}"', first)
            for number, nic in draft.nics:
                path = ("spec", "networks", number, "mac")
                first = macs.setdefault(nic.mac, (name, path))
                if first != (name, path):
                    self._taken(entry, path, f'the address "{nic.mac}"', first)
            for number, disk in draft.disks:
                if isinstance(disk, VolumeDisk):
                    path = ("spec", "disks", number, "volume")
                    claim = (_place(around, disk.storage), disk.volume)
                    first = volumes.setdefault(claim, (name, path))
                    if first != (name, path):
                        thing = f'the volume "{disk.volume}" of storage "{disk.storage}"'
                        self._taken(entry, path, thing, first)

    def _taken(
        self, entry: Entry, path: tuple[Key, ...], thing: str, first: tuple[str, tuple[Key, ...]]
    ) -> None:
        other, there = first
        place = self.drafts[other][0].place_of(*there)
        self._complain(
            entry, path, f'{thing} is already that of guest "{other}", {place}', f"write {path[-1]}"
        )

    def _complain(self, entry: Entry, path: tuple[Key, ...], message: str, hint: str) -> None:
        self.problems.append(entry.problem(Complaint(path=path, message=message, hint=hint)))

    def guests(self) -> dict[GuestName, DesiredGuest]:
        """The guests that are right, by name."""
        return {
            draft.guest.name: draft.guest
            for _, _, draft in self.drafts.values()
            if draft.guest is not None
        }

    def index(self, guests: Mapping[GuestName, DesiredGuest]) -> Index:
        """Which guests stand on what."""
        index: tuple[dict[str, set[GuestName]], ...] = ({}, {}, {}, {}, {}, {})
        classes, pools, hosts, storages, networks, files = index
        for name, guest in guests.items():
            entry, guest_class, _ = self.drafts[name]
            files.setdefault(entry.path, set()).add(name)
            pools.setdefault(guest.pool, set()).add(name)
            if guest_class is not None:
                classes.setdefault(guest_class.document.name, set()).add(name)
            if guest.host is not None:
                hosts.setdefault(guest.host, set()).add(name)
            for nic in guest.nics:
                networks.setdefault(nic.network, set()).add(name)
            for disk in guest.disks:
                if disk.storage is not None:
                    storages.setdefault(disk.storage, set()).add(name)
                if isinstance(disk, VolumeDisk) and disk.image is not None:
                    storages.setdefault(disk.image.storage, set()).add(name)
        return Index(
            classes=_frozen(classes),
            pools=_frozen(pools),
            hosts=_frozen(hosts),
            storages=_frozen(storages),
            networks=_frozen(networks),
            files=_frozen(files),
        )


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.document is other.document and one.path == other.path


def _place(around: Surroundings, name: StorageName) -> object:
    """Two Storages that every host calls the same are one place."""
    storage = around.storages.get(name)
    if storage is None:
        return name
    return storage.libvirt_pool, tuple(sorted(storage.hosts.items()))


def _frozen(sets: Mapping[str, set[GuestName]]) -> dict[str, frozenset[GuestName]]:
    return {key: frozenset(names) for key, names in sets.items()}
