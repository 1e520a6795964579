"""Build what is plugged into a guest: its disks and its network cards."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.manifests.derive import derive_mac, derive_volume
from reconciler.manifests.kinds.devices import IMAGES
from reconciler.manifests.machine import MIB
from reconciler.manifests.quantities import render_size
from reconciler.model.definition import DiskFormat
from reconciler.model.desired import (
    CdromDisk,
    DesiredDisk,
    DesiredNic,
    ImageRef,
    VolumeDisk,
)
from reconciler.model.names import (
    DiskName,
    MacAddress,
    NetworkName,
    NicName,
    StorageName,
    Target,
    VolumeName,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.manifests.construct import Key
    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.kinds.devices import CdromSpec, DiskSpec, NicSpec

SECTOR: Final = 512

_image_ref = lru_cache(maxsize=1024)(ImageRef)


def disks(draft: Draft) -> tuple[DesiredDisk, ...]:
    """The disks, in the order in which those without a target are given one."""
    specs = draft.spec.disks
    _refuse_same_name(draft, "disks", specs)
    _refuse_same_target(draft)
    found = [_disk(draft, index, disk) for index, disk in enumerate(specs)]
    return tuple(sorted([disk for disk in found if disk is not None], key=_place_in_line))


def nics(draft: Draft) -> tuple[DesiredNic, ...]:
    """The network cards, by name."""
    specs = draft.spec.networks
    _refuse_same_name(draft, "networks", specs)
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
    if spec.cdrom is not None:
        return _cdrom(draft, path, spec, spec.cdrom)
    for name, value in (("size", spec.size), ("storage", spec.storage)):
        if value is None:
            hint = "a disk has size and storage, a drive has cdrom"
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
        target=None if spec.target is None else Target(spec.target),
        storage=StorageName(spec.storage),
        volume=derive_volume(draft.name, spec.name, disk_format)
        if spec.volume is None
        else VolumeName(spec.volume),
        size_bytes=spec.size,
        format=disk_format,
        image=image,
        adopt=spec.adopt,
    )


def _refuse_size(draft: Draft, path: tuple[Key, ...], size: int) -> None:
    up = max(MIB, -(-size // MIB) * MIB)
    message = (
        f"{render_size(size)} is no whole number of {SECTOR}-byte sectors"
        if size
        else "a disk of no size is none"
    )
    draft.complain(path, message, f"write {render_size(up)}")


def _cdrom(draft: Draft, path: tuple[Key, ...], spec: DiskSpec, cdrom: CdromSpec) -> CdromDisk:
    for name in ("size", "storage", "image", "format", "volume", "adopt"):
        if name in spec.model_fields_set:
            draft.complain((*path, name), f"a drive has no {name}", "take it out")
    if (cdrom.storage is None) != (cdrom.volume is None):
        missing = "storage" if cdrom.storage is None else "volume"
        hint = "write both, or neither for an empty drive"
        draft.complain((*path, "cdrom", missing), "missing", hint)
    if cdrom.storage is not None:
        _check_storage(draft, (*path, "cdrom", "storage"), cdrom.storage)
    return CdromDisk(
        name=DiskName(spec.name),
        target=None if spec.target is None else Target(spec.target),
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
    return DesiredNic(
        name=NicName(spec.name),
        network=NetworkName(spec.network),
        mac=derive_mac(draft.around.repository, draft.name, spec.name)
        if spec.mac is None
        else MacAddress(spec.mac),
        model=spec.model,
    )
