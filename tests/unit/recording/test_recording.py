"""Recording: whole files, documented events, and one line an event."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.reference import pages
from reconciler.journal.records import Event, EventKind, Outcome
from reconciler.model.names import GuestName, HostName, Sha
from reconciler.model.observed import ObservedWorld, SilentHost
from reconciler.recording.log import FIELDS, MEANINGS, LogForm, event_log, strays_told
from reconciler.recording.status import StatusFile, read_status

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write(
    path: Path,
    problems: tuple[str, ...] = (),
    *,
    now: datetime = NOON,
    status: StatusFile | None = None,
) -> None:
    silent = SilentHost(name=HostName("a"), why="gone", since=NOON)
    (status or StatusFile(path)).write(
        now=now,
        world=None,
        observed=ObservedWorld(hosts={silent.name: silent}),
        plan=None,
        operations=(),
        problems=problems,
    )


def test_a_status_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write(path)
    write(path, ("a problem",))
    status = read_status(path)
    assert status is not None
    assert status["problems"] == ["a problem"]
    assert status["hosts"] == {"a": {"silent": "gone", "since": NOON.isoformat()}}
    assert list(tmp_path.iterdir()) == [path]


def test_a_status_is_written_again_when_it_is_news_or_getting_old(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    status = StatusFile(path, every_s=30)

    def written_at(problems: tuple[str, ...], seconds: int) -> object:
        write(path, problems, now=NOON + timedelta(seconds=seconds), status=status)
        read = read_status(path)
        assert read is not None
        return datetime.fromisoformat(str(read["written_at"])) - NOON

    assert written_at((), 0) == timedelta(0)
    assert written_at((), 29) == timedelta(0)
    assert written_at(("a problem",), 29) == timedelta(seconds=29)
    assert written_at(("a problem",), 58) == timedelta(seconds=29)
    assert written_at(("a problem",), 59) == timedelta(seconds=59)


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_what_is_no_status_is_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "status.json"
    if text is not None:
        path.write_text(text)
    assert read_status(path) is None


def test_every_kind_of_event_says_what_it_means() -> None:
    assert set(MEANINGS) == set(EventKind)
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())


def test_events_are_lines_of_json_for_programs_and_text_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = Event(at=NOON, kind=EventKind.HELD, text="two deletions", guest=GuestName("web"))
    event_log(LogForm.JSON)(event)
    told = json.loads(capsys.readouterr().err)
    assert told == {
        "timestamp": "2026-03-01T12:00:00.000+00:00",
        "level": "warning",
        "event": "held",
        "message": "two deletions",
        "guest": "web",
    }
    event_log(LogForm.TEXT)(event)
    line = capsys.readouterr().err
    assert "two deletions" in line
    assert "guest=web" in line


def test_off_a_terminal_the_log_is_json_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    event_log()(Event(at=NOON, kind=EventKind.APPROVED, text="by hand"))
    assert json.loads(capsys.readouterr().err)["level"] == "info"


def test_a_line_has_documented_fields_only(capsys: pytest.CaptureFixture[str]) -> None:
    """An event that has everything there is has every field, and no other."""
    event_log(LogForm.JSON)(
        Event(
            at=NOON,
            kind=EventKind.STEP_ENDED,
            text="start: failed: no room",
            guest=GuestName("web"),
            host=HostName("a"),
            commit=Sha("8c2f1e4"),
            where="guests/web.yaml:4",
            step="StartGuest",
            outcome=Outcome.FAILED,
            took_s=0.4,
        )
    )
    told = json.loads(capsys.readouterr().err)
    assert set(told) == set(FIELDS)
    assert told["level"] == "warning"
    for name in FIELDS:
        assert f"| `{name}` |" in pages()["events.md"]


def test_every_outcome_is_documented() -> None:
    for outcome in Outcome:
        assert f"- **{outcome.value}**: " in pages()["events.md"]


def test_what_libraries_warn_of_and_threads_die_of_is_an_event() -> None:
    """Nothing on standard error has a form of its own; afterwards all is as it was before."""
    told: list[Event] = []
    hook = threading.excepthook

    def dies() -> None:
        raise KeyError("nobody knows")

    with strays_told(told.append, lambda: NOON):
        logging.getLogger("git.cmd").warning("odd %s", "thing")
        logging.getLogger("git.cmd").info("of no interest")
        thread = threading.Thread(target=dies, name="a: observing")
        thread.start()
        thread.join()
    assert threading.excepthook is hook
    assert {event.kind for event in told} == {EventKind.TROUBLE}
    assert [event.text for event in told] == [
        "git.cmd: odd thing",
        "unforeseen KeyError in a: observing: 'nobody knows'",
    ]
