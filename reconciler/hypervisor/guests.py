"""Observe a host's domains: definitions, states, marks, and the sizes of their disks.

Whole or none: a domain that goes away while it is looked at is left out only when a second listing
shows that it is gone; anything else that fails makes the whole observation fail, because an empty
answer would read as "not here".

Calls are few. One text a definition is fetched; states, and the three facts that libvirt can
filter by, come in one call each for all domains. What the texts say is remembered by their digest,
and what QEMU says of its disks as long as neither the running definition nor the volumes change,
because asking QEMU costs twenty times as much as asking libvirt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import libvirt

from reconciler.domxml import digest, read
from reconciler.errors import StalledError, TransientError
from reconciler.hypervisor.capabilities import Driver
from reconciler.hypervisor.snapshots import SnapshotMemo, observe_snapshots
from reconciler.hypervisor.states import read_state
from reconciler.hypervisor.tuning import with_shares
from reconciler.model.definition import VolumeSource
from reconciler.model.names import GuestName, Target
from reconciler.model.observed import ObservedGuest, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.hypervisor.pools import ObservedPools
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.names import Digest
    from reconciler.model.observed import StateReason
    from reconciler.model.overlay import OverlayElement

STORED_TEXT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
"""Secrets included: a text without them, written back, would erase them."""

_NO_CALL = libvirt.VIR_ERR_NO_SUPPORT
_LIVE_TEXT = re.compile(r"\s*<domain\b[^>]*\sid=")
_NOT_RUNNING = -1
"""The number of a domain that does not run."""
_JOB_UNDER_WAY = (libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED)
_JOBS = {
    libvirt.VIR_DOMAIN_JOB_OPERATION_START: "start",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SAVE: "save",
    libvirt.VIR_DOMAIN_JOB_OPERATION_RESTORE: "restore",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN: "incoming migration",
    libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT: "outgoing migration",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT: "snapshot",
    libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT: "revert to a snapshot",
    libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP: "dump",
    libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP: "backup",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What a text said; ``problem`` alone where the text could not be read at all."""

    digest: Digest
    lookups: tuple[tuple[str, VolumeSource | None], ...]
    definition: GuestDefinition | None
    problem: str | None
    agent_connected: bool = False
    elements: tuple[OverlayElement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """What QEMU offered under this running definition, over volumes of these sizes."""

    live: Digest
    capacities: tuple[tuple[Target, int], ...]
    offered: Mapping[Target, int]


class GuestMemo:
    """What is remembered from one observation of a host to the next; it may be lost at any time."""

    def __init__(self, *, places: tuple[str, ...] = ()) -> None:
        """Remember nothing yet; ``places`` are those that are open to overlays."""
        self._places = places
        self._reads: dict[tuple[UUID, bool], _Read] = {}
        self._sizes: dict[UUID, _Sizes] = {}
        self.snapshots = SnapshotMemo()

    def read(self, uuid: UUID, text: str, pools: ObservedPools, *, live: bool) -> _Read:
        """What ``text`` says; parsed only if it, or a path that it names, means something new."""
        known = self._reads.get((uuid, live))
        now = digest(text)
        if (
            known is not None
            and known.digest == now
            and all(pools.source_of(path) == source for path, source in known.lookups)
        ):
            return known
        fresh = _read(text, now, pools, self._places)
        self._reads[uuid, live] = fresh
        return fresh

    def sizes(
        self, uuid: UUID, live: Digest, capacities: Mapping[Target, int]
    ) -> Mapping[Target, int] | None:
        """The sizes that were offered, if nothing has changed since they were asked for."""
        known = self._sizes.get(uuid)
        if known is None or known.live != live or dict(known.capacities) != capacities:
            return None
        return known.offered

    def keep_sizes(
        self,
        uuid: UUID,
        live: Digest,
        capacities: Mapping[Target, int],
        offered: Mapping[Target, int],
    ) -> None:
        """Remember ``offered``, as long as text and capacities stay."""
        self._sizes[uuid] = _Sizes(live=live, capacities=tuple(capacities.items()), offered=offered)

    def forget_sizes(self, uuid: UUID) -> None:
        """Ask again: a disk was grown, and its volume may have had that size before."""
        self._sizes.pop(uuid, None)

    def keep_only(self, uuids: Iterable[UUID]) -> None:
        """Forget domains that are gone."""
        here = set(uuids)
        self._reads = {key: known for key, known in self._reads.items() if key[0] in here}
        self._sizes = {uuid: known for uuid, known in self._sizes.items() if uuid in here}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What one call said of all domains."""

    transient: frozenset[UUID]
    autostart: frozenset[UUID]
    saved: frozenset[UUID]
    states: Mapping[UUID, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One domain as its texts told of it."""

    domain: libvirt.virDomain
    state: RunState
    reason: StateReason
    stored: _Read
    live: _Read | None
    job: str | None


def domains_of(connection: libvirt.virConnect, driver: Driver) -> list[libvirt.virDomain]:
    """Every domain but Domain-0, which is the host itself and is never acted on."""
    return [
        domain
        for domain in connection.listAllDomains()
        if not (driver is Driver.XEN and domain.ID() == 0)
    ]


def uuid_of(domain: libvirt.virDomain) -> UUID:
    """The domain's UUID."""
    return UUID(bytes=domain.UUID())


def observe_guests(
    connection: libvirt.virConnect, driver: Driver, pools: ObservedPools, memo: GuestMemo
) -> Mapping[UUID, ObservedGuest]:
    """Ask for every domain.

    Raises:
        TransientError: domains came and went, or changed while they were looked at.

    """
    listed = domains_of(connection, driver)
    facts = _ask_facts(connection)
    seen: dict[UUID, _Seen] = {}
    vanished: set[UUID] = set()
    for domain in listed:
        uuid = uuid_of(domain)
        try:
            seen[uuid] = _look_at(domain, driver, facts.states.get(uuid), pools, memo)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            vanished.add(uuid)
    if vanished and not vanished.isdisjoint(map(uuid_of, connection.listAllDomains())):
        raise TransientError("domains came and went while the host was looked at")
    sizes = _sizes(connection, driver, seen, pools, memo)
    snapshots = observe_snapshots(connection, memo.snapshots)
    memo.keep_only(seen)
    return {
        uuid: ObservedGuest(
            name=GuestName(one.domain.name()),
            uuid=uuid,
            state=one.state,
            reason=one.reason,
            state_since=None,
            stored=one.stored.definition if uuid not in facts.transient else None,
            live=_live_definition(one, driver),
            stored_digest=one.stored.digest,
            autostart=uuid in facts.autostart,
            managed_save=uuid in facts.saved,
            mark=one.stored.definition.mark if one.stored.definition else None,
            mark_problem=one.stored.problem,
            disk_sizes=sizes[uuid],
            job=one.job,
            snapshots=snapshots.get(uuid, ()),
            agent_connected=one.live is not None and one.live.agent_connected,
            elements=one.stored.elements,
        )
        for uuid, one in seen.items()
    }


def _live_definition(one: _Seen, driver: Driver) -> GuestDefinition | None:
    live = one.live.definition if one.live else None
    return live and with_shares(one.domain, driver, live, one.stored.definition)


def _ask_facts(connection: libvirt.virConnect) -> _Facts:
    def which(flag: int) -> frozenset[UUID]:
        return frozenset(map(uuid_of, connection.listAllDomains(flag)))

    return _Facts(
        transient=which(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT),  # there are few, or none
        autostart=which(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART),
        saved=which(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE),
        states=_ask_states(connection),
    )


def _ask_states(connection: libvirt.virConnect) -> Mapping[UUID, tuple[int, int]]:
    """The states of all domains; of none where the driver tells them only one by one."""
    try:
        statistics = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == _NO_CALL:
            return {}
        raise
    return {
        uuid_of(domain): (values["state.state"], values["state.reason"])
        for domain, values in statistics
    }


def _look_at(
    domain: libvirt.virDomain,
    driver: Driver,
    known_state: tuple[int, int] | None,
    pools: ObservedPools,
    memo: GuestMemo,
) -> _Seen:
    uuid = uuid_of(domain)
    stored = memo.read(uuid, domain.XMLDesc(STORED_TEXT), pools, live=False)
    state, reason = read_state(*(known_state or domain.state()))
    if state is RunState.SHUT_OFF and domain.ID() != _NOT_RUNNING:
        # libxl says "shut off" seconds before it has taken the domain down: it is not over yet.
        state = RunState.SHUTTING_DOWN
    live = None
    if state is not RunState.SHUT_OFF:
        text = domain.XMLDesc()
        if _LIVE_TEXT.match(text):
            live = memo.read(uuid, text, pools, live=True)
        elif state is not RunState.CRASHED:
            # It was listed as running and is not now.
            state, reason = read_state(*domain.state())
            if state not in (RunState.SHUT_OFF, RunState.CRASHED):
                raise TransientError(f"{domain.name()} changed while it was looked at")
    job = None if live is None or driver is Driver.TEST else _job_of(domain)
    return _Seen(domain=domain, state=state, reason=reason, stored=stored, live=live, job=job)


def _read(text: str, text_digest: Digest, pools: ObservedPools, places: tuple[str, ...]) -> _Read:
    lookups: list[tuple[str, VolumeSource | None]] = []

    def volume_at(path: str) -> VolumeSource | None:
        source = pools.source_of(path)
        lookups.append((path, source))
        return source

    try:
        reading = read(text, volumes=volume_at, places=places)
    except StalledError as error:
        # Somebody else's domain of a kind that domops does not know must not blind it to the host.
        return _Read(digest=text_digest, lookups=(), definition=None, problem=str(error))
    return _Read(
        digest=text_digest,
        lookups=tuple(lookups),
        definition=reading.definition,
        problem=reading.mark_problem,
        agent_connected=reading.agent_connected,
        elements=reading.elements,
    )


def _job_of(domain: libvirt.virDomain) -> str | None:
    """The name of a job that somebody runs on a running domain."""
    try:
        if domain.jobInfo()[0] not in _JOB_UNDER_WAY:
            return None
        return _JOBS.get(domain.jobStats().get("operation", 0), "job")
    except libvirt.libvirtError as error:
        # Not running any more, or no words for jobs: the state has been read already.
        if error.get_error_code() in (libvirt.VIR_ERR_OPERATION_INVALID, _NO_CALL):
            return None
        raise


def _sizes(
    connection: libvirt.virConnect,
    driver: Driver,
    seen: Mapping[UUID, _Seen],
    pools: ObservedPools,
    memo: GuestMemo,
) -> Mapping[UUID, Mapping[Target, int]]:
    """The sizes of the disks; of a guest that QEMU runs, what QEMU offers, else the volumes'."""
    sizes: dict[UUID, Mapping[Target, int]] = {}
    to_ask: list[libvirt.virDomain] = []
    for uuid, one in seen.items():
        sizes[uuid] = _capacities((one.live or one.stored).definition, pools)
        if one.live is not None and driver is Driver.QEMU:
            known = memo.sizes(uuid, one.live.digest, sizes[uuid])
            if known is None:
                to_ask.append(one.domain)
            else:
                sizes[uuid] = known
    for uuid, offered in _ask_offered(connection, to_ask).items():
        live = seen[uuid].live
        if live is not None:
            memo.keep_sizes(uuid, live.digest, sizes[uuid], offered)
        sizes[uuid] = offered
    return sizes


def _capacities(definition: GuestDefinition | None, pools: ObservedPools) -> Mapping[Target, int]:
    if definition is None:
        return {}
    volumes = {
        disk.target: pools.volume(disk.source)
        for disk in definition.disks
        if isinstance(disk.source, VolumeSource)
    }
    return {target: seen.capacity_bytes for target, seen in volumes.items() if seen is not None}


def _ask_offered(
    connection: libvirt.virConnect, domains: Sequence[libvirt.virDomain]
) -> Mapping[UUID, Mapping[Target, int]]:
    """What QEMU offers to each of ``domains``, but for those that a job keeps busy."""
    if not domains:
        return {}
    answers = connection.domainListGetStats(
        list(domains),
        libvirt.VIR_DOMAIN_STATS_BLOCK,
        libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
    )
    offered: dict[UUID, Mapping[Target, int]] = {}
    for domain, values in answers:
        numbers = range(values.get("block.count", 0))
        sizes = {
            Target(values[f"block.{number}.name"]): int(values[f"block.{number}.capacity"])
            for number in numbers
            if f"block.{number}.capacity" in values
        }
        if sizes or not numbers:
            offered[uuid_of(domain)] = sizes
    return offered
