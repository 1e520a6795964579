"""Build the machine of a guest: where it may run, processors, memory, what it starts with."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.manifests.hostpaths import is_below, refusal
from reconciler.manifests.quantities import render_size
from reconciler.manifests.surroundings import KIB, driver_of
from reconciler.model.definition import (
    BootDevice,
    Firmware,
    FirmwareBoot,
    KernelBoot,
    Loader,
    LoaderBoot,
    Memory,
    Vcpus,
)
from reconciler.model.desired import HostState
from reconciler.model.names import HostName, PoolName

if TYPE_CHECKING:
    from reconciler.manifests.drafts import Draft
    from reconciler.model.definition import Boot

MIB: Final = 1 << 20
Place = tuple[PoolName, HostName | None]
"""The pool, and the host if the guest is pinned to one."""

# Most guests are alike in these parts, and equal values may as well be the same value.
_vcpus = lru_cache(maxsize=1024)(Vcpus)
_memory = lru_cache(maxsize=4096)(Memory)
_kernel_boot = lru_cache(maxsize=1024)(KernelBoot)
_firmware_boot = lru_cache(maxsize=64)(FirmwareBoot)


def place(draft: Draft) -> Place | None:
    """Where the guest may run, or None with a complaint (or with one about another manifest)."""
    pool, host_name = draft.spec.pool, draft.spec.host
    around = draft.around
    if pool is not None and around.missing(around.pools, PoolName(pool)):
        draft.refer(("spec", "pool"), "Pool", pool, around.pools)
        pool = None
    if host_name is None:
        if draft.spec.pool is None:
            draft.miss(("spec",), "neither pool nor host is said", "write it, as in pool: main")
        return None if pool is None else (PoolName(pool), None)
    host = around.hosts.get(HostName(host_name))
    if host is None:
        if around.missing(around.hosts, HostName(host_name)):
            draft.refer(("spec", "host"), "Host", host_name, around.hosts)
        return None
    if host.state is HostState.RETIRED:
        draft.complain(
            ("spec", "host"), f'host "{host.name}" is retired', "choose another, or a pool"
        )
    if pool is not None and pool != host.pool:
        draft.complain(
            ("spec", "host"),
            f'host "{host.name}" is in pool "{host.pool}", not in "{pool}"',
            "take pool out, or choose a host of it",
        )
    return host.pool, host.name


def cpus(draft: Draft) -> Vcpus | None:
    """The virtual CPUs."""
    spec = draft.spec.cpus
    if spec is None:
        draft.miss(("spec", "cpus"), "missing", "write it, as in cpus: 2")
        return None
    if spec.count is None:
        draft.miss(("spec", "cpus", "count"), "missing", "write it, as in count: 2")
        return None
    if spec.max is not None and spec.max < spec.count:
        draft.complain(
            ("spec", "cpus", "count"),
            f"{spec.count} is more than max, which is {spec.max}",
            "raise max, or lower count",
        )
    return _vcpus(count=spec.count, maximum=spec.max or spec.count)


def memory(draft: Draft) -> Memory | None:
    """The memory: whole MiB, or as a guest that is adopted has it."""
    spec = draft.spec.memory
    if spec is None:
        draft.miss(("spec", "memory"), "missing", "write it, as in memory: 2GiB")
        return None
    if spec.size is None:
        draft.miss(("spec", "memory", "size"), "missing", "write it, as in size: 2GiB")
        return None
    _check_memory(draft, "size", spec.size)
    if spec.max is not None:
        _check_memory(draft, "max", spec.max)
        if spec.max < spec.size:
            draft.complain(
                ("spec", "memory", "size"),
                f"{render_size(spec.size)} is more than max, which is {render_size(spec.max)}",
                "raise max, or lower size",
            )
    return _memory(size_kib=spec.size // KIB, maximum_kib=(spec.max or spec.size) // KIB)


def _check_memory(draft: Draft, which: str, size: int) -> None:
    path = ("spec", "memory", which)
    unit, word = (KIB, "KiB") if draft.spec.adopt else (MIB, "MiB")
    if size == 0:
        draft.complain(path, "a guest cannot live on no memory", "write at least 1MiB")
    elif size % unit:
        nearest = max(1, round(size / unit))
        draft.complain(
            path,
            f"{render_size(size)} is no whole number of {word}",
            f"write {render_size(nearest * unit)}",
        )


def boot(draft: Draft, where: Place | None) -> Boot:
    """What the guest starts with, fitting its type and the hosts where it may run."""
    spec, path = draft.spec.boot, ("spec", "boot")
    drivers = drivers_of(draft, where)
    if draft.spec.type in ("pv", "pvh") and drivers and not drivers & {"xen", "test"}:
        draft.complain(
            ("spec", "type"),
            f"{draft.spec.type} guests need Xen, and no host here has it",
            "write type: hvm, or auto",
        )
    if spec.loader is not None:
        _check_loader(draft, drivers)
        return LoaderBoot(loader=Loader(spec.loader))
    if spec.kernel is not None:
        _check_kernel(draft)
        return _kernel_boot(kernel=spec.kernel, initrd=spec.initrd, cmdline=spec.cmdline)
    for name in ("initrd", "cmdline"):
        if getattr(spec, name) is not None:
            draft.miss((*path, name), "means nothing without kernel", "write kernel too")
    _check_firmware(draft, drivers)
    return _firmware_boot(
        firmware=Firmware(spec.firmware or "bios"),
        order=tuple([BootDevice(each) for each in spec.order]),
    )


def _check_firmware(draft: Draft, drivers: frozenset[str]) -> None:
    spec, path = draft.spec.boot, ("spec", "boot")
    guest_type = draft.spec.type
    if guest_type in ("pv", "pvh") or (guest_type == "auto" and drivers == {"xen"}):
        who = (
            "a pvh guest, which auto is on Xen,"
            if guest_type == "auto"
            else f"a {guest_type} guest"
        )
        draft.miss(
            (*path, "firmware" if spec.firmware is not None else "kernel"),
            f"{who} has no firmware to start with",
            "write boot.kernel, or type: hvm",
        )
    if len(set(spec.order)) != len(spec.order) or not spec.order:
        what = "names something twice" if spec.order else "names nothing"
        draft.complain((*path, "order"), what, "name each of disk, cdrom, network at most once")


def _check_loader(draft: Draft, drivers: frozenset[str]) -> None:
    spec, path = draft.spec.boot, ("spec", "boot", "loader")
    for name in ("kernel", "initrd", "cmdline", "firmware", "order"):
        if name in spec.model_fields_set:
            draft.complain(
                ("spec", "boot", name), "means nothing beside loader", "keep one of the two"
            )
    if draft.spec.type == "hvm" or (draft.spec.type == "auto" and drivers == {"qemu"}):
        draft.miss(path, "starts only pv and pvh guests, on Xen", "write boot.firmware")
    draft.warn(
        path,
        "pygrub reads the guest's disk as root on the host, so a guest can attack its host with it",
        "give boot.kernel, if the guest is not trusted",
    )


def _check_kernel(draft: Draft) -> None:
    spec = draft.spec.boot
    for name in ("firmware", "order"):
        if name in spec.model_fields_set:
            draft.complain(
                ("spec", "boot", name), "means nothing beside kernel", "keep one of the two"
            )
    prefixes = draft.around.allowed.kernel_prefixes
    if prefixes is None:
        return
    for name, path in (("kernel", spec.kernel), ("initrd", spec.initrd)):
        if path is not None and not is_below(path, prefixes):
            said = refusal(path, prefixes, "kernel_prefixes")
            draft.complain(("spec", "boot", name), *said)


def drivers_of(draft: Draft, where: Place | None) -> frozenset[str]:
    """The drivers (``xen``, ``qemu``) of the hosts where the guest may run."""
    if where is None:
        return frozenset()
    pool, host = where
    if host is not None:
        return frozenset({driver_of(draft.around.hosts[host])})
    return draft.around.hypervisors.get(pool, frozenset())
