"""On a real host: every step that was made can be read afterwards with its reason (promise 9)."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import libvirt
import pytest

from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

DOMOPS = str(Path(sys.executable).parent / "domops")
MIB = 1024  # KiB


def test_what_was_set_by_hand_is_told_from_what_was_committed(tmp_path: Path) -> None:
    """A guest is made, given more memory by a commit, and set back by hand in both ways."""
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("Add dns", {"guests/dns.yaml": guest_manifest("dns")})
        with ground.controller() as opened:
            converge(opened)
            more = ground.repository.commit(
                "Give dns more", {"guests/dns.yaml": guest_manifest("dns", memory=256)}
            )
            converge(opened)
            with contextlib.closing(lab.host.connect()) as connection:
                domain = connection.lookupByName("dns")
                domain.setMemoryFlags(200 * MIB, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
                domain.setAutostart(1)
            converge(opened)
            made = ground.writes
        where = ["--repo", str(ground.repository.folder), "--state-dir", str(ground.state)]
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
