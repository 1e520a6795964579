"""Say events on standard error: as text to a person at a terminal, as JSON lines to a program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import structlog

from reconciler.journal.records import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import Processor

    from reconciler.journal.records import Event

WARNINGS = frozenset(
    {
        EventKind.COMMIT_REFUSED,
        EventKind.SOURCE_FAILED,
        EventKind.HOST_SILENT,
        EventKind.HOST_DEPARTED,
        EventKind.HELD,
        EventKind.FOREIGN,
        EventKind.JOURNAL_LOST,
        EventKind.TROUBLE,
    }
)
"""What a person should look at; everything else is told as information."""

MEANINGS: dict[EventKind, str] = {
    EventKind.STEP_BEGUN: "A step begins; its intent is on disk.",
    EventKind.STEP_ENDED: "A step ended; its text says how.",
    EventKind.COMMIT_APPLIED: "Another commit is in force.",
    EventKind.COMMIT_REFUSED: "A commit has problems; the one before it stays in force.",
    EventKind.SOURCE_FAILED: "The repository could not be fetched or read; what is known stands.",
    EventKind.HOST_SILENT: "A host did not answer in full; it and its guests are unknown.",
    EventKind.HOST_BACK: "A host that was silent answers again.",
    EventKind.HOST_LEARNED: "The machine behind a host was seen for the first time.",
    EventKind.HOST_DEPARTED: "A host left the repository without having been retired.",
    EventKind.HELD: "Acts are held until a person lets them through.",
    EventKind.APPROVED: "A person let held acts through.",
    EventKind.FOREIGN: "A domain looks like ours and is not; it is left alone.",
    EventKind.JOURNAL_LOST: "The journal could not be read and was begun anew.",
    EventKind.TROUBLE: "Something about domops itself went wrong; it goes on.",
}
"""What each kind of event tells; the reference is made from this."""


def event_log(*, plain: bool | None = None) -> Callable[[Event], None]:
    """Make a function that logs events; ``plain`` text by default only on a terminal."""
    as_text = sys.stderr.isatty() if plain is None else plain
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=False)
        if as_text
        else structlog.processors.JSONRenderer(sort_keys=True)
    )
    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[structlog.processors.add_log_level, last],
        wrapper_class=structlog.BoundLogger,
    )

    def log(event: Event) -> None:
        told = {
            "guest": event.guest,
            "host": event.host,
            "commit": event.commit,
            "where": event.where,
        }
        say = logger.warning if event.kind in WARNINGS else logger.info
        say(
            event.text,
            kind=event.kind.value,
            timestamp=event.at.isoformat(timespec="milliseconds"),
            **{key: value for key, value in told.items() if value is not None},
        )

    return log
