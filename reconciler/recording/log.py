"""Say events on standard error: as text to a person at a terminal, as JSON lines to a program.

Every line is an event of the catalogue, ``MEANINGS``: its name never changes its meaning, and its
fields are those of ``FIELDS``. What a library logs, and what a thread of ours dies of, is told as
an event too, so that nothing on standard error has another form.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from reconciler.journal.records import Event, EventKind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from structlog.typing import Processor


class LogForm(StrEnum):
    """How events are said: ``AUTO`` is text on a terminal, JSON elsewhere."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


WARNINGS = frozenset(
    {
        EventKind.COMMIT_REFUSED,
        EventKind.SOURCE_FAILED,
        EventKind.HOST_SILENT,
        EventKind.HOST_DEPARTED,
        EventKind.HELD,
        EventKind.FOREIGN,
        EventKind.OTHER_HAND,
        EventKind.JOURNAL_LOST,
        EventKind.TROUBLE,
    }
)
"""What a person should look at, as a step that did not end well; the rest is information."""

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
    EventKind.SUSPENDED: "A person took guests out of domops' hands for a while.",
    EventKind.RESUMED: "A person gave suspended guests back.",
    EventKind.FOREIGN: "A domain looks like ours and is not; it is left alone.",
    EventKind.OTHER_HAND: "A mark of ours was changed by somebody else, another controller say.",
    EventKind.JOURNAL_LOST: "The journal could not be read and was begun anew.",
    EventKind.TROUBLE: "Something about domops itself went wrong; it goes on.",
}
"""What each kind of event tells; the reference is made from this."""

FIELDS: dict[str, str] = {
    "timestamp": "When it happened, RFC 3339.",
    "level": "`info`, or `warning` for what a person should look at.",
    "event": "The kind of the event, from the table above.",
    "message": "The event in a sentence; it may be worded better with any version.",
    "guest": "The guest that it is about.",
    "host": "The host that it is about.",
    "commit": "The commit that asked for it, or that it is about.",
    "where": "`path:line` of the manifest that asked for it.",
    "step": "The kind of the step that begins or ended.",
    "outcome": "How the step ended, see below.",
    "took_s": "How many seconds the step took.",
}
"""Every field that a line can have; those that an event has nothing to say for are left out."""


def event_log(form: LogForm = LogForm.AUTO) -> Callable[[Event], None]:
    """Make a function that logs events."""
    as_text = form is LogForm.TEXT or (form is LogForm.AUTO and sys.stderr.isatty())
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=False, event_key="message", pad_event_to=0)
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
            "step": event.step,
            "outcome": event.outcome,
            "took_s": event.took_s,
        }
        say = logger.warning if _is_warning(event) else logger.info
        say(
            event.kind.value,
            message=event.text,
            timestamp=event.at.isoformat(timespec="milliseconds"),
            **{key: value for key, value in told.items() if value is not None},
        )

    return log


def _is_warning(event: Event) -> bool:
    return event.kind in WARNINGS or event.outcome not in (None, Outcome.DONE)


@contextlib.contextmanager
def strays_told(tell: Callable[[Event], None], clock: Callable[[], datetime]) -> Iterator[None]:
    """While the block runs, tell what libraries warn of, and what threads die of, as trouble."""

    def trouble(what: str) -> None:
        tell(Event(at=clock(), kind=EventKind.TROUBLE, text=what))

    def died(what: threading.ExceptHookArgs) -> None:
        name = what.thread.name if what.thread is not None else "a thread"
        trouble(f"unforeseen {what.exc_type.__name__} in {name}: {what.exc_value}")

    handler = _Strays(trouble)
    root, before = logging.getLogger(), threading.excepthook
    root.addHandler(handler)
    threading.excepthook = died
    try:
        yield
    finally:
        threading.excepthook = before
        root.removeHandler(handler)


class _Strays(logging.Handler):
    """What libraries log, from warnings on."""

    def __init__(self, trouble: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._trouble = trouble

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one record."""
        self._trouble(f"{record.name}: {record.getMessage()}")
