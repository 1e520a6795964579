"""The port to one host's hypervisor: it speaks definitions and steps, and text only to be read.

The in-memory host, libvirt's test driver, QEMU and Xen all stand behind it and pass the same suite,
``tests/contract``. Both calls block; who calls them gives them a thread and a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from uuid import UUID

    from reconciler.domxml import Outline
    from reconciler.model.checkup import Inspection
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedHost
    from reconciler.model.operation import Progress
    from reconciler.model.steps import DefineGuest, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The stored text of a domain as it is (empty where there is none), and as it would be."""

    stored: str
    defined: str


class Host(Protocol):
    """One host. Contract: ``tests/contract/test_host.py``."""

    @property
    def name(self) -> HostName:
        """The name of the host's manifest."""
        ...

    @property
    def writes(self) -> int:
        """How many writing calls were made at the hypervisor since this object exists."""
        ...

    def observe(self) -> ObservedHost:
        """Ask the host for everything; the answer is whole or there is none.

        Makes no writing call. ``state_since`` of each guest is None: remembering is the caller's.

        Raises:
            TransientError: the host did not answer, or not in full.
            StalledError: the host answers but cannot be used until a person acts.

        """
        ...

    def inspect(self, paths: Collection[str]) -> Inspection:
        """Ask what a check-up wants to know beside an observation; makes no writing call.

        ``paths`` are files of the host that guests boot from.

        Raises:
            TransientError: the host did not answer, or not in full.
            StalledError: the host answers but cannot be used until a person acts.

        """
        ...

    def draft(self, step: DefineGuest) -> Draft:
        """The text that ``step`` would define, for people to read; makes no writing call.

        Secrets are not asked for, so neither text has any.

        Raises:
            TransientError: the host did not answer.
            StalledError: the text cannot be read, or a volume has no path on this host.
            RefusedError: the hypervisor has no words for the definition.

        """
        ...

    def carry_out(self, step: Step) -> None:
        """Make the step's obligation true, or raise and say what was left.

        What is true already is left alone and succeeds. Returns when the hypervisor has taken the
        request: a guest that was asked to shut down or to change its balloon may take its time, and
        whether it followed is seen by observing.

        Raises:
            TransientError: it did not happen; trying again after looking again may help.
            StalledError: it cannot happen until a person or a commit changes something.
            RefusedError: the host's driver cannot do it, and nothing was tried.
            UnknownOutcomeError: the call was cut; whether it took effect is not known.

        """
        ...

    def progress(self, step: Step) -> Progress | None:
        """How far a step has come that is being carried out; None where nobody can tell.

        Makes no writing call, and does not wait for the step.

        Raises:
            TransientError: the host did not answer.
            StalledError: the host answers but cannot be used until a person acts.

        """
        ...

    def watch(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` (from any thread, without data) whenever something happened here."""
        ...

    def close(self) -> None:
        """Let go of all connections; the object is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeGuest:
    """A guest read from a file of its hypervisor's own; ``uuid_said``: the file names its UUID."""

    definition: GuestDefinition
    outline: Outline
    uuid_said: bool


class Surveyor(Protocol):
    """What writing down a host's guests asks of the host; it makes no writing call."""

    def observe(self) -> ObservedHost:
        """Ask the host for everything, as ``Host.observe`` does."""
        ...

    def outlines(self) -> Mapping[UUID, Outline]:
        """What no field models of each stored definition, secrets left out.

        Raises:
            TransientError: the host did not answer.

        """
        ...

    def read_xl(self, config: str) -> NativeGuest:
        """The guest of an xl configuration file, as this host's libvirt understands it.

        Raises:
            TransientError: the host did not answer.
            RefusedError: it is no Xen host.
            StalledError: the file cannot be read.

        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...
