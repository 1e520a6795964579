"""Find in the past the files that once said something and no longer do.

A host whose manifest was deleted may still run guests, so the past is part of what decides whether
a guest is missing (promise 1). The walk must not overlook anything: it follows every side branch,
compares merges with each parent, and matches whole files, not the lines that changed.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from reconciler.source.parsing import COMMIT_FORMAT, parse_history

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

    from reconciler.model.names import Sha
    from reconciler.source.port import Blob, HistoricChange
    from reconciler.source.program import GitProgram

_AT_ONCE = 2000
_CHUNK = 1 << 16


def walk(
    program: GitProgram, *, folder: str, until: Sha, since: Sha | None, deadline_s: float
) -> Iterator[HistoricChange]:
    """Yield every file that a commit changed or removed, newest commit first."""
    with program.stream(
        *("log", "-z", "-m", "--full-history", "--raw", "-r", "--no-renames", "--no-abbrev"),
        *("--no-show-signature", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all"),
        *("--encoding=UTF-8", "--diff-filter=MDT", COMMIT_FORMAT, until),
        *((f"^{since}",) if since is not None else ()),
        *("--", *((folder,) if folder else ())),
        deadline_s=deadline_s,
    ) as out:
        prefix = f"{folder}/" if folder else ""
        for change in parse_history(_fields(out)):
            yield dataclasses.replace(change, path=change.path.removeprefix(prefix))


def matching(
    changes: Iterable[HistoricChange],
    pattern: re.Pattern[bytes],
    contents: Callable[[Iterable[Blob]], Iterator[tuple[Blob, bytes | None]]],
) -> Iterator[HistoricChange]:
    """Yield the changes of files whose content matched before; each content is read once."""
    matched: dict[Blob, bool] = {}
    remaining = iter(changes)
    while batch := list(itertools.islice(remaining, _AT_ONCE)):
        unread = dict.fromkeys(change.before for change in batch if change.before not in matched)
        for blob, content in contents(unread):
            # One that is too large to be read can never have been in force either.
            matched[blob] = content is not None and pattern.search(content) is not None
        yield from (change for change in batch if matched[change.before])


def _fields(out: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := out.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest:
        yield rest
