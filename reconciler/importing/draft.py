"""One guest on its way into a manifest: what is known of it, and what has been left out so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.definition import VolumeSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domxml import Outline
    from reconciler.hypervisor.port import NativeGuest
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.names import MacAddress, Target
    from reconciler.model.observed import ObservedGuest, ObservedHost


DEFAULT_MODEL = "rtl8139"
"""What Xen emulates for an HVM guest, beside a PV card, where a file names no model."""


@dataclass(slots=True, kw_only=True)
class Sketch:
    """A guest to be written down.

    ``domain`` is the domain that shall be adopted; None for a guest of a file only, which shall be
    made anew over its volumes. ``left_out`` fills with the disks and cards that no manifest can
    say, by their field, each with the reason; ``notes`` with what else a reader should know.
    """

    name: str
    definition: GuestDefinition
    sizes: Mapping[Target, int]
    outline: Outline
    domain: ObservedGuest | None
    uuid_said: bool = True
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Whether the manifest shall ask for it to run; a guest of a file is nobody's to start."""
        return self.domain is not None and self.domain.active

    def disk_names(self) -> dict[Target, str]:
        """What the manifest calls each disk: its target, which is unique and known to people."""
        return {disk.target: str(disk.target) for disk in self.definition.disks}

    def card_names(self) -> dict[MacAddress, str]:
        """What the manifest calls each card: ``eth0`` and so on, as they stand in the text."""
        there = [nic.mac for nic in self.definition.nics]
        order = [mac for mac in dict.fromkeys(self.outline.cards) if mac in there]
        return {mac: f"eth{place}" for place, mac in enumerate(order)}


def of_domain(name: str, guest: ObservedGuest, outline: Outline) -> Sketch | None:
    """A sketch of a domain that is defined; None of one that only runs."""
    if guest.stored is None:
        return None
    return Sketch(
        name=name,
        definition=guest.stored,
        sizes=guest.disk_sizes,
        outline=outline,
        domain=guest,
    )


def of_file(name: str, native: NativeGuest, host: ObservedHost) -> Sketch:
    """A sketch of a guest that a file of its hypervisor describes.

    A card of an HVM guest whose model the file leaves to Xen is one of ``DEFAULT_MODEL``.
    """
    cards = tuple(
        nic if nic.model is not None else replace(nic, model=DEFAULT_MODEL)
        for nic in native.definition.nics
    )
    sizes: dict[Target, int] = {}
    for disk in native.definition.disks:
        source = disk.source
        if isinstance(source, VolumeSource) and source.pool in host.pools:
            volume = host.pools[source.pool].volumes.get(source.volume)
            if volume is not None:
                sizes[disk.target] = volume.capacity_bytes
    return Sketch(
        name=name,
        definition=replace(native.definition, nics=cards),
        sizes=sizes,
        outline=native.outline,
        domain=None,
        uuid_said=native.uuid_said,
    )
