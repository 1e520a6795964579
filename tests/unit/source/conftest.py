"""A repository to commit to, reached in each way that a source can reach one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from reconciler.source.gitrepository import GitRepository, open_repository
from tests.unit.source.workshop import Workshop, git, git_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAYS = ("work tree", "linked work tree", "bare", "file URL", "git daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """A workshop and how a source gets at it."""

    workshop: Workshop
    address: str
    state: Path

    def open(self, *, ref: str = "main", folder: str = "") -> GitRepository:
        """Open the repository as a controller would; nothing is fetched yet."""
        return open_repository(self.address, ref=ref, folder=folder, state_directory=self.state)


@pytest.fixture(params=WAYS)
def reach(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reach]:
    """Each way in turn; the repository is empty."""
    way = str(request.param)
    work = tmp_path / "work"
    bare = None if way.endswith("work tree") else tmp_path / "served" / "bare.git"
    if bare is not None:
        bare.parent.mkdir()
    workshop = Workshop(work, bare=bare)
    with contextlib.ExitStack() as opened:
        match way:
            case "linked work tree":
                workshop.commit({}, "So that there is something to link to")
                address = str(tmp_path / "linked")
                git(work, "worktree", "add", "--quiet", "--detach", address)
            case "file URL":
                address = f"file://{bare}"
            case "git daemon":
                address = opened.enter_context(git_daemon(tmp_path / "served")) + "/bare.git"
            case _:
                address = str(bare or work)
        yield Reach(workshop=workshop, address=address, state=tmp_path / "state")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A work tree to commit in, for what is the same however it is reached."""
    return Workshop(tmp_path / "work")
