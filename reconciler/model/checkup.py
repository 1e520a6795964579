"""What an examination of hosts and repository found, and what is asked of a host for it alone.

A thing that could not be looked at is ``NOT_CHECKED``: never is silence taken for health.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.names import HostName, LibvirtPool


class Judgement(StrEnum):
    """How a check came out; a ``NOTICE`` is worth knowing and breaks nothing."""

    OK = "ok"
    NOTICE = "notice"
    PROBLEM = "problem"
    NOT_CHECKED = "not checked"


class Check(StrEnum):
    """What is looked at; each is documented in the reference."""

    MANIFESTS = "Manifests"
    COMMIT = "Commit"
    MODES = "Modes"
    DEPARTED = "DepartedHosts"
    STATE_DIRECTORY = "StateDirectory"
    CONTROLLER = "Controller"
    CLOCK = "Clock"
    ANSWERS = "Answers"
    FENCED = "Fenced"
    VERSIONS = "Versions"
    GUEST_TYPES = "GuestTypes"
    ACCELERATION = "Acceleration"
    STORAGE = "Storage"
    IMAGES = "Images"
    NETWORKS = "Networks"
    BOOT_FILES = "BootFiles"
    LOCKING = "Locking"
    AUTOSTART = "Autostart"
    SERVICES = "HostServices"
    DOM0_MEMORY = "Dom0Memory"
    FOREIGN = "Foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one check of one host came out, in a sentence, and what to do about it.

    ``host`` is None for what is about the repository or the controller.
    """

    check: Check
    host: HostName | None
    judgement: Judgement
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a host is asked by a check-up and by no pass.

    Versions are as libvirt writes them (``9.0.0``). ``dom0_memory_kib`` is what Xen's Domain-0 has
    now and may have, None where there is none. ``files`` says of each path that was asked about
    whether it is there, None where the host cannot tell: libvirt sees only what lies in a storage
    pool. ``idle_pools`` and ``idle_networks`` are those that do not start with the host.
    """

    libvirt: str
    hypervisor: str
    dom0_memory_kib: tuple[int, int] | None
    files: Mapping[str, bool | None]
    idle_pools: frozenset[LibvirtPool] = field(default_factory=frozenset)
    idle_networks: frozenset[str] = field(default_factory=frozenset)
