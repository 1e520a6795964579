"""The overlay: elements of domain XML that no field models, and the places where they may stand.

An overlay only ever adds whole elements. A *place* is the name of an element right below
``<domain>`` (``pm``), or right below one of its groups (``devices/sound``, ``features/hyperv``).
Which places are open is the controller's setting; some can be opened by nobody, because what stands
there names something of the host, is the guest's identity, or is a field's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

GROUPS: Final = ("blkiotune", "clock", "cputune", "devices", "features", "memtune")
"""Elements below ``<domain>`` whose children are places; the group itself is none."""

SINGLE: Final = frozenset({"devices/iommu", "devices/memballoon", "devices/vsock"})
"""Devices of which a guest has at most one; outside of ``devices`` that is the rule."""

_PROGRAM = "names a program of the host"
_STOPS = "decides what follows when a guest stops, which domops does"
_DOOR = "is a door between the guest and its host"
_HANDS_OVER = "hands something of the host over to the guest"

NEVER: Final[Mapping[str, str]] = {
    "name": "is the guest's identity (metadata.name)",
    "uuid": "is the guest's identity (metadata.uuid)",
    "genid": "is the guest's identity",
    "title": "is a text about the guest; metadata.labels says such things",
    "description": "is a text about the guest; metadata.labels says such things",
    "metadata": "is where domops keeps its mark, and others theirs",
    "sysinfo": "gives the guest another identity",
    "seclabel": "takes the guest out of its confinement",
    "launchSecurity": "decides whom the guest's memory is shown to",
    "resource": "names a control group of the host",
    "idmap": "maps users of the host",
    "bootloader": _PROGRAM,
    "bootloader_args": _PROGRAM,
    "commandline": _PROGRAM,
    "os": "is spec.boot",
    "memory": "is spec.memory",
    "currentMemory": "is spec.memory",
    "maxMemory": "is spec.memory",
    "memoryBacking": "is spec.memory, and can name files of the host",
    "numatune": "is spec.memory",
    "vcpu": "is spec.cpus",
    "vcpus": "is spec.cpus",
    "cpu": "is spec.cpus",
    "cputune/shares": "is spec.cpus",
    "cputune/period": "is spec.cpus",
    "cputune/quota": "is spec.cpus",
    "cputune/global_period": "is spec.cpus",
    "cputune/global_quota": "is spec.cpus",
    "cputune/vcpupin": "is spec.cpus",
    "on_poweroff": _STOPS,
    "on_reboot": _STOPS,
    "on_crash": _STOPS,
    "on_lockfailure": _STOPS,
    "devices/emulator": _PROGRAM,
    "devices/disk": "is spec.disks",
    "devices/interface": "is spec.networks",
    "devices/console": f"{_DOOR} (spec.console is the one there is)",
    "devices/serial": f"{_DOOR} (spec.console is the one there is)",
    "devices/parallel": _DOOR,
    "devices/channel": f"{_DOOR} (spec.agent is the one there is)",
    "devices/graphics": f"{_DOOR} (spec.graphics is the one there is)",
    "devices/video": "is spec.graphics",
    "devices/redirdev": _DOOR,
    "devices/redirfilter": _DOOR,
    "devices/smartcard": _DOOR,
    "devices/crypto": _DOOR,
    "devices/filesystem": _HANDS_OVER,
    "devices/hostdev": _HANDS_OVER,
    "devices/lease": _HANDS_OVER,
    "devices/memory": _HANDS_OVER,
    "devices/nvram": _HANDS_OVER,
    "devices/shmem": _HANDS_OVER,
    "devices/rng": "is spec.rng",
    "devices/tpm": "is spec.tpm",
    "devices/watchdog": "is spec.watchdog",
}
"""Places that no setting opens, and why: read as ``<PLACE> …``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlElement:
    """An element without a namespace; ``attributes`` are sorted, blanks around ``text`` are off."""

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""
    children: tuple[XmlElement, ...] = ()

    def covers(self, other: XmlElement) -> bool:
        """Whether everything that ``other`` says is said here too, maybe among more.

        libvirt completes what it is given: a slot, a default, an attribute.
        """
        if self.tag != other.tag or (other.text and self.text != other.text):
            return False
        if not set(other.attributes) <= set(self.attributes):
            return False
        left = list(self.children)
        for child in other.children:
            found = next((one for one in left if one.covers(child)), None)
            if found is None:
                return False
            left.remove(found)
        return True

    @property
    def size(self) -> int:
        """How much it says: its elements, attributes and texts."""
        own = 1 + len(self.attributes) + bool(self.text)
        return own + sum(child.size for child in self.children)

    def __str__(self) -> str:
        """As XML on one line."""
        start = "".join(f" {name}={quoteattr(value)}" for name, value in self.attributes)
        inside = escape(self.text) + "".join(map(str, self.children))
        return f"<{self.tag}{start}>{inside}</{self.tag}>" if inside else f"<{self.tag}{start}/>"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayElement:
    """One element and its place; ``group`` is empty right below ``<domain>``."""

    group: str
    element: XmlElement

    @property
    def place(self) -> str:
        """``devices/sound``, ``pm``."""
        return f"{self.group}/{self.element.tag}" if self.group else self.element.tag

    def covers(self, other: OverlayElement) -> bool:
        """Whether it stands where ``other`` stands and says all that ``other`` says."""
        return self.group == other.group and self.element.covers(other.element)

    def excludes(self, other: OverlayElement) -> bool:
        """Whether the two cannot both be there, as a guest has only one such thing."""
        if self.place != other.place:
            return False
        if self.group == "devices" and self.place not in SINGLE:
            return False
        mine, theirs = dict(self.element.attributes), dict(other.element.attributes)
        return mine.get("name") == theirs.get("name")  # a clock has many timers, by name


def in_order(elements: tuple[OverlayElement, ...]) -> tuple[OverlayElement, ...]:
    """Sort by place, then by what is said."""
    return tuple(sorted(elements, key=lambda one: (one.place, str(one.element))))


def closed(place: str) -> str | None:
    """Why nobody can open ``place``; None if a setting may."""
    group, _, tag = place.rpartition("/")
    if group in NEVER:
        return NEVER[group]
    if place in NEVER:
        return NEVER[place]
    if place in GROUPS:
        return f"is a group: name what may stand in it, as in {place}/NAME"
    if not _NAME.fullmatch(tag) or (group and group not in GROUPS):
        return f"is no place: an element of a domain, or of {', '.join(GROUPS)}"
    return None
