"""Ask hosts on threads of their own, so that one that hangs keeps nobody else waiting.

A host that has not come back is not asked again until it does; an answer that came too late for one
pass serves the next, if it is not too old by then.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from reconciler.hypervisor.port import Host
    from reconciler.model.observed import ObservedHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back for the question asked at ``asked``: an observation, or why there is none."""

    asked: datetime
    said: ObservedHost | str


class Asker:
    """The observing thread of one host."""

    def __init__(
        self,
        host: Host,
        *,
        clock: Callable[[], datetime],
        wake: Callable[[str], None],
        changed: threading.Condition,
    ) -> None:
        self.host = host
        self._clock = clock
        self._wake = wake
        self._changed = changed
        self._questions: SimpleQueue[datetime | None] = SimpleQueue()
        self._asked: datetime | None = None
        self._late = False
        self._answer: Answer | None = None
        self._watching = False
        name = f"{host.name}: observing"
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    @property
    def asked(self) -> datetime | None:
        """When the question was asked that is still open, or None."""
        with self._changed:
            return self._asked

    @property
    def has_answer(self) -> bool:
        """Whether an answer waits that came too late for the look that asked."""
        with self._changed:
            return self._answer is not None

    def ask(self, *, oldest: datetime) -> bool:
        """Ask, unless a question is open or an answer waits that was asked since ``oldest``.

        Says whether it asked.
        """
        with self._changed:
            if self._asked is not None:
                return False
            if self._answer is not None and self._answer.asked >= oldest:
                return False
            self._answer = None
            self._asked = self._clock()
            self._questions.put(self._asked)
            return True

    def take(self) -> Answer | None:
        """Take the answer out; None, and a wake-up when it comes, if it is not there yet."""
        with self._changed:
            answer, self._answer = self._answer, None
            self._late = answer is None
            return answer

    def stop(self) -> None:
        """End the thread and let go of the host; a thread that hangs is left alone."""
        self._questions.put(None)

    def _serve(self) -> None:
        while (asked := self._questions.get()) is not None:
            said = self._observe()
            with self._changed:
                self._answer = Answer(asked=asked, said=said)
                self._asked = None
                late, self._late = self._late, False
                self._changed.notify_all()
            if late:
                self._wake(f"the late answer of {self.host.name}")  # no host's name: no news of it
        with contextlib.suppress(DomopsError):  # it is let go of either way
            self.host.close()

    def _observe(self) -> ObservedHost | str:
        try:
            said = self.host.observe()
            if not self._watching:
                self.host.watch(lambda: self._wake(self.host.name))
                self._watching = True
        except DomopsError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a defect at one host must not silence the others
            return f"unforeseen {type(error).__name__} while observing: {error}"
        return said


def wait_for(askers: Iterable[Asker], changed: threading.Condition, timeout_s: float) -> None:
    """Wait until every asker has its answer, at most ``timeout_s`` seconds."""
    asked = tuple(askers)
    with changed:
        changed.wait_for(lambda: all(one.asked is None for one in asked), timeout_s)
