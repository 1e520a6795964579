"""What a domain is from its making to its end: name, UUID, who runs it, type and architecture.

None of this is ever changed in an existing text. Everything else is read and written in the light
of it: a disk is told differently to libxl than to QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.errors import RefusedError, StalledError
from reconciler.model.definition import Arch, DomainType, GuestType
from reconciler.model.names import GuestName

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.model.definition import GuestDefinition

# libvirt's old word `xen` means `linux`; it is read, never written.
_GUEST_TYPES = {
    "hvm": GuestType.HVM,
    "linux": GuestType.PV,
    "xen": GuestType.PV,
    "xenpvh": GuestType.PVH,
}
_DOMAIN_TYPES = {str(one): one for one in DomainType}
_ARCHITECTURES = {str(one): one for one in Arch}
_ONCE = frozenset(
    {"name", "uuid", "metadata", "memory", "currentMemory", "vcpu", "vcpus", "os", "features"}
    | {"cpu", "cputune", "memoryBacking", "devices"}
)
"""What libvirt never says twice of a domain; a second one would be read and not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is fixed when a domain is made."""

    name: GuestName
    uuid: UUID
    domain_type: DomainType
    type: GuestType
    arch: Arch

    @property
    def on_xen(self) -> bool:
        """Whether libxl runs it."""
        return self.domain_type is DomainType.XEN

    @property
    def on_qemu(self) -> bool:
        """Whether libvirt's QEMU driver runs it, accelerated or not."""
        return self.domain_type in {DomainType.KVM, DomainType.QEMU}

    @property
    def paravirtual(self) -> bool:
        """Whether it has no emulated machine around it (PV and PVH)."""
        return self.type is not GuestType.HVM


def kind_of(definition: GuestDefinition) -> Kind:
    """The kind of guest that a definition is about."""
    return Kind(
        name=definition.name,
        uuid=definition.uuid,
        domain_type=definition.domain_type,
        type=definition.type,
        arch=definition.arch,
    )


def read(domain: Element) -> Kind:
    """Return what kind of domain a text is about.

    Raises:
        StalledError: it is of a kind that domops does not know, such as a container.

    """
    name = domain.findtext("name")
    if not name:
        raise StalledError("a domain's XML names no domain")
    told = [str(child.tag) for child in domain if child.tag in _ONCE]
    if len(told) != len(set(told)):
        twice = next(tag for tag in told if told.count(tag) > 1)
        raise StalledError(f"domain {name}: it has more than one <{twice}>; libvirt gives one")
    domain_type = _DOMAIN_TYPES.get(domain.get("type", ""))
    if domain_type is None:
        raise StalledError(
            f"domain {name}: domops knows no guests of type {domain.get('type', '(none)')!r}"
        )
    element = domain.find("os/type")
    word = "" if element is None else (element.text or "").strip()
    guest_type = _GUEST_TYPES.get(word)
    if element is None or guest_type is None:
        raise StalledError(f"domain {name}: domops knows no operating system type {word!r}")
    arch = _ARCHITECTURES.get(element.get("arch", ""))
    if arch is None:
        raise StalledError(
            f"domain {name}: domops knows no architecture {element.get('arch', '(none)')!r}"
        )
    try:
        uuid = UUID((domain.findtext("uuid") or "").strip())
    except ValueError as error:
        raise StalledError(f"domain {name}: its UUID cannot be read") from error
    return Kind(
        name=GuestName(name), uuid=uuid, domain_type=domain_type, type=guest_type, arch=arch
    )


def check_unchanged(there: Kind, wanted: Kind) -> None:
    """Refuse to make one domain into another.

    Raises:
        RefusedError: a field that is fixed at a guest's making differs.

    """
    for field in ("name", "uuid", "domain_type", "type", "arch"):
        old, new = getattr(there, field), getattr(wanted, field)
        if old != new:
            words = field.replace("_", " ")
            raise RefusedError(
                f"domain {there.name}: its {words} is {old} and cannot become {new}; "
                "it is fixed when a guest is made"
            )
