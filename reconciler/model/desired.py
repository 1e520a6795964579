"""The desired world: all manifests of one good commit, resolved.

Classes and defaults are filled in and references are checked before a value of these types exists;
whoever holds a ``DesiredWorld`` may rely on it. ``lines`` and ``origin`` say where in the
repository each field was written, so that every act can name its reason; they are no part of the
intent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.options import NO_DISK_OPTIONS, NO_NIC_OPTIONS, NO_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.definition import (
        Arch,
        Boot,
        Bus,
        DiskFormat,
        GivenSource,
        GuestType,
        Memory,
        Vcpus,
    )
    from reconciler.model.mark import ShutdownPolicy
    from reconciler.model.names import (
        Digest,
        DiskName,
        FieldName,
        GuestName,
        HostName,
        LibvirtPool,
        MacAddress,
        NetworkName,
        NicName,
        PlanId,
        PoolName,
        Sha,
        SnapshotName,
        StorageName,
        Target,
        VolumeName,
    )
    from reconciler.model.options import DiskOptions, NicOptions, Options
    from reconciler.model.overlay import OverlayElement
    from reconciler.model.seed import DesiredCloudInit
    from reconciler.model.suspension import Suspension
    from reconciler.model.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A place in the repository: a path below its root, and a line counted from 1."""

    path: str
    line: int

    def __str__(self) -> str:
        """``path:line``, as editors and forges understand it."""
        return f"{self.path}:{self.line}"


class HostState(StrEnum):
    """What a host may be used for; ``RETIRED`` is the only way for a host to leave.

    ``FENCED`` is a person's word that the host was cut off, so that nothing runs on it.
    """

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINED = "drained"
    FENCED = "fenced"
    RETIRED = "retired"


class HostRole(StrEnum):
    """``TEST`` hosts are the first to get anything new."""

    PRODUCTION = "production"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredHost:
    """One dom0 or KVM host, and what of it stays with itself."""

    name: HostName
    uri: str
    uuid: UUID | None
    pool: PoolName
    role: HostRole
    state: HostState
    reserve_memory_kib: int
    reserve_cpus: int
    labels: Mapping[str, str]
    origin: Origin


class PoolMode(StrEnum):
    """``WARN`` shows plans and does nothing; ``ENFORCE`` does them; ``OFF`` makes none."""

    OFF = "off"
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many counted steps of a class may begin in a rolling 24 hours; ``percent`` from 10 up."""

    deletions: int = 1
    restarts: int = 3
    percent: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredPool:
    """The unit of placement and budgets."""

    name: PoolName
    mode: PoolMode
    budget: Budget
    overcommit_cpus: float
    trash_keep_s: int
    origin: Origin
    suspend: Suspension | None = None
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredStorage:
    """A place for volumes, and what each host's libvirt calls it."""

    name: StorageName
    libvirt_pool: LibvirtPool
    hosts: Mapping[HostName, LibvirtPool]
    shared: bool
    origin: Origin

    def on(self, host: HostName) -> LibvirtPool:
        """The name of this storage on ``host``."""
        return self.hosts.get(host, self.libvirt_pool)


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredNetwork:
    """Something to plug NICs into: a bridge of the host, or a network that libvirt keeps.

    Exactly one of ``bridge`` and ``libvirt_network`` is set; ``hosts`` overrides its name. ``vlan``
    is a tag only on an Open vSwitch, and else tells which VLAN the bridge is. ``openvswitch`` is
    None where nobody says.
    """

    name: NetworkName
    bridge: str | None
    libvirt_network: str | None
    hosts: Mapping[HostName, str]
    origin: Origin
    vlan: int | None = None
    openvswitch: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """The volume that a new disk starts as a copy of."""

    storage: StorageName
    volume: VolumeName


@dataclass(frozen=True, slots=True, kw_only=True)
class _AnyDisk:
    r"""What every disk says of itself.

    ``mentioned`` are the optional fields that the manifest names, sorted: of ``bus``, ``read_only``
    and ``options`` only those are wanted, as of a guest's options. ``protect`` keeps it plugged in
    when the manifest lets go of it. ``former`` is what it was called before it was renamed.
    """

    name: DiskName
    target: Target | None
    bus: Bus | None = None
    read_only: bool = False
    options: DiskOptions = NO_DISK_OPTIONS
    mentioned: tuple[FieldName, ...] = ()
    protect: bool = False
    former: DiskName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDisk(_AnyDisk):
    """A disk that is a volume of a storage, made by domops when it is not there.

    ``volume`` is the volume's name; the manifest rarely says it (``GUEST-DISK`` plus the format's
    ending is filled in, and ``volume_said`` is false). ``size_bytes`` only ever grows. With
    ``adopt`` the volume is never made: one that is there is taken as it is.
    """

    storage: StorageName
    volume: VolumeName
    size_bytes: int
    format: DiskFormat
    image: ImageRef | None
    adopt: bool = False
    volume_said: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CdromDisk(_AnyDisk):
    """A drive; ``storage`` and ``volume`` are None together, for an empty one."""

    storage: StorageName | None
    volume: VolumeName | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDisk(_AnyDisk):
    """A disk that is there already: a device or file of the hosts, or an image on the network."""

    source: GivenSource


DesiredDisk = VolumeDisk | CdromDisk | GivenDisk


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredNic:
    """A network card; ``model`` is ``pv`` or a name that libvirt knows.

    Of ``options`` only those that are ``mentioned`` are wanted. ``mac_said`` tells an address that
    the manifest writes from one that is derived: only the former asks something of a card that has
    another. ``former`` is what the card was called before it was renamed.
    """

    name: NicName
    network: NetworkName
    mac: MacAddress
    model: str
    options: NicOptions = NO_NIC_OPTIONS
    mentioned: tuple[FieldName, ...] = ()
    mac_said: bool = True
    former: NicName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredSnapshot:
    """A snapshot that exists while it is named; with ``quiesced``, one that is not is not taken."""

    name: SnapshotName
    quiesced: bool = False


class GuestState(StrEnum):
    """Whether the guest shall run."""

    RUNNING = "running"
    STOPPED = "stopped"


class RestartWhen(StrEnum):
    """When a change that needs a restart may cause one."""

    NEVER = "never"
    WINDOW = "window"
    NOW = "now"


class Autostart(StrEnum):
    """Whether libvirt starts the guest with the host; ``AUTO``: pinned on local storage only."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class TrashChoice(StrEnum):
    """What becomes of a predecessor of the guest: it is that one, or it is a new one."""

    RESTORE = "restore"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWarning:
    """What something that a manifest may say costs: its field, and the sentence."""

    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPort:
    """A TCP port that takes connections; ``address`` is numeric, so that no name is resolved."""

    address: str
    port: int

    def __str__(self) -> str:
        """``10.0.0.53:53``, ``[fd00::53]:53``."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartAfter:
    """Another guest that must be ready before this one is started.

    Ready is: it runs; with ``agent``, its guest agent is connected too; with ``port``, that port
    takes connections too. It is waited for at most ``timeout_s`` seconds.
    """

    guest: GuestName
    agent: bool = False
    port: OpenPort | None = None
    timeout_s: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredGuest:
    """One guest as its manifest wants it.

    ``adopt`` asks to take over a domain that is there and not ours; such a guest is never made.
    ``intent`` is the digest of everything here but what follows it: it changes exactly when what
    is wanted changes. ``type`` is None for ``auto`` (pvh on Xen, hvm elsewhere). ``host`` pins.
    ``mentioned`` are the optional fields that the manifest names, sorted: of ``options`` only
    those are wanted. ``suspend`` wants nothing of the guest, and so is no part of the intent; nor
    does ``trash``, which says what becomes of a deleted guest of that name. ``former`` is what it
    was called before it was renamed. ``uuid_said`` tells a UUID that the manifest writes from one
    that is derived: only the former asks something of a guest that has another.
    """

    name: GuestName
    uuid: UUID
    pool: PoolName
    host: HostName | None
    type: GuestType | None
    arch: Arch
    state: GuestState
    cpus: Vcpus
    memory: Memory
    boot: Boot
    disks: tuple[DesiredDisk, ...]
    nics: tuple[DesiredNic, ...]
    console: bool
    agent: bool
    shutdown: ShutdownPolicy
    heal_after_s: int
    restart: RestartWhen
    autostart: Autostart
    protect: bool
    labels: Mapping[str, str]
    adopt: bool = False
    options: Options = NO_OPTIONS
    mentioned: tuple[FieldName, ...] = ()
    snapshots: tuple[DesiredSnapshot, ...] = ()
    overlay: tuple[OverlayElement, ...] = ()
    intent: Digest
    origin: Origin
    warnings: tuple[GuestWarning, ...] = ()
    uuid_said: bool = False
    start_after: tuple[StartAfter, ...] = ()
    ignore_drift: tuple[str, ...] = ()
    trash: TrashChoice | None = None
    cloud_init: DesiredCloudInit | None = None
    suspend: Suspension | None = None
    former: GuestName | None = None
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    """Line of each written field, by dotted path: ``spec.memory``, ``spec.disks[root].size``."""

    def where(self, path: str) -> Origin:
        """Where the field at dotted ``path`` (or its nearest written parent) stands."""
        while path:
            if path in self.lines:
                return Origin(path=self.origin.path, line=self.lines[path])
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The commit that a desired world was read from."""

    sha: Sha
    author: str
    committed_at: datetime
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredWorld:
    """Everything that one good commit asks for.

    ``repository`` is the id that marks carry as owner. ``approvals`` are the plan ids named by
    ``Domops-Approve`` trailers of recent commits; ``lifted`` those of them that a commit names
    which changes nothing else, and so may lift a protection. ``suspend`` covers all guests.
    """

    repository: UUID
    commit: Commit
    hosts: Mapping[HostName, DesiredHost]
    pools: Mapping[PoolName, DesiredPool]
    storages: Mapping[StorageName, DesiredStorage]
    networks: Mapping[NetworkName, DesiredNetwork]
    guests: Mapping[GuestName, DesiredGuest]
    approvals: frozenset[PlanId] = frozenset()
    lifted: frozenset[PlanId] = frozenset()
    suspend: Suspension | None = None
