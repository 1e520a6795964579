"""The judge of a soak: it sees a leak, and takes no burst for one."""

import os
from pathlib import Path

import pytest

from tests.soak.samples import Sample, draw, growth, take


def _samples(*threads: int, resident: int = 100_000) -> list[Sample]:
    return [
        Sample(at_s=at * 2.0, resident_kib=resident, threads=number, descriptors=20, sockets=5)
        for at, number in enumerate(threads)
    ]


def _grown(samples: list[Sample]) -> set[str]:
    return {one.measure.name for one in growth(samples) if one.grew}


def test_what_stays_has_not_grown() -> None:
    assert _grown(_samples(*[8] * 40)) == set()


def test_a_burst_is_no_leak() -> None:
    assert _grown(_samples(*[8] * 30, *[8, 40, 8, 8, 8, 8, 8, 8, 8, 8])) == set()


def test_a_slow_leak_is_seen() -> None:
    assert _grown(_samples(*range(8, 48))) == {"threads"}


def test_memory_that_grows_is_seen() -> None:
    samples = [*_samples(*[8] * 20), *_samples(*[8] * 20, resident=140_000)]
    assert _grown(samples) == {"resident memory"}


def test_too_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        growth(_samples(1, 2, 3))


def test_this_process_can_be_measured_and_drawn(tmp_path: Path) -> None:
    first = take(os.getpid(), 0.0)
    assert first is not None
    assert first.resident_kib > 1000
    assert first.threads >= 1
    assert first.descriptors >= first.sockets
    draw([first, first], [0.0], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_process_that_is_gone_gives_no_sample() -> None:
    assert take(2**22 + 1, 0.0) is None
