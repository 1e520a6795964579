"""The exit codes, each a promise to scripts; ``docs/reference/exit-codes.md`` is made from here."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    DIFFERENCES = 1
    ERROR = 2
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: (
        "Done, and nothing is left to say. `plan` and `diff`: no change is needed. `validate`: no "
        "problem. `import`: every guest was written. `apply`: every guest is as the commit wants "
        "it. `run`: stopped when asked to."
    ),
    ExitCode.DIFFERENCES: (
        "Done, and something is left. `plan` and `diff`: there are changes, or guests about which "
        "nothing is known. `validate`: there are problems. `import`: a guest was passed over. "
        "`apply`: something still waits, is held or is refused, a host did not answer, or the "
        "answer to its question was no."
    ),
    ExitCode.ERROR: (
        "The command could not do what it was asked: wrong arguments, a missing or bad repository, "
        "no such guest, a second controller on the state directory. One sentence on standard error "
        "says what, and what to do. Nothing is known about changes; never read it as none."
    ),
    ExitCode.INTERRUPTED: (
        "Interrupted from the keyboard. What had begun was named before the command left; the "
        "next `domops apply` or `domops run` understands it and goes on. `get --watch` and "
        "`events --follow` end so, or by SIGTERM: nothing else ends them."
    ),
}
"""What each code means, for the reference; a test fails if one is missing."""
