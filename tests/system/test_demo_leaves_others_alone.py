"""The demo comes true beside a libvirtd that is not its own, touches it not, and leaves nothing."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import pytest

from tests.lab.cache import CHECKOUT
from tests.lab.qemu import Console, QemuLab
from tests.system.ground import FOREIGN, STORED

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

_SET_CHILD_SUBREAPER = 36
_FOREIGN_UUID = "9a4b9a34-52a5-4a4b-8a5a-3f7d5ad3f0aa"


@pytest.fixture
def foreign() -> Iterator[libvirt.virConnect]:
    """A libvirtd with a guest, running and heard, which the demo knows nothing of."""
    with QemuLab() as lab, contextlib.closing(lab.host.connect()) as connection:
        text = FOREIGN.format(name="old-mail", uuid=_FOREIGN_UUID, metadata="")
        connection.defineXML(text).create()
        yield connection


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demo may put files; a socket's path must be short, so it is not pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="dd-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def adopts_orphans() -> Iterator[None]:
    """Let every process that the demo leaves become a child of this one, however it hid."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What of a folder, and of this process's family, is on the machine now."""

    files: tuple[str, ...]
    processes: tuple[str, ...]
    children: frozenset[int]
    mounts: tuple[str, ...]
    loop_devices: tuple[str, ...]
    kept_namespaces: frozenset[str]
    """Network namespaces that are mounted; any other lives only as long as its processes."""


def _left(folder: Path) -> Left:
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    return Left(
        files=tuple(sorted(path.name for path in folder.iterdir())),
        processes=tuple(_processes_naming(folder)),
        children=frozenset(_children()),
        mounts=tuple(line for line in mounts if str(folder) in line),
        loop_devices=tuple(str(one) for one in backing if str(folder) in one.read_text()),
        kept_namespaces=frozenset(line.split()[3] for line in mounts if " - nsfs " in line),
    )


def _processes_naming(folder: Path) -> Iterator[str]:
    name = os.fsencode(folder)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            command = (process / "cmdline").read_bytes()
            if name in command:
                yield f"{process.name}: {command.replace(bytes(1), b' ').decode()}"


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ended meanwhile
            yield from map(int, (task / "children").read_text().split())


@pytest.mark.usefixtures("adopts_orphans")
def test_the_demo_comes_true_and_leaves_others_alone(
    foreign: libvirt.virConnect, folder: Path
) -> None:
    """Exit 0; the foreign guest keeps its boot and its XML; no file, process or mount is left."""
    guest = foreign.lookupByName("old-mail")
    with Console(foreign.getURI(), "old-mail") as console:
        boot = console.wait_for(lambda _: True, what="old-mail speaks", within_s=60).boot
        texts = [guest.XMLDesc(STORED), guest.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)]
        before = _left(folder)
        assert before.files == ()

        demo = subprocess.Popen(
            [sys.executable, "-m", "tests.demo"],
            cwd=CHECKOUT,
            env={**os.environ, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seen = False
        told: list[str] = []
        assert demo.stdout is not None
        with demo.stdout:
            for line in demo.stdout:
                told.append(line)
                seen = seen or any("unshare" in one for one in _processes_naming(folder))
        assert demo.wait() == 0, "".join(told)

        # Were its processes not to be seen while it played, their absence would say nothing.
        assert seen, "no namespace of the demo was ever seen"
        assert _left(folder) == before
        assert console.wait_for(lambda _: True, what="old-mail speaks still").boot == boot
    assert [guest.XMLDesc(STORED), guest.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)] == texts
    assert [domain.name() for domain in foreign.listAllDomains()] == ["old-mail"]
    assert sorted(foreign.storagePoolLookupByName("guests").listVolumes()) == []
