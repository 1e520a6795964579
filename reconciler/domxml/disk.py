"""Disks and drives: ``<disk>``, known by their target.

A source is written as the guest's hypervisor understands it. QEMU's driver looks a volume up in
its pool at each start; libxl takes only paths, so there (and in libvirt's test driver) a volume is
told by its path and found again by it. Floppies, SCSI pass-through and buses that no field models
are nobody's business but their owner's: they are neither read nor touched.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from reconciler.domxml import iotune, network
from reconciler.domxml.document import (
    digest_of_tree,
    drop,
    forget,
    make,
    only,
    put,
    put_first,
    take_out,
    tell,
)
from reconciler.errors import RefusedError, StalledError
from reconciler.model.definition import (
    BlockSource,
    Bus,
    Disk,
    DiskDevice,
    DiskFormat,
    FileSource,
    NbdSource,
    OtherSource,
    RbdSource,
    VolumeSource,
)
from reconciler.model.names import LibvirtPool, Target, VolumeName
from reconciler.model.options import NO_DISK_OPTIONS, Cache, Discard, DiskOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.definition import DiskSource

    Volumes = Callable[[str], VolumeSource | None]
    Paths = Mapping[tuple[LibvirtPool, VolumeName], str]

_DEVICES = {str(one): one for one in DiskDevice}
_BUSES = {str(one): one for one in Bus}
_FORMATS = {str(one): one for one in DiskFormat}
_CACHES = {str(one): one for one in Cache}
_DISCARDS = {str(one): one for one in Discard}
_PATH_IN = {"file": "file", "block": "dev"}
_BUS_OF_PREFIX = (("xvd", Bus.XEN), ("vd", Bus.VIRTIO), ("sd", Bus.SCSI), ("hd", Bus.IDE))
# What a running guest's text adds to a source: bookkeeping of that run, not another source.
_OF_THE_RUN = ("index",)


def read(domain: Element, volumes: Volumes | None = None) -> tuple[Disk, ...]:
    """The disks by target; ``volumes`` says which volume, if any, lies at a path."""
    disks = (_read_one(element, volumes) for element in domain.iterfind("devices/disk"))
    return tuple(sorted((disk for disk in disks if disk), key=lambda disk: disk.target))


def write(domain: Element, wanted: tuple[Disk, ...], kind: Kind, paths: Paths) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    devices = only(domain, "devices")
    present: dict[Target, list[Element]] = {}
    foreign: set[str] = set()
    for element in devices.findall("disk"):
        disk = _read_one(element, None)
        if disk is None:
            foreign.add(_target(element))
        else:
            present.setdefault(disk.target, []).append(element)
    changed = False
    staying: list[tuple[Disk, Element | None]] = []
    for disk in wanted:
        if disk.target in foreign:
            raise RefusedError(
                f"domain {kind.name}: {disk.target} is taken by a device that domops does not model"
            )
        elements = present.get(disk.target)
        staying.append((disk, elements.pop(0) if elements else None))
    for element in (element for elements in present.values() for element in elements):
        take_out(element)
        changed = True
    for disk, there in staying:
        if there is None:
            _put_among_disks(devices, render(disk, kind, paths))
            changed = True
        elif change(there, disk, kind, paths):
            changed = True
    return _give_scsi_a_controller(devices, wanted, kind) if changed else False


def render(disk: Disk, kind: Kind, paths: Paths) -> Element:
    """Return a new element for ``disk``."""
    element = make(
        "disk",
        {"type": "file", "device": disk.device},
        make("driver", {"name": "qemu", "type": "raw"}),
        make("target", {"dev": disk.target, "bus": disk.bus}),
    )
    if disk.source is not None:
        _write_source(element, _as_told(disk.source, kind, paths), kind)
    _write_read_only(element, read_only=_is_read_only(disk))
    _write_options(element, NO_DISK_OPTIONS, disk.options)
    return element


def change(element: Element, wanted: Disk, kind: Kind, paths: Paths) -> bool:
    """Make an existing element what ``wanted`` says; say whether anything had to be changed."""
    there = _read_one(element, None)
    if there is None:
        raise RefusedError(f"domain {kind.name}: {wanted.target} is no disk that domops models")
    changed = False
    if there.device is not wanted.device:
        element.set("device", wanted.device)
        changed = True
    if there.bus is not wanted.bus:
        only(element, "target").set("bus", wanted.bus)
        drop(element, "address", "alias")  # places on the bus that it leaves
        changed = True
    if not _is_same_source(element, wanted.source, paths):
        drop(element, "auth", "backingStore", "mirror")  # of the source that goes
        if wanted.source is None:
            drop(element, "source")
            element.set("type", "file")
        else:
            _write_source(element, _as_told(wanted.source, kind, paths), kind)
        changed = True
    if there.read_only is not _is_read_only(wanted):
        _write_read_only(element, read_only=_is_read_only(wanted))
        changed = True
    return _write_options(element, there.options, wanted.options) or changed


def find(domain: Element, target: Target) -> Element | None:
    """The element of the disk at ``target``."""
    elements = domain.iterfind("devices/disk")
    return next((element for element in elements if _target(element) == target), None)


def canonical(disk: Disk) -> Disk:
    """The disk as libvirt keeps it: a drive for CDs cannot write."""
    return replace(disk, read_only=_is_read_only(disk))


def _is_read_only(disk: Disk) -> bool:
    return disk.read_only or disk.device is DiskDevice.CDROM


def _target(element: Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def _read_one(element: Element, volumes: Volumes | None) -> Disk | None:
    """The disk of an element, or None if it is of a sort that no field models."""
    device = _DEVICES.get(element.get("device", "disk"))
    target = element.find("target")
    if device is None or target is None or not target.get("dev"):
        return None
    name = target.get("dev", "")
    word = target.get("bus")
    bus = _BUSES.get(word) if word is not None else _bus_of(name)
    if bus is None:
        return None
    return Disk(
        target=Target(name),
        bus=bus,
        source=_read_source(element, volumes),
        device=device,
        read_only=device is DiskDevice.CDROM or element.find("readonly") is not None,
        options=_read_options(element),
    )


def _read_options(element: Element) -> DiskOptions:
    driver = element.find("driver")
    cache, discard = ("", "") if driver is None else map(driver.get, ("cache", "discard"))
    return DiskOptions(
        cache=_CACHES.get(cache or ""),
        discard=_DISCARDS.get(discard or ""),
        limits=iotune.read(element),
        serial=element.findtext("serial") or None,
    )


def _write_options(element: Element, there: DiskOptions, wanted: DiskOptions) -> bool:
    """Write the options that differ; say whether any did."""
    for name, old, new in (
        ("cache", there.cache, wanted.cache),
        ("discard", there.discard, wanted.discard),
    ):
        if old is not new:
            driver = element.find("driver")
            if driver is None:
                driver = put_first(element, make("driver"))
            forget(driver, name)
            if new is not None:
                driver.set(name, new)
    if there.serial != wanted.serial:
        tell(element, "serial", wanted.serial)
    if there.limits != wanted.limits:
        iotune.write(element, wanted.limits)
    return there != wanted


def _bus_of(target: str) -> Bus | None:
    return next((bus for prefix, bus in _BUS_OF_PREFIX if target.startswith(prefix)), None)


def _read_source(element: Element, volumes: Volumes | None) -> DiskSource | None:
    source = element.find("source")
    if source is None:
        return None
    driver = element.find("driver")
    word = None if driver is None else driver.get("type")
    layout = DiskFormat.RAW if word is None else _FORMATS.get(word)
    kind = element.get("type", "file")
    pool, volume = source.get("pool"), source.get("volume")
    path = source.get(_PATH_IN[kind]) if kind in _PATH_IN else None
    if kind in _PATH_IN and not path:
        return None
    found: DiskSource | None = None
    if layout is not None and kind == "volume" and pool and volume:
        found = VolumeSource(pool=LibvirtPool(pool), volume=VolumeName(volume), format=layout)
    elif layout is not None and kind == "network" and element.find("auth") is None:
        found = network.read(source, layout)
    elif layout is not None and path:
        known = volumes(path) if volumes else None
        if known is not None:
            found = replace(known, format=layout)
        elif kind == "file":
            found = FileSource(path=path, format=layout)
        elif layout is DiskFormat.RAW:
            found = BlockSource(path=path)
    return found or OtherSource(digest=_digest_of_other(kind, word, source))


def _digest_of_other(kind: str, layout: str | None, source: Element) -> str:
    copy = deepcopy(source)
    copy.tail = None
    forget(copy, *_OF_THE_RUN)
    drop(copy, "privateData")
    return digest_of_tree(make("disk", {"type": kind, "layout": layout or ""}, copy))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """A source in the words of a ``<disk>``: its type, its attributes, its format."""

    type: str
    source: Element
    format: DiskFormat


def _as_told(source: DiskSource, kind: Kind, paths: Paths) -> _Told:
    match source:
        case VolumeSource() if kind.on_qemu:
            place = make("source", {"pool": source.pool, "volume": source.volume})
            return _Told(type="volume", source=place, format=source.format)
        case VolumeSource():
            path = paths.get((source.pool, source.volume))
            if path is None:
                raise StalledError(
                    f"domain {kind.name}: volume {source.volume} of pool {source.pool} "
                    "has no known path on this host"
                )
            return _told_by_path(path, source.format)
        case FileSource():
            place = make("source", {"file": source.path})
            return _Told(type="file", source=place, format=source.format)
        case BlockSource():
            place = make("source", {"dev": source.path})
            return _Told(type="block", source=place, format=DiskFormat.RAW)
        case NbdSource():
            place = network.render_nbd(source)
            return _Told(type="network", source=place, format=source.format)
        case RbdSource():
            place = network.render_rbd(source)
            return _Told(type="network", source=place, format=DiskFormat.RAW)
        case OtherSource():
            raise RefusedError(
                f"domain {kind.name}: a disk's source that domops does not model "
                "can be kept but not made"
            )
        case _:
            assert_never(source)


def _told_by_path(path: str, layout: DiskFormat) -> _Told:
    if path.startswith("/dev/"):
        return _Told(type="block", source=make("source", {"dev": path}), format=layout)
    return _Told(type="file", source=make("source", {"file": path}), format=layout)


def _is_same_source(element: Element, wanted: DiskSource | None, paths: Paths) -> bool:
    """Whether an element already means ``wanted``, be a volume told by name or by path."""
    if _read_source(element, None) == wanted:
        return True
    if not isinstance(wanted, VolumeSource):
        return False
    place = paths.get((wanted.pool, wanted.volume))
    return _read_source(element, lambda path: wanted if path == place else None) == wanted


def _write_source(element: Element, told: _Told, kind: Kind) -> None:
    element.set("type", told.type)
    driver = element.find("driver")
    if driver is None:
        driver = put_first(element, make("driver"))
    # blkback serves block devices; files and formats on Xen are QEMU's, as all is elsewhere.
    on_blkback = kind.on_xen and told.type == "block" and told.format is DiskFormat.RAW
    driver.set("name", "phy" if on_blkback else "qemu")
    driver.set("type", told.format)
    new = told.source
    old = element.find("source")
    if old is None:
        put(element, new, after=driver)
        return
    policy = old.get("startupPolicy")
    if policy is not None and told.type != "network":
        new.set("startupPolicy", policy)  # how a missing medium is taken: of the drive, not of it
    put(element, new, after=old)
    take_out(old)


def _write_read_only(element: Element, *, read_only: bool) -> None:
    drop(element, "readonly")
    if read_only:
        put(element, make("readonly"), after=element.find("target"))


def _put_among_disks(devices: Element, element: Element) -> None:
    disks = devices.findall("disk")
    emulator = devices.find("emulator")
    if disks:
        put(devices, element, after=disks[-1])
    elif emulator is not None:
        put(devices, element, after=emulator)
    else:
        put_first(devices, element)


def _give_scsi_a_controller(devices: Element, wanted: Iterable[Disk], kind: Kind) -> bool:
    """Name the controller of SCSI disks; libvirt's own choice is one that few kernels can drive."""
    has_one = any(one.get("type") == "scsi" for one in devices.findall("controller"))
    if kind.on_qemu and not has_one and any(disk.bus is Bus.SCSI for disk in wanted):
        put(devices, make("controller", {"type": "scsi", "model": "virtio-scsi"}))
    return True
