"""A whole domain: definition to text, text to definition, and a definition into an existing text.

``merge`` writes a field only where the text says something else, so what no field models stays as
it is: devices, secrets, other programs' metadata, the slots and names that devices were given.
``render`` is the same onto the text of a new guest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domxml import agent, boot, console, disk, mark, memory, nic, options, overlay, vcpus
from reconciler.domxml import kind as kinds
from reconciler.domxml.document import parse, serialise, tidy
from reconciler.domxml.skeleton import skeleton
from reconciler.errors import RefusedError
from reconciler.model.definition import GuestDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind
    from reconciler.model.definition import Disk, Nic, VolumeSource
    from reconciler.model.names import LibvirtPool, MacAddress, Target, VolumeName
    from reconciler.model.overlay import OverlayElement

    Paths = Mapping[tuple[LibvirtPool, VolumeName], str]
    Volumes = Callable[[str], VolumeSource | None]
    Writer = Callable[[Element, GuestDefinition, Kind, Paths], bool]

_WRITERS: tuple[Writer, ...] = (
    # Before the mark: which elements are ours is told by the mark that is there.
    lambda domain, wanted, kind, _: overlay.write(
        domain, wanted.overlay, mark.read(domain).mark, kind
    ),
    lambda domain, wanted, _, __: mark.write(domain, wanted.mark),
    lambda domain, wanted, kind, _: memory.write(domain, wanted.memory, kind),
    lambda domain, wanted, kind, _: vcpus.write(domain, wanted.vcpus, kind),
    lambda domain, wanted, kind, _: boot.write(domain, wanted.boot, kind),
    lambda domain, wanted, kind, paths: disk.write(domain, wanted.disks, kind, paths),
    lambda domain, wanted, kind, _: nic.write(domain, wanted.nics, kind),
    lambda domain, wanted, kind, _: console.write(domain, wanted.console, kind),
    lambda domain, wanted, kind, _: agent.write(domain, wanted.agent, kind),
    lambda domain, wanted, kind, _: options.write(domain, wanted.options, kind),
)
"""One writer for each field that can change; each says whether it had to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a text says, and why an element of ours in it could not be read, if so.

    ``agent_connected`` is a fact of the run: only the text of a running guest tells it.
    ``elements`` are those that are by other hands at places which are open to overlays.
    """

    definition: GuestDefinition
    mark_problem: str | None
    agent_connected: bool = False
    elements: tuple[OverlayElement, ...] = ()


def read(text: str, *, volumes: Volumes | None = None, places: Collection[str] = ()) -> Reading:
    """Return what the stored or running text of a domain says in the fields that domops models.

    ``volumes`` says which volume lies at a path, so that a driver that knows only paths is read as
    one that knows volumes. ``places`` are those that are open to overlays. In the text of a running
    guest sizes are the achieved ones.

    Raises:
        StalledError: it is no domain, or one of a kind that domops does not know.

    """
    return read_tree(parse(text), volumes=volumes, places=places)


def read_tree(
    domain: Element, *, volumes: Volumes | None = None, places: Collection[str] = ()
) -> Reading:
    """The same for a text that has been parsed."""
    kind = kinds.read(domain)
    found = mark.read(domain)
    definition = GuestDefinition(
        name=kind.name,
        uuid=kind.uuid,
        domain_type=kind.domain_type,
        type=kind.type,
        arch=kind.arch,
        vcpus=vcpus.read(domain, kind),
        memory=memory.read(domain, kind),
        boot=boot.read(domain, kind),
        disks=disk.read(domain, volumes),
        nics=nic.read(domain, kind),
        console=console.read(domain),
        agent=agent.read(domain),
        options=options.read(domain, kind),
        overlay=overlay.read(domain, found.mark),
        mark=found.mark,
    )
    return Reading(
        definition=definition,
        mark_problem=found.problem,
        agent_connected=agent.connected(domain),
        elements=overlay.others(domain, found.mark, places),
    )


def render(definition: GuestDefinition, *, paths: Paths | None = None) -> str:
    """The text of a new domain; ``paths`` are those of volumes, for drivers that know only paths.

    Raises:
        StalledError: a volume that must be told by its path has none on this host.
        RefusedError: XML, or the hypervisor, has no words for the definition.

    """
    kind = kinds.kind_of(definition)
    try:
        domain = skeleton(definition, kind)
        _write(domain, definition, kind, paths or {})
    except ValueError as error:
        raise _unsayable(definition, error) from error
    tidy(domain)
    return serialise(domain)


def merge(text: str, definition: GuestDefinition, *, paths: Paths | None = None) -> str:
    """The stored ``text`` with every field as in ``definition`` and all else as it is.

    A text that says it all already is given back unchanged.

    Raises:
        StalledError: the text cannot be read, or a volume has no path on this host.
        RefusedError: a field that is fixed at a guest's making differs, the text carries a mark
            that this domops cannot read, or XML has no words for the definition.

    """
    domain = parse(text)
    kind = kinds.read(domain)
    kinds.check_unchanged(kind, kinds.kind_of(definition))
    try:
        changed = _write(domain, definition, kind, paths or {})
    except ValueError as error:
        raise _unsayable(definition, error) from error
    return serialise(domain) if changed else text


def canonical(definition: GuestDefinition) -> GuestDefinition:
    """The definition as it will be read back: what hypervisors give unasked is in it.

    Compare with this one, or a guest seems to drift for ever: libvirt gives every PV and PVH guest
    a console, makes drives for CDs read-only, and says nothing of a PV guest's only model of card.
    """
    kind = kinds.kind_of(definition)
    disks = sorted(map(disk.canonical, definition.disks), key=lambda one: one.target)
    nics = sorted((nic.canonical(one, kind) for one in definition.nics), key=lambda one: one.mac)
    return replace(
        definition,
        disks=tuple(disks),
        nics=tuple(nics),
        console=console.canonical(kind, console=definition.console),
        options=options.canonical(definition.options, kind, definition.vcpus),
        overlay=overlay.canonical(definition.overlay, definition.mark),
    )


def without_overlay(definition: GuestDefinition) -> GuestDefinition:
    """The definition with no element of an overlay, nor any trace of one in its mark."""
    there = definition.mark
    plain = None if there is None else replace(there, overlay=())
    return replace(definition, overlay=(), mark=plain)


# ------------------------------------------------------------------------- one device of a guest


def render_disk(disk_: Disk, definition: GuestDefinition, *, paths: Paths | None = None) -> str:
    """The text of ``disk_`` for a guest like ``definition``, to be plugged in."""
    try:
        element = disk.render(disk_, kinds.kind_of(definition), paths or {})
    except ValueError as error:
        raise _unsayable(definition, error) from error
    tidy(element)
    return serialise(element)


def render_nic(nic_: Nic, definition: GuestDefinition) -> str:
    """The text of ``nic_`` for a guest like ``definition``, to be plugged in."""
    kind = kinds.kind_of(definition)
    try:
        element = nic.render(nic.canonical(nic_, kind), kind)
    except ValueError as error:
        raise _unsayable(definition, error) from error
    tidy(element)
    return serialise(element)


def extract_disk(text: str, target: Target) -> str | None:
    """The text of the disk at ``target`` as the guest has it, to be unplugged."""
    element = disk.find(parse(text), target)
    return None if element is None else serialise(element)


def extract_nic(text: str, mac: MacAddress) -> str | None:
    """The text of the card with the address ``mac`` as the guest has it, to be unplugged."""
    element = nic.find(parse(text), mac)
    return None if element is None else serialise(element)


def merge_disk(text: str, wanted: Disk, *, paths: Paths | None = None) -> str | None:
    """The disk of a guest's ``text`` made as ``wanted``, to be updated; None if there is none."""
    domain = parse(text)
    kind = kinds.read(domain)
    element = disk.find(domain, wanted.target)
    if element is None:
        return None
    try:
        disk.change(element, wanted, kind, paths or {})
    except ValueError as error:
        raise RefusedError(f"domain {kind.name}: XML cannot say it: {error}") from error
    return serialise(element)


def merge_nic(text: str, wanted: Nic) -> str | None:
    """The card of a guest's ``text`` made as ``wanted``, to be updated; None if there is none."""
    domain = parse(text)
    kind = kinds.read(domain)
    element = nic.find(domain, wanted.mac)
    if element is None:
        return None
    try:
        nic.change(element, wanted, kind)
        nic.as_defined(element)
    except ValueError as error:
        raise RefusedError(f"domain {kind.name}: XML cannot say it: {error}") from error
    return serialise(element)


def _write(domain: Element, definition: GuestDefinition, kind: Kind, paths: Paths) -> bool:
    changes = [writer(domain, definition, kind, paths) for writer in _WRITERS]
    return any(changes)


def _unsayable(definition: GuestDefinition, error: ValueError) -> RefusedError:
    """LXML's complaint about characters that no XML can hold, as ours."""
    return RefusedError(f"domain {definition.name!r}: XML cannot say it: {error}")
