"""The steps: every way in which domops changes the world, each a value.

A step's docstring is the obligation of whoever carries it out. A step says what must be so, not
how: carrying it out where it is so already changes nothing and succeeds. What a step is expected to
do to a world is told by ``planner.effects``; the doors carry it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.definition import Disk, DiskFormat, GuestDefinition, Nic, VolumeSource
    from reconciler.model.mark import Mark
    from reconciler.model.names import (
        Digest,
        GuestName,
        HostName,
        LibvirtPool,
        SnapshotName,
        Target,
        VolumeName,
    )
    from reconciler.model.options import IoLimits, Pin
    from reconciler.model.seed import SeedData


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnGuest:
    """What every step names: the guest that it serves, its domain, and the host to act on."""

    host: HostName
    guest: GuestName
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DefineGuest(_OnGuest):
    """The stored definition must be ``definition``, mark included, in one call.

    Whatever the stored text holds that no field models is kept. ``replaces`` is the digest of the
    stored text that the plan saw, None where it saw no domain; if another is found, nothing is
    written and the step fails as transient. A running guest keeps running as it is.
    """

    definition: GuestDefinition
    replaces: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMark(_OnGuest):
    """The stored mark (and a running guest's live one) must be ``mark``; nothing else moves.

    A mark of another repository, or one that was copied along with a definition, is never written
    over: the step is refused.
    """

    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVolume(_OnGuest):
    """The volume must exist with the capacity asked for, as a copy of ``image`` or empty.

    An existing volume of that name is never touched: the step fails as stalled. ``capacity_bytes``
    may exceed the image's; it must not fall below it.
    """

    pool: LibvirtPool
    volume: VolumeName
    capacity_bytes: int
    format: DiskFormat
    image: VolumeSource | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardVolume(_OnGuest):
    """A volume that was never used, half made by an earlier attempt of ours, must be gone."""

    pool: LibvirtPool
    volume: VolumeName


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSeed(_OnGuest):
    """The volume must exist, readable by root alone, as the seed that tells ``instance`` its data.

    An existing volume of that name is never touched: the step fails as stalled. A seed that could
    not be finished is taken away again, or left for ``RemoveSeed``.
    """

    pool: LibvirtPool
    volume: VolumeName
    instance: str
    data: SeedData


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSeed(_OnGuest):
    """A seed that was half made or whose work is done must be gone, and what it held illegible.

    Only the seed that the guest's own mark names as such is ever removed, and only while no
    definition, stored or running, has it.
    """

    pool: LibvirtPool
    volume: VolumeName


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteVolume(_OnGuest):
    """A volume that domops made for a guest whose time in the trash is over must be gone.

    Only a volume that the guest's own stored mark calls ours, or its seed, is ever deleted; only
    while the guest is off and its mark says that it is being emptied, or, of a guest that lives,
    the volume of a disk which its mark says to have expired and neither of its definitions has;
    never one that another domain names, as a disk or in its mark, or that another volume builds on.
    ``capacity_bytes`` is what the plan saw, for the history.
    """

    pool: LibvirtPool
    volume: VolumeName
    capacity_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UndefineGuest(_OnGuest):
    """The hypervisor must forget a guest of the trash, of whose data nothing of ours is left.

    Only a domain that is off, whose mark says that it is being emptied, and none of whose volumes
    of ours is there any more. Snapshots of ours that are left are forgotten with it; with one of
    somebody else it is refused. With ``keep_firmware`` the variables of its firmware and the state
    of its TPM stay where they are: a disk that is not ours may need them. ``mark`` is what is known
    of the guest, for the history.
    """

    keep_firmware: bool
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowVolume(_OnGuest):
    """The volume of a stopped guest must have at least ``capacity_bytes``; it never shrinks."""

    pool: LibvirtPool
    volume: VolumeName
    capacity_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowDisk(_OnGuest):
    """The running guest must be offered at least ``capacity_bytes`` at ``target``."""

    target: Target
    capacity_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartGuest(_OnGuest):
    """The guest must run, from its stored definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDownGuest(_OnGuest):
    """The guest must be asked to shut down; it is done when it is off, or lost at its deadline."""

    timeout_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyGuest(_OnGuest):
    """The guest must be stopped at once: it ignored its shutdown and its manifest says destroy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVcpus(_OnGuest):
    """The running guest must have ``count`` virtual CPUs; the stored definition stays."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMemory(_OnGuest):
    """The running guest's balloon goal must be ``size_kib``; it is done when the guest followed."""

    size_kib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PinVcpus(_OnGuest):
    """Each virtual CPU that ``pin`` names must run only where it says; others stay as they are."""

    pin: tuple[Pin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetShares(_OnGuest):
    """The running guest must have this weight and cap; None is the ordinary weight, and no cap."""

    weight: int | None
    cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachDisk(_OnGuest):
    """The running guest must have ``disk``; the stored definition stays."""

    disk: Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachDisk(_OnGuest):
    """The running guest must have let go of ``disk``; volume and stored definition stay."""

    disk: Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMedium(_OnGuest):
    """The running guest's drive at ``disk.target`` must hold ``disk.source``."""

    disk: Disk


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDiskLimits(_OnGuest):
    """The running guest's disk at ``target`` must be held to ``limits``; the stored one stays."""

    target: Target
    limits: IoLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachNic(_OnGuest):
    """The running guest must have ``nic``; the stored definition stays."""

    nic: Nic


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachNic(_OnGuest):
    """The running guest must have let go of ``nic``; the stored definition stays."""

    nic: Nic


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNic(_OnGuest):
    """The running guest's NIC with that address must be connected to ``nic.source``.

    Its cable must be in or out as ``nic.options.link`` says; whatever else it is stays.
    """

    nic: Nic


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAutostart(_OnGuest):
    """libvirt must start the guest with the host, or must not."""

    on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSnapshot(_OnGuest):
    """A snapshot called ``name``, signed for ``mark.owner``, must exist inside the guest's disks.

    A snapshot of that name which is there already is never touched: unless it is signed so, the
    step fails as stalled. ``mark`` is the guest's, with ``SNAPSHOT`` as its operation. Of a running
    guest it is written first; then the file systems are frozen, if the agent answers, the snapshot
    is taken, memory included, the guest let go on, whatever became of the snapshot, and the
    operation taken out of the mark. With ``quiesced``, none is taken that cannot be frozen or that
    was not shut down in good order. An interruption leaves the operation in the mark, and
    ``ResumeGuest`` is what undoes it.
    """

    name: SnapshotName
    quiesced: bool
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSnapshot(_OnGuest):
    """A snapshot that domops took must be gone from the guest's disks, which stay as they are.

    One that is not signed for the owner of the guest's mark is never touched, nor one of whose
    disks any is not there: libvirt 9.0 dies of the attempt. Both are refused.
    """

    name: SnapshotName


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeGuest(_OnGuest):
    """A guest that an interrupted snapshot left frozen or paused must go on; then write ``mark``.

    One that a person or an I/O error paused stays paused, and the step fails as transient.
    """

    mark: Mark


Step = (
    DefineGuest
    | SetMark
    | CreateVolume
    | DiscardVolume
    | CreateSeed
    | RemoveSeed
    | DeleteVolume
    | UndefineGuest
    | GrowVolume
    | GrowDisk
    | StartGuest
    | ShutDownGuest
    | DestroyGuest
    | SetVcpus
    | SetMemory
    | PinVcpus
    | SetShares
    | AttachDisk
    | DetachDisk
    | ChangeMedium
    | SetDiskLimits
    | AttachNic
    | DetachNic
    | ChangeNic
    | SetAutostart
    | CreateSnapshot
    | DeleteSnapshot
    | ResumeGuest
)
"""The closed union of steps; ``match`` on it ends in ``assert_never``."""
