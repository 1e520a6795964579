"""Build the options of a guest, and say which of them its manifest mentions.

Mentioned is what the guest or its class writes, be it the default itself: see Note [Owned fields]
in `planner.options`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.manifests.quantities import parse_size, render_size
from reconciler.manifests.surroundings import KIB
from reconciler.model.options import (
    FIELDS,
    Graphics,
    HostBus,
    HostDevice,
    HugePages,
    Options,
    Pin,
    Topology,
    Tpm,
    Watchdog,
    WatchdogAction,
    cpu_ranges,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.construct import Key, Value
    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.kinds.guest import CpusSpec, HostDeviceSpec
    from reconciler.model.definition import Memory, Vcpus
    from reconciler.model.names import FieldName

# Most guests are alike in these parts, and equal values may as well be the same value.
_options = lru_cache(maxsize=1024)(Options)

_PATHS = tuple((field, tuple(field.split("."))) for field in FIELDS)


def mentioned(written: Mapping[str, Value], chosen: Options) -> tuple[FieldName, ...]:
    """The options that a spec, merged with its class, names."""
    devices = [device.field for device in chosen.host_devices]
    return tuple(sorted([*devices, *(field for field, path in _PATHS if _names(written, path))]))


def options(draft: Draft, vcpus: Vcpus | None, memory: Memory | None) -> Options:
    """The options, each at its default where it is not said."""
    spec = draft.spec
    cpus = spec.cpus
    graphics, watchdog, tpm = spec.graphics, spec.watchdog, spec.tpm
    return _options(
        cpu=None if cpus is None else cpus.mode,
        topology=None if cpus is None else _topology(draft, cpus, vcpus),
        pin=() if cpus is None else _pin(draft, cpus, vcpus),
        weight=None if cpus is None else cpus.weight,
        cap=None if cpus is None else cpus.cap or None,
        huge_pages=_huge_pages(draft, memory),
        rng=bool(spec.rng),
        graphics=None if graphics is None or graphics.type == "none" else Graphics(),
        watchdog=None
        if watchdog is None or watchdog.model == "none"
        else Watchdog(model=watchdog.model, action=WatchdogAction(watchdog.action)),
        tpm=None if tpm is None or tpm.version == "none" else Tpm(version=tpm.version),
        host_devices=_host_devices(draft) if spec.host_devices else (),
    )


def _topology(draft: Draft, cpus: CpusSpec, vcpus: Vcpus | None) -> Topology | None:
    spec = cpus.topology
    if spec is None:
        return None
    together = spec.sockets * spec.cores * spec.threads
    if vcpus is not None and together != vcpus.maximum:
        draft.complain(
            ("spec", "cpus", "topology"),
            f"sockets, cores and threads make {together} virtual CPUs, and the guest can have"
            f" {vcpus.maximum}",
            "make them equal: they are max, or count where max is not said",
        )
    return Topology(sockets=spec.sockets, cores=spec.cores, threads=spec.threads)


def _pin(draft: Draft, cpus: CpusSpec, vcpus: Vcpus | None) -> tuple[Pin, ...]:
    pins: list[Pin] = []
    for number, text in sorted((cpus.pin or {}).items(), key=lambda pair: int(pair[0])):
        path = ("spec", "cpus", "pin", number)
        if vcpus is not None and int(number) >= vcpus.maximum:
            draft.complain(
                path,
                f"the guest has no virtual CPU {number}",
                f"they are counted from 0 to {vcpus.maximum - 1}",
            )
        chosen = _chosen(text)
        if not chosen:
            draft.complain(path, f'"{text}" ends before it begins', "write it as in 2-3")
        pins.append(Pin(vcpu=int(number), cpus=cpu_ranges(chosen)))
    return tuple(pins)


def _chosen(text: str) -> set[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if not span:
            return set()
        chosen.update(span)
    return chosen


def _huge_pages(draft: Draft, memory: Memory | None) -> HugePages | None:
    said = None if draft.spec.memory is None else draft.spec.memory.huge_pages
    if not said:
        return None
    if not isinstance(said, str):
        return HugePages()
    page_kib = parse_size(said) // KIB
    if memory is not None and memory.maximum_kib % page_kib:
        draft.complain(
            ("spec", "memory", "hugePages"),
            f"{render_size(memory.maximum_kib * KIB)} are no whole number of pages of {said}",
            "give the guest whole pages, or write hugePages: 2MiB",
        )
    return HugePages(size_kib=page_kib)


def _host_devices(draft: Draft) -> tuple[HostDevice, ...]:
    found: list[HostDevice] = []
    host, allowed = draft.spec.host, draft.around.allowed.host_devices
    if host is None:
        draft.complain(
            ("spec", "hostDevices"),
            "an address means another device on every host",
            "pin the guest with spec.host",
        )
    for index, spec in enumerate(draft.spec.host_devices):
        path: tuple[Key, ...] = ("spec", "hostDevices", index)
        if (spec.pci is None) == (spec.usb is None):
            draft.complain(path, "a device is either pci or usb", "write exactly one of them")
            continue
        device = _host_device(spec)
        if device in found:
            draft.complain(path, f"{device} is there twice", "take one out")
        elif any(spec.name == other.name for other in draft.spec.host_devices[:index]):
            draft.complain((*path, "name"), f'"{spec.name}" is there twice', "give it another")
        found.append(device)
        entry = f"{host}/{device}"
        if allowed is not None and host is not None and entry not in allowed:
            draft.complain(
                (*path, str(device.bus)),
                f'"{entry}" is not a device that the controller allows',
                f"allowed: {', '.join(allowed) or 'none'}; see its setting host_devices",
            )
    return tuple(sorted(found))


def _host_device(spec: HostDeviceSpec) -> HostDevice:
    if spec.pci is None:
        usb = (spec.usb or "").lower()
        parts = usb.split(".")
        address = usb if len(parts) == 1 else ".".join(str(int(part)) for part in parts)
        return HostDevice(bus=HostBus.USB, address=address)
    short = spec.pci.count(":") == 1
    return HostDevice(bus=HostBus.PCI, address=("0000:" if short else "") + spec.pci.lower())


def _names(written: Value | Mapping[str, Value], path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(written, dict) or step not in written:
            return False
        written = written[step]
    return True
