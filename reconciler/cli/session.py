"""What the commands ask of the rest of the house; ``opening`` answers with the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.bootstrap import open_surveyor
from reconciler.cli.options import Where

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from reconciler.cli.pasts import PastManifest
    from reconciler.cli.picture import Picture
    from reconciler.controller.results import Names
    from reconciler.hypervisor.port import Draft, Surveyor
    from reconciler.journal.causes import Account
    from reconciler.journal.records import Event
    from reconciler.model.checkup import Finding
    from reconciler.model.names import GuestName, HostName, PlanId, Sha
    from reconciler.model.operation import Operation
    from reconciler.model.plan import PlannedStep
    from reconciler.model.suspension import Covered
    from reconciler.source.port import CommitInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """What would be written into which definition, and the picture that says why."""

    picture: Picture
    texts: Mapping[GuestName, Draft]


class Session(Protocol):
    """One repository, its hosts, and one state directory, for as long as a command runs."""

    @property
    def folder(self) -> str:
        """The folder of the manifests inside the repository; empty for its root."""
        ...

    def look(self, *, enforce: bool = False, ahead: bool = True) -> Picture:
        """Read the commit, ask the hosts, plan; make no writing call.

        ``enforce`` plans as ``apply`` would: steps of a pool in mode warn are let through.
        ``ahead`` goes on to the fixpoint; a list of what is needs only the plan as of now.
        """
        ...

    def release(self) -> PlanId | None:
        """The id by which a person lets the newest commit in, if its past keeps it out."""
        ...

    def watch(self, stop: threading.Event) -> Iterator[Picture]:
        """Look, and again whenever something may have changed, until ``stop`` is set.

        A picture is a few seconds old at most; no host is asked oftener than a controller would.
        """
        ...

    def drafts(self) -> Drafts:
        """The texts that ``apply`` would define now; make no writing call."""
        ...

    def examine(self) -> tuple[Finding, ...]:
        """Examine repository, controller and every host; make no writing call."""
        ...

    def events(self, *, limit: int, guest: GuestName | None) -> tuple[Event, ...]:
        """The newest ``limit`` events, oldest first."""
        ...

    def follow(
        self, stop: threading.Event, *, limit: int, guest: GuestName | None
    ) -> Iterator[tuple[Event, ...]]:
        """The newest ``limit`` events, then what comes after them, until ``stop`` is set."""
        ...

    def history(self, asked: Asked) -> History:
        """What the journal knows of steps and of what else happened; asks no host."""
        ...

    def last_manifest(self, guest: GuestName) -> PastManifest | None:
        """The guest's manifest as it was before it was deleted; asks no host."""
        ...

    def approve(self, plan_id: PlanId) -> None:
        """Let the held acts with this id through, in the name of whoever runs the command."""
        ...

    def names(self) -> Names:
        """What git and the journal call guests and pools; asks no host."""
        ...

    def suspend(self, wishes: Collection[Covered], *, why: str, until: datetime | None) -> None:
        """Let no further step begin for these, in the name of whoever runs the command."""
        ...

    def resume(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """Lift suspensions of these names; return those that were known to stand."""
        ...

    def still_moving(self, wishes: Collection[Covered]) -> frozenset[Covered]:
        """Those of the suspended under which a step may still be under way."""
        ...

    def apply(
        self,
        *,
        permits: Callable[[PlannedStep], bool],
        tell: Callable[[Event], None],
        stop: threading.Event,
    ) -> Picture:
        """Carry out what the commit asks for until nothing moves any more, and look again.

        A step that ``permits`` says no to is not begun. ``tell`` is called as things happen.
        When ``stop`` is set, no further step begins; those under way are waited for.
        """
        ...

    def under_way(self) -> tuple[Operation, ...]:
        """The steps under way, with how far each has come; may be asked from any thread."""
        ...

    def run(self, stop: threading.Event) -> None:
        """Keep the hosts as the commits want them until ``stop`` is set."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Opener(Protocol):
    """Opens a session; ``writing`` takes the lock of the state directory."""

    def __call__(
        self,
        where: Where,
        *,
        writing: bool = False,
        from_folder: Path | None = None,
        revision: str | None = None,
    ) -> Session:
        """Open, or raise what is in the way as an error of ours."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Of which part of the past one wants to know; ``commit`` may be the beginning of a name."""

    limit: int
    guest: GuestName | None = None
    since: datetime | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A part of the past: steps with their causes, other events, and who wrote the commits.

    Each oldest first. A commit that the repository does not have any more has no entry.
    """

    accounts: tuple[Account, ...]
    events: tuple[Event, ...] = ()
    commits: Mapping[Sha, CommitInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What a command line is started with: how sessions open, and what was said up front."""

    opener: Opener
    where: Where = field(default_factory=Where)
    surveyor: Callable[[HostName, str], Surveyor] = open_surveyor
    """Opens the door to a host that is to be written down, by its name and URI."""
