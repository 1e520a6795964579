"""What a process uses over time, whether that grows, and a picture of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a process used at ``at_s`` seconds: memory in KiB, the rest in numbers."""

    at_s: float
    resident_kib: int
    threads: int
    descriptors: int
    sockets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One curve: its name, its values, and how much more at the end still counts as none."""

    name: str
    unit: str
    of: Callable[[Sample], float]
    slack: float
    share: float = 0.0

    def allowed(self, before: float) -> float:
        """How far above ``before`` the end may lie."""
        return self.slack + self.share * before


MEASURES = (
    Measure(
        name="resident memory",
        unit="MiB",
        of=lambda one: one.resident_kib / _KIB_PER_MIB,
        slack=6,
        share=0.05,
    ),
    Measure(name="threads", unit="", of=lambda one: one.threads, slack=2),
    Measure(name="file descriptors", unit="", of=lambda one: one.descriptors, slack=4),
    Measure(name="connections (sockets)", unit="", of=lambda one: one.sockets, slack=3),
)
"""A burst of steps needs threads for a moment: medians are compared, not peaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One measure: its median in the second quarter of the run and in the last one."""

    measure: Measure
    early: float
    late: float

    @property
    def grew(self) -> bool:
        """Whether the end lies higher than chance and caches explain."""
        return self.late > self.early + self.measure.allowed(self.early)

    def __str__(self) -> str:
        unit = f" {self.measure.unit}" if self.measure.unit else ""
        verdict = "GREW" if self.grew else "steady"
        return f"{self.measure.name}: {self.early:.1f} → {self.late:.1f}{unit}, {verdict}"


def take(pid: int, at_s: float) -> Sample | None:
    """Read ``/proc`` (see proc(5)); None if the process is gone."""
    process = Path("/proc") / str(pid)
    try:
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        links = [str(link.readlink()) for link in (process / "fd").iterdir() if link.is_symlink()]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sample(
        at_s=at_s,
        resident_kib=int(status["VmRSS"].split()[0]),
        threads=int(status["Threads"]),
        descriptors=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
    )


def growth(samples: Sequence[Sample]) -> tuple[Growth, ...]:
    """Compare the second quarter, when caches are warm, with the last.

    Raises:
        ValueError: there are too few samples to say anything.

    """
    quarter = len(samples) // 4
    if not quarter:
        message = f"{len(samples)} samples are too few to tell growth"
        raise ValueError(message)
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return tuple(
        Growth(
            measure=measure,
            early=statistics.median(measure.of(one) for one in second),
            late=statistics.median(measure.of(one) for one in last),
        )
        for measure in MEASURES
    )


def draw(samples: Sequence[Sample], faults: Sequence[float], path: Path) -> None:
    """Draw every measure over time into a PNG; ``faults`` are instants to be marked."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(MEASURES), 1, sharex=True)
    minutes = [one.at_s / 60 for one in samples]
    for measure, place in zip(MEASURES, axes, strict=True):
        place.plot(minutes, [measure.of(one) for one in samples], linewidth=1, color="tab:blue")
        for at in faults:
            place.axvline(at / 60, color="tab:red", alpha=0.25, linewidth=0.8)
        place.set_ylabel(f"{measure.name}{f' / {measure.unit}' if measure.unit else ''}")
        place.set_ylim(bottom=0)
    axes[-1].set_xlabel("minutes (red: libvirtd hung, killed or restarted)")
    figure.savefig(path, dpi=110)
