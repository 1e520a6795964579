"""The doctor at a real host: sound at first, and then with one thing after another taken away."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.checkup import Check, Judgement
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import Ground, begin

pytestmark = [pytest.mark.system]


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


def _examined(ground: Ground) -> dict[Check, Judgement]:
    """How each check of the only host came out; nothing was written."""
    with ground.controller() as opened:
        findings = opened.controller.examine(patience_s=60)
        assert ground.writes == 0
    return {one.check: one.judgement for one in findings if one.host is not None}


def test_what_is_taken_from_a_host_is_missed(lab: QemuLab, tmp_path: Path) -> None:
    ground = begin(tmp_path, lab.host)
    ground.repository.commit("A guest", {"guests/dns.yaml": guest_manifest("dns")})
    with contextlib.closing(lab.host.connect()) as connection:
        for pool in connection.listAllStoragePools():
            pool.setAutostart(1)
        for network in connection.listAllNetworks():
            network.setAutostart(1)
        sound = _examined(ground)
        assert Judgement.PROBLEM not in sound.values()
        assert sound[Check.VERSIONS] is Judgement.OK
        assert sound[Check.STORAGE] is Judgement.OK
        assert sound[Check.SERVICES] is Judgement.NOT_CHECKED
        assert Check.DOM0_MEMORY not in sound
        pool = connection.storagePoolLookupByName("guests")
        pool.setAutostart(0)
        assert _examined(ground)[Check.STORAGE] is Judgement.PROBLEM
        pool.setAutostart(1)
        pool.destroy()
        assert _examined(ground)[Check.STORAGE] is Judgement.PROBLEM
        pool.create()
        assert _examined(ground) == sound
