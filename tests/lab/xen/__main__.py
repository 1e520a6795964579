"""The Xen lab by hand: ``python -m tests.lab.xen build | up | down | status | exec COMMAND``.

``up`` starts a dom0 that stays until ``down``; ``--number`` names one of several. Tests start
dom0s of their own and are not disturbed by it.
"""

import argparse
import json
import shutil
import sys
import time

from tests.lab.cache import only_one
from tests.lab.xen import image, recipe
from tests.lab.xen.dom0 import Host, saved_state
from tests.lab.xen.errors import LabError
from tests.lab.xen.machine import Machine


def main() -> int:
    """Carry out one command; a reason why it cannot be goes to the terminal, with status 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.xen", description=__doc__)
    parser.add_argument("--number", type=int, default=1, help="which dom0 (1 to 99)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the image of dom0, if it is not there")
    commands.add_parser("up", help="start a dom0 that stays")
    commands.add_parser("down", help="stop it and remove what it wrote")
    commands.add_parser("status", help="say whether it runs and where libvirt answers")
    commands.add_parser("exec", help="run a shell command in it").add_argument("words", nargs="+")
    given = parser.parse_args()
    try:
        match given.command:
            case "build":
                return _build()
            case "up":
                return _up(given.number)
            case "down":
                return _down(given.number)
            case "status":
                return _status(given.number)
            case _:
                return _exec(given.number, " ".join(given.words))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1


def _standing(number: int) -> Machine:
    return Machine(number=number, folder=recipe.cache() / "standing" / f"dom0-{number}")


def _running(number: int) -> Host:
    machine = _standing(number)
    if machine.process() is None:
        raise LabError(f"dom0 {number} does not run: start it with python -m tests.lab.xen up")
    return Host(machine, machine.ports())


def _build() -> int:
    began = time.monotonic()
    built = image.build(print)
    print(f"{built.folder} is ready, {time.monotonic() - began:.1f} s")
    return 0


def _up(number: int) -> int:
    began = time.monotonic()
    built = image.build(print)
    machine = _standing(number)
    machine.folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(f"xen-standing-{number}"):
        if machine.process() is None:
            state = saved_state(built, number, print)
            shutil.rmtree(machine.folder, ignore_errors=True)
            machine.folder.mkdir()
            machine.lay_out(built, state=state)
            machine.start(resume=True, bound=False)
            host = Host(machine, machine.ports())
            host.catch_up()
            host.await_ready()
            print(f"dom0 {number} is up, {time.monotonic() - began:.1f} s")
    return _status(number)


def _down(number: int) -> int:
    machine = _standing(number)
    machine.kill()
    shutil.rmtree(machine.folder, ignore_errors=True)
    return 0


def _status(number: int) -> int:
    try:
        host = _running(number)
    except LabError as error:
        print(error)
        return 1
    print(json.dumps({"number": number, "uri": host.uri}))
    return 0


def _exec(number: int, command: str) -> int:
    text, status = _running(number).attempt(command, timeout_s=600)
    print(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
