"""A host that exists in memory only, built on the planner's effects.

It is for speed and for staging rare worlds; it passes the contract suite of the real hosts and
refuses what libvirt refuses, because a stand-in that accepts nonsense proves nonsense. The
``stage_*`` methods are the world's doing, not domops': a guest crashes, a host goes silent,
somebody interferes.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from threading import RLock
from typing import TYPE_CHECKING, assert_never

from reconciler.domxml import merge, render
from reconciler.errors import DomopsError, RefusedError, StalledError, TransientError
from reconciler.hypervisor.callbycall import Beneath, World, calls, undoing
from reconciler.hypervisor.port import Draft
from reconciler.model.checkup import Inspection
from reconciler.model.crossing import Side, crossing, unwatched
from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.observed import ObservedHost, ObservedWorld, RunState, StateReason
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateSnapshot,
    CreateVolume,
    DefineGuest,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    ResumeGuest,
    SetAutostart,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    Step,
    UndefineGuest,
)
from reconciler.planner.ability import impossible_in
from reconciler.planner.effects import after
from reconciler.planner.options import pins_beyond
from reconciler.planner.rules import claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime
    from uuid import UUID

    from reconciler.hypervisor.callbycall import Call
    from reconciler.model.crossing import Watch
    from reconciler.model.definition import Disk, GuestDefinition
    from reconciler.model.mark import Mark
    from reconciler.model.names import GuestName, HostName, Target
    from reconciler.model.observed import Capabilities, ObservedGuest, ObservedPool
    from reconciler.model.operation import Progress
    from reconciler.planner.effects import OnLive, OnVolume

_OURS_TO_RESUME = (StateReason.BUSY, StateReason.UNKNOWN)
"""Reasons of a pause that nobody meant to last, as at the door to libvirt."""


class InMemoryHost:
    """A ``Host`` whose world is the value that it holds."""

    def __init__(
        self,
        host: ObservedHost,
        *,
        clock: Callable[[], datetime],
        beneath: Beneath | None = None,
        crossed: Watch = unwatched,
    ) -> None:
        """Begin with ``host``, and with what is beneath, if anything; ``clock`` dates answers.

        ``crossed`` is told of each call that a real host would be given, and may let it fail.
        """
        self._world = World(host=host, beneath=beneath or Beneath())
        self._clock = clock
        self._crossed = crossed
        self._lock = RLock()
        self._writes = 0
        self._silence: str | None = None
        self._deaf: set[UUID] = set()
        self._stiff: set[UUID] = set()
        self._progress: dict[GuestName, Progress] = {}
        self._notify: list[Callable[[], None]] = []

    @property
    def world(self) -> World:
        """The host as it is at this instant, half way through a step, and what is beneath."""
        return self._world

    @property
    def _host(self) -> ObservedHost:
        return self._world.host

    @_host.setter
    def _host(self, host: ObservedHost) -> None:
        self._world = replace(self._world, host=host)

    @property
    def name(self) -> HostName:
        """The name of the host's manifest."""
        return self._host.name

    @property
    def writes(self) -> int:
        """How many steps were carried out that had something to change."""
        return self._writes

    def observe(self) -> ObservedHost:
        """Tell everything, or raise when staged to be silent."""
        with self._lock:
            if self._silence is not None:
                raise TransientError(self._silence)
            guests = {
                uuid: replace(guest, state_since=None) for uuid, guest in self._host.guests.items()
            }
            return replace(self._host, answered_at=self._clock(), guests=guests)

    def inspect(self, paths: Collection[str]) -> Inspection:
        """Tell of files that lie in a pool, or would; there is no Domain-0 and no version."""
        host = self.observe()
        there = {volume.path for pool in host.pools.values() for volume in pool.volumes.values()}
        folders = {pool.path for pool in host.pools.values() if pool.active}
        return Inspection(
            libvirt="9.0.0",
            hypervisor="in memory 1.0.0",
            dom0_memory_kib=None,
            files={
                path: True
                if path in there
                else (False if posixpath.dirname(path) in folders else None)
                for path in paths
            },
        )

    def draft(self, step: DefineGuest) -> Draft:
        """The text that a real host would have, and what ``step`` would make of it."""
        with self._lock:
            if self._silence is not None:
                raise TransientError(self._silence)
            paths = {
                (pool.name, volume.name): volume.path
                for pool in self._host.pools.values()
                for volume in pool.volumes.values()
            }
            guest = self._host.guests.get(step.uuid)
            if guest is None or guest.stored is None:
                return Draft(stored="", defined=render(step.definition, paths=paths))
            text = render(guest.stored, paths=paths)
            return Draft(stored=text, defined=merge(text, step.definition, paths=paths))

    def carry_out(self, step: Step) -> None:
        """Refuse what a real host would refuse, else let the step have its effect, call by call."""
        with self._lock:
            if self._silence is not None:
                raise TransientError(self._silence)
            self._refuse(step)
            if self._after(step) is not self._host:
                self._writes += 1
                before = self._world
                try:
                    for call in calls(step, before, self._clock()):
                        self._make(step, call)
                except DomopsError:
                    for call in undoing(step, before, self._world):
                        self._make(step, call)
                    raise
        self._tell()

    def progress(self, step: Step) -> Progress | None:
        """As staged: a step in memory takes no time of its own."""
        return self._progress.get(step.guest)

    def watch(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` after every change."""
        self._notify.append(notify)

    def close(self) -> None:
        """Forget the watchers."""
        self._notify.clear()

    def stage(self, change: Callable[[ObservedHost], ObservedHost]) -> None:
        """Let the world change behind domops' back."""
        with self._lock:
            self._host = change(self._host)
        self._tell()

    def stage_silence(self, why: str | None) -> None:
        """Stop answering for the reason ``why``, or answer again when it is None."""
        self._silence = why

    def stage_stop(self, uuid: UUID, reason: StateReason) -> None:
        """Let a guest stop by itself, or by somebody's hand."""

        def stopped(host: ObservedHost) -> ObservedHost:
            guest = host.guests[uuid]
            step = DestroyGuest(host=host.name, guest=guest.name, uuid=uuid)
            world = after(step, ObservedWorld(hosts={host.name: host}), self._clock())
            left = world.hosts[host.name]
            if not isinstance(left, ObservedHost) or uuid not in left.guests:
                return left if isinstance(left, ObservedHost) else host
            off = replace(left.guests[uuid], state=RunState.SHUT_OFF, reason=reason)
            return replace(left, guests={**left.guests, uuid: off})

        self.stage(stopped)

    def stage_progress(self, guest: GuestName, progress: Progress) -> None:
        """Let a guest's step be so far from now on."""
        self._progress[guest] = progress

    def stage_deaf(self, uuid: UUID) -> None:
        """Let a guest ignore shutdown requests from now on."""
        self._deaf.add(uuid)

    def stage_stiff(self, uuid: UUID) -> None:
        """Let a guest's balloon not follow from now on."""
        self._stiff.add(uuid)

    def _tell(self) -> None:
        for notify in tuple(self._notify):
            notify()

    def _after(self, step: Step) -> ObservedHost:
        world = ObservedWorld(hosts={self._host.name: self._host})
        changed = after(step, world, self._clock()).hosts[self._host.name]
        return changed if isinstance(changed, ObservedHost) else self._host

    def _make(self, step: Step, call: Call) -> None:
        self._crossed(crossing(step, Side.BEFORE, call.act))
        if call.amid is not None:
            self._world = call.amid
            self._crossed(crossing(step, Side.AMID, call.act))
        if not self._ignored(step):
            self._world = call.world
        self._crossed(crossing(step, Side.AFTER, call.act))

    def _ignored(self, step: Step) -> bool:
        """Requests that the hypervisor takes and the guest does not follow."""
        match step:
            case ShutDownGuest():
                return step.uuid in self._deaf
            case SetMemory():
                return step.uuid in self._stiff
            case _:
                return False

    def _refuse(self, step: Step) -> None:  # noqa: C901 - one row a step
        match step:
            case DefineGuest():
                self._refuse_define(step)
            case (
                CreateVolume()
                | DiscardVolume()
                | CreateSeed()
                | RemoveSeed()
                | DeleteVolume()
                | GrowVolume()
            ):
                self._refuse_volume(step)
            case UndefineGuest():
                self._refuse_undefine(step)
            case DeleteSnapshot():
                self._refuse_snapshot_deletion(step)
            case StartGuest():
                self._refuse_start(step)
            case SetMark():
                there = self._guest(step.uuid).mark
                if there is not None and (there.owner, there.uuid) != (step.mark.owner, step.uuid):
                    message = f"{step.guest} carries a mark that is not its own, or not ours"
                    raise RefusedError(message)
            case SetAutostart() | ShutDownGuest() | DestroyGuest():
                self._guest(step.uuid)
            case CreateSnapshot():
                self._refuse_snapshot(step)
            case ResumeGuest():
                guest = self._guest(step.uuid)
                if guest.state is RunState.PAUSED and guest.reason not in _OURS_TO_RESUME:
                    message = f"{guest.name} is {guest.reason}, which is not ours to end"
                    raise TransientError(message)
            case _:
                self._refuse_live(step)

    def _refuse_snapshot(self, step: CreateSnapshot) -> None:
        self._able("snapshots", step)
        guest = self._guest(step.uuid)
        for there in guest.snapshots:
            if there.name == step.name:
                if there.signature is None or there.signature.owner != step.mark.owner:
                    message = f"{guest.name} has a snapshot {step.name} that is not ours"
                    raise StalledError(message)
                return
        if guest.state is RunState.PAUSED:
            message = f"{guest.name} is paused"
            raise TransientError(message)
        definition = guest.live or guest.stored
        disks = [disk for disk in (definition.disks if definition else ()) if not disk.read_only]
        for disk in disks:
            if getattr(disk.source, "format", None) is not DiskFormat.QCOW2:
                message = f"internal snapshot for disk {disk.target} unsupported"
                raise StalledError(message)
        if not disks:
            message = f"nothing of {guest.name} could hold a snapshot"
            raise StalledError(message)
        if step.quiesced and not guest.active and guest.reason is not StateReason.SHUT_DOWN:
            message = f"{guest.name} was not shut down in good order"
            raise StalledError(message)
        if step.quiesced and guest.active and not guest.agent_connected:
            message = f"no agent in {guest.name} froze its file systems"
            raise TransientError(message)

    def _refuse_snapshot_deletion(self, step: DeleteSnapshot) -> None:
        """Refuse what is not ours, and what libvirt would die of."""
        guest = self._guest(step.uuid)
        there = next((one for one in guest.snapshots if one.name == step.name), None)
        if there is None:
            return
        owner = guest.mark.owner if guest.mark is not None else None
        if there.signature is None or there.signature.owner != owner:
            message = f"the snapshot {step.name} of {guest.name} is not ours"
            raise RefusedError(message)
        for target in there.disks:
            for definition in (guest.stored, guest.live):
                if definition is not None and not self._has_disk(definition, target):
                    message = f"the disk {target} of the snapshot {step.name} is not there"
                    raise RefusedError(message)

    def _has_disk(self, definition: GuestDefinition, target: Target) -> bool:
        disk = definition.disk(target)
        if disk is None or not isinstance(disk.source, VolumeSource):
            return disk is not None
        return disk.source.volume in self._host.pools[disk.source.pool].volumes

    def _refuse_undefine(self, step: UndefineGuest) -> None:
        if step.uuid not in self._host.guests:
            return
        mark = self._being_emptied(step)
        for pool, volume in claimed(mark):
            if volume in self._host.pools[pool].volumes:
                message = f"the volume {pool}/{volume} of {step.guest} is still there"
                raise RefusedError(message)
        for snapshot in self._guest(step.uuid).snapshots:
            if snapshot.signature is None or snapshot.signature.owner != mark.owner:
                message = f"the snapshot {snapshot.name} of {step.guest} is not ours"
                raise RefusedError(message)

    def _being_emptied(self, step: UndefineGuest | DeleteVolume) -> Mark:
        guest = self._guest(step.uuid)
        if guest.active:
            message = f"{guest.name} is running"
            raise TransientError(message)
        mark = guest.mark
        if mark is None or mark.trash is None or mark.trash.emptying is None:
            message = f"the mark of {guest.name} does not say that it is being emptied"
            raise RefusedError(message)
        return mark

    def _refuse_live(self, step: OnLive) -> None:  # noqa: C901 - one row a step
        match step:
            case SetVcpus():
                self._refuse_vcpus(step)
            case SetMemory():
                self._refuse_memory(step)
            case PinVcpus() | SetShares():
                self._refuse_tuning(step)
            case GrowDisk():
                self._able("grow_running_disk", step)
                if self._live(step.uuid).disk(step.target) is None:
                    message = f"{step.guest} has no disk {step.target}"
                    raise StalledError(message)
            case AttachDisk() | DetachDisk():
                self._able("disk_hotplug", step)
                self._refuse_disk(step)
            case ChangeMedium():
                self._able("media_change", step)
                there = self._live(step.uuid).disk(step.disk.target)
                if there is None or there.device is not step.disk.device:
                    message = f"{step.guest} has no such drive at {step.disk.target}"
                    raise TransientError(message)
                self._refuse_missing_source(step.disk)
            case SetDiskLimits():
                self._able("disk_limits", step)
                if self._live(step.uuid).disk(step.target) is None:
                    message = f"{step.guest} has no disk {step.target}"
                    raise TransientError(message)
            case AttachNic() | DetachNic() | ChangeNic():
                self._refuse_nic(step)
            case _:
                assert_never(step)

    def _refuse_tuning(self, step: PinVcpus | SetShares) -> None:
        self._able("pin_running" if isinstance(step, PinVcpus) else "share_running", step)
        live = self._live(step.uuid)
        if isinstance(step, SetShares):
            return
        moved = set(step.pin) - set(live.options.pin)
        for pin in moved:
            if pin.vcpu >= live.vcpus.count:
                message = f"{step.guest}: vCPU {pin.vcpu} is not there"
                raise StalledError(message)
        for pin in pins_beyond(tuple(moved), self._host.cpus):
            message = f"{self._host.name} has no processors for {pin}"
            raise StalledError(message)

    def _refuse_nic(self, step: AttachNic | DetachNic | ChangeNic) -> None:
        changes = isinstance(step, ChangeNic)
        self._able("nic_change" if changes else "nic_hotplug", step)
        if self._live(step.uuid).nic(step.nic.mac) is None and changes:
            message = f"{step.guest} has no card {step.nic.mac}"
            raise TransientError(message)

    def _refuse_memory(self, step: SetMemory) -> None:
        self._able("memory_balloon", step)
        live = self._live(step.uuid)
        if step.size_kib > live.memory.maximum_kib:
            message = f"{step.guest}: cannot set memory higher than max memory"
            raise StalledError(message)
        if step.size_kib - live.memory.size_kib > self._host.free_memory_kib:
            message = f"{self._host.name} has not enough memory for {step.guest}"
            raise TransientError(message)

    def _refuse_unable(self, wanted: GuestDefinition, stored: GuestDefinition | None) -> None:
        for field, why in impossible_in(wanted, stored, self._host.capabilities):
            message = f"{wanted.name}: {field}: {why}"
            raise RefusedError(message)

    def _refuse_claim(self, step: DefineGuest, had: Mark | None) -> None:
        """A mark must not claim a volume that was there before it."""
        for pool_name, volume in claimed(step.definition.mark) - claimed(had):
            pool = self._host.pools.get(pool_name)
            if pool is None or not pool.active:
                message = f"{self._host.name} has no active storage pool {pool_name}"
                raise StalledError(message)
            if volume in pool.volumes:
                message = f"volume {pool_name}/{volume} is there already and is never taken"
                raise StalledError(message)

    def _able(self, capability: str, step: Step) -> None:
        capabilities: Capabilities = self._host.capabilities
        if not getattr(capabilities, capability):
            message = f"{self._host.name} cannot do {type(step).__name__}"
            raise RefusedError(message)

    def _guest(self, uuid: UUID) -> ObservedGuest:
        guest = self._host.guests.get(uuid)
        if guest is None:
            message = f"{self._host.name} has no domain {uuid}"
            raise TransientError(message)
        return guest

    def _live(self, uuid: UUID) -> GuestDefinition:
        guest = self._guest(uuid)
        if guest.live is None:
            message = f"{guest.name} is not running"
            raise TransientError(message)
        return guest.live

    def _refuse_define(self, step: DefineGuest) -> None:
        guest = self._host.guests.get(step.uuid)
        if guest is not None and guest.stored == step.definition:
            return
        found = guest.stored_digest if guest is not None else None
        if found != step.replaces:
            message = f"{step.guest} was changed by somebody else since it was last seen"
            raise TransientError(message)
        self._refuse_unable(step.definition, guest.stored if guest is not None else None)
        for other in self._host.guests.values():
            if other.uuid != step.uuid and other.name == step.definition.name:
                message = f"another domain is named {other.name}"
                raise StalledError(message)
        self._refuse_claim(step, guest.mark if guest is not None else None)

    def _pool(self, step: OnVolume) -> ObservedPool:
        pool = self._host.pools.get(step.pool)
        if pool is None or not pool.active:
            message = f"{self._host.name} has no active storage pool {step.pool}"
            raise StalledError(message)
        return pool

    def _refuse_volume(self, step: OnVolume) -> None:  # noqa: C901 - one row a step
        pool = self._pool(step)
        match step:
            case CreateVolume():
                self._refuse_creation(step, pool)
            case DiscardVolume():
                if step.volume in pool.volumes and not self._unfinished(step):
                    message = f"no mark says that {step.pool}/{step.volume} was begun by us"
                    raise RefusedError(message)
                if self._in_use(step):
                    message = f"volume {step.pool}/{step.volume} is in use"
                    raise StalledError(message)
            case CreateSeed():
                self._able("volume_upload", step)
                if step.volume in pool.volumes:
                    message = f"volume {step.pool}/{step.volume} exists already"
                    raise StalledError(message)
            case RemoveSeed():
                self._refuse_removal(step, pool)
            case DeleteVolume():
                self._refuse_deletion(step, pool)
            case GrowVolume():
                self._able("grow_stopped_volume", step)
                if step.volume not in pool.volumes:
                    message = f"volume {step.pool}/{step.volume} is not there"
                    raise StalledError(message)
            case _:
                assert_never(step)

    def _refuse_creation(self, step: CreateVolume, pool: ObservedPool) -> None:
        if step.volume in pool.volumes:
            message = f"volume {step.pool}/{step.volume} exists already"
            raise StalledError(message)
        if step.capacity_bytes > pool.available_bytes:
            message = f"storage pool {step.pool} is full"
            raise TransientError(message)
        if step.image is None:
            return
        images = self._host.pools.get(step.image.pool)
        if images is None or step.image.volume not in images.volumes:
            message = f"image {step.image.pool}/{step.image.volume} is not there"
            raise StalledError(message)
        if images.volumes[step.image.volume].capacity_bytes > step.capacity_bytes:
            message = f"image {step.image.volume} is larger than the disk"
            raise StalledError(message)

    def _refuse_removal(self, step: RemoveSeed, pool: ObservedPool) -> None:
        if step.volume not in pool.volumes:
            return
        mark = self._guest(step.uuid).mark
        seed = mark.seed if mark is not None else None
        theirs = seed is None or (seed.pool, seed.volume) != (step.pool, step.volume)
        if seed is None or theirs or (seed.filled and not seed.done) or self._in_use(step):
            message = f"{step.pool}/{step.volume} is no seed of {step.guest} that may go"
            raise RefusedError(message)

    def _refuse_deletion(self, step: DeleteVolume, pool: ObservedPool) -> None:
        if step.volume not in pool.volumes:
            return
        place = (step.pool, step.volume)
        guest = self._guest(step.uuid)
        disks = guest.mark.disks if guest.mark is not None else ()
        entries = [disk for disk in disks if (disk.pool, disk.volume) == place]
        expired = bool(entries) and all(disk.expired is not None for disk in entries)
        mark = guest.mark if expired and guest.mark is not None else self._being_emptied(step)
        if expired and self._names(guest, step):
            message = f"{step.guest} still has {step.pool}/{step.volume}"
            raise RefusedError(message)
        adopted = {
            (disk.pool, disk.volume) for disk in mark.disks if disk.protected or not disk.ours
        }
        if place not in claimed(mark) or place in adopted:
            message = f"the mark of {step.guest} does not call {step.pool}/{step.volume} ours"
            raise RefusedError(message)
        for uuid, other in self._host.guests.items():
            theirs = uuid != step.uuid and other.mark is not None and place in claimed(other.mark)
            if theirs or (uuid != step.uuid and self._names(other, step)):
                message = f"{other.name} has {step.pool}/{step.volume} too"
                raise RefusedError(message)

    def _unfinished(self, step: DiscardVolume) -> bool:
        mark = self._guest(step.uuid).mark
        return mark is not None and any(
            disk.ours and not disk.filled and (disk.pool, disk.volume) == (step.pool, step.volume)
            for disk in mark.disks
        )

    def _in_use(self, step: DiscardVolume | RemoveSeed) -> bool:
        return any(self._names(guest, step) for guest in self._host.guests.values())

    def _names(self, guest: ObservedGuest, step: OnVolume) -> bool:
        """Whether a definition of the guest has the volume as a disk."""
        return any(
            isinstance(disk.source, VolumeSource)
            and (disk.source.pool, disk.source.volume) == (step.pool, step.volume)
            for definition in (guest.stored, guest.live)
            if definition is not None
            for disk in definition.disks
        )

    def _refuse_start(self, step: StartGuest) -> None:
        guest = self._guest(step.uuid)
        if guest.active:
            return
        if guest.managed_save:
            message = f"{guest.name} has a managed save"
            raise StalledError(message)
        if guest.stored is None:
            message = f"{guest.name} is not defined"
            raise TransientError(message)
        for disk in guest.stored.disks:
            self._refuse_missing_source(disk)
        if guest.stored.memory.size_kib > self._host.free_memory_kib:
            message = f"{self._host.name} has not enough memory for {guest.name}"
            raise TransientError(message)

    def _refuse_missing_source(self, disk: Disk) -> None:
        if not isinstance(disk.source, VolumeSource):
            return
        pool = self._host.pools.get(disk.source.pool)
        if pool is None or not pool.active or disk.source.volume not in pool.volumes:
            message = f"volume {disk.source.pool}/{disk.source.volume} is not there"
            raise StalledError(message)

    def _refuse_disk(self, step: AttachDisk | DetachDisk) -> None:
        present = self._live(step.uuid).disk(step.disk.target)
        if isinstance(step, AttachDisk):
            if present is not None and present != step.disk:
                message = f"target {step.disk.target} is in use"
                raise StalledError(message)
            self._refuse_missing_source(step.disk)
        elif present is not None and present.source != step.disk.source:
            message = f"another disk is at {step.disk.target} now"
            raise TransientError(message)

    def _refuse_vcpus(self, step: SetVcpus) -> None:
        live = self._live(step.uuid)
        fewer = step.count < live.vcpus.count
        if step.count != live.vcpus.count:
            self._able("vcpu_unplug" if fewer else "vcpu_hotplug", step)
        if step.count > live.vcpus.maximum:
            message = f"{step.guest}: requested vcpus is greater than max allowable vcpus"
            raise StalledError(message)
