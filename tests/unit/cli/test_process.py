"""The command as a process of its own: signals, locks, pipes and terminals."""

import configparser
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.cli.exits import ExitCode
from reconciler.settings import Settings

DOMOPS = str(Path(sys.executable).parent / "domops")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository as ``init`` writes it, with one commit."""
    folder = tmp_path / "vms"
    subprocess.run([DOMOPS, "init", str(folder)], check=True, capture_output=True)
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def line(repository: Path, *arguments: str) -> list[str]:
    """A command line about the repository, with a state directory beside it."""
    where = ["--repo", str(repository), "--state-dir", str(repository.parent / "state")]
    return [DOMOPS, *where, *arguments]


@contextmanager
def running(repository: Path) -> Iterator[subprocess.Popen[str]]:
    """``domops run``, once it has said that the commit is in force."""
    process = subprocess.Popen(line(repository, "run"), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for told in process.stderr:
            if "commit-applied" in told:
                break
        else:
            pytest.fail(f"domops run ended with {process.wait()} before its first pass")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_with_0_when_a_signal_asks_it_to(repository: Path, number: signal.Signals) -> None:
    with running(repository) as process:
        process.send_signal(number)
        assert process.wait(timeout=60) == ExitCode.OK


def test_a_service_manager_is_told_of_readiness_of_life_and_of_the_end(repository: Path) -> None:
    """As systemd asks for it: one datagram each, to the socket that the environment names."""
    address = repository.parent / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(60)
        process = subprocess.Popen(
            line(repository, "run"),
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": str(address)},
        )
        try:
            assert manager.recv(4096).startswith(b"READY=1\n")
            assert manager.recv(4096) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            while (told := manager.recv(4096)) == b"WATCHDOG=1":
                continue
            assert told.startswith(b"STOPPING=1\n")
            assert process.wait(timeout=60) == ExitCode.OK
        finally:
            process.kill()
            process.wait()


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """Checked by systemd's own tool where it is installed; what domops relies on stands in it."""
    unit = Path(__file__).parents[3] / "contrib" / "systemd" / "domops.service"
    parsed = configparser.RawConfigParser(strict=True)
    parsed.read(unit)
    service = parsed["Service"]
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > 60
    grace_s = Settings.model_fields["grace_s"].default
    assert float(service["TimeoutStopSec"]) > grace_s
    assert service["ExecStart"] == "/opt/domops/bin/domops run"
    checker = shutil.which("systemd-analyze")
    if checker is None:
        return
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace("/opt/domops/bin/domops", DOMOPS))
    done = subprocess.run(
        [checker, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False
    )
    assert "domops.service" not in done.stderr, done.stderr


def test_a_second_controller_on_a_state_directory_is_refused(repository: Path) -> None:
    """One sentence that says who has it, and exit code 2; the first goes on."""
    with running(repository) as process:
        second = subprocess.run(
            line(repository, "apply", "--yes"), capture_output=True, text=True, check=False
        )
        assert second.returncode == ExitCode.ERROR
        assert str(process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        assert process.poll() is None


def test_looking_is_possible_beside_a_running_controller(repository: Path) -> None:
    with running(repository):
        done = subprocess.run(
            line(repository, "get", "pools"), capture_output=True, text=True, check=False
        )
        assert done.returncode == ExitCode.OK, done.stderr
        assert "main" in done.stdout


def test_looking_leaves_no_file_behind(repository: Path) -> None:
    """Without a state directory, reading commands make none."""
    for command in (["plan"], ["get", "guests"], ["events"]):
        done = subprocess.run(line(repository, *command), capture_output=True, check=False)
        assert done.returncode == ExitCode.OK, done.stderr
    assert not (repository.parent / "state").exists()


def test_a_reader_that_goes_away_is_no_fault() -> None:
    """``domops schema | head`` ends without a word about it."""
    process = subprocess.Popen([DOMOPS, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == ExitCode.ERROR
    assert told == b""


def on_a_terminal(*command: str, environment: dict[str, str]) -> str:
    """What the command shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", **environment},
    )
    os.close(theirs)
    told = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed: the process has ended
            break
        told += part
    os.close(ours)
    process.wait(timeout=10)
    return told.decode()


@contextmanager
def watched_on_a_terminal(
    repository: Path, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command that goes on by itself on a terminal of 60 columns, and our end of that."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        line(repository, *arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "60", "LINES": "24", "TERM": "xterm", **environment},
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(ours: int, wanted: bytes) -> bytes:
    """What the terminal was told, up to ``wanted``."""
    told = b""
    while wanted not in told:
        ready, _, _ = select.select([ours], [], [], 60)
        assert ready, told
        told += os.read(ours, 4096)
    return told


def read_to_the_end(ours: int) -> bytes:
    """All that the terminal is told until nobody writes to it any more."""
    told = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        assert ready, told
        try:
            told += os.read(ours, 4096)
        except OSError:  # the other end is closed: the process has ended
            return told


def commit(repository: Path, **files: str) -> None:
    """Put the files into pools/ and commit."""
    for name, text in files.items():
        (repository / "pools" / f"{name}.yaml").write_text(text)
    for arguments in (["add", "."], ["commit", "-q", "-m", "more"]):
        subprocess.run(["git", *arguments], cwd=repository, check=True)


LAB = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: NAME}
spec: {mode: warn}
"""
UP = re.compile(rb"\x1b\[1A")
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


@pytest.mark.parametrize("colours", [True, False])
def test_on_a_terminal_a_watched_list_is_drawn_over_itself(
    repository: Path, *, colours: bool
) -> None:
    """A commit is seen without asking again; Ctrl-C leaves the last picture, and the cursor."""
    name = "a-pool-with-a-name-so-long-that-its-row-is-cut"
    environment = {} if colours else {"NO_COLOR": "1"}
    with watched_on_a_terminal(repository, "get", "pools", "--watch", **environment) as (
        process,
        ours,
    ):
        first = read_until(ours, b"main")
        assert HIDE_CURSOR in first
        commit(repository, lab=LAB.replace("NAME", name))
        redrawn = read_until(ours, name.encode())
        assert UP.search(redrawn), "the new picture stands below the old one"
        assert redrawn.count(b"\x1b[2K") >= 3, "every line of the old picture is wiped"
        process.send_signal(signal.SIGINT)
        last = (redrawn + read_to_the_end(ours)).rpartition(UP.findall(redrawn)[-1])[2]
        assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    assert name.encode() in last
    assert b"main" in last
    assert last.rstrip().endswith(SHOW_CURSOR)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", last).decode()
    assert all(len(one) <= 60 for one in text.splitlines()), text
    assert "\N{HORIZONTAL ELLIPSIS}" in text
    assert (re.search(rb"\x1b\[[0-9;]*3[0-7]m", redrawn) is not None) == colours


def test_off_a_terminal_a_watched_list_goes_on_in_plain_lines(repository: Path) -> None:
    process = subprocess.Popen(
        line(repository, "get", "pools", "-w"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("NAME")
        assert process.stdout.readline().startswith("main")
        commit(repository, lab=LAB.replace("NAME", "lab"))
        told = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    finally:
        process.kill()
        process.communicate()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  lab  new: mode warn, hosts 0 of 0 .*\n", told)
    assert rest == ""


def test_followed_events_are_those_of_the_controller_that_runs_beside(repository: Path) -> None:
    """The journal is not there when they are first asked for."""
    state = repository.parent / "state"
    follower = subprocess.Popen(
        line(repository, "events", "--follow", "-o", "json"), stdout=subprocess.PIPE, text=True
    )
    try:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["items"] == []
        assert not state.exists()
        with running(repository):
            told = json.loads(follower.stdout.readline())
            assert "commit-applied" in {one["kind"] for one in told["items"]}
        follower.send_signal(signal.SIGINT)
        assert follower.wait(timeout=60) == ExitCode.INTERRUPTED
    finally:
        follower.kill()
        follower.communicate()


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(
    repository: Path, environment: dict[str, str], *, coloured: bool
) -> None:
    told = on_a_terminal(*line(repository, "get", "pools"), environment=environment)
    assert "enforce" in told
    assert ("\x1b[" in told) == coloured
    piped = subprocess.run(line(repository, "get", "pools"), capture_output=True, check=True)
    assert b"\x1b[" not in piped.stdout


def test_ctrl_c_has_an_exit_code_of_its_own(repository: Path) -> None:
    """Not 1, which would say that there are changes.

    A named pipe in place of the configuration holds the command until somebody writes to it.
    """
    held = repository.parent / "held.toml"
    os.mkfifo(held)
    process = subprocess.Popen(
        line(repository, "plan", "--config", str(held)), stderr=subprocess.PIPE, text=True
    )
    try:
        # Opening a pipe for writing returns once somebody has opened it for reading.
        with held.open("w"):
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    finally:
        process.kill()
        _, told = process.communicate()
    assert told.startswith("domops: interrupted")
