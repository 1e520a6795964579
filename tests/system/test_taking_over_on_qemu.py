"""A real host full of other people's guests is taken over: import, commit, adopt, and nothing else.

Forty mixes of devices, a few of them running. Their stored XML is compared to the byte before and
after, and tree by tree after a change of one field.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.cli.app import main
from reconciler.model.plan import Fate, Label
from reconciler.model.steps import SetMark
from tests.lab.qemu import QemuLab
from tests.mixes import IMAGES, MIXES, volumes_of
from tests.mixes.taking_over import canonical, with_less_memory, without_mark
from tests.system.ground import STORED, Ground, begin, converge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.controller.results import PassResult
    from reconciler.model.plan import Change

pytestmark = [pytest.mark.system, pytest.mark.slow]

RUNNING = ("kernel-boot", "vnc-with-password", "metadata-of-others", "spare-vcpus")


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture(scope="module")
def ground(lab: QemuLab, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A host full of guests that nobody manages, and a repository that knows the host."""
    host = lab.host
    for text in MIXES.values():
        for volume in volumes_of(text):
            layout = "qcow2" if volume.endswith("qcow2") else "raw"
            host.run("qemu-img", "create", "-q", "-f", layout, f"{IMAGES}/{volume}", "8M")
    with contextlib.closing(host.connect()) as connection:
        connection.storagePoolLookupByName("guests").refresh()
        for name, text in MIXES.items():
            domain = connection.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            if name in RUNNING:
                domain.create()
        connection.lookupByName("sata").setAutostart(1)
    return begin(tmp_path_factory.mktemp("taken-over"), host)


def _import(ground: Ground) -> Path:
    folder = ground.repository.folder
    with pytest.raises(SystemExit) as left:
        main(["import", "dom0-a", "--into", str(folder)])
    assert left.value.code == 0
    return folder


def _changes(result: PassResult) -> dict[str, list[Change]]:
    assert result.plan is not None
    return {name: list(status.changes) for name, status in result.plan.statuses.items()}


def test_a_host_full_of_guests_is_taken_over_by_the_mark_alone(ground: Ground) -> None:
    before, running = ground.stored(), ground.running()
    assert set(before) == set(MIXES)
    assert set(running) == set(RUNNING)
    _import(ground)
    assert ground.stored() == before
    ground.repository.commit("Take over what is on the host", {})
    with ground.controller() as opened:
        first = opened.controller.pass_once(enforce=True)
        assert first.plan is not None
        assert {type(one.step) for one in first.plan.steps} == {SetMark}
        changes = _changes(first)
        assert set(changes) == set(MIXES)
        assert [
            (name, one.field, one.label)
            for name, group in changes.items()
            for one in group
            if (one.field, one.label) != ("", Label.ADOPT)
        ] == []
        converge(opened)
        assert ground.writes == len(MIXES)
    after = ground.stored()
    assert all("urn:domops:mark:1" in text for text in after.values())
    assert {name: without_mark(text) for name, text in after.items()} == {
        name: without_mark(text) for name, text in before.items()
    }
    assert ground.running() == running
    with ground.controller() as opened:
        again = converge(opened).last
        assert again.plan is not None
        assert again.plan.steps == ()
        assert [change for group in _changes(again).values() for change in group] == []
        assert ground.writes == 0
    assert ground.stored() == after


def _with_another_order(manifest: str) -> str:
    return manifest.replace("order: [disk]", "order: [disk, network]")


def _with_another_command_line(manifest: str) -> str:
    return manifest.replace("console=ttyS0 quiet", "console=ttyS0 quiet panic=1")


def _changed(name: str, manifest: str) -> str:
    """The manifest with one field changed: memory, unless that would have to be done live."""
    if name in RUNNING:
        return _with_another_command_line(manifest)
    if name == "numa-and-slots":  # the sum of its cells
        return _with_another_order(manifest)
    return with_less_memory(manifest)


CHANGED = ("memory", "currentMemory", "os/cmdline", "os/boot")
"""Where the changes of these tests stand."""


def test_a_change_of_one_field_leaves_everything_else_as_it_is(ground: Ground) -> None:
    before, running = ground.stored(), ground.running()
    folder = ground.repository.folder
    manifests: dict[str, str | None] = {}
    for name in MIXES:
        old = (folder / f"guests/{name}.yaml").read_text()
        manifests[f"guests/{name}.yaml"] = _changed(name, old)
        assert manifests[f"guests/{name}.yaml"] != old
    ground.repository.commit("Change one field of every guest", manifests)
    with ground.controller() as opened:
        last = converge(opened).last
        assert last.plan is not None
        assert last.plan.steps == ()
        left = {name: group for name, group in _changes(last).items() if group}
        assert set(left) == set(RUNNING)
        assert {one.fate for group in left.values() for one in group} == {Fate.WAITING}
    after = ground.stored()
    for name, text in after.items():
        assert canonical(text) != canonical(before[name])
        assert canonical(text, but=CHANGED) == canonical(before[name], but=CHANGED)
    assert "passwd='sesame'" in after["vnc-with-password"]
    assert "passwd='s3cret'" in after["windows-like"]
    assert ground.running() == running


def test_what_is_managed_already_is_not_imported_again(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["import", "dom0-a", "sata", "--into", str(ground.repository.folder)])
    assert left.value.code == 1
    told = capsys.readouterr().out
    assert "not written: sata: it is described in guests/sata.yaml" in told


def test_no_secret_is_written(ground: Ground) -> None:
    written = "".join(path.read_text() for path in ground.repository.folder.glob("guests/*.yaml"))
    assert "graphics: {type: vnc}" in written
    assert not re.search(r"sesame|s3cret", written)
    with contextlib.closing(ground.host.connect()) as connection:
        assert "sesame" in connection.lookupByName("vnc-with-password").XMLDesc(STORED)
