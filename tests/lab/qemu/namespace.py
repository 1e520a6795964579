"""A set of Linux namespaces with one process of ours in them, which lives as long as it is held.

Everything that a lab makes on the machine hangs on such a process: when it goes, the kernel removes
what was in its namespaces. The process goes when the pipe to its standard input closes, and the
kernel closes that too when the owner dies, be it by ``kill -9``.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.lab.qemu import inside
from tests.lab.qemu.errors import LabError

GOING_TAKES_AT_MOST_S = 20.0

# The root is named on its own: where this machine itself is a chroot, the mount namespace's first
# root is not the host's, and a command that landed there would touch what it must not see.
INTO = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]


class Namespace:
    """Namespaces of their own for the network, mounts, processes, host name and IPC."""

    def __init__(self, orders: inside.Orders) -> None:
        """Make the namespaces, and in them a process that waits for ``go``."""
        self.directory = Path(orders["directory"])
        self._log = self.directory / "inside.log"
        written = self.directory / "orders.json"
        written.write_text(json.dumps(orders))
        separate = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child=KILL"]
        script = [sys.executable, "-I", inside.__file__, str(written)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", *separate, "--", *script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                # Ctrl-C on the terminal is for the owner, who then lets go in good order.
                start_new_session=True,
            )
        self.pid = int(self._line())

    def go(self) -> None:
        """Let the first process start what it was ordered to start."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"g")

    def wait_until_ready(self) -> None:
        """Return when everything inside is running."""
        self._line()

    @property
    def alive(self) -> bool:
        """Whether the first process is still there."""
        return self._process.poll() is None

    def run(self, command: Sequence[str], *, given: str | None = None) -> str:
        """Run a command in all of the namespaces and return what it printed."""
        return self._enter(INTO, command, given)

    def ip(self, *commands: str) -> None:
        """Run ``ip`` commands in the network namespace, with the machine's own ``ip``."""
        self._enter(["--net"], ["ip", "-batch", "-"], "".join(f"{line}\n" for line in commands))

    def end(self) -> None:
        """Let go, and return when every process inside is gone."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(GOING_TAKES_AT_MOST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def crash(self) -> None:
        """End everything inside at once and without warning, as a power failure does."""
        self._process.kill()
        self.end()

    def _enter(self, which: Sequence[str], command: Sequence[str], given: str | None) -> str:
        nsenter = shutil.which("nsenter") or "/usr/bin/nsenter"
        done = subprocess.run(
            [nsenter, f"--target={self.pid}", *which, "--", *command],
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise LabError(f"{' '.join(command)} ended with {done.returncode}: {said}")
        return done.stdout

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            read = self._process.stdout.read(1)
            if not read:
                self.end()
                why = self._log.read_text().strip() or "it said nothing"
                raise LabError(f"a lab host did not start: {why}")
            line += read
        return line.decode().strip()
