"""Volumes and pools as libvirt tells of them, and volumes as it is told."""

from __future__ import annotations

import pytest

from reconciler.errors import TransientError
from reconciler.hypervisor.storagexml import read_pool, read_volume, render_volume
from reconciler.model.definition import DiskFormat
from reconciler.model.names import LibvirtPool, VolumeName
from reconciler.model.observed import ObservedVolume

VOLUME = """
<volume type='file'>
  <name>web &amp; co.qcow2</name>
  <key>/pool/web &amp; co.qcow2</key>
  <capacity unit='GiB'>2</capacity>
  <allocation unit='bytes'>200704</allocation>
  <physical unit='bytes'>196616</physical>
  <target>
    <path>/pool/web &amp; co.qcow2</path>
    <format type='qcow2'/>
  </target>
  <backingStore><path>/pool/base.raw</path><format type='raw'/></backingStore>
</volume>
"""


def test_a_volume_is_read_with_its_sizes_in_bytes() -> None:
    read = read_volume(VOLUME)
    assert read.observed == ObservedVolume(
        name=VolumeName("web & co.qcow2"),
        path="/pool/web & co.qcow2",
        capacity_bytes=2 << 30,
        allocation_bytes=200704,
        format=DiskFormat.QCOW2,
    )
    assert read.backing == "/pool/base.raw"


def test_a_format_that_domops_does_not_know_is_none_rather_than_a_guess() -> None:
    assert read_volume(VOLUME.replace("qcow2'/>", "vmdk'/>")).observed.format is None


def test_what_is_rendered_is_read_back_and_takes_no_space() -> None:
    text = render_volume(VolumeName("a<b"), capacity_bytes=12345, format=DiskFormat.RAW)
    with_path = text.replace("<target>", "<target><path>/p</path>")
    read = read_volume(with_path)
    assert read.observed.name == "a<b"
    assert read.observed.capacity_bytes == 12345
    assert read.observed.allocation_bytes == 0
    assert read.observed.format is DiskFormat.RAW


def test_a_pool_is_read() -> None:
    pool = read_pool(
        "<pool type='dir'><name>guests</name><available unit='KiB'>3</available>"
        "<target><path>/pool</path></target></pool>"
    )
    assert (pool.name, pool.type, pool.path) == (LibvirtPool("guests"), "dir", "/pool")
    assert pool.available_bytes == 3072


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<pool/>",
        "<volume/>",
        VOLUME.replace("200704", "many"),
        VOLUME.replace("GiB", "parsecs"),
        "<!DOCTYPE v [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><volume><name>&x;</name></volume>",
    ],
)
def test_an_answer_that_is_no_volume_fails_the_observation(text: str) -> None:
    with pytest.raises(TransientError):
        read_volume(text)
