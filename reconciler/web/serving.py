"""Put the pages of an opened controller onto an address, for as long as it runs."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.recording.metrics.instruments import Instruments
from reconciler.recording.metrics.passes import Meters
from reconciler.settings import listen_address
from reconciler.web.hosts import Readers
from reconciler.web.pages import Pages
from reconciler.web.server import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.bootstrap import Opened
    from reconciler.journal.records import Event
from reconciler.settings import Settings

_SLACK = timedelta(seconds=60)
"""For a fetch that takes its time, and a machine that is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """What is served at ``port``; None where nothing is. ``tell`` is to be told of each event."""

    port: int | None
    tell: Callable[[Event], None]


@contextlib.contextmanager
def shown(opened: Opened, settings: Settings) -> Iterator[Showing]:
    """Serve while the block runs, if ``listen`` is set.

    Raises:
        StalledError: the address cannot be listened on.

    """
    if settings.listen is None:
        yield Showing(port=None, tell=_nobody)
        return
    instruments = Instruments()
    opened.latest.hear(instruments.passed)
    opened.wakeups.hear(instruments.waited)
    readers = Readers(opened.latest, opened.reader_for)
    pages = Pages(
        latest=opened.latest,
        readers=readers,
        instruments=instruments,
        meters=lambda: Meters(
            writes=opened.doors.writes(),
            operations=opened.operations(),
            depth=opened.wakeups.depth,
            adds=opened.wakeups.adds,
        ),
        clock=opened.clock,
        beat=timedelta(seconds=settings.poll_s + 2 * settings.patience_s) + _SLACK,
    )
    with (
        contextlib.closing(readers),
        served(listen_address(settings.listen), pages.at) as port,
    ):
        yield Showing(port=port, tell=instruments.happened)


def _nobody(_event: Event) -> None:
    """Nobody counts."""
