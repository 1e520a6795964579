"""Recording: whole files, documented events, and one line an event."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.journal.records import Event, EventKind
from reconciler.model.names import GuestName, HostName
from reconciler.model.observed import ObservedWorld, SilentHost
from reconciler.recording.log import MEANINGS, event_log
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
    event_log(plain=False)(event)
    told = json.loads(capsys.readouterr().err)
    assert told["event"] == "two deletions"
    assert (told["kind"], told["guest"], told["level"]) == ("held", "web", "warning")
    assert "host" not in told
    event_log(plain=True)(event)
    line = capsys.readouterr().err
    assert "two deletions" in line
    assert "guest=web" in line
