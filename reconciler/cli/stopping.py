"""Let a signal end a command that would go on by itself, at the next point where it can."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.cli.failing import Interrupted, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextmanager
def stopping_on(*signals: signal.Signals, says: str | None = None) -> Iterator[threading.Event]:
    """An event that the signals set; the second time the first of them acts as it did before."""
    stop = threading.Event()
    before = {one: signal.getsignal(one) for one in signals}

    def heard(number: int, _frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise Interrupted
        stop.set()
        if says:
            sentence(says)

    for one in signals:
        signal.signal(one, heard)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
