"""Sizes and durations always carry their unit, and say exactly what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.quantities import (
    QuantityError,
    parse_duration,
    parse_size,
    render_duration,
    render_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("2KiB", 2048),
        ("512MiB", 512 << 20),
        ("20GiB", 20 << 30),
        ("1.5GiB", 3 << 29),
        ("20GB", 20 * 10**9),
        ("1kB", 1000),
        ("7PiB", 7 << 50),
        ("0B", 0),
    ],
)
def test_a_size_is_its_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("20G", '"20G" has no unit domops knows', "write 20GiB or 20GB"),
        ("512k", '"512k" has no unit domops knows', "write 512KiB or 512kB"),
        ("2gb", '"2gb" has no unit domops knows', "write 2GB"),
        ("2048", '"2048" has no unit', "write it with one, as in 512MiB or 20GiB"),
        ("2 GiB", '"2 GiB" holds spaces', "write 2GiB"),
        ("0.3B", '"0.3B" is no whole number of bytes', "write it in a smaller unit"),
        ("9000PiB", '"9000PiB" is more than any host can count', "at most 8191PiB"),
        ("٣GiB", '"٣GiB" is no number with a unit', "write it with one, as in 512MiB or 20GiB"),
    ],
)
def test_a_size_that_is_none_is_told_what_would_be(text: str, message: str, hint: str) -> None:
    with pytest.raises(QuantityError) as raised:
        parse_size(text)
    assert (str(raised.value), raised.value.hint) == (message, hint)


def test_a_duration_is_its_seconds() -> None:
    texts = ["60s", "5m", "2h", "30d", "2w"]
    assert [parse_duration(text) for text in texts] == [60, 300, 7200, 2592000, 1209600]


@pytest.mark.parametrize("text", ["60", "5 m", "1.5h", "1y", "5M", "", "m", "-5m", "1h30m"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_duration(text)


@given(st.integers(0, (1 << 63) - 1))
def test_a_size_survives_being_written_and_read(size: int) -> None:
    assert parse_size(render_size(size)) == size


@given(st.integers(0, 10**9))
def test_a_duration_survives_being_written_and_read(seconds: int) -> None:
    assert parse_duration(render_duration(seconds)) == seconds
