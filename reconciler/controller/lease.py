"""One writing controller a state directory, by a lock that the kernel lets go of at death."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Self

from reconciler.errors import RefusedError, TransientError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LOCK_FILE = "lock"

_ATTEMPTS = 10
_PAUSE_S = 0.05


class Lease:
    """The right to write, held from its making until ``release`` or the end of the process."""

    def __init__(self, state_directory: Path) -> None:
        """Take the lock.

        Raises:
            RefusedError: another controller holds it; the message names its process.
            TransientError: the state directory cannot be used.

        """
        path = state_directory / LOCK_FILE
        try:
            state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TransientError(
                f"the state directory {state_directory} cannot be used: {error.strerror}"
            ) from error
        try:
            _lock(self._descriptor)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            holder = _holder(self._descriptor)
            os.close(self._descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise RefusedError(
                    f"another domops controller ({holder}) uses the state directory "
                    f"{state_directory}; stop it first, or name another one with --state-dir"
                ) from error
            raise TransientError(f"{path} cannot be locked: {error.strerror}") from error

    def release(self) -> None:
        """Let the next controller in; the file stays, because removing it would race."""
        with contextlib.suppress(OSError):  # released twice is released
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    """Lock, trying a few times: what a killed controller was just starting may hold it briefly.

    A child process shares the lock from its fork to its exec, and a kill leaves that to it.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)  # flock tells nobody when it is free
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(state_directory: Path) -> bool:
    """Whether a controller runs on the directory; tried on the lock, never on a process id."""
    try:
        descriptor = os.open(state_directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"process {text}" if text.isdecimal() else "of unknown process"
