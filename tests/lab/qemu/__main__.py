"""The QEMU lab for a person: ``python -m tests.lab.qemu up | down | ps | shell | sweep``.

``up`` leaves a keeper in the background that owns the lab; ``down`` asks it to let go. Its state
stands in the labs' cache. What tests start does not show here, except in ``sweep``, which removes
what aborted runs left.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

from tests.lab.cache import CHECKOUT, cache_directory
from tests.lab.qemu import LabError, QemuLab, runs
from tests.lab.qemu.namespace import INTO

UP_WITHIN_S = 60.0
DOWN_WITHIN_S = 30.0


class KnownHost(TypedDict):
    """A host of the lab that is up, as its state file tells it."""

    name: str
    uri: str
    tcp_uri: str
    pid: int


class State(TypedDict):
    """The lab that is up."""

    keeper: int
    directory: str
    hosts: list[KnownHost]


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.qemu", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a lab and leave it running")
    up.add_argument("--hosts", type=int, default=1)
    up.add_argument("--network", action="store_true", help="lay a cable to this machine")
    keep = commands.add_parser("keep")  # what `up` leaves in the background
    keep.add_argument("--hosts", type=int, required=True)
    keep.add_argument("--network", action="store_true")
    commands.add_parser("down", help="stop the lab that `up` started")
    commands.add_parser("ps", help="say which hosts there are and what runs on them")
    shell = commands.add_parser("shell", help="open a shell on a host, or run a command there")
    shell.add_argument("host")
    shell.add_argument("run", nargs=argparse.REMAINDER)
    commands.add_parser("sweep", help="remove what runs left whose owner is dead")
    asked = parser.parse_args()
    try:
        return _do(asked)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def _do(asked: argparse.Namespace) -> int:
    match asked.command:
        case "up":
            done = _up(asked.hosts, network=asked.network)
        case "keep":
            done = _keep(asked.hosts, network=asked.network)
        case "down":
            done = _down()
        case "ps":
            done = _ps()
        case "shell":
            done = _shell(asked.host, asked.run)
        case _:
            done = _sweep()
    return done


def _state_file() -> Path:
    return cache_directory() / "qemu-lab.json"


def _running() -> State | None:
    """Return the lab that ``up`` started, if its keeper still lives."""
    try:
        state: State = json.loads(_state_file().read_text())
    except FileNotFoundError:
        return None
    owned = {str(run.directory): run for run in runs.all_runs()}
    run = owned.get(state["directory"])
    return state if run is not None and run.alive else None


def _known() -> State:
    state = _running()
    if state is None:
        raise LabError("no lab is up; start one with: python -m tests.lab.qemu up")
    return state


def _up(hosts: int, *, network: bool) -> int:
    if _running() is None:
        _state_file().unlink(missing_ok=True)
        options = ["--hosts", str(hosts), *(["--network"] if network else [])]
        log = cache_directory() / "qemu-lab.log"
        with log.open("wb") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.qemu", "keep", *options],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + UP_WITHIN_S
        while not _state_file().exists():
            if keeper.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the lab did not come up:\n{log.read_text()}")
            time.sleep(0.05)  # another process, which calls nobody back
    return _ps()


def _keep(hosts: int, *, network: bool) -> int:
    def let_go(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, let_go)
    with contextlib.suppress(KeyboardInterrupt), QemuLab(hosts, network=network) as lab:
        state: State = {
            "keeper": os.getpid(),
            "directory": str(lab.directory),
            "hosts": [
                {
                    "name": host.name,
                    "uri": host.uri,
                    "tcp_uri": host.tcp_uri,
                    "pid": host.namespace.pid,
                }
                for host in lab.hosts
            ],
        }
        written = _state_file().with_suffix(".new")
        written.write_text(json.dumps(state, indent=2))
        written.rename(_state_file())
        while True:
            signal.pause()
    _state_file().unlink(missing_ok=True)
    return 0


def _down() -> int:
    state = _running()
    if state is None:
        print("no lab is up")
        return 0
    os.kill(state["keeper"], signal.SIGTERM)
    deadline = time.monotonic() + DOWN_WITHIN_S
    while _running() is not None:
        if time.monotonic() > deadline:
            raise LabError(f"the lab's keeper, process {state['keeper']}, does not let go")
        time.sleep(0.05)  # another process, which calls nobody back
    return 0


def _ps() -> int:
    for host in _known()["hosts"]:
        print(f"{host['name']}  {host['uri']}  {host['tcp_uri']}", flush=True)
        _enter(host, ["virsh", "list", "--all"])
    return 0


def _shell(name: str, command: list[str]) -> int:
    hosts = {host["name"]: host for host in _known()["hosts"]}
    if name not in hosts:
        raise LabError(f"there is no host {name}; there are {', '.join(hosts)}")
    return _enter(hosts[name], command or ["bash"])


def _enter(host: KnownHost, command: list[str]) -> int:
    return subprocess.call(["nsenter", f"--target={host['pid']}", *INTO, "--", *command])


def _sweep() -> int:
    for run in runs.sweep():
        print(f"removed {run.directory}, left by process {run.owner_pid}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
