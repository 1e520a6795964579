"""Build what is plugged into a guest: its disks and its network cards."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypedDict, assert_never

from reconciler.manifests.derive import derive_mac, derive_volume
from reconciler.manifests.hostpaths import is_below, refusal
from reconciler.manifests.kinds.devices import IMAGES, DiskSpec, LimitsSpec
from reconciler.manifests.machine import MIB
from reconciler.manifests.quantities import render_size
from reconciler.manifests.renaming import first_name, refuse_names_in_use
from reconciler.model.definition import (
    BlockSource,
    Bus,
    DiskFormat,
    Endpoint,
    FileSource,
    NbdSource,
    RbdSource,
    RbdUser,
)
from reconciler.model.desired import (
    CdromDisk,
    DesiredDisk,
    DesiredNic,
    GivenDisk,
    ImageRef,
    VolumeDisk,
)
from reconciler.model.names import (
    DiskName,
    FieldName,
    MacAddress,
    NetworkName,
    NicName,
    StorageName,
    Target,
    VolumeName,
)
from reconciler.model.options import (
    BUS,
    DISK_FIELDS,
    NIC_FIELDS,
    NO_LIMITS,
    READ_ONLY,
    Cache,
    Discard,
    DiskOptions,
    IoLimits,
    Link,
    NicOptions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.manifests.construct import Key
    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.kinds.devices import CdromSpec, NicSpec, RbdSpec
    from reconciler.model.definition import GivenSource

SECTOR: Final = 512

_NOT_OF_DRIVES: Final = (
    *("size", "storage", "image", "format", "volume", "adopt", "read_only"),
    *("cache", "discard", "serial", "limits"),
)
_OPTIONAL: Final = {
    field: field if field in DiskSpec.model_fields else "read_only"
    for field in sorted({*DISK_FIELDS, BUS, READ_ONLY})
}
"""The optional fields of a disk, in the order of marks, and what the model calls each."""

_PV_MODEL: Final = re.compile(r"pv|virtio.*")

# Most disks and cards are alike in these parts, and equal values may as well be the same value.
_disk_options = lru_cache(maxsize=1024)(DiskOptions)
_nic_options = lru_cache(maxsize=64)(NicOptions)
_image_ref = lru_cache(maxsize=1024)(ImageRef)


def disks(draft: Draft) -> tuple[DesiredDisk, ...]:
    """The disks, in the order in which those without a target are given one."""
    specs = draft.spec.disks
    _refuse_same_name(draft, "disks", specs)
    refuse_names_in_use(draft, "disks", specs)
    _refuse_same_target(draft)
    found = [_disk(draft, index, disk) for index, disk in enumerate(specs)]
    return tuple(sorted([disk for disk in found if disk is not None], key=_place_in_line))


def nics(draft: Draft) -> tuple[DesiredNic, ...]:
    """The network cards, by name."""
    specs = draft.spec.networks
    _refuse_same_name(draft, "networks", specs)
    refuse_names_in_use(draft, "networks", specs)
    found = [_nic(draft, index, nic) for index, nic in enumerate(specs)]
    return tuple(sorted(found, key=lambda nic: nic.name))


def _place_in_line(disk: DesiredDisk) -> tuple[bool, bool, str]:
    """Order means nothing in a manifest, so the disk that the guest boots from has to go first."""
    drive = isinstance(disk, CdromDisk)
    return drive, not (isinstance(disk, VolumeDisk) and disk.image is not None), disk.name


def _refuse_same_name(draft: Draft, which: str, specs: Sequence[DiskSpec | NicSpec]) -> None:
    seen: set[str] = set()
    for index, spec in enumerate(specs):
        if spec.name in seen:
            path = ("spec", which, index, "name")
            draft.complain(path, f'"{spec.name}" is there twice', "give it another")
        seen.add(spec.name)


def _refuse_same_target(draft: Draft) -> None:
    """``xvda`` and ``xvda1`` are one place too: the guest's kernel takes one or the other."""
    seen: set[str] = set()
    for index, spec in enumerate(draft.spec.disks):
        target = spec.target
        if target is None:
            continue
        clash = next((each for each in seen if _clash(each, target)), None)
        if clash is not None:
            message = (
                f'"{target}" is there twice'
                if clash == target
                else f'"{target}" cannot be beside "{clash}"'
            )
            draft.complain(("spec", "disks", index, "target"), message, "take a free one")
        seen.add(target)


def _clash(one: str, other: str) -> bool:
    whole = one.rstrip("0123456789")
    return one == other or (whole == other.rstrip("0123456789") and whole in (one, other))


def _disk(draft: Draft, index: int, spec: DiskSpec) -> DesiredDisk | None:
    path: tuple[Key, ...] = ("spec", "disks", index)
    sorts = [name for name in _SORTS if getattr(spec, name) is not None]
    if len(sorts) > 1:
        hint = "a disk is one thing: keep one of the two"
        draft.complain((*path, sorts[1]), f"means nothing beside {sorts[0]}", hint)
        return None
    if spec.cdrom is not None:
        return _cdrom(draft, path, spec, spec.cdrom)
    return _given(draft, path, spec, sorts[0]) if sorts else _volume(draft, path, spec)


def _volume(draft: Draft, path: tuple[Key, ...], spec: DiskSpec) -> VolumeDisk | None:
    for name, value in (("size", spec.size), ("storage", spec.storage)):
        if value is None:
            hint = "a disk has size and storage, or one of cdrom, device, file, nbd and rbd"
            draft.complain((*path, name), "missing", hint)
    if spec.size is not None and (spec.size == 0 or spec.size % SECTOR):
        _refuse_size(draft, (*path, "size"), spec.size)
    if spec.storage is not None:
        _check_storage(draft, (*path, "storage"), spec.storage)
    image = None
    if spec.image is not None and spec.adopt:
        hint = "take image out, or adopt"
        draft.complain((*path, "image"), "means nothing to a volume that is adopted", hint)
    elif spec.image is not None:
        where = (*path, "image") if spec.image.storage == IMAGES else (*path, "image", "storage")
        _check_storage(draft, where, spec.image.storage)
        image = _image_ref(
            storage=StorageName(spec.image.storage), volume=VolumeName(spec.image.volume)
        )
    if spec.size is None or spec.storage is None:
        return None
    disk_format = DiskFormat(spec.format)
    return VolumeDisk(
        name=DiskName(spec.name),
        storage=StorageName(spec.storage),
        volume=derive_volume(draft.first_name, first_name(spec, draft.spec.disks), disk_format)
        if spec.volume is None
        else VolumeName(spec.volume),
        size_bytes=spec.size,
        format=disk_format,
        image=image,
        adopt=spec.adopt,
        volume_said=spec.volume is not None,
        **_common(draft, path, spec),
    )


_SORTS: Final = ("cdrom", "device", "file", "nbd", "rbd")
"""What a disk can be in place of a volume."""


def field_of(disk: GivenDisk) -> str:
    """The field of the manifest that says what the disk is."""
    match disk.source:
        case BlockSource():
            return "device"
        case FileSource():
            return "file"
        case NbdSource():
            return "nbd"
        case RbdSource():
            return "rbd"
        case _:
            assert_never(disk.source)


def _given(draft: Draft, path: tuple[Key, ...], spec: DiskSpec, sort: str) -> GivenDisk | None:
    """What is there already: it has no size, and domops gives it none."""
    laid_out = ("format",) if sort in ("device", "rbd") else ()
    for name in ("size", "storage", "image", "volume", "adopt", *laid_out):
        if name in spec.model_fields_set:
            hint = f"take it out: {sort} is there already"
            draft.complain((*path, name), f"means nothing beside {sort}", hint)
    source = _given_source(draft, path, spec)
    if source is None:
        return None
    return GivenDisk(name=DiskName(spec.name), source=source, **_common(draft, path, spec))


def _given_source(draft: Draft, path: tuple[Key, ...], spec: DiskSpec) -> GivenSource | None:
    allowed = draft.around.allowed
    disk_format = DiskFormat(spec.format)
    if spec.device is not None:
        prefixes = allowed.device_prefixes
        if prefixes is not None and not is_below(spec.device, prefixes):
            said = refusal(spec.device, prefixes, "device_prefixes")
            draft.complain((*path, "device"), *said)
        return BlockSource(path=spec.device)
    if spec.file is not None:
        prefixes = allowed.file_prefixes
        if spec.file.startswith("/dev/"):
            draft.complain((*path, "file"), f'"{spec.file}" is a device', "write device: instead")
        elif prefixes is not None and not is_below(spec.file, prefixes):
            said = refusal(spec.file, prefixes, "file_prefixes")
            draft.complain((*path, "file"), *said)
        return FileSource(path=spec.file, format=disk_format)
    if spec.nbd is not None:
        server = Endpoint(host=spec.nbd.host, port=spec.nbd.port)
        return NbdSource(server=server, export=spec.nbd.export, format=disk_format)
    return None if spec.rbd is None else _rbd(draft, (*path, "rbd"), spec.rbd)


def _rbd(draft: Draft, path: tuple[Key, ...], spec: RbdSpec) -> RbdSource:
    user = None
    if (spec.user is None) != (spec.secret is None):
        missing = "user" if spec.user is None else "secret"
        draft.complain((*path, missing), "missing", "write both, or neither")
    elif spec.user is not None and spec.secret is not None:
        user = RbdUser(name=spec.user, secret=spec.secret)
    monitors = sorted(map(_monitor, spec.monitors), key=str)
    if len(set(monitors)) != len(monitors):
        draft.complain((*path, "monitors"), "names one twice", "name each once")
    return RbdSource(pool=spec.pool, image=spec.image, monitors=tuple(monitors), user=user)


def _monitor(text: str) -> Endpoint:
    """``ceph-a``, ``ceph-a:6789``, ``[2001:db8::1]:6789``: a pattern has seen that it is one."""
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = text, ""
    return Endpoint(host=host.strip("[]"), port=int(port) if port else None)


class _Common(TypedDict):
    former: DiskName | None
    target: Target | None
    bus: Bus | None
    read_only: bool
    options: DiskOptions
    mentioned: tuple[FieldName, ...]
    protect: bool


def _common(draft: Draft, path: tuple[Key, ...], spec: DiskSpec) -> _Common:
    """What every sort of disk may say of itself."""
    if spec.read_only and spec.bus in ("ide", "sata"):
        hint = "take another bus, or take readOnly out"
        draft.complain((*path, "readOnly"), f"{spec.bus} disks are always writable", hint)
    return {
        "former": None if spec.former_name is None else DiskName(spec.former_name),
        "target": None if spec.target is None else Target(spec.target),
        "bus": None if spec.bus is None else Bus(spec.bus),
        "read_only": spec.read_only,
        "options": _disk_options(
            cache=None if spec.cache is None else Cache(spec.cache),
            discard=None if spec.discard is None else Discard(spec.discard),
            limits=None if spec.limits is None else _limits(draft, (*path, "limits"), spec.limits),
            serial=spec.serial,
        ),
        "mentioned": tuple(
            [field for field, name in _OPTIONAL.items() if name in spec.model_fields_set]
        ),
        "protect": spec.protect,
    }


def _limits(draft: Draft, path: tuple[Key, ...], spec: LimitsSpec) -> IoLimits | None:
    """The limits; a total and a part of it are two answers to one question."""
    for unit in ("bytes", "iops"):
        parts = [name for name in (f"read_{unit}", f"write_{unit}") if getattr(spec, name)]
        total = spec.bytes_ if unit == "bytes" else spec.iops
        if total is not None and parts:
            alias = LimitsSpec.model_fields[parts[0]].alias or parts[0]
            hint = "limit the sum, or reading and writing apart"
            draft.complain((*path, alias), f"cannot be beside {unit}", hint)
    limits = IoLimits(
        total_bytes=spec.bytes_ or 0,
        read_bytes=spec.read_bytes or 0,
        write_bytes=spec.write_bytes or 0,
        total_iops=spec.iops or 0,
        read_iops=spec.read_iops or 0,
        write_iops=spec.write_iops or 0,
    )
    for name in spec.model_fields_set:
        if getattr(spec, name) == 0:
            alias = LimitsSpec.model_fields[name].alias or name
            hint = "leave it out where there is no limit"
            draft.complain((*path, alias), "a disk that may do nothing is none", hint)
    return None if limits == NO_LIMITS else limits


def _refuse_size(draft: Draft, path: tuple[Key, ...], size: int) -> None:
    up = max(MIB, -(-size // MIB) * MIB)
    message = (
        f"{render_size(size)} is no whole number of {SECTOR}-byte sectors"
        if size
        else "a disk of no size is none"
    )
    draft.complain(path, message, f"write {render_size(up)}")


def _cdrom(draft: Draft, path: tuple[Key, ...], spec: DiskSpec, cdrom: CdromSpec) -> CdromDisk:
    for name in _NOT_OF_DRIVES:
        if name in spec.model_fields_set:
            alias = DiskSpec.model_fields[name].alias or name
            draft.complain((*path, alias), f"a drive has no {alias}", "take it out")
    if (cdrom.storage is None) != (cdrom.volume is None):
        missing = "storage" if cdrom.storage is None else "volume"
        hint = "write both, or neither for an empty drive"
        draft.complain((*path, "cdrom", missing), "missing", hint)
    if cdrom.storage is not None:
        _check_storage(draft, (*path, "cdrom", "storage"), cdrom.storage)
    return CdromDisk(
        name=DiskName(spec.name),
        **_common(draft, path, spec),
        storage=None if cdrom.storage is None else StorageName(cdrom.storage),
        volume=None if cdrom.volume is None else VolumeName(cdrom.volume),
    )


def _check_storage(draft: Draft, path: tuple[Key, ...], name: str) -> None:
    if draft.around.missing(draft.around.storages, StorageName(name)):
        draft.refer(path, "Storage", name, draft.around.storages)


def _nic(draft: Draft, index: int, spec: NicSpec) -> DesiredNic:
    if draft.around.missing(draft.around.networks, NetworkName(spec.network)):
        path = ("spec", "networks", index, "network")
        draft.refer(path, "Network", spec.network, draft.around.networks)
    if spec.queues is not None and not _PV_MODEL.fullmatch(spec.model):
        path = ("spec", "networks", index, "queues")
        draft.complain(path, f"{spec.model} has one queue", "take it out, or take model out")
    return DesiredNic(
        name=NicName(spec.name),
        network=NetworkName(spec.network),
        mac=derive_mac(
            draft.around.repository, draft.first_name, first_name(spec, draft.spec.networks)
        )
        if spec.mac is None
        else MacAddress(spec.mac),
        mac_said=spec.mac is not None,
        former=None if spec.former_name is None else NicName(spec.former_name),
        model=spec.model,
        options=_nic_options(
            link=None if spec.link is None else Link(spec.link), queues=spec.queues
        ),
        mentioned=tuple(sorted(name for name in NIC_FIELDS if name in spec.model_fields_set)),
    )
