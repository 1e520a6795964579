"""Repositories for the tests to commit to, and the ways a source can reach them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from reconciler.model.names import Sha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DEADLINE_S = 20.0


def git(directory: Path, *arguments: str, give: bytes = b"") -> str:
    """Run git as a user would, and return what it printed."""
    finished = subprocess.run(
        ["git", "-C", str(directory), *arguments], check=True, capture_output=True, input=give
    )
    return finished.stdout.decode().strip()


class Workshop:
    """A work tree to commit in; with a ``bare`` repository beside it, each commit is pushed."""

    def __init__(self, path: Path, *, bare: Path | None = None) -> None:
        self.path = path
        self.bare = bare
        path.mkdir(parents=True)
        git(path, "init", "--quiet", "--initial-branch=main")
        if bare is not None:
            git(path, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "Change") -> Sha:
        """Write the files, remove those that are None, commit, and push if there is a bare one."""
        for name, content in files.items():
            place = self.path / name
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        git(self.path, "add", "--all")
        git(self.path, "commit", "--quiet", "--allow-empty", f"--message={message}")
        self.push()
        return self.head()

    def head(self) -> Sha:
        """Return the commit that is checked out."""
        return Sha(git(self.path, "rev-parse", "HEAD"))

    def rewind(self, sha: Sha) -> None:
        """Take the branch back, and push that by force."""
        git(self.path, "reset", "--quiet", "--hard", sha)
        self.push()

    def push(self) -> None:
        """Make the branch in the bare repository, if there is one, what it is here."""
        if self.bare is not None:
            git(self.path, "push", "--quiet", "--force", str(self.bare), "HEAD:refs/heads/main")

    def drop_branch(self) -> None:
        """Remove the branch from where the source looks for it."""
        git(self.bare or self.path, "update-ref", "-d", "refs/heads/main")


def free_port() -> int:
    """Return a port on the loopback that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return int(port)


def eventually(holds: Callable[[], bool]) -> bool:
    """Ask again until it holds, or until too much time has passed."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def git_daemon(base: Path) -> Iterator[str]:
    """Serve all repositories below ``base`` on the loopback; yields the URL of ``base``."""
    port = free_port()
    program = os.path.join(git(base, "--exec-path"), "git-daemon")  # noqa: PTH118 (git's own text)
    daemon = subprocess.Popen(
        [
            *(program, "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}"),
            *("--export-all", "--reuseaddr", str(base)),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: daemon.poll() is not None or _answers(port))
        assert daemon.poll() is None, "git daemon did not stay up"
        yield f"git://127.0.0.1:{port}"
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE_S)
