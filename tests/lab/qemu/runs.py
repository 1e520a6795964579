"""The runs of the lab on this machine: who owns which directory, and which owners are dead.

A lab's processes end with their owner. What an aborted run can leave is its directory, and a
sweep removes those of dead owners, and of nobody else.
"""

import json
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "domops-lab-"
OWNER = "owner.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A lab's directory, and the process that made it."""

    directory: Path
    owner_pid: int
    owner_started: str

    @property
    def alive(self) -> bool:
        """Whether the very process that made the lab still runs."""
        return _started(self.owner_pid) == self.owner_started


def sign(directory: Path) -> None:
    """Write into a lab's directory that this process owns it."""
    owner = {"pid": os.getpid(), "started": _started(os.getpid())}
    (directory / OWNER).write_text(json.dumps(owner))


def all_runs() -> list[Run]:
    """Return every lab that has a directory here, whether alive or dead."""
    found = []
    for directory in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        try:
            owner = json.loads((directory / OWNER).read_text())
        except (FileNotFoundError, PermissionError, json.JSONDecodeError):
            continue  # being made, being removed, or another user's: not ours to judge
        found.append(
            Run(directory=directory, owner_pid=owner["pid"], owner_started=owner["started"])
        )
    return found


def sweep() -> list[Run]:
    """Remove what dead runs left, and return them."""
    dead = [run for run in all_runs() if not run.alive]
    for run in dead:
        for recorded in run.directory.glob("*/pid"):
            _end_if_of(run, int(recorded.read_text()))
        shutil.rmtree(run.directory, ignore_errors=True)
    return dead


def _end_if_of(run: Run, pid: int) -> None:
    """Kill the first process of a host, if that number still is what the dead run gave it to."""
    try:
        command = Path("/proc", str(pid), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return
    if os.fsencode(run.directory) in command:
        os.kill(pid, signal.SIGKILL)


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; numbers come again, this does not."""
    try:
        text = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return text.rpartition(")")[2].split()[19]
