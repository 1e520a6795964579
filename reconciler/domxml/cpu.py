"""The processor that a guest sees: ``<cpu>``, its mode or model, and its topology.

Features, NUMA cells and caches in the same element are not modelled and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import (
    drop,
    forget,
    make,
    number,
    put,
    put_first,
    said,
    take_out,
)
from reconciler.model.definition import Arch
from reconciler.model.options import HOST_MODEL, HOST_PASSTHROUGH, Topology

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

_MODES = (HOST_MODEL, HOST_PASSTHROUGH, "maximum")
_OF_THE_MODEL = ("mode", "match", "check", "migratable")
_UNASKED = {Arch.X86_64: "qemu64", Arch.I686: "qemu32"}
"""What libvirt's QEMU driver writes into a definition that says nothing."""


def read(domain: Element, kind: Kind) -> str | None:
    """Return the mode or the name of the model; None where nothing is said, or only by libvirt."""
    cpu = domain.find("cpu")
    if cpu is None:
        return None
    mode = cpu.get("mode")
    name = (cpu.findtext("model") or "").strip()
    return canonical(mode if mode in _MODES else name or None, kind)


def canonical(cpu: str | None, kind: Kind) -> str | None:
    """The processor as it is read back: QEMU's plainest one is what a silent definition gets."""
    return None if kind.on_qemu and cpu == _UNASKED[kind.arch] else cpu


def write(domain: Element, wanted: str | None, kind: Kind) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read(domain, kind) == wanted:
        return False
    cpu = _element(domain)
    forget(cpu, *_OF_THE_MODEL)
    drop(cpu, "model", "vendor")
    if wanted in _MODES:
        cpu.set("mode", wanted)
    elif wanted is not None:
        cpu.attrib.update({"mode": "custom", "match": "exact"})
        model = said("model", wanted)
        model.set("fallback", "forbid")
        put_first(cpu, model)
    elif cpu.find("feature") is not None:
        # Features make sense beside a model only, and nobody else's are left without one.
        drop(cpu, "feature")
    _forget_if_empty(cpu)
    return True


def read_topology(domain: Element) -> Topology | None:
    """Return how the virtual CPUs are laid out, if it is said in whole numbers."""
    element = domain.find("cpu/topology")
    if element is None:
        return None
    parts = [number(element.get(name)) for name in ("sockets", "cores", "threads")]
    sockets, cores, threads = (part or 0 for part in parts)
    dies = number(element.get("dies", "1")) or 0
    if not sockets * cores * threads * dies:
        return None
    return Topology(sockets=sockets, cores=cores * dies, threads=threads)


def write_topology(domain: Element, wanted: Topology | None) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read_topology(domain) == wanted:
        return False
    cpu = _element(domain)
    drop(cpu, "topology")
    if wanted is not None:
        parts = {"sockets": wanted.sockets, "cores": wanted.cores, "threads": wanted.threads}
        element = make("topology", {name: str(part) for name, part in parts.items()})
        put(cpu, element)
    _forget_if_empty(cpu)
    return True


def _element(domain: Element) -> Element:
    there = domain.find("cpu")
    if there is not None:
        return there
    heads = [domain.find(tag) for tag in ("features", "os")]
    return put(domain, make("cpu"), after=next((head for head in heads if head is not None), None))


def _forget_if_empty(cpu: Element) -> None:
    if not len(cpu) and not cpu.attrib:
        take_out(cpu)
