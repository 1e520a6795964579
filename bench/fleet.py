"""Fleets to measure on: manifests by the thousand, and hosts on which all of them are in order."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.manifests.resolve import load
from reconciler.model.definition import Arch, DomainType, GuestType
from reconciler.model.desired import Commit
from reconciler.model.memory import Memory
from reconciler.model.names import HostName, LibvirtPool, Sha
from reconciler.model.observed import ObservedHost, ObservedPool, ObservedWorld
from reconciler.model.policy import Policy
from reconciler.planner import preview

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.desired import DesiredWorld

REPOSITORY = UUID("3a0f6f0e-52a8-4b5e-9d6a-64f1b3f7c901")
GUESTS_PER_HOST = 100
_GIB = 1 << 30

_AROUND = f"""\
apiVersion: domops/v1
kind: Repository
metadata: {{name: bench}}
spec: {{id: {REPOSITORY}}}
"""
_SHARED = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec: {mode: enforce, overcommit: {cpus: 64}}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir}
---
apiVersion: domops/v1
kind: Network
metadata: {name: servers}
spec: {bridge: br0}
---
apiVersion: domops/v1
kind: GuestClass
metadata: {name: small}
spec: {cpus: {count: 1, max: 4}, heal: {after: 60s}}
"""
_HOST = """\
apiVersion: domops/v1
kind: Host
metadata: {{name: {name}}}
spec: {{uri: "{uri}", pool: main}}
"""
_GUEST = """\
apiVersion: domops/v1
kind: Guest
metadata: {{name: {name}, labels: {{service: web, team: "{number}"}}}}
spec:
  host: {host}
  class: small
  type: hvm
  state: {state}
  memory: {{size: {memory}MiB, max: 1GiB}}
  boot: {{firmware: bios, order: [disk, cdrom]}}
  disks:
    - {disk}
    - {{name: cd, cdrom: {{}}}}
  networks:
    - {{name: eth0, network: servers}}
    - {{name: eth1, network: servers}}
  shutdown: {{timeout: 5m, then: wait}}
  update: {{restart: never}}
"""
_VOLUME = "{name: root, size: 4GiB, storage: guests}"
_DRIVE = "{name: cd2, cdrom: {}}"
"""In the place of a volume where there is no room for ten thousand of them."""


def host_name(number: int) -> str:
    """The name of a fleet's host."""
    return f"host-{number:03d}"


def guest_name(number: int) -> str:
    """The name of a fleet's guest."""
    return f"guest-{number:05d}"


def guest(number: int, *, memory: int = 512, running: bool = True, per_host: int) -> str:
    """The manifest of a guest, pinned to its host; memory in MiB."""
    return _GUEST.format(
        name=guest_name(number),
        number=number % 7,
        host=host_name(number // per_host),
        state="running" if running else "stopped",
        memory=memory,
        disk=_VOLUME if running else _DRIVE,
    )


def manifests(
    guests: int, *, uri: str | None = None, per_host: int = GUESTS_PER_HOST
) -> dict[str, str]:
    """Every file of a fleet's repository; with ``uri`` all is on that host, and stopped."""
    per_host = guests if uri is not None else per_host
    hosts = -(-guests // per_host)
    files = {"domops.yaml": _AROUND, "around.yaml": _SHARED}
    for number in range(hosts):
        name = host_name(number)
        address = uri or f"qemu+tls://{name}.example.org/system"
        files[f"hosts/{name}.yaml"] = _HOST.format(name=name, uri=address)
    for number in range(guests):
        text = guest(number, running=uri is None, per_host=per_host)
        files[f"guests/{number // 100:03d}/{guest_name(number)}.yaml"] = text
    return files


def commit(folder: Path, files: Mapping[str, str], subject: str) -> Sha:
    """Write files into a repository, which is made if it is not there, and commit them."""
    if not (folder / ".git").exists():
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    git(folder, "add", *(files if len(files) < 10 else ["--all"]))  # noqa: PLR2004 - few are named
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
    git(folder, *identity, "commit", "--quiet", "--message", subject)
    return Sha(git(folder, "rev-parse", "HEAD"))


def git(folder: Path, *arguments: str) -> str:
    """Run git."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def desired(files: Mapping[str, str], sha: Sha) -> DesiredWorld:
    """The world that the files of a commit want; what follows it must be built on it."""
    told = Commit(sha=sha, author="bench", committed_at=datetime.now(UTC), subject="A fleet")
    resolved = load({path: text.encode() for path, text in files.items()}, commit=told)
    assert resolved.world is not None, resolved.problems[:3]
    return resolved.world


def in_order(world: DesiredWorld) -> dict[HostName, ObservedHost]:
    """Hosts on which everything that ``world`` wants is done."""
    now = datetime.now(UTC)
    empty = ObservedWorld(hosts={name: _empty(name, now) for name in world.hosts})
    done = preview(
        world,
        empty,
        operations=(),
        memory=Memory(departed=()),
        policy=Policy(enforce=True, steps_per_host=1_000_000),
        now=now,
    )
    assert done.converged
    return {host.name: host for host in done.world.answered()}


def _empty(name: HostName, now: datetime) -> ObservedHost:
    pool = ObservedPool(
        name=LibvirtPool("guests"),
        active=True,
        type="dir",
        path="/guests",
        available_bytes=100_000 * _GIB,
        volumes={},
    )
    return ObservedHost(
        name=name,
        uuid=uuid5(REPOSITORY, name),
        answered_at=now,
        domain_type=DomainType.QEMU,
        guest_types=frozenset({(GuestType.HVM, Arch.X86_64)}),
        capabilities=TABLE[Driver.QEMU].capabilities,
        cpus=256,
        memory_kib=1 << 34,
        free_memory_kib=1 << 34,
        pools={pool.name: pool},
        networks={},
        bridges=frozenset({"br0"}),
        guests={},
    )
