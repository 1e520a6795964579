"""Prometheus's text format: a family's head, then a line for each of its series.

Note [Straight to text]: at 10,000 guests a scrape has 80,000 lines. Made one by one from values
that are there anyway they take a quarter of the time that objects for each of them take, and
nothing is kept between two scrapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """How a family's values behave."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: its name, what it means, and the names of its labels."""

    name: str
    kind: Kind
    means: str
    labels: tuple[str, ...] = ()


Sample = tuple[tuple[str, ...], float | None]
"""The values of a family's labels, in their order, and its value; None: not known, so no line."""

Series = tuple[Family, "Iterable[Sample]"]


def render(families: Iterable[Series]) -> Iterator[str]:
    """Each family that has samples as one piece of text; one without them is left out."""
    for family, samples in families:
        lines = [
            f"{family.name}{_labels(family.labels, values)} {_number(value)}\n"
            for values, value in samples
            if value is not None
        ]
        if lines:
            yield _head(family) + "".join(lines)


def _head(family: Family) -> str:
    means = family.means.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {family.name} {means}\n# TYPE {family.name} {family.kind}\n"


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    told = ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)
    )
    return f"{{{told}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    """The shortest text that is read back as the same number."""
    return str(int(value)) if value == int(value) else repr(float(value))
