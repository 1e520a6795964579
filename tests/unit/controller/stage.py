"""A stage for the control loop: a real git repository, hosts in memory, a state directory."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from reconciler import bootstrap
from reconciler.errors import TransientError
from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.model.definition import Arch, DomainType, GuestType
from reconciler.model.names import GuestName, HostName, LibvirtPool
from reconciler.model.observed import ObservedGuest, ObservedHost, ObservedPool
from reconciler.model.policy import Policy
from reconciler.settings import Settings
from reconciler.source.signatures import SignatureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.bootstrap import Opened
    from reconciler.controller.results import Converged
    from reconciler.hypervisor.port import Draft, Host
    from reconciler.hypervisor.statistics import StatisticsReader
    from reconciler.journal.records import Event
    from reconciler.model.checkup import Inspection
    from reconciler.model.desired import DesiredHost
    from reconciler.model.operation import Progress
    from reconciler.model.plan import PlannedStep
    from reconciler.model.steps import DefineGuest, Step
    from tests.unit.source.keyrings import Keyring

REPOSITORY = UUID("0d9c1f6e-5b7a-4f0e-8a57-2f3f4c1d9b20")
PATIENT = timedelta(seconds=20)

REPOSITORY_YAML = f"""\
apiVersion: domops/v1
kind: Repository
metadata: {{name: stage}}
spec: {{id: {REPOSITORY}}}
"""

AROUND_YAML = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec: {mode: enforce}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir}
"""

GIB = 1 << 30


def host_yaml(name: str, *, state: str = "active", extra: str = "") -> str:
    """A Host of the pool main."""
    return f"""\
apiVersion: domops/v1
kind: Host
metadata: {{name: {name}}}
spec: {{uri: "qemu+tls://{name}.example.org/system", pool: main, state: {state}{extra}}}
"""


def guest_yaml(name: str, *, memory: str = "512MiB") -> str:
    """A Guest with one disk."""
    return f"""\
apiVersion: domops/v1
kind: Guest
metadata: {{name: {name}}}
spec:
  pool: main
  type: hvm
  cpus: 1
  memory: {{size: {memory}, max: 2GiB}}
  boot: {{firmware: bios, order: [disk]}}
  disks: [{{name: root, size: 1GiB, storage: guests}}]
"""


class GatedHost:
    """A host in memory whose calls can be made to hang; everything else is the host's own."""

    def __init__(self, host: InMemoryHost) -> None:
        self.memory = host
        self.name = host.name
        self.observing = threading.Event()
        self.operating = threading.Event()
        self.came = threading.Event()
        self.fails: Exception | None = None
        self.done: list[Step] = []
        self.looks = 0
        self.observing.set()
        self.operating.set()

    @property
    def writes(self) -> int:
        """As the host counts them."""
        return self.memory.writes

    def observe(self) -> ObservedHost:
        """Observe once the gate is open."""
        self.looks += 1
        self.observing.wait()
        return self.memory.observe()

    def inspect(self, paths: Collection[str]) -> Inspection:
        """Examine once the gate is open."""
        self.observing.wait()
        return self.memory.inspect(paths)

    def draft(self, step: DefineGuest) -> Draft:
        """Draft once the gate is open."""
        self.observing.wait()
        return self.memory.draft(step)

    def carry_out(self, step: Step) -> None:
        """Carry out once the gate is open, or fail as staged."""
        self.came.set()
        self.operating.wait()
        if self.fails is not None:
            raise self.fails
        self.memory.carry_out(step)
        self.done.append(step)

    def progress(self, step: Step) -> Progress | None:
        """As the host says."""
        return self.memory.progress(step)

    def watch(self, notify: Callable[[], None]) -> None:
        """As the host does."""
        self.memory.watch(notify)

    def close(self) -> None:
        """As the host does."""
        self.memory.close()

    def guests(self) -> dict[str, ObservedGuest]:
        """What the host has, by name, whatever it says to domops."""
        return {guest.name: guest for guest in self.memory._host.guests.values()}


def real_time() -> datetime:
    """The time outside."""
    return datetime.now(UTC)


def in_memory(name: str, clock: Callable[[], datetime] = real_time) -> GatedHost:
    """An empty host with one storage pool."""
    pool = ObservedPool(
        name=LibvirtPool("guests"),
        active=True,
        type="dir",
        path="/guests",
        available_bytes=100 * GIB,
        volumes={},
    )
    host = ObservedHost(
        name=HostName(name),
        uuid=uuid5(REPOSITORY, name),
        answered_at=datetime.now(UTC),
        domain_type=DomainType.QEMU,
        guest_types=frozenset({(GuestType.HVM, Arch.X86_64)}),
        capabilities=TABLE[Driver.QEMU].capabilities,
        cpus=8,
        memory_kib=1 << 24,
        free_memory_kib=1 << 24,
        pools={pool.name: pool},
        networks={},
        bridges=frozenset(),
        guests={},
    )
    return GatedHost(InMemoryHost(host, clock=clock))


@dataclass(kw_only=True)
class Stage:
    """Everything that outlives a controller."""

    root: Path
    hosts: dict[str, GatedHost] = field(default_factory=dict)
    patience_s: float = 5
    fetch_s: float = 60
    address: str | None = None
    path: str = ""
    ref: str = "main"
    keys: Keyring | None = None
    ahead: timedelta = timedelta()
    kernel_prefixes: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)
    reader_for: Callable[[DesiredHost, Callable[[], datetime]], StatisticsReader] | None = None

    def now(self) -> datetime:
        """The time on the stage."""
        return real_time() + self.ahead

    @property
    def repository(self) -> Path:
        """Where the manifests are."""
        return self.root / "repository"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "state"

    def git(self, *arguments: str) -> str:
        """Run git in the repository."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.repository, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, message: str, **files: str | None) -> str:
        """Commit files (``guests_web=...`` is guests/web.yaml); None removes one."""
        for name, text in files.items():
            path = self.repository / (name.replace("_", "/", 1) + ".yaml")
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def sign(self, name: str) -> str:
        """Sign the newest commit anew with one of the keys."""
        assert self.keys is not None
        self.git(
            *self.keys.signing[name],
            "commit",
            "--quiet",
            "--amend",
            "--allow-empty",
            "--no-edit",
            "-S",
        )
        return self.git("rev-parse", "HEAD")

    def begin(self, *hosts: str) -> None:
        """Make the repository with an empty pool of ``hosts``."""
        self.repository.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        self.hosts = {name: in_memory(name, self.now) for name in hosts}
        manifests = {f"hosts_{name}": host_yaml(name) for name in hosts}
        self.commit("Begin", domops=REPOSITORY_YAML, around=AROUND_YAML, **manifests)

    def settings(self) -> Settings:
        """Settings for this stage."""
        return Settings(
            repository=self.address or str(self.repository),
            path=self.path,
            ref=self.ref,
            state_dir=self.state,
            patience_s=self.patience_s,
            fetch_s=self.fetch_s,
            grace_s=1,
            signatures=self.keys.kind if self.keys else SignatureKind.NONE,
            signers=self.keys.signers if self.keys else None,
            revoked_signers=self.keys.revoked if self.keys else None,
            kernel_prefixes=self.kernel_prefixes,
        )

    def host_for(self, host: DesiredHost, _clock: Callable[[], datetime]) -> Host:
        """The door to a host of the stage."""
        if host.name not in self.hosts:
            message = f"{host.name} is not on the stage"
            raise TransientError(message)
        return self.hosts[host.name]

    def open(self, *, writing: bool = True) -> AbstractContextManager[Opened]:
        """A controller on this stage, which believes a stop at once."""
        return bootstrap.open_controller(
            self.settings(),
            writing=writing,
            host_for=self.host_for,
            reader_for=self.reader_for,
            policy=Policy(settle_qemu_s=0, settle_xen_s=0),
            clock=self.now,
        )

    def converge(
        self, opened: Opened, permits: Callable[[PlannedStep], bool] | None = None
    ) -> Converged:
        """Make passes until nothing moves."""
        return opened.controller.converge(
            within=PATIENT,
            stop=threading.Event(),
            tell=self.events.append,
            permits=permits,
            patience=timedelta(seconds=3),
        )

    def apply(self) -> Converged:
        """Open, converge, close: as the command does."""
        with self.open() as opened:
            return self.converge(opened)

    def writes(self) -> int:
        """Writing calls made at all hosts together."""
        return sum(host.writes for host in self.hosts.values())

    def looks(self) -> dict[str, int]:
        """How often each host was asked for everything."""
        return {name: host.looks for name, host in self.hosts.items()}

    def where(self, guest: str) -> list[str]:
        """The hosts that have the guest."""
        return [name for name, host in self.hosts.items() if guest in host.guests()]


GUEST = GuestName("web")
