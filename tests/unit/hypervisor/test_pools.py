"""What volumes said of themselves is remembered for a while, and no longer than it may be."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.hypervisor.eventloop import run_event_loop
from reconciler.hypervisor.pools import VolumeMemo, observe_pools
from reconciler.model.names import LibvirtPool, VolumeName

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GUESTS = LibvirtPool("guests")
NODE = """\
<node>
  <pool type='dir'>
    <name>guests</name>
    <target><path>/guests</path></target>
    <volume type='file'>
      <name>web</name><capacity>1000000</capacity><allocation>0</allocation>
      <target><path>/guests/web</path></target>
    </volume>
  </pool>
</node>
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[libvirt.virConnect]:
    """A node of the test driver with one pool and one volume."""
    run_event_loop()
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with closing(libvirt.open(f"test://{node}")) as connection:
        yield connection


def make(host: libvirt.virConnect, name: str, capacity: int) -> None:
    pool = host.storagePoolLookupByName(GUESTS)
    pool.createXML(
        f"<volume><name>{name}</name><capacity>{capacity}</capacity></volume>",
    )


def seen(host: libvirt.virConnect, memo: VolumeMemo, seconds: int) -> dict[str, int]:
    """The volumes and their sizes, so many seconds after noon."""
    pools = observe_pools(host, memo, NOON + timedelta(seconds=seconds)).pools
    return {name: one.capacity_bytes for name, one in pools[GUESTS].volumes.items()}


def remade(host: libvirt.virConnect, name: str, capacity: int) -> None:
    """Let somebody put another volume in the place of one."""
    host.storagePoolLookupByName(GUESTS).storageVolLookupByName(name).delete()
    make(host, name, capacity)


def test_which_volumes_there_are_is_asked_every_time(host: libvirt.virConnect) -> None:
    memo = VolumeMemo()
    assert set(seen(host, memo, 0)) == {"web"}
    make(host, "dns", 5000)
    assert seen(host, memo, 1)["dns"] == 5000
    host.storagePoolLookupByName(GUESTS).storageVolLookupByName("web").delete()
    assert set(seen(host, memo, 2)) == {"dns"}


def test_what_a_volume_said_is_believed_for_some_minutes(host: libvirt.virConnect) -> None:
    memo = VolumeMemo()
    seen(host, memo, 0)
    remade(host, "web", 2000000)
    assert seen(host, memo, 60) == {"web": 1000000}
    assert seen(host, memo, 600) == {"web": 2000000}


def test_after_a_step_on_volumes_all_are_asked_again(host: libvirt.virConnect) -> None:
    memo = VolumeMemo()
    seen(host, memo, 0)
    remade(host, "web", 2000000)
    memo.forget()
    assert seen(host, memo, 1) == {"web": 2000000}


def test_what_was_asked_before_a_step_ended_is_not_remembered_after_it(
    host: libvirt.virConnect,
) -> None:
    """An observation may be under way while a step of another thread ends."""
    memo = VolumeMemo()
    page = memo.page()
    memo.forget()
    assert memo.page() is not page
    assert VolumeName("web") in seen(host, memo, 0)
