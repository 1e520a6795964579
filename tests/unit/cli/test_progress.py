"""The progress of an apply: what moves, what stays, and what is said when it is cut short."""

import io
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from reconciler.cli.progress import Progress
from reconciler.cli.terminal import Terminal
from reconciler.journal.records import Event, EventKind
from reconciler.model.names import GuestName, HostName
from reconciler.model.operation import Operation
from reconciler.model.operation import Progress as HowFar
from reconciler.model.steps import StartGuest
from tests.unit.cli.worlds import NOW

MIB, GIB = 1 << 20, 1 << 30
LISTS, WEB = GuestName("lists"), GuestName("web")


def begun(guest: GuestName, text: str) -> Event:
    """A step begins."""
    return Event(at=NOW, kind=EventKind.STEP_BEGUN, text=text, guest=guest)


def ended(guest: GuestName, text: str, *, after_s: float = 0.2) -> Event:
    """A step ends."""
    at = NOW + timedelta(seconds=after_s)
    return Event(at=at, kind=EventKind.STEP_ENDED, text=text, guest=guest)


def screen(*, interactive: bool) -> tuple[Terminal, io.TextIOWrapper, io.BytesIO]:
    """A terminal, or a pipe, whose bytes can be looked at."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    width = 80 if interactive else None
    shown = Terminal(stream=stream, interactive=interactive, colours=interactive, width=width)
    return shown, stream, raw


def test_off_a_terminal_there_is_one_line_a_step_that_ended_and_nothing_else() -> None:
    shown, _stream, raw = screen(interactive=False)
    with Progress(shown) as progress:
        progress.tell(begun(LISTS, "start"))
        progress.tell(begun(WEB, "start"))
        progress.tell(ended(LISTS, "start: done"))
        progress.tell(ended(WEB, "start: done", after_s=15))
    told = raw.getvalue().decode()
    assert [line.split("  ", 1)[1] for line in told.splitlines()] == [
        "lists  start: done",
        "web  start: done in 15 s",
    ]
    assert "\x1b" not in told


def test_on_a_terminal_a_step_under_way_is_shown_and_what_ended_stays() -> None:
    shown, _stream, raw = screen(interactive=True)
    with Progress(shown) as progress:
        progress.tell(begun(LISTS, "create volume"))
        progress.refresh()
        moving = raw.getvalue().decode()
        progress.tell(ended(LISTS, "create volume: done"))
    told = raw.getvalue().decode()
    assert "create volume" in moving
    assert "create volume: done" not in moving
    assert "create volume: done" in told


def test_what_has_begun_and_not_ended_can_be_named() -> None:
    shown, _stream, _raw = screen(interactive=False)
    with Progress(shown) as progress:
        progress.tell(begun(LISTS, "start"))
        progress.tell(begun(WEB, "grow disk vda"))
        progress.tell(ended(LISTS, "start: done"))
        assert progress.begun() == ["web (grow disk vda)"]


def test_a_host_that_falls_silent_is_told_in_between() -> None:
    shown, _stream, raw = screen(interactive=False)
    silent = Event(
        at=NOW, kind=EventKind.HOST_SILENT, text="connection refused", host=HostName("dom0-b")
    )
    with Progress(shown) as progress:
        progress.tell(silent)
    assert "dom0-b  connection refused" in raw.getvalue().decode()


def test_a_copy_says_how_far_it_has_come_and_when_it_will_be_there() -> None:
    """Bytes, rate and time left, as far as each is known; then the line that stays."""
    shown, _stream, raw = screen(interactive=True)
    far = HowFar(done_bytes=3 * GIB, total_bytes=5 * GIB)
    copy = Operation(
        guest=LISTS,
        host=HostName("dom0-a"),
        step=StartGuest(host=HostName("dom0-a"), guest=LISTS, uuid=UUID(int=1)),
        began=NOW,
        deadline=NOW,
        progress=far,
    )
    wide = replace(shown, width=200)
    with Progress(wide, lambda: (copy,)) as progress:
        progress.tell(begun(LISTS, "create volume"))
        progress.refresh()
        assert "60 %, 3 GiB of 5 GiB" in raw.getvalue().decode()
        copy = replace(copy, progress=replace(far, rate_bytes_s=128 * MIB))
        progress.refresh()
        assert "60 %, 3 GiB of 5 GiB, 128 MiB/s, 16 s left" in raw.getvalue().decode()
