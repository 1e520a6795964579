"""Small worlds for the tests of the command line: real manifests, hosts moved by effects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from reconciler.cli.page import Page
from reconciler.cli.picture import Picture
from reconciler.manifests.resolve import load
from reconciler.model.definition import Arch, DiskFormat, DomainType, GuestType
from reconciler.model.desired import Commit, DesiredWorld
from reconciler.model.memory import Memory
from reconciler.model.names import HostName, LibvirtPool, Sha, VolumeName
from reconciler.model.observed import (
    Capabilities,
    ObservedHost,
    ObservedPool,
    ObservedVolume,
    ObservedWorld,
    SilentHost,
)
from reconciler.model.policy import Policy
from reconciler.planner import preview

NOW = datetime(2026, 3, 4, 17, 30, 0, tzinfo=UTC)
WIDE = Page(now=NOW, zone=UTC, width=100, plain=False)
PLAIN = Page(now=NOW, zone=UTC)

REPOSITORY = """\
apiVersion: domops/v1
kind: Repository
metadata: {name: centre}
spec: {id: 6f1c0d8e-3f63-4a5e-9d3f-1d2f8c8b7a10}
"""

HOSTS = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec: {mode: MODE, budget: {deletions: 1}}
---
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-a}
spec: {uri: "qemu+tls://dom0-a.example.org/system", pool: main}
---
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-b}
spec: {uri: "qemu+tls://dom0-b.example.org/system", pool: main}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir, libvirtPool: default}
---
apiVersion: domops/v1
kind: Network
metadata: {name: servers}
spec: {bridge: br0}
"""

GUEST = """\
apiVersion: domops/v1
kind: Guest
metadata: {name: NAME}
spec:
  host: HOST
  cpus: CPUS
  memory: MEMORY
  boot: {firmware: bios, order: [disk]}
  disks:
    - {name: root, size: DISK, storage: guests}
  networks:
    - {name: eth0, network: servers}
"""


def guest(
    name: str,
    *,
    host: str = "dom0-a",
    cpus: str = "{count: 1, max: 2}",
    memory: str = "{size: 1GiB, max: 4GiB}",
    disk: str = "4GiB",
    more: str = "",
) -> tuple[str, str]:
    """The path and text of a guest's manifest; ``more`` are further lines of its spec."""
    text = GUEST
    for word, value in (
        ("NAME", name),
        ("HOST", host),
        ("CPUS", cpus),
        ("MEMORY", memory),
        ("DISK", disk),
    ):
        text = text.replace(word, value)
    return f"guests/{name}.yaml", text + more


def wish(*guests: tuple[str, str], mode: str = "enforce") -> DesiredWorld:
    """The desired world with these guests, as a commit of two minutes ago."""
    texts = {"domops.yaml": REPOSITORY, "hosts.yaml": HOSTS.replace("MODE", mode), **dict(guests)}
    resolved = load(
        {path: text.encode() for path, text in texts.items()},
        commit=Commit(
            sha=Sha("8c2f1e4ad0b1c2d3e4f5061728394a5b6c7d8e9f"),
            author="mail-team",
            committed_at=NOW - timedelta(minutes=2),
            subject="Give lists more memory",
        ),
    )
    assert resolved.world is not None, "\n".join(str(problem) for problem in resolved.problems)
    return resolved.world


def host(name: str) -> ObservedHost:
    """A host that answered and has no guests."""
    volume = ObservedVolume(
        name=VolumeName("debian.qcow2"),
        path="/images/debian.qcow2",
        capacity_bytes=2 << 30,
        allocation_bytes=1 << 30,
        format=DiskFormat.QCOW2,
    )
    pool = LibvirtPool("default")
    return ObservedHost(
        name=HostName(name),
        uuid=UUID(int=sum(name.encode())),
        answered_at=NOW - timedelta(seconds=1),
        domain_type=DomainType.QEMU,
        guest_types=frozenset({(GuestType.HVM, Arch.X86_64)}),
        capabilities=Capabilities(
            vcpu_hotplug=True,
            vcpu_unplug=False,
            memory_balloon=True,
            disk_hotplug=True,
            nic_hotplug=True,
            nic_change=True,
            media_change=True,
            grow_running_disk=True,
            grow_stopped_volume=True,
            disk_limits=True,
            volume_sources=True,
            volume_upload=True,
            agent=True,
            snapshots=True,
            pin_running=True,
            share_running=False,
        ),
        cpus=16,
        memory_kib=64 << 20,
        free_memory_kib=48 << 20,
        pools={
            pool: ObservedPool(
                name=pool,
                active=True,
                type="dir",
                path="/var/lib/libvirt/images",
                available_bytes=1 << 40,
                volumes={volume.name: volume},
            )
        },
        networks={},
        bridges=frozenset({"br0"}),
        guests={},
    )


def bare() -> ObservedWorld:
    """Two hosts without guests."""
    return ObservedWorld(hosts={HostName(name): host(name) for name in ("dom0-a", "dom0-b")})


def made(world: DesiredWorld, before: ObservedWorld | None = None) -> ObservedWorld:
    """The hosts once everything in ``world`` was carried out, a day ago."""
    then = preview(
        world,
        before or bare(),
        operations=(),
        memory=REMEMBERED,
        policy=Policy(enforce=True),
        now=NOW - timedelta(days=1),
    )
    assert then.converged
    return then.world


REMEMBERED = Memory(departed=())
"""The memory of a controller that knows that no host has left."""


def silent(observed: ObservedWorld, name: str, why: str) -> ObservedWorld:
    """The same, with one host that did not answer for four minutes."""
    quiet = SilentHost(name=HostName(name), why=why, since=NOW - timedelta(minutes=4))
    return replace(observed, hosts={**observed.hosts, HostName(name): quiet})


def picture(
    world: DesiredWorld,
    observed: ObservedWorld,
    *,
    enforce: bool = False,
    problems: tuple[str, ...] = (),
) -> Picture:
    """What a command would have learnt."""
    seen = preview(
        world,
        observed,
        operations=(),
        memory=REMEMBERED,
        policy=Policy(enforce=enforce, approvals=world.approvals),
        now=NOW,
    )
    return Picture(
        source="main",
        world=world,
        observed=observed,
        plan=seen.first,
        expected=seen.changes,
        steps=tuple(step for _, step in seen.steps),
        converges=seen.converged,
        problems=problems,
    )
