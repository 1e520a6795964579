"""On a real host: a guest is told its data once, and what is fixed at creation is not changed.

One guest serves all of it. What it was told is what it says on its own console, and what becomes of
its data is told by the checksum of its volume.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.hypervisor.nocloud import render_seed
from reconciler.model.names import Digest, GuestName
from reconciler.model.plan import Fate, Reason
from reconciler.model.policy import Policy
from reconciler.model.seed import SeedData
from tests.demo.stage import guest_manifest
from tests.lab.qemu import Agent, Console, QemuLab
from tests.lab.qemu.host import GUESTS_POOL
from tests.system.ground import Ground, begin, converge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.bootstrap import Opened
    from reconciler.model.plan import Change

pytestmark = [pytest.mark.system, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]
GUEST = "lists"
SEED = f"{GUEST}-cidata.iso"
DISK = f"{GUEST}-data.raw"
USER_DATA = "#cloud-config\npassword: not to be seen\n"
TOLD = "  cloudInit: {userData: {file: lists/user-data.yaml}}\n"
BOOTING_S = 120

READING = Policy(seed_after_s=3600)
"""The seed stays, however slowly this machine boots its guest."""
READ = Policy(seed_after_s=1)
"""The guest has said what it was told: now the seed may go."""


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def ground(lab: QemuLab, tmp_path: Path) -> Iterator[Ground]:
    yield begin(tmp_path, lab.host)
    with closing(lab.host.connect()) as connection:
        for domain in connection.listAllDomains():
            if domain.isActive():
                domain.destroy()
            domain.undefine()
        for volume in connection.storagePoolLookupByName(GUESTS_POOL).listAllVolumes():
            volume.delete()


def _volumes(ground: Ground) -> set[str]:
    with closing(ground.host.connect()) as connection:
        pool = connection.storagePoolLookupByName(GUESTS_POOL)
        return {volume.name() for volume in pool.listAllVolumes()}


def _file(ground: Ground, volume: str) -> Path:
    return ground.host.directory / "lib/images" / volume


def _live(ground: Ground) -> str:
    with closing(ground.host.connect()) as connection:
        return str(connection.lookupByName(GUEST).XMLDesc())


def _refused(opened: Opened) -> dict[str, Change]:
    plan = converge(opened).last.plan
    assert plan is not None
    changes = plan.statuses[GuestName(GUEST)].changes
    return {one.field: one for one in changes if one.fate is Fate.REFUSED}


def _protected(ground: Ground) -> bool:
    return 'protected="yes"' in ground.stored()[GUEST].replace("'", '"')


def _secret_is_nowhere(ground: Ground) -> None:
    for path in ground.state.rglob("*"):
        if path.is_file():
            assert b"not to be seen" not in path.read_bytes(), path
    assert "not to be seen" not in ground.stored()[GUEST]


def _told(manifest: str, old: str = "", new: str = "") -> dict[str, str | None]:
    """The guest's manifest with ``new`` in the place of ``old``."""
    assert old in manifest
    manifest = manifest.replace(old, new) if old else manifest
    return {f"guests/{GUEST}.yaml": manifest}


MANIFEST = guest_manifest(GUEST) + TOLD
_ROOT = "{name: data, size: 64MiB, storage: guests, image: lab.raw}"
CREATE_ONLY: dict[str, tuple[str, str]] = {
    "disks[data].image": (_ROOT, _ROOT.replace("lab.raw", "lab.qcow2")),
    "disks[data].storage": (_ROOT, _ROOT.replace("storage: guests", "storage: images")),
    "disks[data].volume": (_ROOT, _ROOT.replace("image:", "volume: other.raw, image:")),
    "disks[data].format": (_ROOT, _ROOT.replace("image:", "format: qcow2, image:")),
    "type": ("type: hvm", "type: pvh"),
    "arch": ("type: hvm", "type: hvm\n  arch: i686"),
    "uuid": ("{name: lists}", "{name: lists, uuid: 11111111-2222-4333-8444-555555555555}"),
    "cloudInit": (TOLD, "  cloudInit: {userData: another}\n"),
}
XEN_HOST = """\
apiVersion: domops/v1
kind: Host
metadata: {{name: dom0-x}}
spec: {{uri: "xen+tcp://127.0.0.1:9/system", pool: main, state: {state}}}
"""
"""Only where a Xen host could be is a change to pvh more than a mistake; this one is not there."""


def test_a_guest_is_told_once_and_what_is_fixed_at_creation_is_never_changed(
    ground: Ground,
) -> None:
    ground.repository.commit(
        "A guest that is told something",
        {f"guests/{GUEST}.yaml": MANIFEST, "lists/user-data.yaml": USER_DATA},
    )
    with Console(ground.host.uri, GUEST) as console:
        with ground.controller(READING) as opened:
            converge(opened)
            line = console.wait_for_line("SEED {", within_s=BOOTING_S)
            said = json.loads(line[line.index("{") :])
            with closing(ground.host.connect()) as connection:
                uuid = connection.lookupByName(GUEST).UUIDString()
            assert said == {
                "disk": "vdb",
                "instance": uuid,
                "user": hashlib.sha256(USER_DATA.encode()).hexdigest(),
            }
            assert _file(ground, SEED).stat().st_mode & 0o777 == 0o600
        boot = console.wait_for(lambda _: True, within_s=BOOTING_S).boot
        _the_seed_goes(ground)
        checksum = _data_is_written(ground)
        _create_only_fields_are_refused(ground, checksum)
        after = console.wait_for(lambda _: True, within_s=BOOTING_S)
        assert after.boot == boot
        assert set(after.disks) == {"vda"}
        _a_token_tells_it_once_more(ground, console, uuid)
    _secret_is_nowhere(ground)


def _the_seed_goes(ground: Ground) -> None:
    with ground.controller(READ) as opened:
        converge(opened)
        assert SEED not in _volumes(ground)
        assert SEED not in ground.stored()[GUEST].split("<devices>")[1]
        assert SEED not in _live(ground)
        writes, stored = ground.writes, ground.stored()
        second = converge(opened).last
        assert second.plan is not None
        assert second.plan.steps == ()
        assert second.plan.statuses[GuestName(GUEST)].changes == ()
        assert (ground.writes, ground.stored()) == (writes, stored)


def _data_is_written(ground: Ground) -> str:
    """Write data, and let nothing else write to the disk from now on; its checksum."""
    with closing(ground.host.connect()) as connection:
        agent = Agent(connection.lookupByName(GUEST))
        agent.wait(BOOTING_S)
        agent.write("vda", "years of letters")
        agent.run("mount -o remount,ro /mnt/vda && sync")
    return _checksum(ground)


def _checksum(ground: Ground) -> str:
    return hashlib.sha256(_file(ground, DISK).read_bytes()).hexdigest()


def _create_only_fields_are_refused(ground: Ground, checksum: str) -> None:
    """Each in a commit of its own that also asks for something that can be had."""
    volumes, running = _volumes(ground), ground.running()
    protect = False
    for field, (old, new) in CREATE_ONLY.items():
        protect = not protect
        files = _told(MANIFEST + f"  protect: {str(protect).lower()}\n", old, new)
        state = "active" if field == "type" else "retired"
        files["hosts/dom0-x.yaml"] = XEN_HOST.format(state=state)
        ground.repository.commit(f"Change {field}, and protect or not", files)
        with ground.controller(READ) as opened:
            refused = _refused(opened)
            assert list(refused) == [field]
            assert refused[field].reason is Reason.CREATE_ONLY
            assert refused[field].message
            assert refused[field].origin is not None
        assert _protected(ground) is protect, field
        assert _checksum(ground) == checksum, field
        assert _volumes(ground) == volumes, field
        assert ground.running() == running, field
    ground.repository.commit("Back", _told(MANIFEST))
    with ground.controller(READ) as opened:
        assert _refused(opened) == {}


def _a_token_tells_it_once_more(ground: Ground, console: Console, uuid: str) -> None:
    """Another instance, from a restart that the manifest allows; then the seed goes again."""
    rerun = TOLD.replace("}}", "}, rerun: 2026-03-02}") + "  update: {restart: now}\n"
    ground.repository.commit("Tell it again", _told(MANIFEST, TOLD, rerun))
    with ground.controller(READING) as opened:
        converge(opened)
        line = console.wait_for_line(f'"instance": "{uuid}-2026-03-02"', within_s=BOOTING_S)
        assert hashlib.sha256(USER_DATA.encode()).hexdigest() in line
    with ground.controller(READ) as opened:
        converge(opened)
        assert SEED not in _volumes(ground)
        assert "cloudInit:2026-03-02" in ground.stored()[GUEST]


@pytest.mark.parametrize("when", ["before", "half"])
def test_a_controller_that_is_killed_while_it_makes_a_seed_is_continued(
    ground: Ground, when: str
) -> None:
    """What the next one finds is the mark alone: the local state is lost too."""
    stopped = MANIFEST + "  state: stopped\n"
    ground.repository.commit(
        "A guest that is told something",
        {f"guests/{GUEST}.yaml": stopped, "lists/user-data.yaml": USER_DATA},
    )
    lost = ground.state.with_name("lost")
    command = [sys.executable, "-m", "tests.system.seed_victim"]
    with subprocess.Popen(
        [*command, str(ground.repository.folder), str(lost), when],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        said = victim.stdout.readline().strip()
        victim.kill()
    assert said == "HERE"
    assert (SEED in _volumes(ground)) is (when == "half")
    with closing(ground.host.connect()) as connection:
        uuid = connection.lookupByName(GUEST).UUIDString()
    with ground.controller(READ) as opened:
        converge(opened)
    data = SeedData(digest=Digest(""), size_bytes=0, user_data=USER_DATA)
    whole = render_seed(data, instance=uuid, hostname=GuestName(GUEST))
    assert _file(ground, SEED).read_bytes() == whole
    assert SEED in ground.stored()[GUEST].split("<devices>")[1]
