"""One revision of a repository, as if it were the newest: for plans of what is not on the ref."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.model.names import Sha
    from reconciler.source.gitrepository import GitRepository
    from reconciler.source.port import Blob, Change, CommitInfo, HistoricChange, Tree, Watch


class PinnedSource:
    """A ``Source`` whose ref never moves from the commit that ``revision`` named."""

    def __init__(self, repository: GitRepository, revision: str) -> None:
        self.shown = repository.shown
        self.folder = repository.folder
        self.polled = repository.polled
        self._repository = repository
        self._revision = revision

    def fetch(self) -> None:
        """Fetch as the repository does, so that a revision of the ref can be found."""
        self._repository.fetch()

    def cut(self) -> None:
        """End a fetch that is under way."""
        self._repository.cut()

    def head(self) -> CommitInfo:
        """Return the commit that the revision names."""
        return self._repository.commit(self._revision)

    def recent(self, sha: Sha, *, limit: int) -> tuple[CommitInfo, ...]:
        """Ask the repository."""
        return self._repository.recent(sha, limit=limit)

    def tree(self, sha: Sha) -> Tree:
        """Ask the repository."""
        return self._repository.tree(sha)

    def read(self, blobs: Iterable[Blob]) -> Mapping[Blob, bytes]:
        """Ask the repository."""
        return self._repository.read(blobs)

    def changed(self, old: Sha, new: Sha) -> tuple[Change, ...]:
        """Ask the repository."""
        return self._repository.changed(old, new)

    def is_ancestor(self, old: Sha, new: Sha) -> bool:
        """Ask the repository."""
        return self._repository.is_ancestor(old, new)

    def objection(self, sha: Sha) -> str | None:
        """Ask the repository."""
        return self._repository.objection(sha)

    def commits_touching(
        self, pattern: re.Pattern[bytes], *, until: Sha, since: Sha | None = None
    ) -> Iterator[HistoricChange]:
        """Ask the repository."""
        return self._repository.commits_touching(pattern, until=until, since=since)

    def watch(self, notify: Callable[[], None]) -> Watch:
        """Watch the repository; news of it do not move the revision."""
        return self._repository.watch(notify)
