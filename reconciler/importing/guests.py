"""Write one guest's manifest: a writer for each field, composed in a list.

A writer says what the guest's definition says, in the manifest's words, and nothing where that is
the manifest's default. What it cannot say it leaves out, with the reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, assert_never

from reconciler.importing.options import disk_options_of, nic_options_of, options_of
from reconciler.manifests.fields import TARGET, VOLUME
from reconciler.manifests.hostpaths import is_below
from reconciler.manifests.merge import SHORT_FORMS
from reconciler.manifests.quantities import render_size
from reconciler.manifests.writing import render_manifest
from reconciler.model.definition import (
    Arch,
    BlockSource,
    DiskDevice,
    DiskFormat,
    FileSource,
    FirmwareBoot,
    KernelBoot,
    LoaderBoot,
    NbdSource,
    OtherSource,
    RbdSource,
    VolumeSource,
)
from reconciler.planner.targets import bus_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.importing.draft import Sketch
    from reconciler.importing.places import Places
    from reconciler.manifests.writing import Wish
    from reconciler.model.definition import Disk, GivenSource
    from reconciler.model.names import FieldName, Target

    Writer = Callable[[Sketch, Places], Mapping[str, Wish]]

SECTOR: Final = 512
NO_ADDRESS: Final = "00:00:00:00:00:00"
"""What libvirt makes of a card of which a file of xl says no address."""

PV_MODELS: Final = frozenset({"virtio", "netfront"})
_TARGET: Final = re.compile(TARGET)
_VOLUME: Final = re.compile(VOLUME)


def _place(_sketch: Sketch, places: Places) -> Mapping[str, Wish]:
    return {"host": places.host.name}


def _adopt(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    return {"adopt": True} if sketch.domain is not None else {}


def _kind(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    arch: Mapping[str, Wish] = (
        {} if sketch.definition.arch is Arch.X86_64 else {"arch": str(sketch.definition.arch)}
    )
    return {"type": str(sketch.definition.type), **arch}


def _state(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    return {"state": "running" if sketch.running else "stopped"}


def _cpus(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    vcpus = sketch.definition.vcpus
    if vcpus.count == vcpus.maximum:
        return {"cpus": vcpus.count}
    return {"cpus": {"count": vcpus.count, "max": vcpus.maximum}}


def _memory(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    memory = sketch.definition.memory
    size, maximum = (render_size(kib * 1024) for kib in (memory.size_kib, memory.maximum_kib))
    return {"memory": size if size == maximum else {"size": size, "max": maximum}}


def _boot(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    boot = sketch.definition.boot
    said: dict[str, Wish]
    match boot:
        case KernelBoot():
            said = {"kernel": boot.kernel}
            if boot.initrd is not None:
                said["initrd"] = boot.initrd
            if boot.cmdline is not None:
                said["cmdline"] = boot.cmdline
        case FirmwareBoot():
            said = {
                "firmware": str(boot.firmware),
                "order": [str(device) for device in boot.order],
            }
        case LoaderBoot():
            said = {"loader": str(boot.loader)}
        case _:
            assert_never(boot)
    return {"boot": said}


def _autostart(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    if sketch.domain is None:
        return {}
    return {"autostart": "on" if sketch.domain.autostart else "off"}


def _channels(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    said: dict[str, Wish] = {}
    if not sketch.definition.console:
        said["console"] = False
    if sketch.definition.agent:
        said["agent"] = True
    return said


def _options(sketch: Sketch, _places: Places) -> Mapping[str, Wish]:
    """The options by their dotted names; ``render_guest`` puts each into its place."""
    said: dict[str, Wish] = {}
    for name, value in options_of(sketch.definition.options).items():
        if name in sketch.left_out:
            continue
        if value is None:
            sketch.left_out[name] = "no words for it here; to own it, say it in the manifest"
        else:
            said[name] = value
    return said


def _disks(sketch: Sketch, places: Places) -> Mapping[str, Wish]:
    names = sketch.disk_names()
    disks: list[Wish] = []
    for disk in sketch.definition.disks:
        field = f"disks[{names[disk.target]}]"
        if field in sketch.left_out:
            continue
        try:
            written = _disk(sketch, disk, places)
        except UnsayableError as unsayable:
            sketch.left_out[field] = str(unsayable)
        else:
            place: dict[str, Wish] = {"name": names[disk.target], "target": disk.target}
            said = {**place, **written, **_connection(disk, sketch)}
            disks.append({**said, **_device_options(sketch, field, disk_options_of(disk.options))})
    return {"disks": disks} if disks else {}


def _connection(disk: Disk, sketch: Sketch) -> Mapping[str, Wish]:
    """The bus, where the target tells another, and that a disk cannot be written."""
    said: dict[str, Wish] = {}
    if bus_of(disk.target, sketch.definition.domain_type, disk.device) is not disk.bus:
        said["bus"] = str(disk.bus)
    if disk.read_only and disk.device is DiskDevice.DISK:
        said["readOnly"] = True
    return said


def _device_options(
    sketch: Sketch, field: str, options: Mapping[FieldName, Wish]
) -> Mapping[str, Wish]:
    """The options of one disk or card, but for those that were found not to fit."""
    return {
        name: value for name, value in options.items() if f"{field}.{name}" not in sketch.left_out
    }


class UnsayableError(Exception):
    """No manifest can say it, and why."""


def _disk(sketch: Sketch, disk: Disk, places: Places) -> Mapping[str, Wish]:
    """What the manifest says of a disk, beside name and target."""
    if _TARGET.fullmatch(disk.target) is None:
        raise UnsayableError(f"{disk.target} is no target that a manifest can say")
    cdrom = disk.device is DiskDevice.CDROM
    match disk.source:
        case None if cdrom:
            return {"cdrom": {}}
        case None:
            raise UnsayableError("it has no source")
        case VolumeSource() if cdrom:
            storage = _storage(disk.source, places)
            return {"cdrom": {"storage": storage, "volume": disk.source.volume}}
        case VolumeSource():
            return _volume(sketch, disk.target, disk.source, places)
        case _ if cdrom:
            raise UnsayableError("what lies in it is in no storage pool of libvirt that is active")
        case _:
            return _given(disk.source, places)


def _given(source: GivenSource | OtherSource, places: Places) -> Mapping[str, Wish]:
    """What the manifest says of a source that is there without domops."""
    match source:
        case FileSource():
            _check_allowed(source.path, places.allowed.file_prefixes, "file_prefixes")
            return {"file": source.path, **_format(source.format)}
        case BlockSource():
            _check_allowed(source.path, places.allowed.device_prefixes, "device_prefixes")
            return {"device": source.path}
        case NbdSource():
            return {"nbd": _nbd(source), **_format(source.format)}
        case RbdSource():
            return {"rbd": _rbd(source)}
        case OtherSource():
            raise UnsayableError("its source is of a sort that no field says")
        case _:
            assert_never(source)


def _check_allowed(path: str, prefixes: tuple[str, ...] | None, setting: str) -> None:
    if not is_below(path, prefixes or ()):
        raise UnsayableError(
            f"{path} lies in no active storage pool, nor below a path that the controller's"
            f" setting {setting} allows"
        )


def _format(layout: DiskFormat) -> Mapping[str, Wish]:
    return {} if layout is DiskFormat.RAW else {"format": str(layout)}


def _nbd(source: NbdSource) -> Wish:
    port: Mapping[str, Wish] = {} if source.server.port is None else {"port": source.server.port}
    export: Mapping[str, Wish] = {"export": source.export} if source.export else {}
    return {"host": source.server.host, **port, **export}


def _rbd(source: RbdSource) -> Wish:
    said: dict[str, Wish] = {"pool": source.pool, "image": source.image}
    if source.monitors:
        said["monitors"] = [str(one) for one in source.monitors]
    if source.user is not None:
        said |= {"user": source.user.name, "secret": str(source.user.secret)}
    return said


def _storage(source: VolumeSource, places: Places) -> str:
    place = f"{source.pool}/{source.volume}"
    storage = places.storage(source.pool)
    if storage is None:
        raise UnsayableError(f"{place}: its pool is of a sort that no Storage can be yet")
    if _VOLUME.fullmatch(source.volume) is None:
        raise UnsayableError(f"{place}: no manifest can say such a name")
    return storage


def _volume(
    sketch: Sketch, target: Target, source: VolumeSource, places: Places
) -> Mapping[str, Wish]:
    storage, size = _storage(source, places), sketch.sizes.get(target)
    if size is None:
        raise UnsayableError(f"{source.pool}/{source.volume} is not there")
    if not size or size % SECTOR:
        raise UnsayableError(f"its size, {size} bytes, is no whole number of sectors")
    said: dict[str, Wish] = {
        "size": render_size(size),
        "storage": storage,
        "volume": source.volume,
    }
    said |= _format(source.format)
    if sketch.domain is None:
        said["adopt"] = True
    return said


def _networks(sketch: Sketch, places: Places) -> Mapping[str, Wish]:
    names = sketch.card_names()
    by_mac = {nic.mac: nic for nic in sketch.definition.nics}
    cards: list[Wish] = []
    for mac, name in names.items():
        nic, field = by_mac[mac], f"networks[{name}]"
        if field in sketch.left_out:
            continue
        known = nic.model is not None and nic.mac != NO_ADDRESS
        network = places.network(nic.source) if known else None
        if nic.mac == NO_ADDRESS:
            sketch.left_out[field] = "it has no address; write the card without mac, to derive one"
        elif nic.model is None:
            sketch.left_out[field] = f"{mac}: it names no model, and a manifest always does"
        elif network is None:
            sketch.left_out[field] = f"{mac}: its other end is of a sort that no Network can be"
        else:
            model: Mapping[str, Wish] = {} if nic.model in PV_MODELS else {"model": nic.model}
            card = {"name": name, "network": network, "mac": mac, **model}
            cards.append({**card, **_device_options(sketch, field, nic_options_of(nic.options))})
    return {"networks": cards} if cards else {}


_WRITERS: tuple[Writer, ...] = (
    _place,
    _adopt,
    _kind,
    _state,
    _autostart,
    _cpus,
    _memory,
    _boot,
    _channels,
    _options,
    _disks,
    _networks,
)
"""One writer for each field, in the order in which a person would write them."""


def render_guest(sketch: Sketch, places: Places) -> str:
    """The manifest of one guest, with what was not written of it in comments above."""
    spec: dict[str, Wish] = {}
    for writer in _WRITERS:
        for name, value in writer(sketch, places).items():
            _put(spec, name, value)
    metadata: dict[str, Wish] = {"name": sketch.name}
    if sketch.uuid_said:
        metadata["uuid"] = str(sketch.definition.uuid)
    comments = [*_comments(sketch, places)]
    return render_manifest("Guest", metadata, spec, comments=comments)


def _put(spec: dict[str, Wish], name: str, value: Wish) -> None:
    """Put a value at its dotted name; what is there in its short form is made long."""
    first, _, rest = name.partition(".")
    if not rest:
        spec[first] = value
        return
    there = spec.get(first, {})
    long = there if isinstance(there, dict) else {SHORT_FORMS[first]: there}
    spec[first] = {**long, rest: value}


def _comments(sketch: Sketch, places: Places) -> Iterator[str]:
    name = sketch.definition.name
    if sketch.domain is None:
        yield (
            f"Written from a configuration file. libvirt on {places.host.name} does not know this"
            " guest: if it runs under xl, shut it down there first, and only then write"
            " state: running."
        )
    elif sketch.name != name:
        yield f"The domain is called {name!r}."
    if sketch.outline.kept:
        kept = "kept as it is" if sketch.domain is not None else "not taken over"
        yield f"{kept}: {', '.join(sketch.outline.kept)}"
    for field, why in sketch.left_out.items():
        kept = "left out, kept as it is" if sketch.domain is not None else "left out"
        yield f"{kept}: {field}: {why}"
    boot = sketch.definition.boot
    if isinstance(boot, KernelBoot):
        paths = [path for path in (boot.kernel, boot.initrd) if path is not None]
        prefixes = places.allowed.kernel_prefixes or ()
        strange = [path for path in paths if not is_below(path, prefixes)]
        if strange:
            yield (f"needs the controller's setting kernel_prefixes to allow {', '.join(strange)}")
    yield from sketch.notes
