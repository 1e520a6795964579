"""Real ground for system tests: a repository for a lab's host, and controllers that are counted."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt

from reconciler.bootstrap import Clock, Opened, libvirt_host, open_controller
from reconciler.controller.results import Converged
from reconciler.hypervisor.port import Host
from reconciler.model.desired import DesiredHost
from reconciler.model.policy import Policy
from reconciler.settings import Settings
from tests.demo.stage import AROUND, HOST, POOLS, Repository
from tests.lab.qemu import QemuHost

WITHIN = timedelta(seconds=120)

STORED = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE

# By hand: what is foreign must not come from what is under test.
FOREIGN = """
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/boot/vmlinuz</kernel>
    <initrd>/boot/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <serial type='pty'/>
    <console type='pty'/>
  </devices>
</domain>
"""


@dataclass(kw_only=True)
class Ground:
    """A host of a lab, and a repository and a state directory for it."""

    host: QemuHost
    repository: Repository
    state: Path
    places: tuple[str, ...] = ()
    """Where overlays may add elements."""

    host_devices: tuple[str, ...] = ()
    """Devices of the host that guests may have."""

    patience_s: float = 30
    """How long a pass waits for an answer."""

    poll_s: float = 30
    """How old what a host said may be."""

    clock: Clock = field(default_factory=Clock)
    doors: list[Host] = field(default_factory=list)

    def settings(self) -> Settings:
        """The settings of this ground's controllers."""
        return Settings(
            repository=str(self.repository.folder),
            state_dir=self.state,
            patience_s=self.patience_s,
            poll_s=self.poll_s,
            kernel_prefixes=("/boot",),
            device_prefixes=("/dev",),
            file_prefixes=("/srv/shared",),
            overlay_elements=self.places,
            host_devices=self.host_devices,
        )

    @contextmanager
    def controller(self, policy: Policy | None = None) -> Iterator[Opened]:
        """A new controller on the same repository, host and state directory."""
        self.doors.clear()
        with open_controller(
            self.settings(),
            writing=True,
            host_for=self._counted,
            policy=policy,
            clock=self.clock,
        ) as opened:
            yield opened

    @property
    def writes(self) -> int:
        """Writing calls that the newest controller made; it must have opened a door to say so."""
        assert self.doors, "no host was asked for anything"
        return sum(door.writes for door in self.doors)

    def stored(self) -> dict[str, str]:
        """The stored XML of every domain of the host, secrets included, by name."""
        with closing(self.host.connect()) as connection:
            return {one.name(): str(one.XMLDesc(STORED)) for one in connection.listAllDomains()}

    def running(self) -> dict[str, int]:
        """The running domains; a restart gives another number."""
        with closing(self.host.connect()) as connection:
            return {one.name(): one.ID() for one in connection.listAllDomains() if one.isActive()}

    def _counted(self, host: DesiredHost, clock: Callable[[], datetime]) -> Host:
        door = libvirt_host(host, clock, places=self.places)
        self.doors.append(door)
        return door


def clock_ahead(span: timedelta) -> Clock:
    """A clock that is so far ahead of the machine's."""
    return Clock(machine=lambda: datetime.now(UTC) + span)


GENEROUS = POOLS.replace("deletions: 1", "deletions: 100, restarts: 100, percent: 100")
"""A pool in which nothing is held that a test asks for."""


def begin(folder: Path, host: QemuHost, *, pools: str = GENEROUS, uri: str | None = None) -> Ground:
    """A repository that knows ``host``, by its own URI or another, and no guest."""
    repository = Repository(folder / "manifests")
    around: dict[str, str | None] = {
        "pools/main.yaml": pools,
        "hosts/dom0-a.yaml": HOST.format(uri=uri or host.uri),
        "around.yaml": AROUND,
    }
    repository.commit("A host without guests", around)
    return Ground(host=host, repository=repository, state=folder / "state")


def converge(opened: Opened) -> Converged:
    """Make passes until nothing moves, as ``domops apply`` does."""
    done = opened.controller.converge(
        within=WITHIN, stop=threading.Event(), tell=lambda _: None, patience=timedelta(seconds=20)
    )
    assert done.complete
    assert done.last.problems == (), done.last.problems
    return done
