"""A repository across the network, kept in the controller's own state directory.

Only the named ref is fetched, without tags and without a work tree, into a name of our own. What
was fetched before stays: a fetch that fails, or a branch that somebody deletes, takes nothing away.
What cannot be read any more is examined at the next fetch; if the copy is damaged, another is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.errors import StalledError, TransientError
from reconciler.source.program import Answer, GitProgram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.source.address import Credentials, RemoteAddress

_LOCK = "domops.lock"
_DOUBTED = "domops.doubted"
_DAMAGED = "domops.damaged"
_FEW = 8
_LOOK_EVERY_S = 0.05
_PACKS_TO_TIDY = 64
_NOT_THERE = ("couldn't find remote ref", "not our ref", "no such remote ref")

# Words of git's, ssh's and curl's, and what helps. The first that fits is said.
_REMEDIES = (
    ("Host key verification failed", "put the host's key into known_hosts"),
    ("Permission denied", "check the ssh key of the user domops runs as"),
    ("Authentication failed", "check the user and password or token in the address"),
    ("could not read Username", "the repository wants a user and a password or token"),
    ("could not read Password", "the repository wants a password or token"),
    ("dubious ownership", "give the path itself instead of a file:// address"),
    ("mismatched algorithms", "repositories that use SHA-256 are read in place only, by a path"),
    ("not found", "check the address, and that the user may read the repository"),
    ("does not appear to be a git repository", "check the address"),
)
_OTHERWISE = "check the network and the address; it is tried again"


class Mirror:
    """One ref of one remote repository, fetched into a bare repository of ours.

    The folder's name is made from the address, so that another address can never show what was
    fetched from the first. Only one process fetches at a time. git holds the lock itself while it
    runs: should domops be killed, the next one waits for what is still writing, and then knows that
    any lock file it finds was left behind.
    """

    def __init__(
        self, address: RemoteAddress, *, ref: str, state_directory: Path, deadline_s: float
    ) -> None:
        digest = hashlib.sha256(address.url.encode()).hexdigest()[:16]
        self.directory = state_directory / "repositories" / f"{digest}.git"
        self.tracked = f"refs/domops/{quote(ref, safe='')}"
        self._address = address
        self._ref = ref
        self._deadline_s = deadline_s
        self.program = GitProgram(self.directory, secrets=address.secrets)
        self._packing = GitProgram(self.directory, settings=_PACK_SETTINGS)
        self._network = GitProgram(
            self.directory,
            transports=(address.transport,),
            settings=(*_FETCH_SETTINGS, *_credential_settings(address)),
            environment=_credential_environment(address.credentials),
            secrets=address.secrets,
        )

    def fetch(self) -> None:
        """Bring our copy of the ref up to date, rewritten history included.

        Raises:
            TransientError: the repository was not reached or did not answer in full.
            StalledError: it has no such ref.

        """
        with self._alone() as lock:
            self._replace_if_damaged()
            had = self._packs()
            answer = self._network.ask(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--no-auto-maintenance",
                "--no-show-forced-updates",
                "--end-of-options",
                self._address.url,
                f"+{self._ref}:{self.tracked}",
                deadline_s=self._deadline_s,
                keep_open=(lock,),
            )
        if answer.status != 0:
            raise self._failure(answer)
        # What arrives checked stays a pack of its own, and looking through many takes long. Tidying
        # that fails does no harm: it is tried again when as many have come again.
        if had < (packs := self._packs()) and packs % _PACKS_TO_TIDY == 0:
            with contextlib.suppress(TransientError):
                self.tidy()

    def cut(self) -> None:
        """End a fetch that is under way."""
        self._network.cut()

    def doubt(self) -> None:
        """Say that something could not be read; the next fetch, whoever's, finds out why."""
        with contextlib.suppress(OSError):  # it will be doubted again
            (self.directory / _DOUBTED).touch()

    def _replace_if_damaged(self) -> None:
        """Begin our copy anew if it is damaged, and the other side is there to fill it.

        The damaged one is set aside within the folder, for a person to look at; one that was set
        aside before makes room.
        """
        doubted = self.directory / _DOUBTED
        if not doubted.exists():
            return
        if self._is_damaged():
            self._network.tell(
                *("ls-remote", "--quiet", "--end-of-options", self._address.url, self._ref),
                deadline_s=self._deadline_s,
            )
            try:
                self._set_aside()
            except OSError as error:
                raise TransientError(
                    f"{self.directory}, our copy of {self._address.shown}, is damaged and cannot"
                    f" be set aside: {error.strerror}"
                ) from error
            self._make()
        doubted.unlink(missing_ok=True)

    def _set_aside(self) -> None:
        aside = self.directory / _DAMAGED
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        for each in self.directory.iterdir():
            if each.name not in {_LOCK, _DOUBTED, _DAMAGED}:
                each.rename(aside / each.name)

    def _is_damaged(self) -> bool:
        answer = self.program.ask(
            *("fsck", "--full", "--no-dangling", "--no-progress"), deadline_s=self._deadline_s
        )
        return answer.status != 0

    def _packs(self) -> int:
        return sum(1 for _ in (self.directory / "objects" / "pack").glob("*.pack"))

    def tidy(self) -> None:
        """Pack what has gathered, if it is much; takes a while, and nothing is ever thrown away."""
        with self._alone() as lock:
            answer = self._packing.ask(
                *("gc", "--auto", "--quiet"), deadline_s=self._deadline_s, keep_open=(lock,)
            )
        if answer.status != 0:
            raise TransientError(f"{self.directory}: git gc failed: {answer.complaint}")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[int]:
        """Hold the right to write into our copy, which is made first if there is none."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise TransientError(
                f"{self.directory}, where the repository is kept, is not writable: {error.strerror}"
            ) from error
        try:
            self._wait_for(lock)
            self._sweep()
            if not (self.directory / "HEAD").exists():
                self._make()
            yield lock
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        pause = threading.Event()
        for _ in range(max(1, int(self._deadline_s / _LOOK_EVERY_S))):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pause.wait(_LOOK_EVERY_S)
            else:
                return
        raise TransientError(
            f"{self._address.shown}: another process has been fetching for"
            f" {self._deadline_s:g} s; it is tried again"
        )

    def _sweep(self) -> None:
        """Remove what a git that was killed left: with the lock held, none is running."""
        names = (f"{self.tracked}.lock", "packed-refs.lock", "config.lock", "HEAD.lock", "gc.pid")
        packs = (self.directory / "objects" / "pack").glob("tmp_*")
        for left in (*(self.directory / name for name in names), *packs):
            left.unlink(missing_ok=True)

    def _make(self) -> None:
        self._network.tell("init", "--quiet", "--bare", "--template=", deadline_s=self._deadline_s)

    def _failure(self, answer: Answer) -> TransientError | StalledError:
        said = answer.complaint
        if any(words in said for words in _NOT_THERE):
            there_are = self._few_refs()
            return StalledError(
                f"{self._address.shown} has no ref {self._ref};"
                f" there {'are ' + ', '.join(there_are) if there_are else 'is none at all'}"
            )
        help_ = next((remedy for words, remedy in _REMEDIES if words in said), _OTHERWISE)
        return TransientError(f"{self._address.shown} was not fetched: {said} ({help_})")

    def _few_refs(self) -> list[str]:
        answer = self._network.ask(
            *("ls-remote", "--quiet", "--refs", "--end-of-options", self._address.url),
            *("refs/heads/*", "refs/tags/*"),
            deadline_s=self._deadline_s,
        )
        names = [
            line.partition("\t")[2] for line in answer.out.decode(errors="replace").split("\n")
        ]
        found = sorted(name for name in names if name.isprintable() and name)
        return found[:_FEW] + (["…"] if len(found) > _FEW else [])


_FETCH_SETTINGS = (
    # What arrives is checked before it is kept; the three are old slips that do no harm.
    ("fetch.fsckObjects", "true"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
)

_PACK_SETTINGS = (
    ("gc.auto", "6700"),
    ("gc.autoDetach", "false"),
    ("gc.autoPackLimit", str(_PACKS_TO_TIDY - 1)),
    # A commit that was in force may be asked for long after its branch was rewritten.
    ("gc.pruneExpire", "never"),
    ("gc.reflogExpire", "never"),
)

# git asks a helper for the password of one host. Ours is a line of shell that answers from its
# environment, so the password stands neither in an argument list nor in a file.
_ANSWER = (
    '!answer() { test "$1" = get &&'
    ' printf "username=%s\\npassword=%s\\n" "$DOMOPS_GIT_USERNAME" "$DOMOPS_GIT_PASSWORD"; };'
    " answer"
)


def _credential_settings(address: RemoteAddress) -> tuple[tuple[str, str], ...]:
    if address.credentials is None:
        return ()
    scheme, _, rest = address.url.partition("://")
    return ((f"credential.{scheme}://{rest.partition('/')[0]}.helper", _ANSWER),)


def _credential_environment(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None:
        return {}
    return {
        "DOMOPS_GIT_USERNAME": credentials.username,
        "DOMOPS_GIT_PASSWORD": credentials.password,
    }
