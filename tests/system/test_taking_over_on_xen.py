"""Files of xl become manifests on a real dom0, and those become guests over their volumes.

PV by kernel and by pygrub, PVH and HVM. What libvirt's converter makes of the files is recorded,
for the tests that have no Xen at hand.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.bootstrap import open_controller
from reconciler.cli.app import main
from reconciler.model.definition import GuestType
from reconciler.model.observed import ObservedHost
from reconciler.settings import Settings
from tests.demo.stage import Repository
from tests.lab.xen.dom0 import Dom0
from tests.lab.xen.errors import LabError
from tests.mixes import IMAGES
from tests.mixes.papers import XL_FILES
from tests.system.ground import converge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.xen, pytest.mark.timeout(600)]

TYPES = {
    "calcolo-hvm": GuestType.HVM,
    "lists-pv": GuestType.PV,
    "mail-pygrub": GuestType.PV,
    "web-pvh": GuestType.PVH,
}
VOLUMES = ("lists-root", "mail-root", "web-root", "calcolo-root", "calcolo.iso")
_UUID = re.compile(r"<uuid>.*?</uuid>")


@pytest.fixture(scope="module")
def dom0() -> Iterator[Dom0]:
    try:
        running = Dom0(number=1, say=print)
    except LabError as error:
        pytest.fail(f"the Xen lab cannot run on this machine: {error}", pytrace=False)
    with running:
        for volume in VOLUMES:
            running.run(f"truncate -s 8M {IMAGES}/{volume}")
        with contextlib.closing(libvirt.open(running.uri)) as connection:
            connection.storagePoolLookupByName("guests").refresh()
        yield running


def test_the_converter_makes_of_the_files_what_was_recorded(
    dom0: Dom0, *, regenerate: bool
) -> None:
    """The UUID of a file that names none is another one each time."""
    with contextlib.closing(libvirt.open(dom0.uri)) as connection:
        for name in TYPES:
            path = XL_FILES[name].with_suffix(".xml")
            text = connection.domainXMLFromNative("xen-xl", XL_FILES[name].read_text(), 0)
            if regenerate:
                path.write_text(text)
            assert _UUID.sub("", text) == _UUID.sub("", path.read_text())


def test_files_of_xl_become_guests_over_their_volumes(
    dom0: Dom0, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = Repository(tmp_path / "manifests")
    folder = repository.folder
    files = [str(XL_FILES[name]) for name in TYPES]
    with pytest.raises(SystemExit) as left:
        main(["import", "--xl", *files, "--via", dom0.uri, "--into", str(folder)])
    assert left.value.code == 0, capsys.readouterr()
    repository.commit("What xl ran until now", {})
    settings = Settings(
        repository=str(folder),
        state_dir=tmp_path / "state",
        patience_s=60,
        answer_s=60,
        kernel_prefixes=("/boot",),
    )
    with open_controller(settings, writing=True) as opened:
        last = converge(opened).last
        assert last.plan is not None
        assert last.plan.steps == ()
        assert not [one for one in last.plan.statuses.values() if one.changes]
        assert last.observed is not None
        [host] = last.observed.hosts.values()
        assert isinstance(host, ObservedHost)
        made = {one.name: one for one in host.guests.values()}
        assert {name: made[name].stored.type for name in made if made[name].stored} == TYPES  # type: ignore[union-attr]
        for one in made.values():
            assert one.mark is not None
            assert not one.active
            assert not any(entry.ours for entry in one.mark.disks)
            assert one.mark.disks
    assert [dom0.run(f"stat -c %s {IMAGES}/{one}").strip() for one in VOLUMES] == [
        str(8 << 20)
    ] * len(VOLUMES)


def test_a_file_that_is_a_program_is_refused_with_its_name_and_the_reason(
    dom0: Dom0, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Repository(tmp_path / "manifests").folder
    file = XL_FILES["python-style"]
    with pytest.raises(SystemExit) as left:
        main(["import", "--xl", str(file), "--via", dom0.uri, "--into", str(folder)])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert f"{file}: libvirt does not read it: configuration file syntax error" in told
    assert not list((folder / "guests").glob("*.yaml"))
