"""git does what it was asked to do, and nothing that a repository would have it do."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from git import Git

from reconciler.errors import StalledError, TransientError
from reconciler.source.gitrepository import open_repository
from reconciler.source.program import GitProgram
from tests.unit.source.workshop import Workshop, eventually, git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.source.conftest import Reach


def _program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _booby_trap(repository: Path, marker: Path) -> None:
    """Have the repository name a program wherever git would let it."""
    trap = _program(marker.with_name("trap"), f'touch "{marker}"; cat')
    settings = {
        "core.fsmonitor": trap,
        "core.hooksPath": marker.with_name("hooks"),
        "core.pager": trap,
        "core.editor": trap,
        "core.sshCommand": trap,
        "core.gitProxy": trap,
        "core.askPass": trap,
        "core.alternateRefsCommand": trap,
        "core.attributesFile": marker.with_name("attributes"),
        "pager.log": trap,
        "credential.helper": f"!{trap}",
        "diff.external": trap,
        "diff.evil.command": trap,
        "diff.evil.textconv": trap,
        "filter.evil.smudge": trap,
        "filter.evil.clean": trap,
        "filter.evil.process": trap,
        "gpg.program": trap,
        "gpg.ssh.program": trap,
        "log.showSignature": "true",
        "uploadpack.packObjectsHook": trap,
        "alias.log": f"!{trap}",
        "alias.cat-file": f"!{trap}",
        "include.path": marker.with_name("not-there"),
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{trap}",
        "remote.origin.uploadpack": trap,
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
        "gc.auto": "1",
        "maintenance.auto": "true",
    }
    git(repository, "config", "core.repositoryFormatVersion", "1")
    for key, value in settings.items():
        git(repository, "config", key, str(value))
    own = repository / ".git" if (repository / ".git").is_dir() else repository
    (own / "info").mkdir(exist_ok=True)
    (own / "info" / "attributes").write_text("* diff=evil filter=evil\n")
    marker.with_name("attributes").write_text("* diff=evil filter=evil\n")
    marker.with_name("hooks").mkdir()
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc", "fsmonitor-watchman"):
        _program(marker.with_name("hooks") / hook, f'touch "{marker}"')
        (own / "hooks").mkdir(exist_ok=True)
        _program(own / "hooks" / hook, f'touch "{marker}"')


def test_a_hostile_repository_runs_no_program(reach: Reach, tmp_path: Path) -> None:
    shop = reach.workshop
    shop.commit({".gitattributes": "* diff=evil filter=evil\n", "a.yaml": "kind: Host\n"})
    signed = git(shop.path, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n", 1
    )
    sha = git(shop.path, "hash-object", "-t", "commit", "-w", "--stdin", give=signed.encode())
    shop.rewind(type(shop.head())(sha))
    old = shop.head()
    new = shop.commit({"a.yaml": "kind: Pool\n"})
    marker = tmp_path / "marker"
    _booby_trap(shop.bare or shop.path, marker)
    source = reach.open()
    source.fetch()
    source.tidy()
    head = source.head()
    assert head.sha == new
    tree = source.tree(new)
    assert len(source.read(tree.files.values())) == 2
    assert len(source.changed(old, new)) == 1
    assert source.is_ancestor(old, new)
    assert len(source.recent(new, limit=2)) == 2
    assert len(list(source.commits_touching(re.compile(b"kind: Host"), until=new))) == 1
    with pytest.raises(TransientError):
        source.read([type(next(iter(tree.files.values())))("1" * 40)])
    assert not marker.exists()


def test_the_trap_would_spring_for_a_git_that_believes_the_repository(
    workshop: Workshop, tmp_path: Path
) -> None:
    """The test above can fail: git as a user runs it falls into the trap."""
    workshop.commit({"a.yaml": "a"})
    workshop.commit({"a.yaml": "b"})
    marker = tmp_path / "marker"
    _booby_trap(workshop.path, marker)
    git(workshop.path, "diff", "HEAD~1")
    assert marker.exists()


def test_objects_that_were_put_in_place_of_others_are_not_believed(reach: Reach) -> None:
    """A commit is what its hash says, whatever ``refs/replace`` would have it be."""
    shop = reach.workshop
    true = shop.commit({"a.yaml": "true"})
    false = shop.commit({"a.yaml": "false"})
    shop.rewind(true)
    git(shop.bare or shop.path, "update-ref", f"refs/replace/{true}", false)
    source = reach.open()
    source.fetch()
    assert list(source.read(source.tree(true).files.values()).values()) == [b"true"]


def test_the_environment_of_a_hook_does_not_lead_git_astray(
    reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started by a hook of another repository, domops still reads its own."""
    sha = reach.workshop.commit({"a.yaml": "a"})
    other = Workshop(tmp_path / "other")
    other.commit({"b.yaml": "b"})
    trace = tmp_path / "trace"
    for name, value in {
        "GIT_DIR": str(other.path / ".git"),
        "GIT_WORK_TREE": str(other.path),
        "GIT_INDEX_FILE": str(other.path / "index"),
        "GIT_OBJECT_DIRECTORY": str(other.path / ".git" / "objects"),
        "GIT_CONFIG_PARAMETERS": "'core.bare'='nonsense'",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_TRACE": str(trace),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "nonsense",
    }.items():
        monkeypatch.setenv(name, value)
    source = reach.open()
    source.fetch()
    assert source.head().sha == sha
    assert set(source.tree(sha).files) == {"a.yaml"}
    assert not trace.exists()


def test_what_a_person_has_set_for_their_own_git_changes_nothing(
    reach: Reach, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address is the address: no ``insteadOf`` of somebody's home leads elsewhere."""
    sha = reach.workshop.commit({"a.yaml": "a"})
    (tmp_path / ".gitconfig").write_text(
        f'[url "ext::false "]\n\tinsteadOf = {reach.address.partition(":")[0]}\n'
        f"[core]\n\thooksPath = {tmp_path / 'hooks'}\n"
    )
    (tmp_path / "hooks").mkdir()
    _program(tmp_path / "hooks" / "reference-transaction", f'touch "{tmp_path / "marker"}"')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL")
    source = reach.open()
    source.fetch()
    assert source.head().sha == sha
    assert not (tmp_path / "marker").exists()


def test_a_hook_of_the_repository_sees_what_is_being_pushed(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``domops validate`` in a pre-receive hook reads commits that are still in quarantine."""
    workshop.commit({"a.yaml": "a"})
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(workshop.path), str(bare))
    pushed = workshop.commit({"a.yaml": "b"})
    quarantine = bare / "objects" / "tmp_objdir-incoming-x"
    quarantine.mkdir()
    for folder in (workshop.path / ".git" / "objects").iterdir():
        if len(folder.name) == 2:
            folder.rename(quarantine / folder.name)
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(quarantine))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(quarantine))
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", str(bare / "objects"))
    source = open_repository(str(bare), ref="main", state_directory=tmp_path / "state")
    assert source.commit(pushed).sha == pushed


def test_git_is_ended_with_all_it_started_when_its_time_is_over(tmp_path: Path) -> None:
    """A child that a hanging git waits for does not live on."""
    child = tmp_path / "child"
    slow = _program(
        tmp_path / "slow", f'sh -c \'trap "" TERM; echo $$ > "{child}"; sleep 60\' & wait'
    )
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    program = GitProgram(tmp_path / "r.git", settings=(("alias.hang", f"!{slow}"),))
    with pytest.raises(TransientError, match=r"was not done after 0\.5 s"):
        program.ask("hang", deadline_s=0.5)
    pid = int(child.read_text())
    assert eventually(lambda: _has_ended(pid))
    with (
        pytest.raises(TransientError, match=r"was not done after 0\.5 s"),
        program.stream("hang", deadline_s=0.5) as out,
    ):
        assert out.read() == b""
    pid = int(child.read_text())
    assert eventually(lambda: _has_ended(pid))


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 (no path of ours)
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_output_that_breaks_off_is_not_taken_for_all_there_was(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    program = GitProgram(
        tmp_path / "r.git", settings=(("alias.break", "!echo one; echo 'fatal: disk' >&2; exit 3"),)
    )
    with (
        pytest.raises(TransientError, match="failed: fatal: disk"),
        program.stream("break", deadline_s=20) as out,
    ):
        assert out.readline() == b"one\n"
    with (
        pytest.raises(TransientError, match="more than was asked for"),
        program.stream("rev-parse", "--git-dir", deadline_s=20),
    ):
        pass


def test_who_stops_reading_early_ends_git(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    mark = tmp_path / "pid"
    program = GitProgram(
        tmp_path / "r.git", settings=(("alias.go", f"!echo $$ > {mark}; echo one; exec sleep 60"),)
    )
    with pytest.raises(ZeroDivisionError), program.stream("go", deadline_s=20) as out:
        len(out.readline()) / 0
    assert _has_ended(int(mark.read_text()))


def test_a_complaint_is_one_short_line_without_secrets(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    fatal = "fatal: no \\033[31mhunter2 at https://a:b@h/x"
    says = f"!printf 'hint: x\\n{fatal}\\nadvice %0500d\\n' 0 >&2; exit 1"
    program = GitProgram(tmp_path / "r.git", settings=(("alias.no", says),), secrets=("hunter2",))
    answer = program.ask("no", deadline_s=20)
    assert answer.complaint == "fatal: no \\x1b[31m*** at https://h/x"


def test_a_machine_without_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    monkeypatch.setattr(Git, "GIT_PYTHON_GIT_EXECUTABLE", "/not/there/git")
    monkeypatch.setenv("GIT_TRACE", "0")
    with pytest.raises(StalledError, match="git is not installed"):
        GitProgram(tmp_path / "r.git").ask("version", deadline_s=20)


@pytest.mark.parametrize("address", ["", "work/sub", "file", "not-there", "empty"])
def test_a_path_that_is_no_repository_is_told(
    workshop: Workshop, tmp_path: Path, address: str
) -> None:
    """A folder inside a work tree is not the repository either: ``folder`` is for that."""
    workshop.commit({"sub/a.yaml": "a"})
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StalledError):
        open_repository(str(tmp_path / address), ref="main", state_directory=tmp_path / "state")


def test_git_dies_by_a_signal_it_may_answer(tmp_path: Path) -> None:
    """SIGTERM first: git removes its lock files on it, and cannot on SIGKILL."""
    told = tmp_path / "told"
    polite = _program(
        tmp_path / "polite",
        f"trap 'echo gone > \"{told}\"; exit 0' TERM\nwhile :; do sleep 0.05; done",
    )
    git(tmp_path, "init", "--quiet", "--bare", "r.git")
    program = GitProgram(tmp_path / "r.git", settings=(("alias.hang", f"!exec {polite}"),))
    with pytest.raises(TransientError):
        program.ask("hang", deadline_s=0.5)
    assert eventually(told.exists)
