"""Write a guest's options: a writer for each, by the name that its manifest has for it.

An option without a writer here is left to the guest, and told: the manifest then does not own it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.manifests.quantities import render_size
from reconciler.model.names import FieldName
from reconciler.model.options import (
    DISK_FIELDS,
    FIELDS,
    NIC_FIELDS,
    NO_OPTIONS,
    Graphics,
    HugePages,
    IoLimits,
    Pin,
    Topology,
    Tpm,
    Watchdog,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.manifests.writing import Wish
    from reconciler.model.options import DiskOptions, NicOptions, Options


def _plain(value: bool | int | str) -> Wish:  # noqa: FBT001 - an option's value
    return value


def _topology(value: Topology) -> Wish:
    return {"sockets": value.sockets, "cores": value.cores, "threads": value.threads}


def _pin(value: tuple[Pin, ...]) -> Wish:
    return {str(pin.vcpu): pin.cpus for pin in value}


def _huge_pages(value: HugePages) -> Wish:
    return True if value.size_kib is None else render_size(value.size_kib * 1024)


def _graphics(value: Graphics) -> Wish:
    return {"type": value.type}


def _watchdog(value: Watchdog) -> Wish:
    return {"model": value.model, "action": str(value.action)}


def _tpm(value: Tpm) -> Wish:
    return {"version": value.version}


def _limits(value: IoLimits) -> Wish:
    sizes = {
        "bytes": value.total_bytes,
        "readBytes": value.read_bytes,
        "writeBytes": value.write_bytes,
    }
    said: dict[str, Wish] = {name: render_size(size) for name, size in sizes.items() if size}
    counts = {
        "iops": value.total_iops,
        "readIops": value.read_iops,
        "writeIops": value.write_iops,
    }
    return {**said, **{name: count for name, count in counts.items() if count}}


_WRITERS: Mapping[FieldName, Callable[..., Wish]] = {
    FieldName("cpus.mode"): _plain,
    FieldName("cpus.topology"): _topology,
    FieldName("cpus.pin"): _pin,
    FieldName("cpus.weight"): _plain,
    FieldName("cpus.cap"): _plain,
    FieldName("memory.hugePages"): _huge_pages,
    FieldName("rng"): _plain,
    FieldName("graphics"): _graphics,
    FieldName("watchdog"): _watchdog,
    FieldName("tpm"): _tpm,
}


def options_of(options: Options) -> dict[FieldName, Wish | None]:
    """Every option that is not at its default, in the manifest's words; None where it has none."""
    found: dict[FieldName, Wish | None] = {}
    for name, attribute in FIELDS.items():
        value = getattr(options, attribute)
        if value != getattr(NO_OPTIONS, attribute):
            writer = _WRITERS.get(name)
            found[name] = None if writer is None else writer(value)
    return found


def disk_options_of(options: DiskOptions) -> dict[FieldName, Wish]:
    """Every option of a disk that is there, in the words below the disk's entry."""
    return _said(options, DISK_FIELDS)


def nic_options_of(options: NicOptions) -> dict[FieldName, Wish]:
    """Every option of a card that is there, in the words below the card's entry."""
    return _said(options, NIC_FIELDS)


def _said(
    options: DiskOptions | NicOptions, fields: Mapping[FieldName, str]
) -> dict[FieldName, Wish]:
    found: dict[FieldName, Wish] = {}
    for name, attribute in fields.items():
        value = getattr(options, attribute)
        if value is not None:
            found[name] = _limits(value) if isinstance(value, IoLimits) else value
    return found
