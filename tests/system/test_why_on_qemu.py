"""On a real host: every step that was made can be read, with its reason (promise 9), or watched."""

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import libvirt
import pytest

from reconciler.cli.exits import ExitCode
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

DOMOPS = str(Path(sys.executable).parent / "domops")
MIB = 1024  # KiB


@contextlib.contextmanager
def watching(*arguments: str) -> Iterator[IO[str]]:
    """What a command says that goes on by itself, until the block ends."""
    process = subprocess.Popen([DOMOPS, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == ExitCode.INTERRUPTED
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_what_was_set_by_hand_is_told_from_what_was_committed(tmp_path: Path) -> None:
    """A guest is made, given more memory by a commit, and set back by hand in both ways.

    Both commands that go on watch it from beside, and tell what comes of the commit.
    """
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("Add dns", {"guests/dns.yaml": guest_manifest("dns")})
        with ground.controller() as opened:
            converge(opened)
            where = ["--repo", str(ground.repository.folder), "--state-dir", str(ground.state)]
            config = tmp_path / "domops.toml"
            config.write_text('kernel_prefixes = ["/boot"]\n')
            where += ["--config", str(config)]
            with (
                watching("get", "guests", "--watch", "-o", "wide", *where) as guests,
                watching("events", "-f", "-n", "1", "-o", "json", *where) as events,
            ):
                assert guests.readline().startswith("NAME")
                assert "192 MiB" in guests.readline()
                assert json.loads(events.readline())["items"]
                more = ground.repository.commit(
                    "Give dns more", {"guests/dns.yaml": guest_manifest("dns", memory=256)}
                )
                converge(opened)
                assert any(re.search(r"memory \d+ MiB -> 256 MiB", line) for line in guests)
                told_as_it_happened = (json.loads(line)["items"] for line in events)
                assert any(
                    (one["step"], one["outcome"]) == ("SetMemory", "done")
                    for items in told_as_it_happened
                    for one in items
                )
            with contextlib.closing(lab.host.connect()) as connection:
                domain = connection.lookupByName("dns")
                domain.setMemoryFlags(200 * MIB, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
                domain.setAutostart(1)
            converge(opened)
            made = ground.writes
        told = subprocess.run(
            [DOMOPS, "why", "dns", "-n", "1000", "-o", "json", *where],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        steps = json.loads(told)["steps"]
    assert len(steps) >= 7
    assert made >= len(steps)
    assert {step["outcome"] for step in steps} == {"done"}
    assert all(change["where"] for step in steps for change in step["changes"])
    told_of = [
        (step["cause"], step["step"], step["changes"][0]["field"], step["commit"] == more)
        for step in steps
    ]
    assert ("commit", "DefineGuest", "memory", True) in told_of
    assert ("commit", "SetMemory", "memory", True) in told_of
    assert ("drift", "DefineGuest", "memory", True) in told_of
    assert ("drift", "SetAutostart", "autostart", True) in told_of
