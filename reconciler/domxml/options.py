"""The options of a guest: one reader and one writer each, composed in a list.

An option whose value is as wanted is not touched, whatever else its element says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domxml import cpu, cputune, graphics, hostdev, hugepages, rng, tpm, watchdog
from reconciler.model.options import Options, pins_of_present

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.definition import Vcpus

    Writer = Callable[[Element, Options, Kind], bool]

_WRITERS: tuple[Writer, ...] = (
    lambda domain, wanted, kind: cpu.write(domain, wanted.cpu, kind),
    lambda domain, wanted, _: cpu.write_topology(domain, wanted.topology),
    lambda domain, wanted, _: cputune.write_pin(domain, wanted.pin),
    lambda domain, wanted, kind: cputune.write_weight(domain, wanted.weight, kind),
    lambda domain, wanted, _: cputune.write_cap(domain, wanted.cap),
    lambda domain, wanted, _: hugepages.write(domain, wanted.huge_pages),
    lambda domain, wanted, _: rng.write(domain, wanted.rng),
    lambda domain, wanted, kind: graphics.write(domain, wanted.graphics, kind),
    lambda domain, wanted, _: watchdog.write(domain, wanted.watchdog),
    lambda domain, wanted, _: tpm.write(domain, wanted.tpm),
    lambda domain, wanted, _: hostdev.write(domain, wanted.host_devices),
)
"""One writer for each option; each says whether it had to change anything."""


def read(domain: Element, kind: Kind) -> Options:
    """Return the options that a text gives its guest."""
    return Options(
        cpu=cpu.read(domain, kind),
        topology=cpu.read_topology(domain),
        pin=cputune.read_pin(domain),
        weight=cputune.read_weight(domain, kind),
        cap=cputune.read_cap(domain),
        huge_pages=hugepages.read(domain),
        rng=rng.read(domain),
        graphics=graphics.read(domain),
        watchdog=watchdog.read(domain),
        tpm=tpm.read(domain),
        host_devices=hostdev.read(domain),
    )


def write(domain: Element, wanted: Options, kind: Kind) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    changes = [writer(domain, wanted, kind) for writer in _WRITERS]
    return any(changes)


def canonical(options: Options, kind: Kind, vcpus: Vcpus) -> Options:
    """The options as they are read back: what a hypervisor does unasked is not said."""
    return replace(
        options,
        pin=pins_of_present(options.pin, vcpus.count) if kind.on_xen else options.pin,
        cpu=cpu.canonical(options.cpu, kind),
        weight=cputune.canonical_weight(options.weight, kind),
    )
