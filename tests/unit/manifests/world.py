"""A small good world in text, to be changed by the test at hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.manifests import Resolved, load
from reconciler.model.desired import Commit
from reconciler.model.names import GuestName, Sha

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.desired import DesiredGuest, DesiredWorld

COMMIT = Commit(
    sha=Sha("0" * 40), author="A Tester", committed_at=datetime(2025, 1, 1, tzinfo=UTC), subject="-"
)
REPOSITORY = "7f6c0f0e-5d1f-4f57-9a34-6a8b6f8b2c11"

BASE: Mapping[str, bytes] = {
    "domops.yaml": f"""\
apiVersion: domops/v1
kind: Repository
metadata: {{name: test}}
spec: {{id: {REPOSITORY}}}
""".encode(),
    "base.yaml": b"""\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec: {}
---
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-a}
spec: {uri: "xen+tls://dom0-a.example.org/system", pool: main}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir}
---
apiVersion: domops/v1
kind: Storage
metadata: {name: images}
spec: {type: dir}
---
apiVersion: domops/v1
kind: Network
metadata: {name: servers}
spec: {bridge: br120}
""",
}


def guest(spec: str, *, name: str = "lists", kind: str = "Guest") -> bytes:
    """A manifest of ``kind`` with ``spec`` as its lines below ``spec:``."""
    lines = "".join(f"  {line}\n" for line in spec.strip().splitlines())
    heading = f"apiVersion: domops/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"
    return (heading + lines).encode()


PLAIN = """\
pool: main
type: hvm
cpus: 1
memory: 1GiB
"""
"""The least that a guest says."""


def resolved(**files: bytes) -> Resolved:
    """Load the base with ``files``; ``lists=b"..."`` becomes ``lists.yaml``."""
    return load({**BASE, **{f"{name}.yaml": text for name, text in files.items()}}, commit=COMMIT)


def world_of(**files: bytes) -> DesiredWorld:
    """Load what has no problem."""
    found = resolved(**files)
    assert found.problems == ()
    assert found.world is not None
    return found.world


def guest_of(spec: str, **files: bytes) -> DesiredGuest:
    """The guest ``lists`` with ``spec``."""
    return world_of(lists=guest(spec), **files).guests[GuestName("lists")]
