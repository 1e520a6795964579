"""A running dom0 to work with: ``with Dom0(number=1) as dom0``.

The first start on an image boots it, waits until libvirt answers and saves the machine's state;
every start resumes from such a state, in a second or so, as a host that was never used. What a test
does to a dom0 is therefore gone with it.
"""

import base64
import hashlib
import json
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.cache import only_one
from tests.lab.xen import image, machine, recipe
from tests.lab.xen.errors import LabError
from tests.lab.xen.image import Image
from tests.lab.xen.machine import COMMAND_PORT, LIBVIRT_PORT, Machine

BOOT_PATIENCE_S = 240.0
PROBE_PATIENCE_S = 10.0
PROBE = "import sys, libvirt; libvirt.open(sys.argv[1]).listAllDomains()"
GUEST_LOG = "/var/log/xen/guest-{}.log"


class Host:
    """A dom0 that runs: what can be asked of it."""

    def __init__(self, running: Machine, ports: dict[int, int]) -> None:
        self._machine = running
        self._ports = ports
        self.number = running.number
        self.folder = running.folder
        self.uri = f"xen+tcp://127.0.0.1:{ports[LIBVIRT_PORT]}/system"

    def run(self, command: str, *, timeout_s: float = 60.0) -> str:
        """Run a shell command as root in dom0; return what it printed, refuse if it failed."""
        text, status = self.attempt(command, timeout_s=timeout_s)
        if status:
            raise LabError(f"in dom0 {self.number}, `{command}` ended with {status}: {text}")
        return text

    def attempt(self, command: str, *, timeout_s: float = 60.0) -> tuple[str, int]:
        """Run a shell command as root in dom0; return what it printed and its exit status."""
        address = ("127.0.0.1", self._ports[COMMAND_PORT])
        with socket.create_connection(address, timeout=timeout_s) as line:
            line.sendall(base64.b64encode(command.encode()) + b"\n")
            answer = b"".join(iter(lambda: line.recv(65536), b""))
        text, marker, status = answer.decode(errors="replace").rpartition("\nEXIT ")
        if not marker:
            raise LabError(f"dom0 {self.number} broke off in the middle of `{command}`: {answer!r}")
        return text, int(status)

    def guest_console(self, name: str) -> str:
        """Return all that a guest has printed on its console since it was first started."""
        text, status = self.attempt(f"cat {GUEST_LOG.format(name)}")
        return "" if status else text

    def says(self, name: str) -> list[dict[str, object]]:
        """Return what a guest said about itself, the oldest first."""
        lines = re.findall(r"^SAYS (\{.*\})\s*$", self.guest_console(name), re.MULTILINE)
        return [json.loads(line) for line in lines]

    def console(self) -> str:
        """Return what Xen and dom0 printed; of a resumed one, since it was resumed."""
        return (self._machine.folder / "console").read_text(errors="replace")

    def await_ready(self, patience_s: float = BOOT_PATIENCE_S) -> None:
        """Wait until libvirt answers."""
        deadline = time.monotonic() + patience_s
        while not (self._listens() and self._answers()):
            if time.monotonic() > deadline or self._machine.process() is None:
                last = "\n".join(self.console().splitlines()[-20:])
                raise LabError(f"libvirt of dom0 {self.number} does not answer; it said:\n{last}")
            time.sleep(0.1)  # a machine that boots tells nobody when it is done

    def _listens(self) -> bool:
        # QEMU accepts connections that dom0 does not yet: ask inside, and do not wait long.
        try:
            return self.attempt(f"grep -q :{LIBVIRT_PORT:04X} /proc/net/tcp", timeout_s=2)[1] == 0
        except (OSError, LabError):
            return False

    def _answers(self) -> bool:
        # In a process of its own, because a connection that is never answered cannot be given up.
        probe = subprocess.Popen([sys.executable, "-c", PROBE, self.uri], stderr=subprocess.DEVNULL)
        try:
            return probe.wait(PROBE_PATIENCE_S) == 0
        except subprocess.TimeoutExpired:
            probe.kill()
            probe.wait()
            return False

    def catch_up(self) -> None:
        """Tell a resumed host what it missed: the time, and randomness of its own."""
        noise = base64.b64encode(secrets.token_bytes(32)).decode()
        self.run(f"echo {noise} >/dev/urandom; date -s @{time.time():.0f} >/dev/null")


class Dom0(Host):
    """A dom0 for the length of a ``with``; it never outlives the process that started it."""

    def __init__(self, number: int = 1, say: Callable[[str], None] = lambda _: None) -> None:
        built = image.build(say)
        state = saved_state(built, number, say)
        runs = recipe.cache() / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"dom0-{number}-", dir=runs))
        running = Machine(number=number, folder=folder)
        try:
            running.lay_out(built, state=state)
            self._started = running.start(resume=True, bound=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            super().__init__(running, running.ports())
            self.catch_up()
            self.await_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the machine at once and remove all that it wrote."""
        self._started.end()
        shutil.rmtree(self._machine.folder, ignore_errors=True)


def saved_state(built: Image, number: int, say: Callable[[str], None]) -> Path:
    """Return the folder with a state of this dom0 in which libvirt answers, made if need be."""
    probe = Machine(number=number, folder=Path())
    identity = json.dumps([machine.qemu_version(), probe.command(resume=False)])
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    state = built.folder / f"state-{number}-{key}"
    if state.exists():
        return state
    with only_one(f"xen-state-{number}"):
        if not state.exists():
            for stale in built.folder.glob(f"booting-{number}-*"):
                shutil.rmtree(stale)
            _boot_and_save(built, number, state, say)
    return state


def _boot_and_save(built: Image, number: int, state: Path, say: Callable[[str], None]) -> None:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"booting-{number}-", dir=built.folder))
    booting = Machine(number=number, folder=folder)
    booting.lay_out(built, state=None)
    started = booting.start(resume=False, bound=True)
    try:
        host = Host(booting, booting.ports())
        host.await_ready()
        host.run("sync")
        say(f"dom0 {number} booted in {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        booting.save_memory()
        started.process.wait(machine.START_PATIENCE_S)
        kept = Path(tempfile.mkdtemp(prefix=f"booting-{number}-", dir=built.folder))
        for name in ("memory", "disk.qcow2"):
            (folder / name).rename(kept / name)
        kept.rename(state)
    finally:
        started.end()
        shutil.rmtree(folder, ignore_errors=True)
    say(f"its state saved in {time.monotonic() - began:.1f} s")
