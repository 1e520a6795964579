"""What adds up over the life of the process: counters and histograms, few and never by guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from reconciler.journal.records import EventKind, Outcome
from reconciler.recording.metrics import families

if TYPE_CHECKING:
    from reconciler.journal.records import Event
    from reconciler.recording.metrics.text import Family
    from reconciler.recording.sight import Sight

_PASS_BUCKETS = (0.005, 0.015, 0.05, 0.15, 0.5, 1, 2.5, 5, 10, 30)
"""From the pass with nothing to do, to one that waited for a silent host."""

_QUEUE_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.2, 1, 5, 20)
"""A name is taken up at once, unless a pass is being made: then when that is over."""

_STEP_BUCKETS = (0.05, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600)
"""From writing a mark, over a start and a shutdown, to the copy of a large image."""


class Instruments:
    """Told of every event and every pass; safe to read from another thread."""

    def __init__(self) -> None:
        # A second series for each counter that says when it began is more than anybody asked for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._passes = self._counter(families.PASSES)
        self._pass_duration = self._histogram(families.PASS_DURATION, _PASS_BUCKETS)
        self._queue_wait = self._histogram(families.QUEUE_WAIT, _QUEUE_BUCKETS)
        self._steps = self._counter(families.STEPS)
        self._step_duration = self._histogram(families.STEP_DURATION, _STEP_BUCKETS)
        self._events = self._counter(families.EVENTS)
        for kind in EventKind:  # so that a rate is known from the first event on
            self._events.labels(kind.value)
        for result in _RESULTS:
            self._passes.labels(result)

    def passed(self, sight: Sight) -> None:
        """A pass is over."""
        self._passes.labels(_RESULTS[sight.plan is None]).inc()
        self._pass_duration.observe(sight.took_s)

    def waited(self, seconds: float) -> None:
        """A name was taken out of the queue."""
        self._queue_wait.observe(seconds)

    def happened(self, event: Event) -> None:
        """Something happened."""
        self._events.labels(event.kind.value).inc()
        if event.kind is EventKind.STEP_ENDED and event.step is not None:
            outcome = event.outcome or Outcome.UNKNOWN
            self._steps.labels(event.step, outcome.value).inc()
            if event.took_s is not None:
                self._step_duration.labels(event.step).observe(event.took_s)

    def text(self) -> str:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry).decode()

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.means, family.labels, registry=self._registry)

    def _histogram(self, family: Family, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            family.name, family.means, family.labels, buckets=buckets, registry=self._registry
        )


_RESULTS = ("planned", "no good commit")
"""How a pass can end."""
