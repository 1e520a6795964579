"""Whose commits count, from the command line: settings, a controller that runs, and a person."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.source.signatures import SignatureKind
from tests.unit.cli.test_process import DOMOPS, line, running
from tests.unit.source.keyrings import Keyring, keyring
from tests.unit.source.workshop import git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 120
NEW = "apiVersion: domops/v1\nkind: Pool\nmetadata: {name: another}\nspec: {}\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository as ``init`` writes it, with one commit."""
    folder = tmp_path / "vms"
    subprocess.run([DOMOPS, "init", str(folder)], check=True, capture_output=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture(params=(SignatureKind.SSH, SignatureKind.OPENPGP))
def keys(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Keyring]:
    """Keys, and the settings that ask for them, in the environment."""
    with keyring(request.param, tmp_path / "ring") as made:
        monkeypatch.setenv("DOMOPS_SIGNATURES", made.kind)
        monkeypatch.setenv("DOMOPS_SIGNERS", str(made.signers))
        if made.revoked is not None:
            monkeypatch.setenv("DOMOPS_REVOKED_SIGNERS", str(made.revoked))
        yield made


def _next(process: subprocess.Popen[str], kind: str) -> dict[str, str]:
    """The next event of a kind that the controller tells; it is ended if none comes."""
    assert process.stderr is not None
    deadline = threading.Timer(DEADLINE_S, process.kill)
    deadline.start()
    try:
        for told in process.stderr:
            event: dict[str, str] = json.loads(told)
            if event["event"] == kind:
                return event
    finally:
        deadline.cancel()
    pytest.fail(f"domops run ended with {process.wait()} and told no {kind}")


def _commit(folder: Path, message: str) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def _sign(folder: Path, keys: Keyring, name: str) -> str:
    words = ("commit", "-q", "--amend", "--allow-empty", "--no-edit", "-S")
    git(folder, *keys.signing[name], *words)
    return git(folder, "rev-parse", "HEAD")


def _plan(repository: Path) -> str:
    done = subprocess.run(line(repository, "plan"), capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}"


def test_a_controller_follows_those_who_may_sign_and_nobody_else(
    repository: Path, keys: Keyring
) -> None:
    good = _sign(repository, keys, "good")
    with running(repository) as process:
        for name in ("nobody", "stranger", "expired", "revoked"):
            refused = _commit(repository, name)
            if name != "nobody":  # the unsigned one before it is perhaps refused first
                refused = _sign(repository, keys, name)
            while (event := _next(process, "commit-refused"))["commit"] != refused:
                continue
            assert f"commit {refused[:10]} " in event["message"]
            assert f"{good[:10]} stays in force" in " ".join(_plan(repository).split())
        signed = _sign(repository, keys, "good")
        assert _next(process, "commit-applied")["commit"] == signed
        assert "stays in force" not in _plan(repository)


def test_a_rewritten_branch_is_taken_over_when_a_person_says_so(repository: Path) -> None:
    with running(repository) as process:
        git(repository, "commit", "-q", "--amend", "--allow-empty", "-m", "another past")
        event = _next(process, "commit-refused")
        found = re.search(r"domops approve (\S+)", event["message"])
        assert found is not None
        subprocess.run(line(repository, "approve", found[1]), check=True, capture_output=True)
        assert _next(process, "commit-applied")["commit"] == event["commit"]


def test_what_rollback_says_to_type_goes_back(repository: Path) -> None:
    """Over a merge too; files that came since are gone, and those outside the folder stay."""
    good = git(repository, "rev-parse", "HEAD")
    with running(repository) as process:
        git(repository, "checkout", "-q", "-b", "side")
        (repository / "new.yaml").write_text(NEW)
        git(repository, "add", ".")
        _commit(repository, "Add a file")
        git(repository, "checkout", "-q", "main")
        git(repository, "merge", "-q", "--no-ff", "-m", "Merge", "side")
        _next(process, "commit-applied")
        said = subprocess.run(
            line(repository, "rollback"), capture_output=True, text=True, check=True
        ).stdout
        typed = [row.strip() for row in said.splitlines() if row.startswith("  git")]
        assert [row.split()[1] for row in typed] == ["restore", "commit", "push"]
        for row in typed[:-1]:
            git(repository, *shlex.split(row)[1:])
        applied = _next(process, "commit-applied")["commit"]
    assert git(repository, "rev-parse", f"{applied}^{{tree}}") == git(
        repository, "rev-parse", f"{good}^{{tree}}"
    )
