"""Progress of an apply: a moving line for each step under way, one that stays for each that ended.

Off a terminal nothing moves: there is one line when a step ends, and none before.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from reconciler.cli import words
from reconciler.journal.records import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from reconciler.cli.terminal import Terminal
    from reconciler.journal.records import Event
    from reconciler.model.names import GuestName
    from reconciler.model.operation import Operation
    from reconciler.model.operation import Progress as Made

_STAYS = frozenset(
    {
        EventKind.STEP_ENDED,
        EventKind.HOST_SILENT,
        EventKind.HOST_BACK,
        EventKind.COMMIT_REFUSED,
        EventKind.SOURCE_FAILED,
    }
)


class Progress:
    """Told of events from any thread; draws from one.

    ``under_way`` is asked for the steps, with how far each has come, whenever something is drawn.
    """

    def __init__(
        self, screen: Terminal, under_way: Callable[[], tuple[Operation, ...]] = tuple
    ) -> None:
        self._screen = screen
        self._operations = under_way
        self._under_way: dict[GuestName, Event] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None
        if screen.colours:
            console = Console(file=screen.stream, force_terminal=True, width=screen.width)
            self._live = Live(console=console, get_renderable=self._moving, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, event: Event) -> None:
        """Something happened."""
        begun = None
        with self._lock:
            if event.kind is EventKind.STEP_BEGUN and event.guest is not None:
                self._under_way[event.guest] = event
                return
            if event.kind is EventKind.STEP_ENDED and event.guest is not None:
                begun = self._under_way.pop(event.guest, None)
        if event.kind in _STAYS:
            self._put(event, took_s=(event.at - begun.at).total_seconds() if begun else 0)

    def refresh(self) -> None:
        """Draw what moves now; it is drawn by itself four times a second."""
        if self._live is not None:
            self._live.refresh()

    def begun(self) -> list[str]:
        """What has begun and is not known to have ended."""
        with self._lock:
            return [f"{name} ({event.text})" for name, event in sorted(self._under_way.items())]

    def _put(self, event: Event, *, took_s: float) -> None:
        """One line that stays; with how long it took, if anybody could have waited for it."""
        page = self._screen.page()
        line = Text.assemble(
            page.text(event.at.astimezone(page.zone).strftime("%H:%M:%S"), "dim"),
            "  ",
            page.text(event.guest or event.host or "", "bold"),
            "  " if event.guest or event.host else "",
            page.text(event.text),
            page.text(f" in {words.duration(took_s)}" if took_s >= 1 else ""),
        )
        if self._live is not None:
            self._live.console.print(line, soft_wrap=True, highlight=False)
        else:
            self._screen.show([line])

    def _moving(self) -> Group:
        """The steps under way, each with its age, and how far it has come if that can be told."""
        page = self._screen.page()
        far = {one.guest: one.progress for one in self._operations()}
        with self._lock:
            events = sorted(self._under_way.items())
        return Group(
            *(
                Text.assemble(
                    page.text(f"{name}  ", "bold"),
                    page.text(event.text),
                    page.text(
                        f"  for {words.duration((page.now - event.at).total_seconds())}", "dim"
                    ),
                    page.text(_in_words(far.get(name)), "cyan"),
                )
                for name, event in events
            )
        )


def _in_words(progress: Made | None) -> str:
    """``61 %, 3.1 GiB of 5 GiB, 120 MiB/s, 16 s left``, as far as it is known."""
    if progress is None:
        return ""
    parts = [
        f"{100 * progress.done_bytes // progress.total_bytes} %",
        f"{words.size(progress.done_bytes)} of {words.size(progress.total_bytes)}",
    ]
    if progress.rate_bytes_s:
        parts.append(f"{words.size(round(progress.rate_bytes_s))}/s")
    if progress.left_s is not None:
        parts.append(f"{words.duration(progress.left_s)} left")
    return f"  {', '.join(parts)}"
