"""Ask hosts on threads of their own, so that one that hangs keeps nobody else waiting.

A host that has not come back is not asked again until it does; an answer that came too late for one
pass serves the next, if it is not too old by then.

Note [Asked by an event]: what happened at a host has it asked at once, on its own thread, while the
thread that makes passes may be busy for a while. The answer wakes a pass and waits for it. It is
good for finding out what has happened; who needs words that are younger than something else asks
anew, and need not wait for a question that an event put: his own comes right behind it.
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
    by_event: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happened:
    """Something happened at the host at this instant."""

    at: datetime


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
        self._questions: SimpleQueue[datetime | _Happened | None] = SimpleQueue()
        self._asked: datetime | None = None
        self._by_event = False
        self._began: datetime | None = None
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

    def ask(self, *, oldest: datetime, anew: bool = False) -> bool:
        """Ask, unless a question is open or an answer waits that was asked since ``oldest``.

        With ``anew``, an answer to a question that an event put is not enough; an open question of
        that kind never is. Says whether it asked.
        """
        with self._changed:
            waiting = self._answer
            if waiting is not None and waiting.asked >= oldest and not (anew and waiting.by_event):
                return False
            if self._asked is not None and not self._by_event:
                return False
            self._answer = None
            self._by_event = self._late = False
            self._asked = self._clock()
            self._questions.put(self._asked)
            return True

    def take(self) -> Answer | None:
        """Take the answer out; None, and a wake-up when it comes, if it is not there yet."""
        with self._changed:
            answer, self._answer = self._answer, None
            self._late = self._late or answer is None
            return answer

    def stop(self) -> None:
        """End the thread and let go of the host; a thread that hangs is left alone."""
        self._questions.put(None)

    def _heed(self) -> None:
        """Note that something happened; libvirt's loop runs this, so it only puts it there."""
        self._questions.put(_Happened(at=self._clock()))

    def _serve(self) -> None:
        while (question := self._questions.get()) is not None:
            if isinstance(question, _Happened):
                asked = self._asked_by(question)
                if asked is None:
                    continue
            else:
                asked = question
            self._began = self._clock()
            said = self._observe()
            with self._changed:
                if self._asked is not asked:
                    continue  # a look asked anew meanwhile, and waits for that answer
                self._answer = Answer(asked=asked, said=said, by_event=self._by_event)
                self._asked = None
                self._by_event = False
                late, self._late = self._late, False
                self._changed.notify_all()
            if late:
                self._wake(f"an answer of {self.host.name}")  # no host's name: no news of it
        with contextlib.suppress(DomopsError):  # it is let go of either way
            self.host.close()

    def _asked_by(self, event: _Happened) -> datetime | None:
        """Open a question because of ``event``; None if one that covers it was or will be put."""
        with self._changed:
            if self._began is not None and event.at < self._began:
                return None
            if self._asked is not None:
                return None  # a look's, which stands behind the event in the queue
            self._asked = self._clock()
            self._by_event = self._late = True
            return self._asked

    def _observe(self) -> ObservedHost | str:
        try:
            said = self.host.observe()
            if not self._watching:
                self.host.watch(self._heed)
                self._watching = True
        except DomopsError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a defect at one host must not silence the others
            return f"unforeseen {type(error).__name__} while observing: {error}"
        return said


def wait_for(askers: Iterable[Asker], changed: threading.Condition, timeout_s: float) -> None:
    """Wait until every asker has an answer or is not asked, at most ``timeout_s`` seconds.

    One that has an answer may have been asked again by an event.
    """
    asked = tuple(askers)
    with changed:
        changed.wait_for(
            lambda: all(one.has_answer or one.asked is None for one in asked), timeout_s
        )
