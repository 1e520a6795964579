"""The mark: the one element that domops writes into a domain's ``<metadata>``.

The mark is what makes a guest ours, and it alone survives the loss of every local state: phase,
the disks that domops made, and the operation in hand are read from it after a kill. It is written
inside the define itself, so that definition and mark can never disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.names import (
        Digest,
        DiskName,
        FieldName,
        GuestName,
        LibvirtPool,
        MacAddress,
        NicName,
        PlanId,
        Sha,
        SnapshotName,
        Target,
        VolumeName,
    )
    from reconciler.model.overlay import OverlayElement
    from reconciler.model.suspension import Suspension


class Phase(StrEnum):
    """Where a guest stands in its life.

    ``CREATING``: never started, its volumes may be half made and may be made again.
    ``READY``: an ordinary guest. ``TRASH``: its manifest is gone; it is kept, stopped, with its
    volumes, until it is restored or its time has come.
    """

    CREATING = "creating"
    READY = "ready"
    TRASH = "trash"


class OperationKind(StrEnum):
    """What domops is doing to a guest, told to whoever looks at the host alone.

    ``START``: it is stopped and shall be started at once. ``STOP``: it is being shut down.
    ``STOPPED``: domops has shut it down as the manifest wished. ``RESTART``: it is being shut down
    in order to be started again. ``SNAPSHOT``: a snapshot of it is being taken; it may be frozen or
    paused, and has to be let go on by whoever finds this.
    """

    START = "start"
    STOP = "stop"
    STOPPED = "stopped"
    RESTART = "restart"
    SNAPSHOT = "snapshot"


class Consistency(StrEnum):
    """What the disks of a snapshot are worth, from the best to the least.

    ``OFFLINE``: the guest had been shut down in good order. ``QUIESCED``: it ran, its file systems
    were frozen through its agent, and its memory is kept too. ``WITH_MEMORY``: it ran and nothing
    was frozen, so the disks are whole only together with the memory. ``CRASH_CONSISTENT``: it was
    off, but not known to have been shut down in good order; the disks are as after a power cut.
    """

    OFFLINE = "offline"
    QUIESCED = "quiesced"
    WITH_MEMORY = "with-memory"
    CRASH_CONSISTENT = "crash-consistent"


class ThenWhat(StrEnum):
    """What follows when a guest has ignored its shutdown until the deadline."""

    WAIT = "wait"
    DESTROY = "destroy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownPolicy:
    """How a guest is stopped: asked, given ``timeout_s`` seconds, and then ``then``."""

    timeout_s: int = 300
    then: ThenWhat = ThenWhat.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedOperation:
    """An operation on a live guest that began at ``since``."""

    kind: OperationKind
    id: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedDisk:
    """A disk or drive of the manifest and what it became.

    ``pool`` and ``volume`` are None together: for a drive, whose medium comes and goes, and for
    what is there without domops (a device, a file, an image), of which ``source`` is the address.
    ``ours`` says that domops made the volume (nothing else gives it the right to remake one);
    one that was adopted is not ours and counts as filled from the first. ``filled`` is false from
    before the volume is created until its content is complete; a disk that is not filled is in no
    device list. ``image`` is what the volume was filled from
    (``POOL/VOLUME`` in the manifests' names), None for an empty one. ``detached`` is the instant at
    which the manifest let go of the disk, and ``approval`` the plan id that let that through, if it
    needed one; the volume stays. ``fields`` are the optional fields that a manifest has named of
    it, as ``Mark.fields`` are those of the guest. A disk that is ``protected`` is not let go, and
    what it holds is never removed. ``expired`` is the instant at which the volume of a disk that
    was let go began to be removed for good: it may be gone, and is never made anew.
    """

    name: DiskName
    target: Target
    pool: LibvirtPool | None
    volume: VolumeName | None
    ours: bool
    filled: bool
    image: str | None = None
    source: str | None = None
    detached: datetime | None = None
    fields: tuple[FieldName, ...] = ()
    protected: bool = False
    approval: PlanId | None = None
    expired: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedNic:
    """A NIC of the manifest, the address it was given, and the optional fields named of it."""

    name: NicName
    mac: MacAddress
    fields: tuple[FieldName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedSnapshot:
    """A snapshot that domops made: when, and what it is worth.

    ``removed`` is the instant at which the manifest stopped to name it, and ``approval`` the plan
    id that let that through, if it needed one; the snapshot stays.
    """

    name: SnapshotName
    taken: datetime
    consistency: Consistency
    removed: datetime | None = None
    approval: PlanId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRestart:
    """A restart that a change needed: when it began, for which intent, and what let it through."""

    since: datetime
    intent: Digest
    approval: PlanId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedSeed:
    """The volume that cloud-init is told from; see Note [The life of a seed] in ``planner.seeds``.

    It is ours as long as it stands here. ``digest`` is that of what it says, ``instance`` who it
    says that the guest is. ``filled`` is false from before the volume is created until its content
    is complete. ``done`` says that the guest needs it no more, and that it may be removed.
    """

    target: Target
    pool: LibvirtPool
    volume: VolumeName
    digest: Digest
    instance: str
    filled: bool
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedElement:
    """An element that an overlay put there, in the words in which it was put.

    ``let_go`` says that the stored definition has it no more, while the running guest still may.
    """

    element: OverlayElement
    let_go: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trash:
    """Since when and until when a guest is in the trash, by which commit, let through by what.

    ``emptying`` is the instant at which its data began to be removed for good. It stands in the
    mark before the first of them goes, so whoever finds it knows that something may be missing.
    """

    since: datetime
    until: datetime
    commit: Sha
    approval: PlanId | None = None
    emptying: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """All that domops knows of a guest, kept with the guest.

    A mark counts only if ``uuid`` is the domain's own (a copied definition copies the mark) and
    ``owner`` is the repository at hand. ``commit`` is the one at which this guest's intent last
    changed, ``intent`` that intent's digest under ``renderer``, the version of the renderer.
    ``generation`` is raised at each placement; the highest is home. ``fields`` are the optional
    fields that a manifest of this guest has named and that are not back at their defaults since,
    sorted; see Note [Owned fields] in ``planner.options``. ``overlay`` are the elements that are
    there by its ``xml``, and by nobody else's hand. ``tokens`` are the one-time acts that were done
    and must not be done again. ``restarts`` are those of the last day before the latest, that
    domops made to put a change into effect. ``seed`` is the seed that there is, or is being made;
    ``cloud_init`` is the digest of what the guest was last told by one. ``suspended`` are the
    suspensions of the command line that cover it, for when the local state is lost.
    """

    owner: UUID
    guest: GuestName
    uuid: UUID
    generation: int
    phase: Phase
    commit: Sha
    intent: Digest
    renderer: int
    protected: bool = False
    shutdown: ShutdownPolicy
    disks: tuple[MarkedDisk, ...] = ()
    nics: tuple[MarkedNic, ...] = ()
    fields: tuple[FieldName, ...] = ()
    snapshots: tuple[MarkedSnapshot, ...] = ()
    overlay: tuple[MarkedElement, ...] = ()
    restarts: tuple[MarkedRestart, ...] = ()
    trash: Trash | None = None
    operation: MarkedOperation | None = None
    tokens: tuple[str, ...] = ()
    seed: MarkedSeed | None = None
    cloud_init: Digest | None = None
    suspended: tuple[Suspension, ...] = ()

    @property
    def tells_of_acts(self) -> bool:
        """Whether something stands in it that a budget may count: what was let go, and restarts."""
        return (
            self.trash is not None
            or bool(self.restarts)
            or any(disk.detached is not None for disk in self.disks)
            or any(snapshot.removed is not None for snapshot in self.snapshots)
        )

    def disk(self, name: DiskName) -> MarkedDisk | None:
        """The disk called ``name`` in the manifest, if the mark knows it."""
        return next((disk for disk in self.disks if disk.name == name), None)

    def snapshot(self, name: SnapshotName) -> MarkedSnapshot | None:
        """The snapshot called ``name``, if the mark knows it."""
        return next((one for one in self.snapshots if one.name == name), None)
