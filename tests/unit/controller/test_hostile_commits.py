"""Commits that git takes and domops must not: one sentence, the last good commit stands, no call.

Each commit is made as whoever means harm would make it, with git's own plumbing, on top of a good
one under which a guest runs.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.cases.test_bad_manifests import CASES, WORLD
from tests.unit.controller.stage import guest_yaml, host_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.controller.results import PassResult
    from tests.unit.controller.stage import Stage

FILE, SYMLINK, SUBMODULE = "100644", "120000", "160000"
WEB = guest_yaml("web").encode()
MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of the hostile commit; None for ``content`` takes it out."""

    path: bytes
    content: bytes | None
    mode: str = FILE


def write(stage: Stage, entries: Iterable[Entry], *, on: str = "HEAD") -> None:
    """Commit the entries on main, work tree or not: git itself would refuse to check some out."""
    parent = stage.git("rev-parse", on)
    stream = bytearray(
        b"commit refs/heads/main\ncommitter M <m@example.org> 1700000000 +0000\ndata 7\nHostile\n"
        b"from " + parent.encode() + b"\n"
    )
    for entry in entries:
        path = b'"%s"' % entry.path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
        if entry.content is None:
            stream += b"D %s\n" % path
        elif entry.mode == SUBMODULE:
            stream += b"M %s %s %s\n" % (entry.mode.encode(), parent.encode(), path)
        else:
            stream += b"M %s inline %s\ndata %d\n" % (entry.mode.encode(), path, len(entry.content))
            stream += entry.content + b"\n"
    command = ["git", "fast-import", "--quiet", "--force"]
    subprocess.run(command, cwd=stage.repository, input=bytes(stream), check=True)


def begin(stage: Stage) -> int:
    """A guest runs under a good commit; returns how many writing calls that took."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    assert stage.apply().complete
    return stage.writes()


def look(stage: Stage) -> PassResult:
    """One pass of a new controller."""
    with stage.open() as opened:
        return opened.controller.pass_once()


REFUSED = {
    "a link out of the tree": (
        [Entry(path=b"guests/link.yaml", content=b"/etc/shadow", mode=SYMLINK)],
        "guests/link.yaml:1:1  a symbolic link; put a file in its place",
    ),
    "a link to a manifest": (
        [Entry(path=b"guests/other.yaml", content=b"web.yaml", mode=SYMLINK)],
        "guests/other.yaml:1:1  a symbolic link; put a file in its place",
    ),
    "a link to the folder above": (
        [Entry(path=b"guests/up", content=b"..", mode=SYMLINK)],
        "guests/up:1:1  a symbolic link; put a file in its place",
    ),
    "a link in the place of the repository's own file": (
        [Entry(path=b"domops.yaml", content=b"/dev/zero", mode=SYMLINK)],
        "domops.yaml:1:1  a symbolic link; put a file in its place",
    ),
    "a submodule named like a manifest": (
        [Entry(path=b"guests/more.yaml", content=b"", mode=SUBMODULE)],
        "guests/more.yaml:1:1  a submodule",
    ),
    "a submodule in the place of a folder": (
        [
            Entry(path=b"guests/web.yaml", content=None),
            Entry(path=b"guests", content=b"", mode=SUBMODULE),
        ],
        "guests:1:1  a submodule",
    ),
    "a line break in a path": (
        [Entry(path=b"guests/a\nb\x1b[2J.yaml", content=b"kind: [")],
        r"guests/a\x0ab\x1b[2J.yaml:2:1  not YAML",
    ),
    "letters that turn the line round in a path": (
        [Entry(path="guests/a\u202eb.yaml".encode(), content=b"kind: [")],
        r"guests/a\u202eb.yaml:2:1  not YAML",
    ),
    "paths that differ in case alone": (
        [Entry(path=b"guests/WEB.yaml", content=WEB)],
        '"web" is already taken by',
    ),
    "two paths that are printed alike": (
        [
            Entry(path=b"guests/\xff.yaml", content=WEB),
            Entry(path=b"guests/\\xff.yaml", content=WEB),
        ],
        r"guests/\xff.yaml: the commit holds two files that are both called so",
    ),
    "a manifest of more than a mebibyte": (
        [Entry(path=b"guests/big.yaml", content=b"# " + b"x" * 2 * MIB)],
        "guests/big.yaml:1:1  the file has 2,097,154 bytes, more than 1,048,576",
    ),
    "a manifest of more than four mebibytes": (
        [Entry(path=b"guests/big.yaml", content=b"# " + b"x" * 5 * MIB)],
        "larger than 4 MiB",
    ),
    "a file with nothing in it": (
        [Entry(path=b"guests/empty.yaml", content=b"")],
        "guests/empty.yaml:1:1  no manifest in this file",
    ),
    "UTF-16": (
        [Entry(path=b"guests/other.yaml", content=guest_yaml("other").encode("utf-16"))],
        "guests/other.yaml:1:1  ",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_commit_with_a_trick_is_refused_with_its_place(stage: Stage, what: str) -> None:
    before = begin(stage)
    entries, expected = REFUSED[what]
    write(stage, entries)
    result = look(stage)
    assert any(expected in problem for problem in result.problems), result.problems
    assert all("\x1b" not in one and "\u202e" not in one for one in result.problems)
    assert not (result.plan and result.plan.steps)
    assert result.world is not None
    assert set(result.world.guests) == {"web"}
    assert stage.writes() == before
    assert stage.where("web") == ["a"]
    stage.git("update-ref", "refs/heads/main", "refs/heads/main~1")
    stage.git("reset", "--quiet", "--hard")
    assert not look(stage).problems


HARMLESS = {
    "a manifest that became a folder": [
        Entry(path=b"guests/web.yaml", content=None),
        Entry(path=b"guests/web.yaml/inside.yaml", content=WEB),
    ],
    "a folder two hundred levels deep": [
        Entry(path=b"guests/web.yaml", content=None),
        Entry(path=b"d/" * 200 + b"web.yaml", content=WEB),
    ],
    "paths that differ in case alone, of other guests": [
        Entry(path=b"guests/WEB.yaml", content=host_yaml("b", state="retired").encode()),
    ],
    "paths that look like options and leave the tree": [
        Entry(
            path=b"--upload-pack=touch x/-rf.yaml", content=host_yaml("b", state="retired").encode()
        ),
        Entry(path=b"...yaml/$(reboot)/a.yaml", content=b"never read: its folder is hidden"),
    ],
    "a hundred thousand files that are no manifests": [
        Entry(path=b"junk/%d/%d.txt" % (number % 100, number), content=b"x")
        for number in range(100_000)
    ],
}


@pytest.mark.parametrize("what", HARMLESS)
def test_a_commit_that_is_only_strange_is_read_as_it_is(stage: Stage, what: str) -> None:
    before = begin(stage)
    write(stage, HARMLESS[what])
    result = look(stage)
    assert result.problems == ()
    assert result.world is not None
    assert set(result.world.guests) == {"web"}
    assert not (result.plan and result.plan.steps)
    assert stage.writes() == before


def test_ten_thousand_manifests_of_one_guest_are_one_kind_of_problem(stage: Stage) -> None:
    """All are told to whoever asks for all; the pass goes on with the last good commit."""
    before = begin(stage)
    write(stage, [Entry(path=b"more/%05d.yaml" % number, content=WEB) for number in range(10_000)])
    result = look(stage)
    assert len(result.problems) >= 1
    assert '"web" is already taken by guests/web.yaml:3' in result.problems[0]
    assert result.world is not None
    assert set(result.world.guests) == {"web"}
    assert stage.writes() == before


def test_no_world_comes_of_a_broken_manifest(stage: Stage) -> None:
    """Many cases of ``tests/cases/bad`` in turn, as the newest commit of a repository that lives.

    What is in force stays what it was, and without a world there is nothing to plan a step from.
    """
    stage.kernel_prefixes = ("/boot",)
    stage.begin()
    files = [Entry(path=name.encode(), content=content) for name, content in WORLD.items()]
    write(stage, [*files, Entry(path=b"around.yaml", content=None)])
    good = stage.git("rev-parse", "HEAD")
    with stage.open() as opened:
        in_force = opened.controller.pass_once()
        assert in_force.world is not None
        assert in_force.world.commit.sha == good
        for case in CASES[::9]:  # enough of each kind: a pass takes a while
            content = case.read_bytes()
            path = b"domops.yaml" if b"\n# in domops.yaml\n" in content else b"case.yaml"
            write(stage, [Entry(path=path, content=content)], on=good)
            result = opened.controller.pass_once()
            assert result.problems[0].startswith(f"{path.decode()}:"), case.stem
            assert result.world is in_force.world, case.stem
