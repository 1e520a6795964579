"""On a real host: an overlay is put into a guest, seen in it, and taken out by a revert.

Beside the mark every byte of the stored XML is then what it was before, and what other hands put
there meanwhile is kept.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domxml import read
from reconciler.model.names import GuestName
from reconciler.model.plan import Reason
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuLab
from tests.system.ground import Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow]

PLACES = ("clock/timer", "devices/input", "memtune/hard_limit", "pm")
RESTARTED = guest_manifest("web") + "  update: {restart: now}\n"
STOPPED = guest_manifest("web") + "  state: stopped\n"
OVERLAY = """\
  xml: |
    <pm><suspend-to-mem enabled='no'/></pm>
    <clock>
      <timer name='hpet' present='no'/>
    </clock>
    <devices>
      <input type='tablet' bus='usb'/>
    </devices>
"""
KEYBOARD = """\
  xml: <devices><input type='keyboard' bus='usb'/></devices>
"""
REWRITTEN = """\
  xml: <memtune><hard_limit unit='MiB'>512</hard_limit></memtune>
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def ground(lab: QemuLab, tmp_path: Path) -> Iterator[Ground]:
    ground = begin(tmp_path, lab.host)
    ground.places = PLACES
    yield ground
    with contextlib.closing(lab.host.connect()) as connection:
        domain = connection.lookupByName("web")
        if domain.isActive():
            domain.destroy()
        domain.undefine()
        for volume in connection.storagePoolLookupByName("guests").listAllVolumes():
            volume.delete()


def _commit(ground: Ground, manifest: str) -> None:
    ground.repository.commit("Change web", {"guests/web.yaml": manifest})


def _stored(ground: Ground) -> str:
    """The stored XML without the mark, which tells of the commit."""
    text = ground.stored()["web"]
    return re.sub(r"<metadata>.*</metadata>", "", text, flags=re.DOTALL)


def _live(ground: Ground) -> str:
    with contextlib.closing(ground.host.connect()) as connection:
        return str(connection.lookupByName("web").XMLDesc())


def test_an_overlay_comes_and_goes_and_leaves_all_else_as_it_was(ground: Ground) -> None:
    _commit(ground, RESTARTED)
    with ground.controller() as opened:
        converge(opened)
        before = _stored(ground)

        _commit(ground, RESTARTED + OVERLAY)
        converge(opened)
        for text in (_stored(ground), _live(ground)):
            assert "<timer name='hpet' present='no'/>" in text
            assert "<input type='tablet' bus='usb'>" in text
            assert "<suspend-to-mem enabled='no'/>" in text
        assert len(read(ground.stored()["web"]).definition.overlay) == 3
        writes = ground.writes
        converge(opened)
        assert ground.writes == writes

        _commit(ground, RESTARTED)
        converge(opened)
        assert _stored(ground) == before
        assert "tablet" not in _live(ground)


def test_an_overlay_that_asks_for_what_somebody_put_there_leaves_it(ground: Ground) -> None:
    _commit(ground, STOPPED)
    with ground.controller() as opened:
        converge(opened)
        with contextlib.closing(ground.host.connect()) as connection:
            theirs = "<input type='keyboard' bus='usb'/></devices>"
            connection.defineXML(ground.stored()["web"].replace("</devices>", theirs))
        before = _stored(ground)
        assert "keyboard' bus='usb'" in before
        for manifest in (STOPPED + KEYBOARD, STOPPED):
            _commit(ground, manifest)
            converge(opened)
            assert _stored(ground) == before


def test_what_libvirt_keeps_in_other_words_is_put_back_and_told(ground: Ground) -> None:
    """Never seen again in the words of the manifest, it would be put there for ever."""
    _commit(ground, STOPPED)
    with ground.controller() as opened:
        converge(opened)
        before = _stored(ground)
        _commit(ground, STOPPED + REWRITTEN)
        last = converge(opened).last
    assert last.plan is not None
    changes = last.plan.statuses[GuestName("web")].changes
    assert {change.reason for change in changes} == {Reason.STALLED}
    assert any('<hard_limit unit="MiB">512' in change.message for change in changes)
    assert _stored(ground) == before
