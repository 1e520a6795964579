"""Whose commits count, from the command line: settings, a controller that runs, and a person."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.source.signatures import SignatureKind
from tests.unit.cli.test_process import DOMOPS, line, running
from tests.unit.source.keyrings import Keyring, keyring
from tests.unit.source.workshop import git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    """The next event of a kind that the controller tells."""
    assert process.stderr is not None
    for told in process.stderr:
        event: dict[str, str] = json.loads(told)
        if event["event"] == kind:
            return event
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
