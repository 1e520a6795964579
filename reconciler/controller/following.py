"""Whether a commit may follow the one that is in force: whose it is, and what it was built on.

Two things keep a good commit from counting. Its signature, where the settings ask for one. And its
past: a branch that was rewritten or set back brings a world that nobody reviewed as a change, so it
is taken over only when a person lets it through by command. A trailer cannot do that, since it
would come with the very commit that is in doubt.

Without a journal nobody here knows what was in force. Then the guests are asked: each mark names
the commit at which its guest last changed, and a commit that was built on none of them is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from reconciler.errors import RefusedError
from reconciler.model.names import PlanId, Sha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from reconciler.journal.journal import Journal
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedWorld
    from reconciler.source.port import CommitInfo, Source

APPROVALS_LAST = timedelta(hours=24)
"""For how long an approval counts; after that the same acts have to be let through anew."""

_FOLDER_PREFIX = "folder:"
_FEW = 3
_UNKNOWN = Sha("unknown")
"""What was in force, where no journal says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why a commit does not come into force although it may be good.

    ``release`` is the plan id by which a person lets it through, None where nobody can.
    """

    sentence: str
    release: PlanId | None = None


class Following:
    """Judges the newest commit of a source by its signature and its past.

    With ``signed`` false no signature is asked for; with ``forwards`` false the past does not
    matter: a plan for some other revision is only looked at, never put into force.
    """

    def __init__(
        self,
        source: Source,
        journal: Journal,
        *,
        clock: Callable[[], datetime],
        signed: bool,
        forwards: bool,
    ) -> None:
        self._source = source
        self._journal = journal
        self._clock = clock
        self._signed = signed
        self._forwards = forwards
        self._verified = journal.verified()
        self._settled = not forwards or journal.last_good() is not None
        self._not_built_on: tuple[Sha, set[Sha]] | None = None
        self._doubt: tuple[Sha, Objection] | None = None

    @property
    def settled(self) -> bool:
        """Whether it is known what was in force, or was found out from the guests."""
        return self._settled

    def doubt(self, sha: Sha) -> Objection | None:
        """Why the guests did not let ``sha`` into force, if they were asked about it."""
        return self._doubt[1] if self._doubt is not None and self._doubt[0] == sha else None

    def ask(self, world: DesiredWorld, observed: ObservedWorld) -> bool:
        """Ask the marks of guests whether ``world`` may come into force.

        If not, ``doubt`` says why.
        One witness is enough: guests that last changed on a side of history which a person let go
        of long ago still name its commits. Where no guest of ours is seen there is nobody to ask.

        Raises:
            TransientError: git or the journal cannot tell now.
            StalledError: the journal is damaged.

        """
        head = world.commit.sha
        named = frozenset(_named(world, observed))
        release = release_of(_UNKNOWN, head)
        self._settled = (
            not named
            or any(self._is_built_on(sha, head) for sha in sorted(named))
            or release in self._approved()
        )
        self._doubt = None
        if not self._settled:
            objection = Objection(
                sentence=f"commit {head[:10]} was built on none of the commits that the marks of"
                f" guests name ({_few(named)}), and no journal says what was in force: the branch"
                " was rewritten, set back, is another one, or is in a shallow clone. If that is"
                f" meant: domops approve {release}",
                release=release,
            )
            self._doubt = (head, objection)
        return self._settled

    def _is_built_on(self, sha: Sha, head: Sha) -> bool:
        if sha == head:
            return True
        if self._not_built_on is None or self._not_built_on[0] != head:
            self._not_built_on = (head, set())
        known = self._not_built_on[1]
        try:
            if sha in known or not self._source.is_ancestor(sha, head):
                known.add(sha)
                return False
        except RefusedError:
            return False  # what the mark names is no commit at all
        return True

    def objection(self, head: CommitInfo, in_force: Sha | None) -> Objection | None:
        """What keeps ``head`` from following ``in_force``; None if nothing does.

        Raises:
            TransientError: git or the journal cannot tell now.
            StalledError: signatures cannot be checked before a person has acted.

        """
        return self._signature(head) or self._past(head, in_force)

    def accepted(self, sha: Sha) -> None:
        """Remember that the signature of ``sha`` counted when it came into force.

        Raises:
            TransientError: the journal cannot be written.
            StalledError: the journal is damaged.

        """
        if self._signed and sha != self._verified:
            self._journal.set_verified(sha)
            self._verified = sha

    def may_stand(self, sha: Sha) -> bool:
        """Whether a commit that was in force before a restart may be so again.

        A key that expired or was revoked since takes nothing back. A commit that nobody has ever
        checked, because signatures are asked for only now, is asked for its own.

        Raises:
            TransientError: git cannot tell now.
            StalledError: signatures cannot be checked before a person has acted.

        """
        return not self._signed or sha == self._verified or self._source.objection(sha) is None

    def _signature(self, head: CommitInfo) -> Objection | None:
        if not self._signed or head.sha == self._verified:
            return None
        said = self._source.objection(head.sha)
        return Objection(sentence=f"commit {head.sha[:10]} {said}") if said else None

    def _past(self, head: CommitInfo, in_force: Sha | None) -> Objection | None:
        if not self._settled or not self._forwards:
            return None
        if in_force in (None, head.sha) or _is_folder(in_force):
            return None
        if head.parents[:1] == (in_force,) or self._source.is_ancestor(in_force, head.sha):
            return None
        release = release_of(in_force, head.sha)
        if release in self._approved():
            return None
        return Objection(
            sentence=f"commit {head.sha[:10]} was not built on {in_force[:10]}, which is in force:"
            " the branch was rewritten, set back, is another one, or is in a shallow clone, which"
            " does not hold its past. If that is meant:"
            f" domops approve {release}",
            release=release,
        )

    def _approved(self) -> frozenset[PlanId]:
        now = self._clock()
        given = self._journal.approvals()
        return frozenset(one.plan_id for one in given if now - one.at < APPROVALS_LAST)


def release_of(old: Sha, new: Sha) -> PlanId:
    """The id by which a person lets ``new`` take the place of ``old``, not built on it."""
    text = blake2b(f"history\0{old}\0{new}".encode(), digest_size=6).hexdigest()
    return PlanId("-".join(text[at : at + 4] for at in range(0, 12, 4)))


def _is_folder(sha: Sha) -> bool:
    return sha.startswith(_FOLDER_PREFIX)


def _named(world: DesiredWorld, observed: ObservedWorld) -> Iterator[Sha]:
    """The commits that the marks of our guests name."""
    for host in observed.answered():
        for guest in host.guests.values():
            mark = guest.mark
            if mark is None or (mark.owner, mark.uuid) != (world.repository, guest.uuid):
                continue
            if not _is_folder(mark.commit):
                yield mark.commit


def _few(named: frozenset[Sha]) -> str:
    told = [sha[:10] for sha in sorted(named)]
    return ", ".join(told[:_FEW]) + (", …" if len(told) > _FEW else "")
