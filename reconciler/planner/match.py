"""Match: which domain, on which host, is which guest of the desired world (first stage).

This is where promise 1 is kept. A guest is *missing* only when every host on which it could be has
answered in full; in any doubt it is *unknown*, and nothing that could start it twice follows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.desired import HostState
from reconciler.model.mark import Phase
from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedWorld, SilentHost
from reconciler.model.plan import Foreign, Reason
from reconciler.planner.fencing import fenced_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from uuid import UUID

    from reconciler.model.desired import DesiredGuest, DesiredHost, DesiredWorld
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.names import GuestName, HostName, PoolName
    from reconciler.model.operation import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The guest's home is here; ``mark`` is its own and counts.

    ``elsewhere`` says where a running copy cannot be ruled out; then nothing may start, stop for
    good or delete the guest. It is empty for a guest that is seen running.
    """

    host: ObservedHost
    guest: ObservedGuest
    mark: Mark
    elsewhere: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Every host that could have the guest has answered in full, and none has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nothing may be done to the guest, and why."""

    reason: Reason
    message: str
    host: HostName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoptable:
    """A domain that is nobody's, and that the manifest asks to take over."""

    host: ObservedHost
    guest: ObservedGuest


_SAID_TO_BE_EMPTY = (HostState.RETIRED, HostState.FENCED)
"""Of which a person says that no guest runs there, whether they answer or not."""

Match = Found | Missing | Unclear | Adoptable


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The outcome of the stage: the guests of the manifests, the others that are ours, the rest."""

    guests: Mapping[GuestName, Match]
    orphans: Mapping[GuestName, Match]
    """Guests with our mark and no manifest: in the trash, or on their way into it."""

    foreign: tuple[Foreign, ...]


def match(
    desired: DesiredWorld,
    observed: ObservedWorld,
    *,
    memory: Memory,
    index: Index,
    settled: AbstractSet[GuestName] = frozenset(),
) -> Matching:
    """Find every guest but those that are ``settled``, or say why it cannot be told where it is."""
    guests: dict[GuestName, Match] = {}
    for name in sorted(desired.guests.keys() - settled):
        guests[name] = _one(desired.guests[name], index, desired, observed, memory)
    guests = _each_for_one(guests)
    orphans: dict[GuestName, Match] = {}
    renamed = {one.former for one in desired.guests.values() if one.former is not None}
    for name in sorted(index.owned.keys() - desired.guests.keys() - renamed):
        copies = index.owned[name]
        orphans[name] = _home(name, copies, index, desired, observed, memory, None)
    foreign = (*index.foreign, *_leftovers(index))
    return Matching(guests=guests, orphans=orphans, foreign=foreign)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A domain that carries our mark and is meant by it."""

    host: ObservedHost
    guest: ObservedGuest
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one answer of a host gives to the index of a repository."""

    repository: UUID
    host: ObservedHost
    owned: Mapping[GuestName, list[Copy]]
    strangers: tuple[ObservedGuest, ...]
    suspended: frozenset[GuestName]
    telling: tuple[Copy, ...]
    foreign: tuple[Foreign, ...]


@dataclass(slots=True, kw_only=True)
class Index:
    """All that was seen, by what a guest is known by.

    ``certain`` says that there is no host, silent or departed, on which anything could be;
    ``fenced`` are the hosts of Note [Fenced].
    """

    certain: bool
    fenced: AbstractSet[HostName] = frozenset()
    owned: dict[GuestName, list[Copy]] = field(default_factory=dict)
    strange_uuids: dict[UUID, list[tuple[ObservedHost, ObservedGuest]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    strange_names: dict[str, list[tuple[ObservedHost, ObservedGuest]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    foreign: list[Foreign] = field(default_factory=list)
    condemned: dict[GuestName, Operation] = field(default_factory=dict)
    suspended: set[GuestName] = field(default_factory=set)
    """The guests whose marks carry a suspension."""

    telling: list[Copy] = field(default_factory=list)
    """The copies whose marks tell of counted acts."""

    _derived: dict[object, GuestName] = field(default_factory=dict)

    def derived(self) -> Mapping[object, GuestName]:
        """Whose each UUID and each card's address is, of the guests that are ours."""
        if not self._derived:
            for name, copies in self.owned.items():
                for copy in copies:
                    self._derived[copy.guest.uuid] = name
                    self._derived.update((nic.mac, name) for nic in copy.mark.nics)
        return self._derived


def index_of(
    desired: DesiredWorld,
    observed: ObservedWorld,
    *,
    operations: tuple[Operation, ...],
    memory: Memory,
    parts: dict[HostName, Part],
) -> Index:
    """Put the index together; ``parts`` are those of earlier answers, and are kept up to date."""
    index = Index(certain=_is_certain(desired, observed, memory), fenced=fenced_hosts(desired))
    index.condemned.update({one.guest: one for one in operations if one.condemned})
    for host in observed.answered():
        part = parts.get(host.name)
        if part is None or part.host is not host or part.repository != desired.repository:
            part = parts[host.name] = _part(host, desired.repository)
        if index.owned.keys().isdisjoint(part.owned):
            index.owned.update(part.owned)
        else:
            for name, copies in part.owned.items():
                index.owned[name] = [*index.owned.get(name, ()), *copies]
        for guest in part.strangers:
            index.strange_uuids[guest.uuid].append((host, guest))
            index.strange_names[guest.name].append((host, guest))
        index.foreign.extend(part.foreign)
        index.suspended |= part.suspended
        index.telling.extend(part.telling)
    return index


def _is_certain(desired: DesiredWorld, observed: ObservedWorld, memory: Memory) -> bool:
    return memory.departed == () and all(
        isinstance(observed.hosts.get(host.name), ObservedHost)
        for host in desired.hosts.values()
        if host.state not in _SAID_TO_BE_EMPTY
    )


def _part(host: ObservedHost, repository: UUID) -> Part:
    owned: dict[GuestName, list[Copy]] = {}
    strangers: list[ObservedGuest] = []
    foreign: list[Foreign] = []
    for guest in host.guests.values():
        mark = guest.mark
        if mark is not None and mark.owner == repository and mark.uuid == guest.uuid:
            owned.setdefault(mark.guest, []).append(Copy(host=host, guest=guest, mark=mark))
            continue
        problem = _mark_problem(guest, repository)
        if problem:
            foreign.append(Foreign(host=host.name, name=guest.name, message=problem))
        strangers.append(guest)
    return Part(
        repository=repository,
        host=host,
        owned=owned,
        strangers=tuple(strangers),
        suspended=frozenset(
            name for name, copies in owned.items() if any(copy.mark.suspended for copy in copies)
        ),
        telling=tuple(
            copy for copies in owned.values() for copy in copies if copy.mark.tells_of_acts
        ),
        foreign=tuple(foreign),
    )


def _leftovers(index: Index) -> Iterator[Foreign]:
    """The copies on fenced hosts of guests that are elsewhere, too."""
    if not index.fenced:
        return
    for name, copies in sorted(index.owned.items()):
        there = [copy for copy in copies if copy.host.name in index.fenced]
        if there == copies:
            continue
        for copy in there:
            what = "a running" if copy.guest.active else "a stopped"
            message = (
                f"{what} copy of {name} is left on this fenced host; take what it has that is"
                " still wanted, then undefine it by hand"
            )
            yield Foreign(host=copy.host.name, name=copy.guest.name, message=message)


def _mark_problem(guest: ObservedGuest, repository: UUID) -> str:
    if guest.mark_problem:
        return f"its mark cannot be read: {guest.mark_problem}"
    mark = guest.mark
    if mark is not None and mark.owner == repository and mark.uuid != guest.uuid:
        return f"it carries a copy of the mark of {mark.guest}; it is treated as foreign"
    return ""


def _one(
    guest: DesiredGuest,
    index: Index,
    desired: DesiredWorld,
    observed: ObservedWorld,
    memory: Memory,
) -> Match:
    copies = [*index.owned.get(guest.name, ())]
    if guest.former is not None:
        copies += index.owned.get(guest.former, ())
    for name in (guest.name, guest.former):
        if name is not None and name in index.condemned:
            return _bound(index.condemned[name])
    if copies:
        return _home(guest.name, copies, index, desired, observed, memory, guest.pool)
    taken = _is_anothers(guest, index)
    if taken is not None:
        return taken
    found = _stranger(guest, index, desired)
    if isinstance(found, Unclear):
        return found
    if index.certain:
        return found or Missing()
    doubt = "; ".join(_could_be(guest.name, guest.pool, desired, observed, memory))
    if doubt:
        return Unclear(reason=Reason.HOST_UNKNOWN, message=f"it could be elsewhere: {doubt}")
    return found or Missing()


def _is_anothers(guest: DesiredGuest, index: Index) -> Unclear | None:
    """Why a guest is not made: what would be derived for it is another one's of ours.

    That other one was renamed, and what is derived from its first name stays with it.
    """
    known = index.derived()
    wishes: dict[object, str] = {nic.mac: "mac" for nic in guest.nics if not nic.mac_said}
    if not guest.uuid_said:
        wishes[guest.uuid] = "metadata.uuid"
    for wish, field_name in wishes.items():
        if wish in known:
            return Unclear(
                reason=Reason.CONFLICT,
                message=f"{wish} would be derived for it, and is that of {known[wish]}, which was"
                f" called so before; write another {field_name}",
            )
    return None


def _stranger(
    guest: DesiredGuest, index: Index, desired: DesiredWorld
) -> Adoptable | Unclear | None:
    """The domain that is not ours and has the guest's UUID or name; None if there is none."""
    twins = index.strange_uuids.get(guest.uuid, [])
    namesakes = [
        (host, domain)
        for host, domain in index.strange_names.get(guest.name, ())
        if domain.uuid != guest.uuid and _may_be_on(guest, host, desired)
    ]
    if not guest.adopt:
        for host, domain in twins:
            return Unclear(
                reason=Reason.CONFLICT,
                message=f"a domain with its UUID, {domain.name}, exists on {host.name}"
                " and is not ours; adopt: true takes it over",
            )
        for host, domain in namesakes:
            return Unclear(
                reason=Reason.FOREIGN,
                message=f"a domain named {domain.name} exists on {host.name} and is not ours;"
                " adopt: true takes it over",
            )
        return None
    if not twins and namesakes and guest.uuid_said:
        host, domain = namesakes[0]
        return Unclear(
            reason=Reason.CONFLICT,
            message=f"{domain.name} on {host.name} has the UUID {domain.uuid}, the manifest says"
            f" {guest.uuid}",
        )
    candidates = twins or namesakes
    if len(candidates) > 1:
        where = " and ".join(sorted(host.name for host, _ in candidates))
        return Unclear(
            reason=Reason.CONFLICT, message=f"it could be one of several: there are such on {where}"
        )
    return next((_adoptable(guest, *one, desired) for one in candidates), None)


def _adoptable(
    guest: DesiredGuest, host: ObservedHost, domain: ObservedGuest, desired: DesiredWorld
) -> Adoptable | Unclear:
    """The domain, unless it is somebody's, out of place, or on a host that is cut off."""
    if desired.hosts[host.name].state is HostState.FENCED:
        return _only_there(host.name, f"{domain.name} is")
    if not _may_be_on(guest, host, desired):
        return Unclear(
            reason=Reason.PINNED_ELSEWHERE,
            message=f"{domain.name} is on {host.name}, its manifest wants"
            f" {guest.host or 'pool ' + guest.pool}",
        )
    problem = _mark_problem(domain, desired.repository)
    if problem or domain.mark is not None:
        owner = f"it belongs to repository {domain.mark.owner}" if domain.mark else ""
        return Unclear(
            reason=Reason.FOREIGN,
            message=f"{domain.name} on {host.name} is not adopted: {problem or owner}",
        )
    return Adoptable(host=host, guest=domain)


def _may_be_on(guest: DesiredGuest, host: ObservedHost, desired: DesiredWorld) -> bool:
    """Whether the guest's manifest lets it be on ``host``."""
    manifest = desired.hosts.get(host.name)
    if manifest is None or manifest.pool != guest.pool:
        return False
    return guest.host in (None, host.name) if guest.adopt else True


def _each_for_one(guests: dict[GuestName, Match]) -> dict[GuestName, Match]:
    """Let no domain be adopted by two guests."""
    claims: dict[tuple[HostName, UUID], list[GuestName]] = defaultdict(list)
    for name, outcome in guests.items():
        if isinstance(outcome, Adoptable):
            claims[outcome.host.name, outcome.guest.uuid].append(name)
    for (host, _), names in claims.items():
        if len(names) > 1:
            both = " and ".join(sorted(names))
            message = f"{both} would adopt the same domain on {host}; say metadata.uuid"
            guests |= {
                name: Unclear(reason=Reason.CONFLICT, message=message, host=host) for name in names
            }
    return guests


def _bound(operation: Operation) -> Unclear:
    return Unclear(
        reason=Reason.GUEST_UNKNOWN,
        message=f"a call on {operation.host} was given up and has not returned",
        host=operation.host,
    )


def _home(
    name: GuestName,
    copies: list[Copy],
    index: Index,
    desired: DesiredWorld,
    observed: ObservedWorld,
    memory: Memory,
    pool: PoolName | None,
) -> Match:
    """Of several copies: a running one wins; of stopped ones the highest generation."""
    if name in index.condemned:
        return _bound(index.condemned[name])
    twins = {copy.guest.uuid for copy in copies}
    for uuid in sorted(twins):
        for host, domain in index.strange_uuids.get(uuid, ()):
            return Unclear(
                reason=Reason.CONFLICT,
                message=f"a domain with its UUID, {domain.name}, is on {host.name} too, without"
                " its mark; undefine one by hand",
            )
    running = [copy for copy in copies if copy.guest.active]
    if len(running) > 1:
        where = " and ".join(
            f"{copy.host.name} (declared fenced)"
            if copy.host.name in index.fenced
            else copy.host.name
            for copy in sorted(running, key=lambda copy: copy.host.name)
        )
        return Unclear(reason=Reason.CONFLICT, message=f"it runs on {where}; stop one by hand")
    if running:
        home = running[0]
        if home.host.name in index.fenced:
            return _only_there(home.host.name, "it runs")
        return Found(host=home.host, guest=home.guest, mark=home.mark)
    within = [copy for copy in copies if copy.host.name not in index.fenced]
    if not within:
        where = copies[0].host.name
        return _only_there(where, "it is defined, and stopped,")
    highest = max(copy.mark.generation for copy in within)
    homes = [copy for copy in within if copy.mark.generation == highest]
    if len(homes) > 1:
        where = " and ".join(sorted(copy.host.name for copy in homes))
        return Unclear(
            reason=Reason.CONFLICT,
            message=f"it is defined on {where} with the same generation; undefine one by hand",
        )
    home = homes[0]
    doubt = () if index.certain else _could_be(name, pool, desired, observed, memory)
    return Found(host=home.host, guest=home.guest, mark=home.mark, elsewhere="; ".join(doubt))


def _only_there(host: HostName, how: str) -> Unclear:
    return Unclear(
        reason=Reason.HOST_FENCED,
        message=f"{how} on {host}, which answers although it is declared fenced; write state:"
        " active to have it back, or take it off that host by hand",
        host=host,
    )


def _could_be(
    name: GuestName,
    pool: PoolName | None,
    desired: DesiredWorld,
    observed: ObservedWorld,
    memory: Memory,
) -> Iterator[str]:
    """Say for each silent or departed host on which the guest could be why it could.

    Without a history the guest could be on any host of any pool. With one, on the hosts of the
    pools it was ever in; and a host whose last complete answer is older than the guest's first
    commit cannot have it, provided that no step for the guest ever began there. A host on which one
    began counts wherever it went since.
    """
    history = memory.guests.get(name)
    pools = None if history is None or pool is None else history.pools | {pool}
    touched = history.touched if history is not None else frozenset()
    if memory.departed is None:
        yield "which hosts have left the repository is not known yet"
    for gone in memory.departed or ():
        if gone.name in desired.hosts:
            continue
        if pools is None or gone.pool is None or gone.pool in pools or gone.name in touched:
            yield f"host {gone.name} left the repository without having been retired"
    for host in desired.hosts.values():
        seen = observed.hosts.get(host.name)
        if isinstance(seen, ObservedHost) or not could_have(name, pool, host, memory):
            continue
        why = seen.why if isinstance(seen, SilentHost) else "it was not asked"
        yield f"host {host.name} is silent ({why})"


def could_have(name: GuestName, pool: PoolName | None, host: DesiredHost, memory: Memory) -> bool:
    """Whether only the host's own word can say that the guest is not on it."""
    if host.state in _SAID_TO_BE_EMPTY:
        return False
    history = memory.guests.get(name)
    if history is None:
        return True
    if host.name in history.touched:
        return True
    if pool is not None and host.pool not in history.pools | {pool}:
        return False
    answered = memory.last_complete.get(host.name)
    return answered is None or history.first_seen <= answered


def in_trash(found: Found) -> bool:
    """Whether the guest is in the trash."""
    return found.mark.phase is Phase.TRASH
