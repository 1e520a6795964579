"""The observed world: what the hosts said, and when each said it.

A host that did not answer in full is a ``SilentHost``: it and all on it are unknown. There is no
half answer; an empty list of guests means that the host has said it has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.definition import Arch, DiskFormat, DomainType, GuestDefinition, GuestType
    from reconciler.model.mark import Consistency, Mark
    from reconciler.model.names import (
        Digest,
        FieldName,
        GuestName,
        HostName,
        LibvirtPool,
        SnapshotName,
        Target,
        VolumeName,
    )
    from reconciler.model.overlay import OverlayElement


class RunState(StrEnum):
    """What a domain is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting down"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "suspended by the guest"


class StateReason(StrEnum):
    """Why a domain is in its state, as far as the hypervisor says."""

    UNKNOWN = "unknown"
    BOOTED = "booted"
    SHUT_DOWN = "shut down from inside or on request"
    DESTROYED = "destroyed"
    CRASHED = "crashed"
    FAILED = "failed to start or lost its process"
    SAVED = "saved to disk"
    MIGRATED = "migrated away"
    USER = "paused by a person"
    IO_ERROR = "paused by an I/O error"
    BUSY = "paused by a job of the hypervisor"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedVolume:
    """A volume of a storage pool; sizes in bytes."""

    name: VolumeName
    path: str
    capacity_bytes: int
    allocation_bytes: int
    format: DiskFormat | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedPool:
    """A libvirt storage pool of a host; an inactive one shows no volumes."""

    name: LibvirtPool
    active: bool
    type: str
    path: str | None
    available_bytes: int
    volumes: Mapping[VolumeName, ObservedVolume]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What domops writes into a snapshot that it makes: for which repository, and its worth."""

    owner: UUID
    consistency: Consistency


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedSnapshot:
    """A snapshot of a guest, whoever made it.

    ``disks`` are the targets that it holds inside their own images, ``external`` says that some of
    it lies in files beside them. ``signature`` is None for one that domops did not make.
    """

    name: SnapshotName
    taken: datetime
    disks: tuple[Target, ...]
    memory: bool
    external: bool = False
    signature: Signature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedGuest:
    """One domain of a host.

    ``stored`` is the definition of the next start (None for a transient domain), ``live`` the
    running one (None when it does not run). ``live.vcpus.count`` and ``live.memory.size_kib`` are
    the achieved values, not the wished ones. ``mark`` is the mark found, whoever's and however
    stale it is: judging it is the planner's work. ``mark_problem`` says why an element of ours
    could not be read. ``disk_sizes`` are the sizes in bytes that the guest is offered, by target.
    ``state_since`` is when the present state was first seen, or None if it is seen for the first
    time. ``job`` names a job that somebody runs on the domain. ``agent_connected`` says whether the
    guest agent inside has opened its channel. ``snapshots`` are in the order of their names.
    ``elements`` are those of the stored definition that are by other hands at places which are open
    to overlays.
    """

    name: GuestName
    uuid: UUID
    state: RunState
    reason: StateReason
    state_since: datetime | None
    stored: GuestDefinition | None
    live: GuestDefinition | None
    stored_digest: Digest
    autostart: bool
    managed_save: bool
    mark: Mark | None
    mark_problem: str | None
    disk_sizes: Mapping[Target, int]
    job: str | None = None
    snapshots: tuple[ObservedSnapshot, ...] = ()
    agent_connected: bool = False
    elements: tuple[OverlayElement, ...] = ()

    @property
    def active(self) -> bool:
        """Whether the hypervisor holds it in memory, running or paused."""
        return self.state not in (RunState.SHUT_OFF, RunState.CRASHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why guests cannot have an option, and the values that they can have all the same."""

    why: str
    but: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a host's driver can do; a row of the capability table.

    A false entry means that domops does the next best thing (a restart) or refuses with a sentence;
    the door never tries. ``without`` has that sentence for each option that guests of a type cannot
    have here; hypervisors take such a wish without a word, and do nothing about it. Fields of a
    disk are ``disks.cache``, ``disks.bus.usb``, ``disks.nbd``, those of a card ``networks.queues``.
    ``nic_models`` are the cards that there are for guests with an emulated machine, None where that
    is not known.
    """

    vcpu_hotplug: bool
    vcpu_unplug: bool
    memory_balloon: bool
    disk_hotplug: bool
    nic_hotplug: bool
    nic_change: bool
    media_change: bool
    grow_running_disk: bool
    grow_stopped_volume: bool
    disk_limits: bool
    volume_sources: bool
    volume_upload: bool
    agent: bool
    snapshots: bool
    pin_running: bool
    share_running: bool
    without: Mapping[tuple[GuestType, FieldName], Denial] = field(default_factory=dict)
    nic_models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedHost:
    """A host that answered in full at ``answered_at``.

    ``bridges`` is None where the host cannot say which bridges it has: "not checked", never "none".
    ``networks`` maps libvirt's networks to whether they are active.
    """

    name: HostName
    uuid: UUID
    answered_at: datetime
    domain_type: DomainType
    guest_types: frozenset[tuple[GuestType, Arch]]
    capabilities: Capabilities
    cpus: int
    memory_kib: int
    free_memory_kib: int
    pools: Mapping[LibvirtPool, ObservedPool]
    networks: Mapping[str, bool]
    bridges: frozenset[str] | None
    guests: Mapping[UUID, ObservedGuest]


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentHost:
    """A host that did not answer, or not in full, or not as itself."""

    name: HostName
    why: str
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedWorld:
    """All hosts that were asked."""

    hosts: Mapping[HostName, ObservedHost | SilentHost]

    def answered(self) -> tuple[ObservedHost, ...]:
        """The hosts that answered in full, by name."""
        hosts = (self.hosts[name] for name in sorted(self.hosts))
        return tuple(host for host in hosts if isinstance(host, ObservedHost))
