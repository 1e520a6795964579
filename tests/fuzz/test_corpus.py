"""Every door holds for all that fuzzers found, for the examples of the house, and broken ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS, Target

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted(TARGETS)
FOUND = sorted(CORPUS.glob("*/*"))
SEEDS = {name: [*target.seeds()] for name, target in TARGETS.items()}


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_a_fuzzer_once_broke_holds(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_every_example_of_the_house_comes_in_or_is_refused(name: str) -> None:
    assert len(SEEDS[name]) > 2
    for seed in SEEDS[name]:
        TARGETS[name].run(seed)


@st.composite
def broken(draw: st.DrawFn, target: Target) -> bytes:
    """An example of the house with some of it cut out, doubled, or put elsewhere."""
    text = draw(st.sampled_from(SEEDS[target.name]))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        word = draw(st.sampled_from(target.words)).encode()
        part = draw(st.sampled_from([b"", word, text[start:end] * 2, text[start:end][::-1]]))
        text = text[:start] + part + text[end:]
    return text


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_broken_example_comes_in_or_is_refused(name: str, data: st.DataObject) -> None:
    TARGETS[name].run(data.draw(broken(TARGETS[name])))
