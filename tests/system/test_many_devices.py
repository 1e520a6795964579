"""A guest of many disks and cards on a real host: all of them there, limits moved while it runs."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.lab.qemu.sources import EXPORT, FILE, NBD_HOST, Sources
from tests.system.ground import STORED, Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

NAME = "many"
DISKS = """\
    - {{name: work, size: 16MiB, storage: guests, format: qcow2, bus: scsi, cache: none,
       discard: unmap, serial: WORK-01{limits}}}
    - {{name: stick, size: 16MiB, storage: guests, bus: usb}}
    - {{name: plate, size: 16MiB, storage: guests, bus: sata}}
    - {{name: part, device: {device}}}
    - {{name: file, file: {file}, format: qcow2, readOnly: true}}
    - {{name: export, nbd: {{host: {host}, export: {export}}}}}
    - {{name: cd, cdrom: {{}}}}
"""
CARDS = """\
    - {name: eth1, network: servers, queues: 2}
    - {name: eth2, network: servers, link: down}
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def sources(lab: QemuLab) -> Iterator[Sources]:
    """What is there without domops; the guest is gone before it goes."""
    made = Sources(lab.host)
    try:
        yield made
    finally:
        with contextlib.closing(lab.host.connect()) as connection:
            for domain in connection.listAllDomains():
                if domain.isActive():
                    domain.destroy()
        made.clear()


def _manifest(sources: Sources, limits: str = "") -> dict[str, str | None]:
    """The guest with seven disks more than the story's, a drive, and three cards on one network."""
    disks = DISKS.format(
        device=sources.device, file=FILE, host=NBD_HOST, export=EXPORT, limits=limits
    )
    plain = guest_manifest(NAME)
    text = plain.replace("  networks:\n", f"{disks}  networks:\n").replace(
        "  agent:", f"{CARDS}  agent:"
    )
    return {f"guests/{NAME}.yaml": text}


def _limits(ground: Ground, target: str) -> dict[str, int]:
    """What QEMU itself holds the disk to."""
    with contextlib.closing(ground.host.connect()) as connection:
        told = connection.lookupByName(NAME).blockIoTune(target, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    return {name: value for name, value in told.items() if value and not isinstance(value, str)}


def _target(text: str, serial: str) -> str:
    """The target of the disk that shows the guest the serial number."""
    [disk] = [one for one in re.findall(r"<disk .*?</disk>", text, re.DOTALL) if serial in one]
    [target] = re.findall(r"<target dev='(\w+)'", disk)
    return str(target)


def _cache_by_hand(ground: Ground, target: str, cache: str) -> None:
    """Somebody gives a disk of the stored definition another cache."""
    with contextlib.closing(ground.host.connect()) as connection:
        text = connection.lookupByName(NAME).XMLDesc(STORED)
        disks = re.findall(r"<disk .*?</disk>", text, re.DOTALL)
        [disk] = [one for one in disks if f"<target dev='{target}'" in one]
        changed = re.sub(r"<driver name='qemu'", f"<driver name='qemu' cache='{cache}'", disk)
        connection.defineXML(text.replace(disk, changed))


def test_many_devices_are_there_and_limits_move_while_the_guest_runs(
    lab: QemuLab, sources: Sources, tmp_path: Path
) -> None:
    """Nothing of it drifts; a cache that somebody set outlives it all; a revert lifts limits."""
    ground = begin(tmp_path, lab.host)
    ground.repository.commit("Many devices", _manifest(sources))
    with ground.controller() as opened:
        converge(opened)
        number, stored = ground.running()[NAME], ground.stored()[NAME]
        assert len(re.findall(r"<disk type=", stored)) == 8
        cards = re.findall(r"<interface .*?<mac address='([0-9a-f:]+)'", stored, re.DOTALL)
        assert len(set(cards)) == 3
        assert sorted(re.findall(r"<target dev='\w+' bus='(\w+)'", stored)) == sorted(
            ["virtio"] * 4 + ["scsi", "usb", "sata", "sata"]
        )
        made = ground.writes
        second = converge(opened).last
        assert second.plan is not None
        assert second.plan.steps == ()
        assert ground.writes == made

        work = _target(stored, "WORK-01")
        _cache_by_hand(ground, "vda", "writeback")
        limited = _manifest(sources, ", limits: {bytes: 8MiB, readIops: 500}")
        commit = ground.repository.commit("Hold it back", limited)
        converge(opened)
        assert _limits(ground, work) == {"total_bytes_sec": 8 << 20, "read_iops_sec": 500}
        assert ground.running()[NAME] == number
        assert "cache='writeback'" in ground.stored()[NAME]

        ground.repository.revert(commit)
        converge(opened)
        assert _limits(ground, work) == {}
        assert ground.running()[NAME] == number
        kept = ground.stored()[NAME]
        assert "cache='writeback'" in kept
        assert "<iotune>" not in kept
        assert kept.count("<disk type=") == 8
