"""The page on faults cites the tests that saw each: they exist."""

from __future__ import annotations

import re
from pathlib import Path

from reconciler.model.plan import Reason
from reconciler.recording.log import MEANINGS

ROOT = Path(__file__).parents[2]
ROWS = [
    line
    for line in (ROOT / "docs/reference/faults.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| fault", "|---"))
]
"""A fault each."""


def test_every_fault_was_seen_by_a_test_that_exists() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert ROWS
    for row in ROWS:
        seen_by = re.findall(r"`(test_\w+)`", row)
        assert seen_by, row
        for name in seen_by:
            assert f"def {name}(" in tests, name


def test_what_is_seen_of_a_fault_are_reasons_and_events_that_exist() -> None:
    known = {str(reason) for reason in Reason} | {str(kind) for kind in MEANINGS}
    for row in ROWS:
        seen = row.split(" | ")[2]
        for word in re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*|[a-z]+-[a-z]+)`(?=[:,; |]|$)", seen):
            assert word in known or word.startswith("Domops"), word
