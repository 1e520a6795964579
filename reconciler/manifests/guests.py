"""Build one guest of the desired world out of its manifest, its class and its surroundings.

A function of its arguments: what a guest wants does not depend on any other guest. What two guests
may not both want (a UUID, an address, a volume) is compared afterwards, in `resolve`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from reconciler.manifests.derive import derive_mac, derive_uuid, derive_volume
from reconciler.manifests.entries import Complaint, Entry, dangling
from reconciler.manifests.intent import intent_of
from reconciler.manifests.kinds import Guest, GuestClass
from reconciler.manifests.kinds.devices import IMAGES
from reconciler.manifests.merge import inherited, merge
from reconciler.manifests.parse import Lines
from reconciler.manifests.quantities import render_size
from reconciler.manifests.surroundings import KIB, Surroundings, driver_of
from reconciler.model.definition import (
    Arch,
    Boot,
    BootDevice,
    DiskFormat,
    Firmware,
    FirmwareBoot,
    GuestType,
    KernelBoot,
    Memory,
    Vcpus,
)
from reconciler.model.desired import (
    Autostart,
    CdromDisk,
    DesiredDisk,
    DesiredGuest,
    DesiredNic,
    GuestState,
    HostState,
    ImageRef,
    RestartWhen,
    VolumeDisk,
)
from reconciler.model.mark import ShutdownPolicy, ThenWhat
from reconciler.model.names import (
    Digest,
    DiskName,
    GuestName,
    HostName,
    MacAddress,
    NetworkName,
    NicName,
    PoolName,
    StorageName,
    Target,
    VolumeName,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from reconciler.manifests.construct import Key
    from reconciler.manifests.kinds.devices import DiskSpec, NicSpec
    from reconciler.manifests.kinds.guest import GuestSpec

MIB: Final = 1 << 20
SECTOR: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A guest, or None with complaints; what it claims for itself is told either way."""

    guest: DesiredGuest | None
    complaints: tuple[Complaint, ...]
    uuid: UUID
    disks: tuple[tuple[int, DesiredDisk], ...]
    nics: tuple[tuple[int, DesiredNic], ...]


def build_guest(entry: Entry, guest_class: Entry | None, around: Surroundings) -> Draft:
    """Build the guest of ``entry``; ``guest_class`` is its class where it names one."""
    manifest = entry.document.manifest
    assert isinstance(manifest, Guest)  # noqa: S101 - resolve passes only guests
    own = manifest.spec
    spec = own
    filled_in: frozenset[str] = frozenset()
    if guest_class is not None:
        shared = guest_class.document.manifest
        assert isinstance(shared, GuestClass)  # noqa: S101 - resolve passes only classes
        spec = merge(own, shared.spec)
        filled_in = inherited(own, shared.spec)
    builder = _Builder(
        name=manifest.metadata.name,
        spec=spec,
        own=own,
        around=around,
        whole=own.class_ is None or guest_class is not None,
    )
    place = builder.place()
    cpus, memory = builder.cpus(), builder.memory()
    disks, nics = builder.disks(), builder.nics()
    boot = builder.boot(place)
    uuid = manifest.metadata.uuid or derive_uuid(around.repository, builder.name)
    guest = None
    if not builder.complaints and place is not None and memory is not None and boot is not None:
        pool, host = place
        guest = DesiredGuest(
            name=GuestName(builder.name),
            uuid=uuid,
            pool=pool,
            host=host,
            type=None if spec.type == "auto" else GuestType(spec.type),
            arch=Arch(spec.arch),
            state=GuestState(spec.state),
            cpus=cpus,
            memory=memory,
            boot=boot,
            disks=tuple(sorted((disk for _, disk in disks), key=_place_in_line)),
            nics=tuple(sorted((nic for _, nic in nics), key=lambda nic: nic.name)),
            console=spec.console,
            agent=spec.agent,
            shutdown=ShutdownPolicy(
                timeout_s=spec.shutdown.timeout, then=ThenWhat(spec.shutdown.then)
            ),
            heal_after_s=spec.heal.after,
            restart=RestartWhen(spec.update.restart),
            autostart=Autostart(spec.autostart),
            protect=spec.protect,
            labels=manifest.metadata.labels,
            intent=Digest(""),
            origin=entry.origin,
            lines=Lines(entry.file.content, entry.document.index, filled_in),
        )
        guest = replace(guest, intent=intent_of(guest))
    return Draft(
        guest=guest,
        complaints=tuple(builder.complaints),
        uuid=uuid,
        disks=tuple(disks),
        nics=tuple(nics),
    )


def _place_in_line(disk: DesiredDisk) -> tuple[bool, bool, str]:
    """The order in which disks without a target are given one: what the guest boots from first."""
    drive = isinstance(disk, CdromDisk)
    return drive, not (isinstance(disk, VolumeDisk) and disk.image is not None), disk.name


@dataclass(slots=True, kw_only=True)
class _Builder:
    """One guest under construction: each method builds a part, or complains.

    ``whole`` is false for a guest whose class is not to be found: that was told already, and what
    the class might have filled in is not missed here.
    """

    name: str
    spec: GuestSpec
    own: GuestSpec
    around: Surroundings
    whole: bool
    complaints: list[Complaint] = field(default_factory=list)

    def _complain(self, path: tuple[Key, ...], message: str, hint: str = "") -> None:
        complaint = Complaint(path=path, message=message, hint=hint)
        self.complaints.append(self._where_written(complaint))

    def _miss(self, path: tuple[Key, ...], message: str, hint: str) -> None:
        if self.whole:
            self._complain(path, message, hint)

    def _where_written(self, complaint: Complaint) -> Complaint:
        """A field that the class fills in is complained of where the class is named."""
        path = complaint.path
        if self.own.class_ is None or path == ("spec",) or path[:2] == ("spec", "class"):
            return complaint
        top = str(path[1])
        written = top in self.own.model_fields_set
        if written and len(path) > 2 and isinstance(path[2], int):  # noqa: PLR2004 - spec, list, entry
            entries = self.own.disks if top == "disks" else self.own.networks
            written = path[2] < len(entries)
        if written or top not in self.spec.model_fields_set:
            return complaint
        return Complaint(
            path=("spec", "class"),
            field=self._dotted(path),
            message=f'{complaint.message} (class "{self.own.class_}" says so)',
            hint=complaint.hint,
        )

    def _dotted(self, path: tuple[Key, ...]) -> str:
        text = ""
        for step in path:
            if isinstance(step, int):
                entries = self.spec.disks if path[1] == "disks" else self.spec.networks
                text += f"[{entries[step].name}]"
            else:
                text += f".{step}"
        return text.removeprefix(".")

    def place(self) -> tuple[PoolName, HostName | None] | None:
        """The pool, and the host if the guest is pinned to one."""
        pool, host_name = self.spec.pool, self.spec.host
        if pool is not None and self.around.missing(self.around.pools, PoolName(pool)):
            self._refer(("spec", "pool"), "Pool", pool, self.around.pools)
            pool = None
        if host_name is None:
            if self.spec.pool is None:
                self._miss(("spec",), "neither pool nor host is said", "write it, as in pool: main")
            return None if pool is None else (PoolName(pool), None)
        host = self.around.hosts.get(HostName(host_name))
        if host is None:
            if self.around.missing(self.around.hosts, HostName(host_name)):
                self._refer(("spec", "host"), "Host", host_name, self.around.hosts)
            return None
        if host.state is HostState.RETIRED:
            self._complain(
                ("spec", "host"), f'host "{host.name}" is retired', "choose another, or a pool"
            )
        if pool is not None and pool != host.pool:
            self._complain(
                ("spec", "host"),
                f'host "{host.name}" is in pool "{host.pool}", not in "{pool}"',
                "take pool out, or choose a host of it",
            )
        return host.pool, host.name

    def _refer(self, path: tuple[Key, ...], kind: str, name: str, known: Iterable[str]) -> None:
        complaint = dangling(path, kind, name, known)
        self.complaints.append(self._where_written(complaint))

    def cpus(self) -> Vcpus:
        """The virtual CPUs."""
        spec = self.spec.cpus
        if spec is None:
            self._miss(("spec", "cpus"), "missing", "write it, as in cpus: 2")
            return Vcpus(count=1, maximum=1)
        if "count" not in spec.model_fields_set:
            self._miss(("spec", "cpus", "count"), "missing", "write it, as in count: 2")
        if spec.max is not None and spec.max < spec.count:
            self._complain(
                ("spec", "cpus", "count"),
                f"{spec.count} is more than max, which is {spec.max}",
                "raise max, or lower count",
            )
        return Vcpus(count=spec.count, maximum=spec.max or spec.count)

    def memory(self) -> Memory | None:
        """The memory, in whole MiB."""
        spec = self.spec.memory
        if spec is None:
            self._miss(("spec", "memory"), "missing", "write it, as in memory: 2GiB")
            return None
        if spec.size is None:
            self._miss(("spec", "memory", "size"), "missing", "write it, as in size: 2GiB")
            return None
        self._check_memory("size", spec.size)
        if spec.max is not None:
            self._check_memory("max", spec.max)
            self._check_maximum(spec.size, spec.max)
        return Memory(size_kib=spec.size // KIB, maximum_kib=(spec.max or spec.size) // KIB)

    def _check_memory(self, which: str, size: int) -> None:
        path = ("spec", "memory", which)
        if size == 0:
            self._complain(path, "a guest cannot live on no memory", "write at least 1MiB")
        elif size % MIB:
            nearest = max(1, round(size / MIB))
            self._complain(
                path,
                f"{render_size(size)} is no whole number of MiB",
                f"write {render_size(nearest * MIB)}",
            )

    def _check_maximum(self, size: int, maximum: int) -> None:
        if maximum < size:
            self._complain(
                ("spec", "memory", "size"),
                f"{render_size(size)} is more than max, which is {render_size(maximum)}",
                "raise max, or lower size",
            )

    def boot(self, place: tuple[PoolName, HostName | None] | None) -> Boot | None:
        """What the guest starts with, fitting its type and the hosts where it may run."""
        spec, path = self.spec.boot, ("spec", "boot")
        drivers = self._drivers(place)
        if self.spec.type in ("pv", "pvh") and drivers and not drivers & {"xen", "test"}:
            self._complain(
                ("spec", "type"),
                f"{self.spec.type} guests need Xen, and no host here has it",
                "write type: hvm, or auto",
            )
        if spec.kernel is not None:
            self._check_kernel()
            return KernelBoot(kernel=spec.kernel, initrd=spec.initrd, cmdline=spec.cmdline)
        for name in ("initrd", "cmdline"):
            if getattr(spec, name) is not None:
                self._miss((*path, name), "means nothing without kernel", "write kernel too")
        all_xen = drivers == {"xen"}
        if self.spec.type in ("pv", "pvh") or (self.spec.type == "auto" and all_xen):
            type_ = self.spec.type if self.spec.type != "auto" else "pvh, which auto is on Xen,"
            said = "firmware" if spec.firmware is not None else "kernel"
            self._miss(
                (*path, said),
                f"{type_} has no firmware to start with",
                "write boot.kernel, or type: hvm",
            )
        if len(set(spec.order)) != len(spec.order):
            self._complain((*path, "order"), "names something twice", "name each once")
        return FirmwareBoot(
            firmware=Firmware(spec.firmware or "bios"),
            order=tuple(BootDevice(each) for each in spec.order),
        )

    def _check_kernel(self) -> None:
        spec = self.spec.boot
        for name in ("firmware", "order"):
            if name in spec.model_fields_set:
                self._complain(
                    ("spec", "boot", name), "means nothing beside kernel", "keep one of the two"
                )
        prefixes = self.around.kernel_prefixes
        if prefixes is None:
            return
        for name in ("kernel", "initrd"):
            path: str | None = getattr(spec, name)
            if path is not None and not any(_below(path, prefix) for prefix in prefixes):
                allowed = ", ".join(prefixes) or "none"
                self._complain(
                    ("spec", "boot", name),
                    f'"{path}" is not below a path that the controller allows',
                    f"allowed: {allowed}; the controller's settings say so, not this repository",
                )

    def _drivers(self, place: tuple[PoolName, HostName | None] | None) -> frozenset[str]:
        if place is None:
            return frozenset()
        pool, host = place
        if host is not None:
            return frozenset({driver_of(self.around.hosts[host])})
        return self.around.hypervisors.get(pool, frozenset())

    def disks(self) -> list[tuple[int, DesiredDisk]]:
        """The disks with their places in the list."""
        specs = self.spec.disks
        self._refuse_same_name("disks", [disk.name for disk in specs])
        self._refuse_same_target([disk.target for disk in specs])
        found = [(index, self._disk(index, disk)) for index, disk in enumerate(specs)]
        return [(index, disk) for index, disk in found if disk is not None]

    def _refuse_same_name(self, which: str, names: list[str]) -> None:
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                self._complain(
                    ("spec", which, index, "name"), f'"{name}" is there twice', "give it another"
                )
            seen.add(name)

    def _refuse_same_target(self, targets: list[str | None]) -> None:
        """``xvda`` and ``xvda1`` are one place too: the guest's kernel takes one or the other."""
        seen: set[str] = set()
        for index, target in enumerate(targets):
            if target is None:
                continue
            whole = _whole(target)
            clash = next((each for each in seen if _clash(each, target, whole)), None)
            if clash is not None:
                message = (
                    f'"{target}" is there twice'
                    if clash == target
                    else f'"{target}" and "{clash}" are in each other\'s place'
                )
                self._complain(("spec", "disks", index, "target"), message, "take a free one")
            seen.add(target)

    def _disk(self, index: int, spec: DiskSpec) -> DesiredDisk | None:
        path = ("spec", "disks", index)
        if spec.cdrom is not None:
            return self._cdrom(path, spec)
        for name in ("size", "storage"):
            if name not in spec.model_fields_set:
                self._complain(
                    (*path, name),
                    "missing",
                    "a disk has size and storage, a drive has cdrom",
                )
        if spec.size is not None and (spec.size == 0 or spec.size % SECTOR):
            up = max(MIB, -(-spec.size // MIB) * MIB)
            self._complain(
                (*path, "size"),
                f"{render_size(spec.size)} is no whole number of {SECTOR}-byte sectors"
                if spec.size
                else "a disk cannot have no size",
                f"write {render_size(up)}",
            )
        if spec.storage is not None:
            self._check_storage((*path, "storage"), spec.storage)
        image = None
        if spec.image is not None:
            short = spec.image.storage == IMAGES
            self._check_storage(
                (*path, "image") if short else (*path, "image", "storage"), spec.image.storage
            )
            image = ImageRef(
                storage=StorageName(spec.image.storage), volume=VolumeName(spec.image.volume)
            )
        if spec.size is None or spec.storage is None:
            return None
        disk_format = DiskFormat(spec.format)
        return VolumeDisk(
            name=DiskName(spec.name),
            target=None if spec.target is None else Target(spec.target),
            storage=StorageName(spec.storage),
            volume=VolumeName(spec.volume)
            if spec.volume is not None
            else derive_volume(self.name, spec.name, disk_format),
            size_bytes=spec.size,
            format=disk_format,
            image=image,
        )

    def _cdrom(self, path: tuple[Key, ...], spec: DiskSpec) -> CdromDisk | None:
        for name in ("size", "storage", "image", "format", "volume"):
            if name in spec.model_fields_set:
                self._complain((*path, name), f"a drive has no {name}", "take it out")
        cdrom = spec.cdrom
        assert cdrom is not None  # noqa: S101 - the caller looked
        if (cdrom.storage is None) != (cdrom.volume is None):
            missing = "storage" if cdrom.storage is None else "volume"
            self._complain(
                (*path, "cdrom", missing), "missing", "write both, or neither for an empty drive"
            )
        if cdrom.storage is not None:
            self._check_storage((*path, "cdrom", "storage"), cdrom.storage)
        return CdromDisk(
            name=DiskName(spec.name),
            target=None if spec.target is None else Target(spec.target),
            storage=None if cdrom.storage is None else StorageName(cdrom.storage),
            volume=None if cdrom.volume is None else VolumeName(cdrom.volume),
        )

    def _check_storage(self, path: tuple[Key, ...], name: str) -> None:
        if self.around.missing(self.around.storages, StorageName(name)):
            self._refer(path, "Storage", name, self.around.storages)

    def nics(self) -> list[tuple[int, DesiredNic]]:
        """The network cards with their places in the list."""
        specs = self.spec.networks
        self._refuse_same_name("networks", [nic.name for nic in specs])
        return [(index, self._nic(index, nic)) for index, nic in enumerate(specs)]

    def _nic(self, index: int, spec: NicSpec) -> DesiredNic:
        if self.around.missing(self.around.networks, NetworkName(spec.network)):
            path = ("spec", "networks", index, "network")
            self._refer(path, "Network", spec.network, self.around.networks)
        return DesiredNic(
            name=NicName(spec.name),
            network=NetworkName(spec.network),
            mac=MacAddress(spec.mac)
            if spec.mac is not None
            else derive_mac(self.around.repository, self.name, spec.name),
            model=spec.model,
        )


def _whole(target: str) -> str:
    """``xvda`` of ``xvda1``."""
    return target.rstrip("0123456789")


def _clash(one: str, other: str, whole: str) -> bool:
    return one == other or (_whole(one) == whole and whole in (one, other))


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix.rstrip("/") + "/")
