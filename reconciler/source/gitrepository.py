"""One ref of one git repository: beside us and read in place, or across the network.

Everything is read by git's plumbing, one process for many objects. Nothing is written into a
repository that is not ours, no file is checked out, and nothing that a repository names is run.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.model.names import Sha
from reconciler.source import history
from reconciler.source.address import clean_folder, full_ref, parse_address
from reconciler.source.mirror import Mirror
from reconciler.source.parsing import (
    COMMIT_FORMAT,
    parse_changes,
    parse_commits,
    parse_tree,
    text,
)
from reconciler.source.port import LARGEST_MANIFEST_BYTES, HistoricChange
from reconciler.source.program import GitProgram
from reconciler.source.signatures import Verifier
from reconciler.source.watching import FolderWatch, NoWatch, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.source.port import Blob, Change, CommitInfo, Tree, Watch
    from reconciler.source.signatures import Signers

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LOG = ("log", "-z", "--no-show-signature", "--encoding=UTF-8", COMMIT_FORMAT)
_FEW = 8
_SKIP = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long git may take before it is ended, by what it is doing.

    Reading is local: when it takes this long the disk is in trouble. Fetching waits for another
    machine, and the first time brings all of the history. Walking reads all of that history once.
    """

    reading_s: float = 60
    fetching_s: float = 120
    walking_s: float = 900


def open_repository(
    address: str,
    *,
    ref: str,
    folder: str = "",
    state_directory: Path,
    deadlines: Deadlines | None = None,
    signers: Signers | None = None,
) -> GitRepository:
    """Open a repository by its path or URL; nothing is fetched yet, and no connection made.

    With ``signers``, ``objection`` tells whose signature a commit lacks.

    Raises:
        RefusedError: the address, ref or folder is one that is never used.
        StalledError: the path is no repository.
        TransientError: the repository could not be looked at.

    """
    deadlines = deadlines or Deadlines()
    parsed, ref, folder = parse_address(address), full_ref(ref), clean_folder(folder)
    if not isinstance(parsed, Path):
        mirror = Mirror(
            parsed, ref=ref, state_directory=state_directory, deadline_s=deadlines.fetching_s
        )
        return GitRepository(
            mirror.program,
            shown=parsed.shown,
            ref=ref,
            folder=folder,
            deadlines=deadlines,
            mirror=mirror,
            signers=signers,
        )
    git_directory, common = _locate(parsed, deadlines.reading_s)
    return GitRepository(
        GitProgram(git_directory, environment=_quarantine(common)),
        shown=str(parsed),
        ref=ref,
        folder=folder,
        deadlines=deadlines,
        watched=_where_refs_change(git_directory, common),
        signers=signers,
    )


class GitRepository:
    """One ref of a repository, as a ``Source``; see ``open_repository``."""

    def __init__(  # noqa: PLR0913 - all by keyword, and put together by open_repository alone
        self,
        program: GitProgram,
        *,
        shown: str,
        ref: str,
        folder: str,
        deadlines: Deadlines,
        mirror: Mirror | None = None,
        watched: tuple[Place, ...] = (),
        signers: Signers | None = None,
    ) -> None:
        self.shown = shown
        self.folder = folder
        self.polled = mirror is not None
        self._program = program
        self._ref = ref
        self._tracked = ref if mirror is None else mirror.tracked
        self._deadlines = deadlines
        self._mirror = mirror
        self._watched = watched
        self._verifier = Verifier(signers) if signers is not None else None

    def __repr__(self) -> str:
        return f"GitRepository({self.shown!r}, ref={self._ref!r}, folder={self.folder!r})"

    def fetch(self) -> None:
        """Bring a remote ref up to date; a repository on this machine is read in place."""
        if self._mirror is not None:
            self._mirror.fetch()

    def cut(self) -> None:
        """End a fetch that is under way."""
        if self._mirror is not None:
            self._mirror.cut()

    def tidy(self) -> None:
        """Pack our copy of a remote repository, if much has gathered; for a quiet hour."""
        if self._mirror is not None:
            self._mirror.tidy()

    def head(self) -> CommitInfo:
        """Return the commit that the ref names now."""
        with self._doubting():
            return self._newest()

    def _newest(self) -> CommitInfo:
        if self._mirror is not None and not self._program.directory.is_dir():
            raise self._not_fetched()
        answer = self._program.ask(
            *(*_LOG, "-1", "--end-of-options", self._tracked, "--"),
            deadline_s=self._deadlines.reading_s,
        )
        commits = parse_commits(answer.out)
        if answer.status == 0 and len(commits) == 1:
            return commits[0]
        refs = self._tell("for-each-ref", "--format=%(refname)").decode().split()
        if self._tracked in refs:
            raise TransientError(f"{self.shown}: {self._ref} is unreadable: {answer.complaint}")
        if self._mirror is not None:
            raise self._not_fetched()
        raise StalledError(self._no_such_ref(refs))

    def commit(self, revision: str) -> CommitInfo:
        """Return the commit that a person means: a branch, a tag, ``HEAD~2``, part of a hash.

        The source's own ref means what it does everywhere here. Of a remote repository nothing
        else is known but hashes, because nothing else is fetched.

        Raises:
            StalledError: the repository knows no such commit.

        """
        name = re.split(r"[~^]", revision, maxsplit=1)[0]
        ours = {self._ref, self._ref.removeprefix("refs/heads/")}
        if name in ours or (name == "HEAD" and self._mirror is not None):
            wanted = self._tracked + revision.removeprefix(name)
        else:
            wanted = revision
        if not wanted.isprintable():
            raise StalledError(f"{self.shown} knows no commit {revision!r}")
        answer = self._program.ask(
            *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{wanted}^{{commit}}"),
            deadline_s=self._deadlines.reading_s,
        )
        sha = answer.out.decode("ascii", errors="replace").strip()
        if answer.status != 0 or not _SHA.fullmatch(sha):
            raise StalledError(f"{self.shown} knows no commit {revision!r}")
        return parse_commits(self._tell(*_LOG, "-1", sha, "--"))[0]

    def recent(self, sha: Sha, *, limit: int) -> tuple[CommitInfo, ...]:
        """Return at most ``limit`` commits, newest first, from ``sha`` backwards."""
        return parse_commits(self._tell(*_LOG, f"--max-count={limit:d}", _checked(sha), "--"))

    def tree(self, sha: Sha) -> Tree:
        """List what the folder holds at a commit."""
        answer = self._program.ask(
            *("ls-tree", "-r", "-z", "--full-tree", self._inside(sha)),
            deadline_s=self._deadlines.reading_s,
        )
        if answer.status != 0:
            with self._doubting():
                raise self._no_folder((sha,), answer.complaint)
        return parse_tree(answer.out)

    def read(self, blobs: Iterable[Blob]) -> Mapping[Blob, bytes]:
        """Read all of the contents with one process, or raise."""
        contents: dict[Blob, bytes] = {}
        with self._doubting():
            for blob, content in self._contents(blobs, deadline_s=self._deadlines.reading_s):
                if content is None:
                    raise StalledError(
                        f"{self.shown}: the file with the content {blob} is larger than"
                        f" {LARGEST_MANIFEST_BYTES >> 20} MiB; manifests and what they include"
                        " are not"
                    )
                contents[blob] = content
        return contents

    def changed(self, old: Sha, new: Sha) -> tuple[Change, ...]:
        """Compare the folder at two commits, path by path."""
        answer = self._program.ask(
            *("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-ext-diff"),
            *("--no-textconv", "--ignore-submodules=none", self._inside(old), self._inside(new)),
            "--",
            deadline_s=self._deadlines.reading_s,
        )
        if answer.status != 0:
            raise self._no_folder((old, new), answer.complaint)
        return parse_changes(answer.out)

    def objection(self, sha: Sha) -> str | None:
        """Say why the signature of a commit does not count; None where nobody asked for one."""
        if self._verifier is None:
            return None
        deadline_s = self._deadlines.reading_s
        return self._verifier.objection(self._program, _checked(sha), deadline_s=deadline_s)

    def is_ancestor(self, old: Sha, new: Sha) -> bool:
        """Say whether ``new`` was built on ``old``; a commit that is not known here was not."""
        answer = self._program.ask(
            *("merge-base", "--is-ancestor", _checked(old), _checked(new)),
            deadline_s=self._deadlines.reading_s,
        )
        if answer.status in {0, 1}:
            return answer.status == 0
        if not self._knows(old) and self._knows(new):
            return False
        raise TransientError(f"{self.shown}: git merge-base failed: {answer.complaint}")

    def commits_touching(
        self, pattern: re.Pattern[bytes], *, until: Sha, since: Sha | None = None
    ) -> Iterator[HistoricChange]:
        """Walk the past for files whose content matched, and that a commit changed or removed."""
        if self._tell("rev-parse", "--is-shallow-repository").strip() == b"true":
            raise StalledError(
                f"{self.shown} is a shallow clone: which hosts it once named cannot be told;"
                " fetch its whole history"
            )
        if since is not None and not self._knows(since):
            since = None
        taken_away: list[HistoricChange] = []
        if since is not None and not self.is_ancestor(since, until):
            taken_away = self._taken_away(since, until)
        walked = history.walk(
            self._program,
            folder=self.folder,
            until=Sha(_checked(until)),
            since=since,
            deadline_s=self._deadlines.walking_s,
        )
        return history.matching(itertools.chain(taken_away, walked), pattern, self._historic)

    def watch(self, notify: Callable[[], None]) -> Watch:
        """Call ``notify`` when a ref moves; of a remote repository nothing can be seen."""
        return FolderWatch(self._watched, notify) if self._watched else NoWatch()

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        """Let our copy of a remote repository be examined if it could not be read."""
        try:
            yield
        except TransientError:
            if self._mirror is not None:
                self._mirror.doubt()
            raise

    def _taken_away(self, since: Sha, until: Sha) -> list[HistoricChange]:
        """Return what a rewritten history changed, as if the newest commit had done it all."""
        commit = self.recent(until, limit=1)[0]
        return [
            HistoricChange(
                commit=commit, path=change.path, before=change.before, after=change.after
            )
            for change in self.changed(since, until)
            if change.before is not None
        ]

    def _tell(self, *arguments: str) -> bytes:
        return self._program.tell(*arguments, deadline_s=self._deadlines.reading_s)

    def _inside(self, sha: Sha) -> str:
        return f"{_checked(sha)}:{self.folder}"

    def _knows(self, sha: Sha) -> bool:
        answer = self._program.ask(
            *("cat-file", "-e", f"{_checked(sha)}^{{commit}}"),
            deadline_s=self._deadlines.reading_s,
        )
        return answer.status == 0

    def _historic(self, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, bytes | None]]:
        return self._contents(blobs, deadline_s=self._deadlines.walking_s)

    def _contents(
        self, blobs: Iterable[Blob], *, deadline_s: float
    ) -> Iterator[tuple[Blob, bytes | None]]:
        """Yield each content; None for one that is too large."""
        wanted = list(dict.fromkeys(blobs))
        if not wanted:
            return
        asked = "".join(f"{_checked(blob)}\n" for blob in wanted).encode("ascii")
        with self._program.stream(
            *("cat-file", "--batch", "--buffer"), deadline_s=deadline_s, give=asked
        ) as out:
            for blob in wanted:
                yield blob, self._one_content(out, blob)

    def _one_content(self, out: IO[bytes], blob: Blob) -> bytes | None:
        head = out.readline().split()
        match head:
            case [name, b"blob", size] if name.decode("ascii", "replace") == blob:
                length = int(size)
            case [_, b"missing"]:
                raise TransientError(f"{self.shown} does not hold the content {blob}")
            case _:
                raise TransientError(
                    f"{self.shown}: git cat-file said {text(b' '.join(head))!r} about {blob}"
                )
        content = None
        if length <= LARGEST_MANIFEST_BYTES:
            content = out.read(length)
            length -= len(content)
        while length > 0 and (skipped := len(out.read(min(length, _SKIP)))):
            length -= skipped
        if length != 0 or out.read(1) != b"\n":
            raise TransientError(f"{self.shown}: the content {blob} broke off")
        return content

    def _not_fetched(self) -> TransientError:
        return TransientError(f"{self.shown}: {self._ref} has not been fetched yet")

    def _no_such_ref(self, refs: list[str]) -> str:
        tag = f"refs/tags/{self._ref.removeprefix('refs/heads/')}"
        if tag in refs:
            return f"{self.shown} has no branch {self._ref}; for the tag of that name write {tag}"
        if not refs:
            return f"{self.shown} has no commit yet: commit the manifests, then look again"
        few = ", ".join(refs[:_FEW]) + (", …" if len(refs) > _FEW else "")
        return f"{self.shown} has no ref {self._ref}; there are {few}"

    def _no_folder(self, shas: tuple[Sha, ...], complaint: str) -> StalledError | TransientError:
        for sha in shas:
            if not self._knows(sha):
                return StalledError(f"{self.shown} knows no commit {sha}")
            if not self.folder:
                continue
            entry = self._tell("ls-tree", "-z", "--full-tree", _checked(sha), "--", self.folder)
            if not entry.startswith(b"040000 "):
                return StalledError(f"{self.shown}: commit {sha[:12]} has no folder {self.folder}")
        return TransientError(f"{self.shown} could not be read: {complaint}")


def _checked(sha: str) -> str:
    """Return the hash, once it is certain that git cannot take it for anything else."""
    if not _SHA.fullmatch(sha):
        raise RefusedError(f"{sha!r} is not a whole commit or content hash")
    return sha


def _locate(path: Path, deadline_s: float) -> tuple[Path, Path]:
    """Return a repository's own directory and the one that it shares with its other work trees.

    Only the path itself is looked at: a folder inside a work tree is not the repository.
    """
    try:
        path = path.resolve(strict=True)
        if not path.is_dir():
            raise StalledError(f"{path} is not a folder, so it is no repository")
    except (OSError, RuntimeError) as error:
        raise StalledError(f"{path} is not there or may not be looked into: {error}") from error
    # Whom the repository belongs to does not matter, because nothing that it names is run.
    finder = GitProgram(
        path,
        settings=(("safe.directory", "*"),),
        environment={"GIT_CEILING_DIRECTORIES": str(path.parent)},
    )
    answer = finder.ask(
        *("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"),
        deadline_s=deadline_s,
        discover=True,
    )
    found = [Path(os.fsdecode(line)) for line in answer.out.splitlines()]
    match found:
        case [own, common] if answer.status == 0:
            return own, common
        case _:
            raise StalledError(f"{path} is not a git repository: {answer.complaint}")


def _quarantine(common: Path) -> dict[str, str]:
    """Let a hook of this very repository see the commits that are only being pushed to it."""
    names = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    where = inherited.get("GIT_QUARANTINE_PATH")
    if where is None or not Path(where).resolve().is_relative_to((common / "objects").resolve()):
        return {}
    return inherited


def _where_refs_change(own: Path, common: Path) -> tuple[Place, ...]:
    places = [Place(folder=common, names=frozenset({"HEAD", "packed-refs"}))]
    if own != common:
        places.append(Place(folder=own, names=frozenset({"HEAD"})))
    places += [
        Place(folder=common / name, deep=True)
        for name in ("refs", "reftable")
        if (common / name).is_dir()
    ]
    return tuple(places)
