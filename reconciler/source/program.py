"""Run git: nothing but what we asked for, in our settings, and never longer than its deadline.

A repository is somebody else's. Its configuration, its attributes and the environment we were
started in can each name programs for git to run, other repositories to read from, and other
transports to use; none of them is believed. git is started in a session of its own, without a
terminal, and is ended with all it started when its time is over.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import git

from reconciler.errors import StalledError, TransientError
from reconciler.source.address import without_credentials
from reconciler.source.parsing import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# Of what git reads from the environment, only this is left to the person who starts domops: how
# to reach the other side and whom to trust there. The rest (GIT_DIR in a hook, tracing, injected
# settings) speaks of some other repository than ours.
_LEFT_TO_THE_OPERATOR = frozenset(
    {
        "GIT_ASKPASS",
        "GIT_EXEC_PATH",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
    }
)
_HARMLESS = frozenset(
    {f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL", "DATE")}
)

_ENVIRONMENT = {
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}

# Given in the environment these outrank what the repository's own configuration says. Not all can
# be reached from the few commands that are used; the list is for the day when one more is.
_SETTINGS = (
    ("advice.graftFileDeprecated", "false"),  # or it is the first thing that git complains of
    ("core.alternateRefsCommand", ""),
    ("core.attributesFile", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("core.pager", "cat"),
    ("credential.helper", ""),
    ("diff.external", ""),
    ("fetch.recurseSubmodules", "false"),
    ("gc.auto", "0"),
    ("log.showSignature", "false"),
    ("maintenance.auto", "false"),
    ("protocol.ext.allow", "never"),
    ("submodule.recurse", "false"),
)

_GRACE_S = 3.0
"""How long git may tidy up its lock files after it was asked to end, before it is killed."""

_LONGEST_COMPLAINT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What git said; ``complaint`` is its error output on one line, without secrets."""

    status: int
    out: bytes
    complaint: str


class GitProgram:
    """git on one repository.

    ``transports`` are the only ones that it may open a connection by; by default there are none,
    so not even a repository that claims to have left its objects elsewhere causes a connection.
    """

    def __init__(
        self,
        directory: Path,
        *,
        transports: Sequence[str] = (),
        settings: Sequence[tuple[str, str]] = (),
        environment: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self._transports = ":".join(transports) or "none"
        self._settings = (*_SETTINGS, *settings)
        self._environment = dict(environment or {})
        self._secrets = tuple(secrets)
        self._processes: set[subprocess.Popen[bytes]] = set()

    def cut(self) -> None:
        """End what runs now; whoever waits for it is told that it failed. From any thread."""
        for process in self._processes.copy():
            _end(process)

    def also(
        self, *, settings: Sequence[tuple[str, str]], environment: Mapping[str, str]
    ) -> GitProgram:
        """The same git, told more."""
        return GitProgram(
            self.directory,
            transports=() if self._transports == "none" else self._transports.split(":"),
            settings=(*self._settings, *settings),
            environment={**self._environment, **environment},
            secrets=self._secrets,
        )

    def ask(
        self,
        *arguments: str,
        deadline_s: float,
        give: bytes = b"",
        keep_open: tuple[int, ...] = (),
        discover: bool = False,
    ) -> Answer:
        """Run one command to its end; a status other than 0 is an answer too.

        ``keep_open`` are file descriptors that git, and all it starts, holds until it ends. With
        ``discover``, git itself finds the repository that the directory is, or is a work tree of.

        Raises:
            TransientError: the deadline passed, and git was ended.
            StalledError: there is no git on this machine.

        """
        where = ("-C", str(self.directory)) if discover else (f"--git-dir={self.directory}",)
        with self._running((*where, *arguments), subprocess.PIPE, keep_open) as process:
            try:
                out, err = process.communicate(give, timeout=deadline_s)
            except subprocess.TimeoutExpired as error:
                raise TransientError(_too_late(arguments, deadline_s)) from error
            return Answer(status=process.returncode, out=out, complaint=self._complaint(err))

    def tell(self, *arguments: str, deadline_s: float, give: bytes = b"") -> bytes:
        """Run one command that has no reason to fail, and return what it printed.

        Raises:
            TransientError: it failed all the same, or the deadline passed.

        """
        answer = self.ask(*arguments, deadline_s=deadline_s, give=give)
        if answer.status != 0:
            raise TransientError(
                f"{self.directory}: git {_verb(arguments)} failed: {answer.complaint}"
            )
        return answer.out

    @contextlib.contextmanager
    def stream(self, *arguments: str, deadline_s: float, give: bytes = b"") -> Iterator[IO[bytes]]:
        """Run one command and read what it prints as it comes.

        Leaving early ends it. Leaving at the end of its output checks that it ended well, so that
        output which broke off is never taken for all there was.

        Raises:
            TransientError: it failed, or the deadline passed.

        """
        with tempfile.TemporaryFile() as given:
            # A file and not a pipe: it takes all at once, so nobody has to write while we read.
            given.write(give)
            given.seek(0)
            where = f"--git-dir={self.directory}"
            with self._running((where, *arguments), cast("BinaryIO", given)) as process:
                yield from self._read(process, arguments, deadline_s)

    def _read(
        self, process: subprocess.Popen[bytes], arguments: Sequence[str], deadline_s: float
    ) -> Iterator[IO[bytes]]:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(deadline_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            out, err = process.stdout, process.stderr
            if out is None or err is None:
                raise TransientError(f"git {_verb(arguments)} was started without its output")
            try:
                yield out
                left_over = out.read(1)
                complaint = self._complaint(err.read())
                status = process.wait()
            except Exception as error:
                # Whoever reads meets an end in the middle first, and cannot know why it came.
                if late.is_set():
                    raise TransientError(_too_late(arguments, deadline_s)) from error
                raise
        finally:
            timer.cancel()
        if late.is_set():
            raise TransientError(_too_late(arguments, deadline_s))
        if status != 0 or left_over:
            reason = complaint if status != 0 else "it said more than was asked for"
            raise TransientError(f"{self.directory}: git {_verb(arguments)} failed: {reason}")

    @contextlib.contextmanager
    def _running(
        self,
        arguments: Sequence[str],
        given: int | BinaryIO,
        keep_open: tuple[int, ...] = (),
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start git, and leave none of it behind whatever happens."""
        door = git.Git(self.directory)
        environment = self._complete_environment()
        foreign = [
            name
            for name in os.environ
            if name.startswith("GIT_")
            and name not in _LEFT_TO_THE_OPERATOR
            and name not in _HARMLESS
            and name not in environment
        ]
        # GitPython adds to our environment and cannot take away from it; env(1) can.
        without = ["env", *(f"--unset={name}" for name in foreign)] if foreign else []
        executable = shutil.which(git.Git.GIT_PYTHON_GIT_EXECUTABLE or "git")
        if executable is None:
            raise StalledError("git is not installed here, or not on PATH: install it")
        command = [*without, executable, "--no-pager", *arguments]
        handle = door.execute(
            command,
            istream=given,
            as_process=True,
            env=environment,
            start_new_session=True,
            pass_fds=keep_open,
        )
        process = handle.proc
        if process is None:
            raise TransientError("git did not start")
        self._processes.add(process)
        try:
            yield process
        finally:
            self._processes.discard(process)
            _end(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _complete_environment(self) -> dict[str, str]:
        environment = {
            **_ENVIRONMENT,
            "GIT_ALLOW_PROTOCOL": self._transports,
            "GIT_CONFIG_COUNT": str(len(self._settings)),
            **self._environment,
        }
        for number, (key, value) in enumerate(self._settings):
            environment[f"GIT_CONFIG_KEY_{number}"] = key
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        # Never ask anybody anything: there is nobody at the other end of a controller. An empty
        # GIT_ASKPASS keeps git from opening the window that SSH_ASKPASS names.
        if "GIT_ASKPASS" not in os.environ:
            environment["GIT_ASKPASS"] = ""
        if os.environ.keys().isdisjoint({"GIT_SSH", "GIT_SSH_COMMAND"}):
            environment["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
        return environment

    def _complaint(self, err: bytes) -> str:
        lines = [line.strip() for line in err.replace(b"\r", b"\n").splitlines()]
        said = [text(line) for line in lines if line]
        # git's reason stands in the first line that says so; what follows is advice.
        fatal = [line for line in said if line.startswith(("fatal:", "error:", "ERROR:"))]
        complaint = "; ".join((fatal or said)[:2]) or "it gave no reason"
        for secret in self._secrets:
            complaint = complaint.replace(secret, "***")
        return without_credentials(complaint)[:_LONGEST_COMPLAINT]


def _verb(arguments: Sequence[str]) -> str:
    return arguments[0] if arguments else ""


def _too_late(arguments: Sequence[str], deadline_s: float) -> str:
    return f"git {_verb(arguments)} was not done after {deadline_s:g} s and was ended"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started: politely first, so that git removes its locks."""
    if process.poll() is not None:
        return
    for wish in (signal.SIGTERM, signal.SIGKILL):
        # The second time is for what the first of them started, even if that itself is gone.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, wish)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
