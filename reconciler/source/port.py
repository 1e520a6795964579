"""The port to the manifests' text: commits, the files of one, and what changed between two.

A repository beside the controller, one across the network and a folder that nobody committed stand
behind it and pass the same suite. Every call blocks, and returns whole or raises: an answer that
was cut short is never handed out as a smaller world (promise 2). Paths are relative to the
configured folder, so that a folder and the repository it was committed to give the same tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType, Protocol

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.names import Sha

Blob = NewType("Blob", str)
"""The content of one file, named by git's own digest of it: equal names are equal bytes."""

LARGEST_MANIFEST_BYTES = 4 << 20
"""Anything larger is a mistake, or meant to fill our memory; libvirt takes no such text either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitInfo:
    """What a commit says about itself.

    ``trailers`` are the ``Key: value`` lines that end its message, in order, keys as written.
    """

    sha: Sha
    author_name: str
    committed_at: datetime
    subject: str
    trailers: tuple[tuple[str, str], ...] = ()
    parents: tuple[Sha, ...] = ()


class Oddity(StrEnum):
    """What a path can be instead of a file; a manifest is never read through one."""

    SYMLINK = "a symbolic link"
    SUBMODULE = "a submodule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """All paths below the configured folder at one commit."""

    files: Mapping[str, Blob]
    oddities: Mapping[str, Oddity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path that differs between two commits.

    ``before`` and ``after`` are None where the path was, or is, no file; ``oddity`` says what it
    is instead now. All three None: there was a symlink or submodule, and nothing is left of it.
    """

    path: str
    before: Blob | None
    after: Blob | None
    oddity: Oddity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoricChange:
    """One file that a commit of the past changed or removed, with its content on both sides."""

    commit: CommitInfo
    path: str
    before: Blob
    after: Blob | None


class Watch(Protocol):
    """A watch that is on until it is closed."""

    def close(self) -> None:
        """Stop watching; ``notify`` is not called once this has returned."""
        ...


class Source(Protocol):
    """One named ref of one repository. Contract: ``tests/unit/source/test_contract.py``."""

    @property
    def shown(self) -> str:
        """The address as a person may see it: without credentials."""
        ...

    @property
    def folder(self) -> str:
        """The folder inside the repository that all paths are relative to; empty for its root."""
        ...

    @property
    def polled(self) -> bool:
        """Whether news are only seen by fetching from time to time, because ``watch`` is blind."""
        ...

    def fetch(self) -> None:
        """Bring the ref up to date from where it lives; whatever it was before stays readable.

        A history that was rewritten is fetched like any other: ``is_ancestor`` tells.

        Raises:
            TransientError: the other side was not reached, or did not answer in full.
            StalledError: the ref does not exist there (any more).
            RefusedError: the address or ref is one that is never used.

        """
        ...

    def cut(self) -> None:
        """End a fetch that is under way in another thread: it fails; nothing comes of it."""
        ...

    def head(self) -> CommitInfo:
        """Return the commit that the ref names now, or did at the last fetch that succeeded.

        Raises:
            TransientError: nothing was fetched yet, or the repository could not be read.
            StalledError: there is no such ref; the message names some that there are.

        """
        ...

    def recent(self, sha: Sha, *, limit: int) -> tuple[CommitInfo, ...]:
        """Return at most ``limit`` commits, newest first, from ``sha`` backwards."""
        ...

    def tree(self, sha: Sha) -> Tree:
        """List what the folder holds at a commit.

        Raises:
            StalledError: the commit has no such folder; an empty answer means an empty folder.

        """
        ...

    def read(self, blobs: Iterable[Blob]) -> Mapping[Blob, bytes]:
        """Read all of the contents, or raise: none is left out.

        Raises:
            StalledError: a content is larger than any manifest has a reason to be.

        """
        ...

    def changed(self, old: Sha, new: Sha) -> tuple[Change, ...]:
        """Compare two commits, path by path. A file that was moved is one gone and one new."""
        ...

    def is_ancestor(self, old: Sha, new: Sha) -> bool:
        """Say whether ``new`` was built on ``old``; a commit that is not known here was not."""
        ...

    def objection(self, sha: Sha) -> str | None:
        """Say why the signature of a commit does not count, in words that follow its name.

        None where it does, and where no signatures are asked for.

        Raises:
            StalledError: signatures cannot be checked before a person has acted.
            TransientError: they cannot be checked now.

        """
        ...

    def commits_touching(
        self, pattern: re.Pattern[bytes], *, until: Sha, since: Sha | None = None
    ) -> Iterator[HistoricChange]:
        """Walk the past for files whose content matched, and that a commit changed or removed.

        Newest first. The whole file is matched as it was *before*, not the lines that changed: a
        host renamed in place leaves its ``kind: Host`` line alone, and is still found. Merges are
        compared with each parent, so one removal may be told more than once. With ``since``, only
        what came after it is walked; if history was rewritten, what that took away is told too.

        Raises:
            StalledError: the repository does not hold its whole past (a shallow clone, a folder).

        """
        ...

    def watch(self, notify: Callable[[], None]) -> Watch:
        """Call ``notify`` (from any thread, without data, more often than needed) on news.

        ``notify`` must neither block nor raise. Where nothing can be watched, nothing is, and
        ``polled`` says so; a watch is a short cut and never the only way news arrive.

        Raises:
            TransientError: the system has no watch left to give.

        """
        ...
