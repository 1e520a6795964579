"""Virtual CPUs: ``<vcpu current='2'>8</vcpu>``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, forget, number, only
from reconciler.errors import StalledError
from reconciler.model.definition import Vcpus

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind


def read(domain: Element, kind: Kind) -> Vcpus:
    """How many there are and can be; without the element libvirt gives one."""
    element = domain.find("vcpu")
    if element is None:
        return Vcpus(count=1, maximum=1)
    maximum = number(element.text)
    count = number(element.get("current")) if "current" in element.attrib else maximum
    if maximum is None or count is None:
        raise StalledError(f"domain {kind.name}: its number of virtual CPUs cannot be read")
    return Vcpus(count=count, maximum=maximum)


def write(domain: Element, wanted: Vcpus, kind: Kind) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    if read(domain, kind) == wanted:
        return False
    element = only(domain, "vcpu")
    element.text = str(wanted.maximum)
    if wanted.count == wanted.maximum:
        forget(element, "current")
    else:
        element.set("current", str(wanted.count))
    # The list of single CPUs says it once more, and libvirt believes it rather than `current`.
    drop(domain, "vcpus")
    return True
