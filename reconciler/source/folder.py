"""A folder that nobody committed, as a source: what ``--from FOLDER`` plans.

Its contents have the names that git would give them, so whatever is known about a content is known
here too. Nothing outside the folder is read: a symbolic link is listed and never followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import StalledError, TransientError
from reconciler.model.names import Sha
from reconciler.source.parsing import text
from reconciler.source.port import (
    LARGEST_MANIFEST_BYTES,
    Blob,
    Change,
    CommitInfo,
    Oddity,
    Tree,
)
from reconciler.source.watching import FolderWatch, Place

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.source.port import HistoricChange, Watch

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What the folder held when it was last looked at."""

    commit: CommitInfo
    tree: Tree
    places: Mapping[Blob, Path]


class FolderSource:
    """A folder on this machine, as a ``Source`` with one commit: what is there now.

    ``sha`` is made from the names and contents, so the same folder has the same commit, and its
    date is that of the newest file. A folder has no past: ``commits_touching`` says so.
    """

    polled = False
    folder = ""

    def __init__(self, path: Path) -> None:
        self.shown = str(path)
        self._path = path
        self._seen: dict[Sha, _Seen] = {}

    def __repr__(self) -> str:
        return f"FolderSource({self.shown!r})"

    def fetch(self) -> None:
        """Do nothing: the folder is here."""

    def head(self) -> CommitInfo:
        """Look at all of the folder and name what is there."""
        seen = self._look()
        self._seen[seen.commit.sha] = seen
        return seen.commit

    def recent(self, sha: Sha, *, limit: int) -> tuple[CommitInfo, ...]:
        """Return the one commit that there is."""
        return (self._at(sha).commit,)[:limit]

    def tree(self, sha: Sha) -> Tree:
        """List what the folder held when it was called ``sha``."""
        return self._at(sha).tree

    def read(self, blobs: Iterable[Blob]) -> Mapping[Blob, bytes]:
        """Read the contents; one that was edited in the meantime is no longer to be had."""
        places = {blob: path for seen in self._seen.values() for blob, path in seen.places.items()}
        contents: dict[Blob, bytes] = {}
        for blob in blobs:
            path = places.get(blob)
            if path is None:
                raise TransientError(f"{self.shown} does not hold the content {blob}")
            contents[blob] = _content(path, blob)
        return contents

    def changed(self, old: Sha, new: Sha) -> tuple[Change, ...]:
        """Compare two looks at the folder, path by path."""
        before, after = self._at(old).tree, self._at(new).tree
        return tuple(
            Change(
                path=path,
                before=before.files.get(path),
                after=after.files.get(path),
                oddity=after.oddities.get(path),
            )
            for path in sorted({*before.files, *before.oddities, *after.files, *after.oddities})
            if before.files.get(path) != after.files.get(path)
            or before.oddities.get(path) != after.oddities.get(path)
        )

    def is_ancestor(self, old: Sha, new: Sha) -> bool:
        """Say whether both are the same: one look at a folder is not built on another."""
        return old == new

    def cut(self) -> None:
        """A folder is not fetched."""

    def objection(self, _sha: Sha) -> str | None:
        """A folder is planned from, never followed, so nobody needs to have signed it."""
        return None

    def commits_touching(
        self, pattern: re.Pattern[bytes], *, until: Sha, since: Sha | None = None
    ) -> Iterator[HistoricChange]:
        """Refuse: what a folder held before cannot be told, and must not be taken for nothing."""
        raise StalledError(
            f"{self.shown} is a folder without history, so nobody can tell what it held before"
            f" {since or until} or whether {text(pattern.pattern)!r} was in it"
        )

    def watch(self, notify: Callable[[], None]) -> Watch:
        """Call ``notify`` when anything below the folder changes."""
        return FolderWatch((Place(folder=self._path.resolve(), deep=True),), notify)

    def _at(self, sha: Sha) -> _Seen:
        if sha not in self._seen:
            raise StalledError(f"{self.shown} was never seen as {sha}")
        return self._seen[sha]

    def _look(self) -> _Seen:
        files: dict[str, Blob] = {}
        oddities: dict[str, Oddity] = {}
        places: dict[Blob, Path] = {}
        newest = 0.0
        for path, found in sorted(self._entries()):
            name = text(os.fsencode(path.relative_to(self._path)))
            if name in files or name in oddities:
                raise StalledError(f"{name}: the folder holds two files that are both called so")
            if isinstance(found, Oddity):
                oddities[name] = found
                continue
            newest = max(newest, found)
            files[name] = blob = _name_of(path)
            places[blob] = path
        digest = hashlib.sha256()
        for name, meaning in sorted({**files, **oddities}.items()):
            digest.update(f"{meaning} {name}\0".encode())
        commit = CommitInfo(
            sha=Sha(f"folder:{digest.hexdigest()[:40]}"),
            author_name="-",
            committed_at=datetime.fromtimestamp(newest, UTC),
            subject="not committed",
        )
        return _Seen(commit=commit, tree=Tree(files=files, oddities=oddities), places=places)

    def _entries(self) -> Iterator[tuple[Path, float | Oddity]]:
        """Yield every path with the time of its last change, or with what it is instead of a file.

        Sockets, devices and the like are passed over, as git does; so is git's own folder.
        """
        if not self._path.is_dir():
            raise StalledError(f"{self.shown} is not a folder")
        for directory, folders, names in os.walk(self._path, onerror=_unreadable):
            here = Path(directory)
            nested = [name for name in folders if here != self._path and name == ".git"]
            if nested or (here != self._path and ".git" in names):
                yield here, Oddity.SUBMODULE
                folders.clear()
                continue
            links = [name for name in folders if (here / name).is_symlink()]
            folders[:] = [name for name in folders if name not in links and name != ".git"]
            for name in (*names, *links):
                path = here / name
                status = _status(path)
                if stat.S_ISLNK(status.st_mode):
                    yield path, Oddity.SYMLINK
                elif stat.S_ISREG(status.st_mode) and name != ".git":
                    yield path, status.st_mtime


def _unreadable(error: OSError) -> None:
    raise StalledError(f"{error.filename} cannot be read: {error.strerror}") from error


def _status(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise TransientError(f"{path} went away while the folder was read") from error


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise TransientError(f"{path} went away while the folder was read") from error
    except OSError as error:
        raise StalledError(f"{path} cannot be read: {error.strerror}") from error


def _name_of(path: Path) -> Blob:
    with open(_open(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        while piece := file.read(_PIECE):
            digest.update(piece)
        return Blob(digest.hexdigest())


def _content(path: Path, blob: Blob) -> bytes:
    with open(_open(path), "rb") as file:
        content = file.read(LARGEST_MANIFEST_BYTES + 1)
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise StalledError(
            f"{path} is larger than {LARGEST_MANIFEST_BYTES >> 20} MiB; manifests and what they"
            " include are not"
        )
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    if digest.hexdigest() != blob:
        raise TransientError(f"{path} was changed while the folder was read")
    return content
