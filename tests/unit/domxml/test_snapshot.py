"""Snapshots as XML: what domops signs is read back, and nothing else counts as signed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from reconciler.domxml import read_snapshot, render_snapshot
from reconciler.errors import StalledError
from reconciler.model.mark import Consistency
from reconciler.model.names import SnapshotName, Target
from reconciler.model.observed import Signature

OWNER = UUID("6f1c0d8e-3f63-4a5e-9d3f-1d2f8c8b7a10")
AS_LIBVIRT_TELLS = """<domainsnapshot>
  <name>run</name>
  <description>{description}</description>
  <state>running</state>
  <creationTime>1795500806</creationTime>
  <memory snapshot='{memory}'{file}/>
  <disks>
    <disk name='vda' snapshot='internal'/>
    <disk name='vdb' snapshot='{other}'/>
  </disks>
  <domain type='qemu'><name>g</name><memory unit='KiB'>131072</memory></domain>
</domainsnapshot>"""


def _told(description: str = "", *, memory: str = "internal", other: str = "no") -> str:
    return AS_LIBVIRT_TELLS.format(description=description, memory=memory, other=other, file="")


@pytest.mark.parametrize("consistency", list(Consistency))
def test_a_signature_is_read_back_from_the_description(consistency: Consistency) -> None:
    signature = Signature(owner=OWNER, consistency=consistency)
    asked = render_snapshot(SnapshotName("run"), signature)
    description = asked.partition("<description>")[2].partition("</description>")[0]
    seen = read_snapshot(_told(description))
    assert seen.name == "run"
    assert seen.signature == signature
    assert seen.taken == datetime.fromtimestamp(1795500806, UTC)
    assert (seen.disks, seen.memory, seen.external) == ((Target("vda"),), True, False)


@pytest.mark.parametrize(
    "description",
    [
        "",
        "before I upgrade",
        f"Made by domops (perfect) for repository {OWNER}",
        f"Made by domops (quiesced) for repository {OWNER}, or so I think",
        f"Not Made by domops (quiesced) for repository {OWNER}",
        "Made by domops (quiesced) for repository mine",
    ],
)
def test_what_a_person_wrote_is_no_signature(description: str) -> None:
    assert read_snapshot(_told(description)).signature is None


def test_a_snapshot_beside_the_disks_is_external() -> None:
    assert read_snapshot(_told(other="external")).external
    seen = read_snapshot(_told(memory="external"))
    assert (seen.external, seen.memory) == (True, True)
    assert not read_snapshot(_told(memory="no")).memory


@pytest.mark.parametrize(
    "text",
    [
        "<domain/>",
        "<domainsnapshot/>",
        "<domainsnapshot><name>x</name></domainsnapshot>",
        "<domainsnapshot><creationTime>1</creationTime></domainsnapshot>",
    ],
)
def test_what_is_no_snapshot_is_not_read_as_one(text: str) -> None:
    with pytest.raises(StalledError):
        read_snapshot(text)
