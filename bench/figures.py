"""A figure, whether it meets its target, and the page and picture that tell all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure as Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE = Path(__file__).parent / "RESULTS.md"
CHART = Path(__file__).parent / "passes.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table: seconds unless ``unit`` says other; ``target`` as the design has it.

    ``value`` is what is compared with ``bound``: a ratio, a difference or an amount.
    """

    work: str
    guests: int
    floor: str
    ours: str
    value: float
    unit: str
    bound: float | None
    target: str

    @property
    def met(self) -> str:
        """Whether the target is met; a dash where there is none."""
        if self.bound is None:
            return "–"
        return "yes" if self.value <= self.bound else "NO"


def milliseconds(seconds: float) -> str:
    """``12.3 ms``, or seconds where that is easier to read."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def timed(work: Callable[[], object]) -> float:
    """How many seconds ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best(work: Callable[[], object], times: int = 5) -> float:
    """The shortest of several runs: what the work costs when nothing else disturbs it."""
    return min(timed(work) for _ in range(times))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of all lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> str:
    """Median, 90th and 99th percentile."""
    return (
        f"median {milliseconds(statistics.median(values))}, p90 "
        f"{milliseconds(percentile(values, 0.9))}, p99 {milliseconds(percentile(values, 0.99))}"
    )


def write_page(figures: Sequence[Figure], notes: Sequence[str], versions: Sequence[str]) -> str:
    """The page; also written to its place."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    lines = [
        "# Results",
        "",
        "Written by `make bench`. Each figure stands beside its floor, measured in the same run on",
        "the same machine; a ratio carries over to other machines, a time does not.",
        "",
        " · ".join((f"{datetime.now(UTC):%Y-%m-%d}", machine, *versions)),
        "",
        "| work | guests | floor | domops | compared | target | met |",
        "|---|--:|---|---|--:|---|---|",
    ]
    lines += [
        f"| {one.work} | {one.guests:,} | {one.floor} | {one.ours} | {one.value:.2f} {one.unit} |"
        f" {one.target} | {one.met} |"
        for one in figures
    ]
    lines += ["", *notes, "", "![pass and memory over the number of guests](passes.png)", ""]
    text = "\n".join(lines)
    PAGE.write_text(text)
    return text


def draw(passes: Sequence[tuple[int, float, float]], memory: Sequence[tuple[int, float]]) -> None:
    """Draw pass times (quiet, and with every host asked) and memory over the number of guests."""
    picture = Picture(figsize=(9, 4), layout="constrained")
    left, right = picture.subplots(1, 2)
    guests = [one[0] for one in passes]
    left.loglog(guests, [one[1] * 1000 for one in passes], marker="o", label="nothing to do")
    left.loglog(guests, [one[2] * 1000 for one in passes], marker="s", label="every host asked")
    left.axhline(15, color="tab:red", linestyle="--", linewidth=0.8, label="target, nothing to do")
    left.set_xlabel("guests")
    left.set_ylabel("one pass / ms")
    left.legend()
    right.semilogx([one[0] for one in memory], [one[1] for one in memory], marker="o")
    right.axhline(300, color="tab:red", linestyle="--", linewidth=0.8, label="target")
    right.set_ylim(bottom=0)
    right.set_xlabel("guests")
    right.set_ylabel("resident memory after a scrape / MiB")
    right.legend()
    picture.savefig(CHART, dpi=110)
