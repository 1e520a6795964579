"""Put the rooms together: the one place that picks implementations, and that reads the clock."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from reconciler.controller.departed import Departures
from reconciler.controller.fetching import Fetching
from reconciler.controller.following import Following
from reconciler.controller.lease import Lease, is_held
from reconciler.controller.loop import Controller, Rooms
from reconciler.controller.observing import Observer, Waits
from reconciler.controller.probing import Prober
from reconciler.controller.remembering import Remembering
from reconciler.controller.telling import Teller
from reconciler.controller.wakeups import WakeUps
from reconciler.controller.waking import Waking
from reconciler.controller.worlds import Worlds
from reconciler.errors import DomopsError, RefusedError
from reconciler.executor.executor import Executor
from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.hypervisor.statistics import LibvirtStatistics
from reconciler.journal.journal import Journal
from reconciler.journal.records import Approval
from reconciler.manifests import Allowed
from reconciler.model.crossing import unwatched
from reconciler.model.policy import Policy
from reconciler.model.suspension import Suspension
from reconciler.recording.sight import Latest, Sight
from reconciler.recording.status import STATUS_FILE, StatusFile
from reconciler.source.folder import FolderSource
from reconciler.source.gitrepository import open_repository
from reconciler.source.pinned import PinnedSource
from reconciler.source.signatures import SignatureKind, Signers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from reconciler.controller.results import PassResult
    from reconciler.hypervisor.port import Host, Surveyor
    from reconciler.hypervisor.statistics import StatisticsReader
    from reconciler.model.crossing import Watch
    from reconciler.model.desired import DesiredHost
    from reconciler.model.names import HostName, PlanId
    from reconciler.model.operation import Operation
    from reconciler.model.suspension import Covered
    from reconciler.settings import Settings
    from reconciler.source.port import Source

JOURNAL_FILE = "journal.sqlite"


def _machine_says() -> datetime:
    return datetime.now(UTC)


_LEAST = timedelta(microseconds=1)
_SPEED_AHEAD = 0.9


class Clock:
    """Instants in UTC, each later than the one before, whatever is done to the machine's clock.

    That an answer was asked for *after* a call returned is told by comparing instants, so two of
    them must never be equal, and time must not run backwards within one process. Where the
    machine's clock was set back, this one goes on from its latest instant, a little slower than
    real time, until the machine's has caught up: waits and deadlines still end.
    """

    def __init__(
        self,
        *,
        machine: Callable[[], datetime] = _machine_says,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """``machine`` is a clock that anybody may set, ``tick`` counts seconds whatever they do."""
        self._machine = machine
        self._tick = tick
        self._ticked = tick()
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """Say what time it is."""
        with self._lock:
            ticked = self._tick()
            passed = timedelta(seconds=_SPEED_AHEAD * (ticked - self._ticked))
            self._ticked = ticked
            self._last = max(self._machine(), self._last + max(passed, _LEAST))
            return self._last

    def ahead(self) -> timedelta:
        """How far this is ahead of the machine's clock, which was set back then."""
        return max(self() - self._machine(), timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A controller together with what it stands on."""

    controller: Controller
    journal: Journal
    source: Source
    clock: Callable[[], datetime]
    wakeups: WakeUps
    operations: Callable[[], tuple[Operation, ...]]
    latest: Latest
    doors: Doors
    reader_for: Callable[[DesiredHost], StatisticsReader]


class Doors:
    """The doors to the hosts as they were opened, by name: the newest of each."""

    def __init__(self) -> None:
        self._doors: dict[HostName, Host] = {}

    def put(self, door: Host) -> Host:
        """Keep ``door`` in the place of an older one to the same host."""
        self._doors[door.name] = door
        return door

    def named(self, name: HostName) -> Host:
        """The door to a host that was asked for."""
        return self._doors[name]

    def writes(self) -> dict[HostName, int]:
        """How many writing calls were made through each."""
        return {name: door.writes for name, door in self._doors.copy().items()}


def open_source(
    settings: Settings, *, from_folder: Path | None = None, revision: str | None = None
) -> Source:
    """Open the door to the manifests: the repository, one revision of it, or a folder.

    Raises:
        RefusedError: the address, ref or folder is one that is never used.
        StalledError: there is no repository.
        TransientError: it could not be looked at.

    """
    if from_folder is not None:
        if revision is not None:
            raise RefusedError("a folder has no revisions: give --from or --rev, not both")
        return FolderSource(from_folder)
    repository = open_repository(
        settings.repository,
        ref=settings.ref,
        folder=settings.path,
        state_directory=settings.state_dir,
        signers=_signers(settings),
    )
    return repository if revision is None else PinnedSource(repository, revision)


def _signers(settings: Settings) -> Signers | None:
    if settings.signatures is SignatureKind.NONE or settings.signers is None:
        return None
    return Signers(
        kind=settings.signatures, file=settings.signers, revoked=settings.revoked_signers
    )


@contextlib.contextmanager
def open_controller(  # noqa: PLR0913 - each is one choice of whoever puts a controller together
    settings: Settings,
    *,
    writing: bool,
    from_folder: Path | None = None,
    revision: str | None = None,
    host_for: Callable[[DesiredHost, Callable[[], datetime]], Host] | None = None,
    reader_for: Callable[[DesiredHost, Callable[[], datetime]], StatisticsReader] | None = None,
    policy: Policy | None = None,
    clock: Callable[[], datetime] | None = None,
    crossed: Watch = unwatched,
) -> Iterator[Opened]:
    """Put a controller together, and take it apart when the block ends.

    With ``writing``, the state directory is locked and the journal kept. Without, the journal is a
    copy in memory, no file is written and no lock taken, so it may look while another one works.

    ``crossed`` is for tests that let the controller die; see Note [Crossings] in the model.

    Raises:
        RefusedError: another controller works on the state directory.
        StalledError: the repository or the journal cannot be used until a person acts.
        TransientError: the repository, the state directory or the journal cannot be used now.

    """
    _tune_interpreter()
    if writing and from_folder is not None and settings.signatures is not SignatureKind.NONE:
        raise RefusedError(
            f"{from_folder} is a folder, and nobody can have signed it: the settings ask for"
            f" {settings.signatures} signatures. Commit it, signed, and apply the commit"
        )
    clock = clock or Clock()
    make_host = host_for or partial(libvirt_host, places=settings.overlay_elements, crossed=crossed)
    make_reader = reader_for or libvirt_statistics
    with contextlib.ExitStack() as stack:
        path = settings.state_dir / JOURNAL_FILE
        if writing:
            stack.enter_context(Lease(settings.state_dir))
            journal = Journal.open(path, now=clock())
        else:
            journal = Journal.for_reading(path)
        stack.callback(journal.close)
        if writing:
            Waking(
                journal=journal,
                host_for=lambda host: make_host(host, clock),
                clock=clock,
                patience_s=settings.patience_s,
            ).let_go_on()
        source = open_source(settings, from_folder=from_folder, revision=revision)
        previewed = from_folder or revision
        wakeups = WakeUps(tick=time.monotonic)
        latest, doors = Latest(clock()), Doors()
        observer = Observer(
            host_for=lambda host: doors.put(make_host(host, clock)),
            clock=clock,
            wake=wakeups.put,
            waits=Waits(
                patience_s=settings.patience_s,
                deadline_s=settings.answer_s,
                keep_s=settings.poll_s,
            ),
        )
        executor = Executor(
            journal=journal,
            host_named=observer.host_named,
            clock=clock,
            wake=wakeups.put,
            reading=not writing,
            others_work=lambda: not writing and is_held(settings.state_dir),
            crossed=crossed,
        )
        following = Following(
            source,
            journal,
            clock=clock,
            signed=settings.signatures is not SignatureKind.NONE and previewed is None,
            forwards=previewed is None,
        )
        fetching = Fetching(
            source,
            clock=clock,
            wake=wakeups.put,
            every_s=settings.fetch_s,
            patience_s=settings.patience_s,
        )
        stack.callback(fetching.close)
        rooms = Rooms(
            source=source,
            following=following,
            worlds=Worlds(
                source,
                following=following,
                fetching=fetching,
                clock=clock,
                allowed=Allowed(
                    kernel_prefixes=settings.kernel_prefixes,
                    device_prefixes=settings.device_prefixes,
                    file_prefixes=settings.file_prefixes,
                    overlay_elements=settings.overlay_elements,
                    host_devices=settings.host_devices,
                ),
                last_good=journal.last_good(),
                repository=journal.repository(),
            ),
            observer=observer,
            prober=Prober(clock=clock, wake=wakeups.put),
            executor=executor,
            remembering=Remembering(journal, Departures(source, journal)),
            journal=journal,
            teller=Teller(journal),
            wakeups=wakeups,
        )
        controller = Controller(
            rooms,
            clock=clock,
            ahead=clock.ahead if isinstance(clock, Clock) else timedelta,
            policy=policy or Policy(),
            record=_recorder(settings.state_dir / STATUS_FILE, latest)
            if writing
            else _record_nothing,
            poll_s=settings.poll_s,
        )
        stack.callback(controller.close, grace_s=settings.grace_s)
        yield Opened(
            controller=controller,
            journal=journal,
            source=source,
            clock=clock,
            wakeups=wakeups,
            operations=executor.operations,
            latest=latest,
            doors=doors,
            reader_for=lambda host: make_reader(host, clock),
        )


def _tune_interpreter() -> None:
    """Suit Python to many objects that live long, and to threads that must answer soon.

    A manifest or a definition is a few hundred objects without cycles, so collecting at every 700th
    finds nothing and costs a quarter of a cold load. And a thread that waits for the interpreter
    gets it within half a millisecond, not five: an event has several threads to go through.
    """
    gc.set_threshold(20_000, 50, 50)
    sys.setswitchinterval(0.0005)


def libvirt_host(
    host: DesiredHost,
    clock: Callable[[], datetime],
    *,
    places: tuple[str, ...] = (),
    crossed: Watch = unwatched,
) -> Host:
    """Open the door to a host through libvirt; nothing is connected before it is used."""
    return LibvirtHost(name=host.name, uri=host.uri, clock=clock, places=places, crossed=crossed)


def libvirt_statistics(host: DesiredHost, clock: Callable[[], datetime]) -> StatisticsReader:
    """Open a reader of what the guests of a host use; nothing is connected before it is used."""
    return LibvirtStatistics(name=host.name, uri=host.uri, clock=clock)


def open_surveyor(name: HostName, uri: str) -> Surveyor:
    """Open the door to a host whose guests are to be written down."""
    return LibvirtHost(name=name, uri=uri, clock=Clock())


def approve(settings: Settings, plan_id: PlanId, *, who: str) -> None:
    """Let held acts through, beside a controller that runs or before the next one does.

    Raises:
        TransientError: the journal cannot be written now.
        StalledError: the journal cannot be used until a person acts.

    """
    now = Clock()()
    journal = Journal.beside(settings.state_dir / JOURNAL_FILE)
    try:
        journal.approve(Approval(plan_id=plan_id, who=who, at=now))
    finally:
        journal.close()


@contextlib.contextmanager
def beside(settings: Settings) -> Iterator[Beside]:
    """The journal, for a command beside a controller that runs or before the next one does.

    Raises:
        TransientError: the journal cannot be used now.
        StalledError: the journal cannot be used until a person acts.

    """
    journal = Journal.beside(settings.state_dir / JOURNAL_FILE)
    try:
        yield Beside(journal=journal, state=settings.state_dir, now=Clock()())
    finally:
        journal.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a command may write while another process is the controller."""

    journal: Journal
    state: Path
    now: datetime

    def suspend(
        self, wishes: Iterable[Covered], *, who: str, why: str, until: datetime | None
    ) -> None:
        """Let no further step begin for what is covered."""
        for covered in wishes:
            suspension = Suspension(covered=covered, who=who, why=why, since=self.now, until=until)
            self.journal.suspend(suspension, self.now)

    def resume(self, wishes: Iterable[Covered], *, who: str) -> frozenset[Covered]:
        """Lift suspensions; return those that were known to stand."""
        return frozenset(
            covered for covered in wishes if self.journal.resume(covered, who=who, at=self.now)
        )

    def still_moving(self, wishes: Iterable[Covered]) -> frozenset[Covered]:
        """Those under which a step may still be under way.

        A controller tells when nothing is. Without one, only what one left open can be.
        """
        moving = self.journal.still_moving() & frozenset(wishes)
        if not moving or is_held(self.state):
            return moving
        left = {intent.guest for intent in self.journal.open_intents()}
        return frozenset(
            one for one in moving if (one.name in left if one.is_one_guest else bool(left))
        )


def _recorder(path: Path, latest: Latest) -> Callable[[PassResult], None]:
    status = StatusFile(path)

    def record(result: PassResult) -> None:
        latest.put(_sight(result))
        # Recording may fall silent, but never fail a pass.
        with contextlib.suppress(OSError, DomopsError):
            status.write(
                now=result.now,
                world=result.world,
                observed=result.observed,
                plan=result.plan,
                operations=result.operations,
                problems=result.problems,
            )

    return record


def _sight(result: PassResult) -> Sight:
    """The pass as those who show it are given it: they stand below the controller."""
    standing = result.standing
    return Sight(
        now=result.now,
        took_s=result.took_s,
        world=result.world,
        observed=result.observed,
        plan=result.plan,
        operations=result.operations,
        last_complete=result.look.memory.last_complete if result.look else {},
        head_refused=standing is not None and standing.refused,
        source_failing=standing is None or standing.trouble is not None,
        source_read=standing.read_at if standing is not None else None,
        problems=result.problems,
    )


def _record_nothing(_result: PassResult) -> None:
    """A command that only reads leaves no trace."""
