"""How much of which of the host's processors a guest gets: ``<cputune>``.

What else stands in it (pins of the emulator and of I/O threads, quotas of single threads) is not
modelled and stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.domxml.document import drop, make, number, only, put, take_out, tell
from reconciler.model.options import CAP_PERIOD_US, Pin, cpu_ranges

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

_ORDINARY_ON_XEN = 256
_PERCENT = 100
_PARTS = re.compile(r"\^?[0-9]{1,5}|[0-9]{1,5}-[0-9]{1,5}", re.ASCII)


def read_pin(domain: Element) -> tuple[Pin, ...]:
    """Return the pins of virtual CPUs; one that cannot be read pins to nothing that is known."""
    found = {
        vcpu: Pin(vcpu=vcpu, cpus=canonical_cpus(element.get("cpuset", "")))
        for element in domain.iterfind("cputune/vcpupin")
        if (vcpu := number(element.get("vcpu"))) is not None
    }
    return tuple(found[vcpu] for vcpu in sorted(found))


def write_pin(domain: Element, wanted: tuple[Pin, ...]) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    if read_pin(domain) == wanted:
        return False
    tune = only(domain, "cputune")
    drop(tune, "vcpupin")
    for pin in wanted:
        put(tune, make("vcpupin", {"vcpu": str(pin.vcpu), "cpuset": pin.cpus}))
    _forget_if_empty(tune)
    return True


def read_weight(domain: Element, kind: Kind) -> int | None:
    """Return the share of processor time, where it is another than the ordinary one."""
    return canonical_weight(number(domain.findtext("cputune/shares")), kind)


def canonical_weight(weight: int | None, kind: Kind) -> int | None:
    """The weight as it is read back: on Xen the ordinary one is the same as none."""
    return None if kind.on_xen and weight == _ORDINARY_ON_XEN else weight


def write_weight(domain: Element, wanted: int | None, kind: Kind) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read_weight(domain, kind) == wanted:
        return False
    tune = only(domain, "cputune")
    tell(tune, "shares", None if wanted is None else str(wanted))
    _forget_if_empty(tune)
    return True


def read_cap(domain: Element) -> int | None:
    """Return the most processor time of all the guest together, in percent of one processor."""
    quota = number(domain.findtext("cputune/global_quota"))
    period = number(domain.findtext("cputune/global_period")) or CAP_PERIOD_US
    return quota * _PERCENT // period or None if quota else None


def write_cap(domain: Element, wanted: int | None) -> bool:
    """Make it as wanted; say whether anything had to be changed."""
    if read_cap(domain) == wanted:
        return False
    tune = only(domain, "cputune")
    quota = None if wanted is None else str(wanted * CAP_PERIOD_US // _PERCENT)
    tell(tune, "global_period", None if wanted is None else str(CAP_PERIOD_US))
    tell(tune, "global_quota", quota)
    _forget_if_empty(tune)
    return True


def canonical_cpus(text: str) -> str:
    """A set of processors as ascending ranges, as libvirt writes it; empty if it says none."""
    chosen: set[int] = set()
    for part in text.replace(" ", "").split(","):
        if not _PARTS.fullmatch(part):
            return ""
        first, _, last = part.removeprefix("^").partition("-")
        span = range(int(first), int(last or first) + 1)
        chosen = chosen.difference(span) if part.startswith("^") else chosen.union(span)
    return cpu_ranges(chosen)


def _forget_if_empty(tune: Element) -> None:
    if not len(tune):
        take_out(tune)
