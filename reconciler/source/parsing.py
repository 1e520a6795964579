"""Read what git prints. Pure: bytes in, values out.

Everything is asked for with NUL between fields, the one byte that neither a path nor a commit's
text can hold; so no name or message, however chosen, is taken for the next field.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.errors import StalledError, TransientError
from reconciler.model.names import Sha
from reconciler.source.port import Blob, Change, CommitInfo, HistoricChange, Oddity, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMIT_FORMAT = "--format=tformat:%H%x00%P%x00%an%x00%ct%x00%s%x00%(trailers:only=true,unfold=true)"
_COMMIT_FIELDS = 6
_ODDITIES = {b"120000": Oddity.SYMLINK, b"160000": Oddity.SUBMODULE}
_NO_FILE = b"000000"
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One side of a difference: what the path is there."""

    blob: Blob | None
    oddity: Oddity | None


def text(raw: bytes) -> str:
    """Return the bytes as text that can always be printed and moves no terminal's cursor.

    A name that is not UTF-8 loses nothing by that: contents are asked for by blob, never by path.
    """
    return raw.decode("utf-8", errors="backslashreplace").translate(_CONTROLS)


def parse_tree(raw: bytes) -> Tree:
    """Read ``ls-tree -r -z``.

    Raises:
        StalledError: two entries are printed alike, so one would hide the other.

    """
    files: dict[str, Blob] = {}
    oddities: dict[str, Oddity] = {}
    for entry in raw.split(b"\0"):
        if not entry:
            continue
        head, _, name = entry.partition(b"\t")
        mode, _, sha = head.split(b" ")
        path = text(name)
        if path in files or path in oddities:
            raise StalledError(f"{path}: the commit holds two files that are both called so")
        if mode in _ODDITIES:
            oddities[path] = _ODDITIES[mode]
        else:
            files[path] = Blob(sha.decode("ascii"))
    return Tree(files=files, oddities=oddities)


def parse_changes(raw: bytes) -> tuple[Change, ...]:
    """Read ``diff-tree -r -z --raw``."""
    fields = iter(raw.split(b"\0"))
    changes = []
    for head in fields:
        if not head:
            continue
        before, after = _sides(head)
        path = text(next(fields))
        changes.append(Change(path=path, before=before.blob, after=after.blob, oddity=after.oddity))
    return tuple(changes)


def parse_commits(raw: bytes) -> tuple[CommitInfo, ...]:
    """Read ``log -z`` with ``COMMIT_FORMAT``."""
    fields = raw.split(b"\0")
    whole = range(0, len(fields) - len(fields) % _COMMIT_FIELDS, _COMMIT_FIELDS)
    return tuple(_commit(fields[start : start + _COMMIT_FIELDS]) for start in whole)


def parse_history(fields: Iterator[bytes]) -> Iterator[HistoricChange]:
    """Read ``log -z --raw`` with ``COMMIT_FORMAT``: the files that each commit changed or removed.

    Fields are told apart by where they stand: six are a commit, and after them a field that starts
    with a colon is a difference with its path behind it, anything else the next commit.
    """
    commit: CommitInfo | None = None
    for field in fields:
        head = field.removeprefix(b"\n")
        if not head:
            continue
        if not head.startswith(b":"):
            rest = [next(fields, b"") for _ in range(_COMMIT_FIELDS - 1)]
            commit = _commit([head, *rest])
            continue
        before, after = _sides(head)
        path = text(next(fields, b""))
        if commit is None or not path:
            raise TransientError("git log broke off in the middle of a commit")
        if before.blob is not None:
            yield HistoricChange(commit=commit, path=path, before=before.blob, after=after.blob)


def _sides(head: bytes) -> tuple[_Side, _Side]:
    """Read ``:mode mode sha sha status``."""
    old_mode, new_mode, old_sha, new_sha, _ = head.removeprefix(b":").split(b" ")
    return _side(old_mode, old_sha), _side(new_mode, new_sha)


def _side(mode: bytes, sha: bytes) -> _Side:
    oddity = _ODDITIES.get(mode)
    blob = Blob(sha.decode("ascii")) if oddity is None and mode != _NO_FILE else None
    return _Side(blob=blob, oddity=oddity)


def _commit(fields: list[bytes]) -> CommitInfo:
    sha, parents, author, committed, subject, trailers = fields
    return CommitInfo(
        sha=Sha(sha.decode("ascii")),
        author_name=text(author),
        committed_at=_instant(committed),
        subject=text(subject),
        trailers=tuple(_trailers(trailers)),
        parents=tuple(Sha(parent) for parent in parents.decode("ascii").split()),
    )


def _trailers(lines: bytes) -> Iterator[tuple[str, str]]:
    for line in lines.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon:
            yield text(key.strip()), text(value.strip())


def _instant(seconds: bytes) -> datetime:
    """Read a commit's date; it is whatever its author's machine said, so it may be absurd."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
