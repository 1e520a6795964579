"""Every manifest in ``bad/`` gives one problem, at its place, in the words that it expects."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.manifests import load
from reconciler.model.desired import Commit
from reconciler.model.names import Sha

BAD = Path(__file__).parent / "bad"
WORLD = {path.name: path.read_bytes() for path in (BAD / "_world").iterdir()}
CASES = sorted(BAD.glob("*.yaml"))
COMMIT = Commit(
    sha=Sha("0" * 40), author="A Tester", committed_at=datetime(2025, 1, 1, tzinfo=UTC), subject="-"
)
_EXPECT = re.compile(r"# expect (?P<place>\d+:\d+)  (?P<sentence>.+)")
_GOES_ON = " […]"
"""At an expectation's end: only so much is expected, as of a list that grows with the grammar."""


def test_the_world_of_the_cases_has_no_problem_of_its_own() -> None:
    assert load(WORLD, commit=COMMIT).problems == ()


def test_there_are_at_least_two_hundred_cases() -> None:
    assert len(CASES) >= 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_mistake_gives_one_problem_that_says_where_what_and_what_to_do(case: Path) -> None:
    content = case.read_bytes()
    heading = content.decode(errors="replace").splitlines()
    expected = _EXPECT.fullmatch(heading[0])
    assert expected is not None, "the first line of a case says what it expects"
    path = "domops.yaml" if heading[1] == "# in domops.yaml" else "case.yaml"

    resolved = load({**WORLD, path: content}, commit=COMMIT)

    expectation = f"{path}:{expected['place']}  {expected['sentence']}"
    beginning = expectation.removesuffix(_GOES_ON)
    told = [str(problem) for problem in resolved.problems]
    if beginning != expectation:
        told = [problem[: len(beginning)] for problem in told]
    assert told == [beginning]
    assert resolved.world is None
