"""Guests of xl's files, as the real converter read them, written down without a Xen host."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.importing import Imported, Layout, Request, sketch_file, write_up
from reconciler.manifests import load
from reconciler.manifests.surroundings import Allowed
from reconciler.model.desired import Commit
from reconciler.model.names import HostName, Sha
from tests.mixes.papers import POOL, XL_FILES, PaperHost, volume_at
from tests.strategies.worlds import host, volume

if TYPE_CHECKING:
    from reconciler.model.observed import ObservedHost

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
REPOSITORY = {
    "domops.yaml": b"""\
apiVersion: domops/v1
kind: Repository
metadata: {name: centre}
spec: {id: 6f1c0d8e-3f63-4a5e-9d3f-1d2f8c8b7a10}
---
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec: {}
---
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-a}
spec: {uri: "xen:///system", pool: main}
"""
}


def _dom0() -> ObservedHost:
    """A Xen host whose pool has the volumes of the files."""
    names = ("lists-root", "mail-root", "web-root", "calcolo-root", "calcolo.iso")
    seen = host(HostName("dom0-a"), xen=True, volumes=tuple(volume(name, 2) for name in names))
    [there] = seen.pools.values()
    return replace(seen, pools={POOL: replace(there, name=POOL)})


def _imported(*names: str) -> Imported:
    seen = _dom0()
    commit = Commit(sha=Sha("folder:1"), author="-", committed_at=NOW, subject="-")
    world = load(REPOSITORY, commit=commit).world
    assert world is not None
    door = PaperHost(seen)
    sketches = [
        sketch_file(door.read_xl(XL_FILES[name].read_text()), seen, world, beside=())
        for name in names
    ]
    request = Request(
        repository=REPOSITORY,
        world=world,
        host=seen,
        around={},
        layout=Layout.GUEST,
        allowed=Allowed(kernel_prefixes=("/boot/guest",)),
        now=NOW,
    )
    return write_up(request, sketches)


@pytest.mark.parametrize("name", ["calcolo-hvm", "lists-pv", "mail-pygrub", "web-pvh"])
def test_pv_pvh_and_hvm_guests_are_written_stopped_and_over_their_volumes(name: str) -> None:
    """Libvirt does not know them: one that xl runs must not be started beside itself."""
    imported = _imported(name)
    assert imported.unwritten == {}
    text = imported.files[f"guests/{name}.yaml"]
    assert "state: stopped" in text
    assert "adopt: true}" in text
    assert "\n  adopt: true" not in text
    assert "shut it down there first" in " ".join(text.split())


def test_uuids_addresses_and_targets_are_kept() -> None:
    text = _imported("lists-pv").files["guests/lists-pv.yaml"]
    assert "uuid: 6d1f5b1c-3f3a-4a53-9d1e-0a6b6f2b2d01" in text
    assert 'mac: "00:16:3e:01:02:03"' in text
    assert "target: xvda, size: 2GiB" in text
    assert "kernel_prefixes" not in text


def test_what_a_file_does_not_say_is_derived_and_not_made_up() -> None:
    """Each reading gives another UUID to a file without one; a card without address has noughts."""
    text = _imported("mail-pygrub").files["guests/mail-pygrub.yaml"]
    assert "metadata: {name: mail-pygrub}" in text
    assert "boot: {loader: pygrub}" in text
    assert "00:00:00:00:00:00" not in text
    assert "write the card without mac" in " ".join(text.split())
    assert "sesame" not in text


def test_a_disk_that_lies_elsewhere_is_left_out_with_the_reason() -> None:
    text = _imported("lists-pv").files["guests/lists-pv.yaml"]
    told = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert "left out: disks[xvdb]: /srv/elsewhere.img lies in no active storage pool" in told


def test_a_card_whose_model_is_xens_choice_is_what_xen_chooses() -> None:
    text = _imported("calcolo-hvm").files["guests/calcolo-hvm.yaml"]
    assert 'mac: "00:16:3e:01:02:06", model: e1000' in text
    assert 'mac: "00:16:3e:01:02:07", model: rtl8139' in text
    assert volume_at("/elsewhere/x") is None
