"""Where the story plays: a repository, a private host, a controller as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import libvirt

from reconciler.hypervisor.eventloop import run_event_loop
from tests.demo.telling import StoryBroken
from tests.lab.qemu import Agent, Console, QemuLab

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.lab.qemu import QemuHost

DOMOPS = str(Path(sys.executable).parent / "domops")
_POLL_S = 0.2
# Kernels are files of the host: the controller's own settings say from where they may be taken.
_ENVIRONMENT = {**os.environ, "DOMOPS_KERNEL_PREFIXES": "/boot"}

POOLS = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec:
  mode: enforce
  overcommit: {cpus: 16}
  budget: {deletions: 1}
"""
HOST = """\
apiVersion: domops/v1
kind: Host
metadata: {{name: dom0-a}}
spec:
  uri: "{uri}"
  pool: main
"""
AROUND = """\
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir, libvirtPool: guests}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: images}
spec: {type: dir, libvirtPool: images}
---
apiVersion: domops/v1
kind: Network
metadata: {name: servers}
spec: {bridge: br0}
"""
GUEST = """\
apiVersion: domops/v1
kind: Guest
metadata: {{name: {name}}}
spec:
  pool: main
  type: hvm
  cpus: {{count: {cpus}, max: 2}}
  memory: {{size: {memory}MiB, max: 384MiB}}
  boot:
    kernel: /boot/vmlinuz
    initrd: /boot/initrd.gz
    cmdline: "console=ttyS0 quiet"
  disks:
    - {{name: data, size: {disk}MiB, storage: guests, image: lab.raw}}
  networks:
    - {{name: eth0, network: servers}}
  agent: true
  heal: {{after: 5s}}
"""


def guest_manifest(name: str, *, cpus: int = 1, memory: int = 192, disk: int = 64) -> str:
    """The manifest of one of the story's guests; memory and disk in MiB."""
    return GUEST.format(name=name, cpus=cpus, memory=memory, disk=disk)


class Repository:
    """A real git repository with manifests."""

    def __init__(self, folder: Path) -> None:
        """Make it, empty but for the id that ``domops init`` gives it."""
        self.folder = folder
        folder.mkdir()
        self._git("init", "-q", "-b", "main")
        subprocess.run([DOMOPS, "init", str(folder)], check=True, capture_output=True)

    def commit(self, subject: str, files: dict[str, str | None], *, trailer: str = "") -> str:
        """Write (or with None remove) ``files`` and commit; the commit's name."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content)
        self._git("add", "-A")
        message = subject + (f"\n\n{trailer}" if trailer else "")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def revert(self, commit: str) -> str:
        """``git revert`` of a commit; the new commit's name."""
        self._git("revert", "--no-edit", commit)
        return self.head()

    def head(self) -> str:
        """The name of the newest commit."""
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_AUTHOR_NAME": "mail-team",
            "GIT_AUTHOR_EMAIL": "mail-team@example.org",
            "GIT_COMMITTER_NAME": "mail-team",
            "GIT_COMMITTER_EMAIL": "mail-team@example.org",
        }
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        return done.stdout


class Stage:
    """Lab, repository, controller and consoles; everything goes when it is left."""

    def __init__(self, folder: Path) -> None:
        """Prepare to play in ``folder``."""
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "controller.log"
        self._stack = ExitStack()
        self._controller: subprocess.Popen[bytes] | None = None
        self.consoles: dict[str, Console] = {}

    def __enter__(self) -> Self:
        """Start the host and make the repository."""
        run_event_loop()
        lab = self._stack.enter_context(QemuLab())
        self.host: QemuHost = lab.host
        self.connection: libvirt.virConnect = self.host.connect()
        self._stack.callback(self.connection.close)
        self.repository = Repository(self.folder / "manifests")
        self._stack.callback(self.stop_controller)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything that was started."""
        self._stack.__exit__(kind, error, trace)

    def start_controller(self) -> None:
        """Start ``domops run`` as a process of its own."""
        with self.log.open("ab") as log:
            self._controller = subprocess.Popen(
                [DOMOPS, *self._where(), "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
            )

    @property
    def controller_pid(self) -> int:
        """The number of the controller's process, which must have been started."""
        assert self._controller is not None
        return self._controller.pid

    def stop_controller(self) -> None:
        """Ask the controller to stop, and wait for it."""
        if self._controller is not None:
            self._controller.send_signal(signal.SIGTERM)
            self._controller.wait(timeout=60)
            self._controller = None

    def domops(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one ``domops`` command to its end."""
        return subprocess.run(
            [DOMOPS, *self._where(), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**_ENVIRONMENT, "COLUMNS": "150"},
        )

    def json(self, *arguments: str) -> object:
        """The JSON that one ``domops`` command writes."""
        done = self.domops(*arguments, "-o", "json")
        if not done.stdout:
            message = f"domops {' '.join(arguments)} said nothing but {done.stderr}"
            raise StoryBroken(message)
        return cast("object", json.loads(done.stdout))

    def console(self, guest: str) -> Console:
        """The console of a guest, followed from now on."""
        if guest not in self.consoles:
            console = Console(self.host.uri, guest)
            self.consoles[guest] = self._stack.enter_context(console)
        return self.consoles[guest]

    def agent(self, guest: str) -> Agent:
        """A way into a guest, ready to be used."""
        agent = Agent(self.connection.lookupByName(guest))
        agent.wait()
        return agent

    def until_written(self, act: Callable[[], str], within_s: float = 60.0) -> tuple[str, float]:
        """Do ``act``, and say what it gave and how soon after it libvirt was first written to.

        libvirt's own event is the witness: a stored definition was written.

        Raises:
            StoryBroken: nothing was written in time.

        """
        written: list[float] = []
        heard = threading.Event()

        def note(_connection: object, _domain: object, event: int, *_: object) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_DEFINED and not written:
                written.append(time.monotonic())
                heard.set()

        number = self.connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, note, None
        )
        try:
            given = act()
            acted = time.monotonic()
            if not heard.wait(within_s):
                message = f"nothing was written to the host within {within_s:.0f} s of the commit"
                raise StoryBroken(message)
        finally:
            self.connection.domainEventDeregisterAny(number)
        return given, max(written[0] - acted, 0.0)

    def until(self, what: str, true: Callable[[], bool], within_s: float = 60.0) -> float:
        """Wait until something is so, and say for how many seconds.

        Raises:
            StoryBroken: it did not become so in time.

        """
        began = time.monotonic()
        while not true():
            if self._controller is not None and self._controller.poll() is not None:
                message = f"the controller stopped by itself; its log:\n{self.log.read_text()}"
                raise StoryBroken(message)
            if time.monotonic() - began > within_s:
                message = f"not within {within_s:.0f} s: {what}"
                raise StoryBroken(message)
            time.sleep(_POLL_S)  # hosts and consoles are asked, as a person would
        return time.monotonic() - began

    def _where(self) -> tuple[str, ...]:
        return ("--repo", str(self.repository.folder), "--state-dir", str(self.state))
