"""The same job done by a peer: Ansible's community.libvirt, "these guests run", nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

_CACHE = Path(__file__).resolve().parents[1] / ".cache" / "bench" / "ansible"
_PACKAGE = "ansible>=9,<12"
"""Comes with the collection community.libvirt."""

_DOMAIN = """\
<domain type="test">
  <name>guest-{number:05d}</name><uuid>{uuid}</uuid>
  <memory unit="MiB">64</memory><vcpu>1</vcpu>
  <os><type arch="x86_64">hvm</type></os>
</domain>
"""
_PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: every guest runs
      community.libvirt.virt:
        name: "guest-{{{{ '%05d' % item }}}}"
        state: running
        uri: "test://{node}"
      loop: "{{{{ range({guests}) | list }}}}"
      loop_control: {{label: "{{{{ item }}}}"}}
"""


def programs() -> Path:
    """Where Ansible's programs are; installed once, into an environment of its own."""
    if not (_CACHE / "bin" / "ansible-playbook").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_CACHE)], check=True)
        python = str(_CACHE / "bin" / "python")
        wanted = [_PACKAGE, "libvirt-python", "lxml"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return _CACHE / "bin"


def nothing_to_do(folder: Path, guests: int) -> tuple[float, str]:
    """Seconds for a play over ``guests`` running guests of libvirt's test driver, and a version.

    The test driver answers faster than any real host, which favours the peer.
    """
    node = folder / "node.xml"
    domains = "".join(
        _DOMAIN.format(number=number, uuid=uuid5(NAMESPACE_DNS, str(number)))
        for number in range(guests)
    )
    node.write_text(f"<node>{domains}</node>")
    play = folder / "play.yaml"
    play.write_text(_PLAY.format(node=node, guests=guests))
    bin_ = programs()
    environment = {
        **os.environ,
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": str(bin_ / "python"),
        "LC_ALL": "C.UTF-8",
    }
    began = time.perf_counter()
    done = subprocess.run(
        [str(bin_ / "ansible-playbook"), "-i", "localhost,", str(play)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "changed=0" in done.stdout, done.stdout[-500:]
    told = subprocess.run(
        [str(bin_ / "ansible"), "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return took_s, told.stdout.splitlines()[0]
