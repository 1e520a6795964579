"""The command as a process of its own: signals, locks, pipes and terminals."""

import configparser
import os
import pty
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
