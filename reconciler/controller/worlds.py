"""From git to the desired world: the last good commit stands until a better one is whole.

Only blobs that were never seen are read and parsed. A commit with a problem, a fetch that fails and
a ref that is gone all leave the last good world in force, and are told (promise 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.controller.following import APPROVALS_LAST
from reconciler.controller.included import read_included
from reconciler.errors import DomopsError
from reconciler.manifests.change import resolve_change
from reconciler.manifests.parse import ParsedFile, parse_file
from reconciler.manifests.resolve import REPOSITORY_FILE, Resolved, is_manifest, resolve
from reconciler.model.desired import Commit, DesiredWorld
from reconciler.model.names import PlanId, Sha

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.controller.fetching import Fetching
    from reconciler.controller.following import Following, Objection
    from reconciler.manifests.problems import Problem
    from reconciler.manifests.surroundings import Allowed
    from reconciler.source.port import Blob, CommitInfo, Source, Tree

APPROVE_TRAILER = "domops-approve"
_COMMITS_ASKED = 200
_FEW_CHANGES = 1000
"""A commit that changes more files than this is read like a first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What git says now.

    ``world`` is the last good one, None where there never was one. ``head`` is the newest commit
    that could be read; if it is not the world's, ``problems``, ``objection`` or ``trouble`` say
    why: ``objection`` is about its signature or its past, ``trouble`` a sentence about git itself.
    ``read_at`` is the instant as of which the head is known to be the newest.
    """

    world: DesiredWorld | None
    head: CommitInfo | None
    problems: tuple[Problem, ...] = ()
    objection: Objection | None = None
    trouble: str | None = None
    read_at: datetime | None = None

    @property
    def refused(self) -> bool:
        """Whether the newest commit does not count, for what it says or for what it is."""
        return bool(self.problems) or self.objection is not None

    def sentences(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each."""
        sentences = [str(problem) for problem in self.problems]
        if self.objection is not None:
            sentences.append(self.objection.sentence)
        if self.trouble:
            sentences.append(self.trouble)
        if self.world and self.head and self.world.commit.sha != self.head.sha:
            refused, standing = self.head.sha[:10], self.world.commit.sha[:10]
            sentences.append(f"commit {refused} is refused; {standing} stays in force")
        return tuple(sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Approving:
    """A commit that approves plans; ``alone`` says that it does nothing else."""

    at: datetime
    ids: frozenset[PlanId]
    alone: bool


class Worlds:
    """The desired worlds of one source, one after the other."""

    def __init__(
        self,
        source: Source,
        *,
        following: Following,
        fetching: Fetching,
        clock: Callable[[], datetime],
        allowed: Allowed,
        last_good: Sha | None = None,
        repository: UUID | None = None,
    ) -> None:
        self._source = source
        self._following = following
        self._fetching = fetching
        self._clock = clock
        self._allowed = allowed
        self._last_good = last_good
        self._repository = repository
        self._read: datetime | None = None
        self._parsed: dict[Blob, ParsedFile] = {}
        self._included: dict[Blob, bytes | None] = {}
        self._world: DesiredWorld | None = None
        self._resolved: Resolved | None = None
        self._judged: Sha | None = None
        self._problems: tuple[Problem, ...] = ()
        self._refusal: str | None = None
        self._objection: Objection | None = None
        self._approvals: tuple[Sha, tuple[_Approving, ...]] | None = None

    def refresh(self, *, aside: bool = False) -> Standing:
        """Look at git, fetching if that is due, and judge a commit that is new.

        ``aside`` takes what was fetched before, and leaves a fetch to go on by itself.
        """
        self._fetching.look(aside=aside)
        head, trouble = None, None
        try:
            head = self._source.head()
            if head.sha != self._judged or self._objection is not None:
                self._judge(head)
            self._read = self._fetching.fetched if self._source.polled else self._clock()
        except DomopsError as error:
            trouble = str(error)
        if self._world is None and self._last_good is not None:
            self._go_back_to(self._last_good)
        told = [one for one in (self._fetching.trouble, trouble, self._refusal) if one]
        return Standing(
            world=self._with_approvals(),
            head=head,
            problems=self._problems,
            objection=self._objection or (self._following.doubt(head.sha) if head else None),
            trouble="; ".join(dict.fromkeys(told)) or None,
            read_at=self._read,
        )

    def _judge(self, head: CommitInfo) -> None:
        """Put ``head`` into force if it is good, or keep what is wrong with it.

        One that is objected to is asked about again each time: keys and approvals come by files
        and commands, not by commits.
        """
        self._objection = self._following.objection(head, self._last_good)
        if self._objection is not None:
            self._judged, self._problems, self._refusal = head.sha, (), None
            return
        resolved = self._resolve_change(head) or self._resolve(head)
        world = resolved.world
        if world is None:
            self._judged, self._problems, self._refusal = head.sha, resolved.problems, None
            return
        if self._repository not in (None, world.repository):
            self._judged, self._problems = head.sha, ()
            self._refusal = (
                f"{REPOSITORY_FILE} of commit {head.sha[:10]} names the repository "
                f"{world.repository}, until now it was {self._repository}: every guest would "
                "become foreign. Put the id back, or use another state directory for it"
            )
            return
        self._following.accepted(head.sha)  # if that fails, the commit is judged again
        self._judged, self._problems, self._refusal = head.sha, (), None
        self._world, self._resolved = world, resolved
        self._repository, self._last_good = world.repository, world.commit.sha

    def _go_back_to(self, sha: Sha) -> None:
        """Read the commit again that was in force before the restart; it was good then."""
        try:
            if not self._following.may_stand(sha):
                return
            info = next(iter(self._source.recent(sha, limit=1)), None)
            resolved = self._resolve(info) if info else None
        except DomopsError:
            return  # it is not there any more: then there is no world, and the trouble is told
        if resolved is not None and resolved.world is not None:
            self._world, self._resolved = resolved.world, resolved

    def _resolve_change(self, info: CommitInfo) -> Resolved | None:
        """Go the short way from the world in force, if there is one."""
        if self._world is None or self._resolved is None:
            return None
        try:
            changes = self._source.changed(self._world.commit.sha, info.sha)
            if len(changes) > _FEW_CHANGES or any(change.oddity for change in changes):
                return None
            if not self._resolved.memo.others.isdisjoint(change.path for change in changes):
                return None  # a file that manifests take in, say, which need not be one
            after = {change.path: change.after for change in changes if is_manifest(change.path)}
            new = {blob for blob in after.values() if blob and blob not in self._parsed}
            contents = self._source.read(new) if new else {}
        except DomopsError:
            return None  # git forgot the commit in force, say; the long way tells what is wrong
        self._parsed.update({blob: parse_file(content) for blob, content in contents.items()})
        files = {path: self._parsed[blob] if blob else None for path, blob in after.items()}
        for change in changes:
            if change.before is not None:
                self._parsed.pop(change.before, None)  # or months of commits would gather here
        return resolve_change(self._resolved, files, commit=_commit(info))

    def _resolve(self, info: CommitInfo) -> Resolved:
        tree = self._source.tree(info.sha)
        parsed = self._parse(tree)
        included = read_included(self._source, tree, parsed, self._included)
        self._included = {tree.files[path]: content for path, content in included.items()}
        return resolve(
            parsed,
            included=included,
            commit=_commit(info),
            refused={path: oddity.value for path, oddity in tree.oddities.items()},
            allowed=self._allowed,
            previous=self._resolved,
        )

    def _parse(self, tree: Tree) -> Mapping[str, ParsedFile]:
        wanted = {path: blob for path, blob in tree.files.items() if is_manifest(path)}
        new = {blob for blob in wanted.values() if blob not in self._parsed}
        contents = self._source.read(new) if new else {}
        parsed = {blob: parse_file(content) for blob, content in contents.items()}
        # What the last good commit alone still needs is parsed again should it ever be: the cache
        # holds one commit, not the history.
        self._parsed = {
            blob: parsed[blob] if blob in parsed else self._parsed[blob] for blob in wanted.values()
        }
        return {path: self._parsed[blob] for path, blob in wanted.items()}

    def _with_approvals(self) -> DesiredWorld | None:
        if self._world is None:
            return None
        sha = self._world.commit.sha
        if self._approvals is None or self._approvals[0] != sha:
            try:
                recent = self._source.recent(sha, limit=_COMMITS_ASKED)
            except DomopsError:
                return self._world  # no approval is the careful answer; asked again next time
            given = tuple(
                _Approving(at=info.committed_at, ids=ids, alone=self._changes_nothing(info))
                for info in recent
                if (ids := approvals_of(info))
            )
            self._approvals = (sha, given)
        now = self._clock()
        counting = [one for one in self._approvals[1] if now - one.at < APPROVALS_LAST]
        approvals = frozenset(id_ for one in counting for id_ in one.ids)
        lifted = frozenset(id_ for one in counting if one.alone for id_ in one.ids)
        if (approvals, lifted) == (self._world.approvals, self._world.lifted):
            return self._world
        self._world = replace(self._world, approvals=approvals, lifted=lifted)
        return self._world

    def _changes_nothing(self, info: CommitInfo) -> bool:
        """Whether a commit has no effect but by what its message says; in doubt it has."""
        try:
            return bool(info.parents) and not any(
                self._source.changed(parent, info.sha) for parent in info.parents
            )
        except DomopsError:
            return False


def _commit(info: CommitInfo) -> Commit:
    return Commit(
        sha=info.sha,
        author=info.author_name,
        committed_at=info.committed_at,
        subject=info.subject,
    )


def approvals_of(info: CommitInfo) -> frozenset[PlanId]:
    """The plan ids in a commit's ``Domops-Approve`` trailers, parted by commas or spaces."""
    return frozenset(
        PlanId(word.lower())
        for key, value in info.trailers
        if key.lower() == APPROVE_TRAILER
        for word in value.replace(",", " ").split()
    )
