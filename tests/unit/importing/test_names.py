"""Names that manifests allow, made from names that they do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.importing.names import LONGEST, allowed
from reconciler.manifests.fields import NAME


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lists", "lists"),
        ("The Old_VM (2)", "the-old-vm-2"),
        ("10.77.0.11", "guest-10-77-0-11"),
        ("---", "guest"),
        ("42", "guest-42"),
        ("web", "web-3"),
    ],
)
def test_the_nearest_allowed_name_is_taken(name: str, found: str) -> None:
    assert allowed(name, {"web", "web-2"}, otherwise="guest") == found


@given(name=st.text(max_size=80), taken=st.sets(st.sampled_from(["guest", "a", "a-2"])))
def test_every_name_is_allowed_and_free(name: str, taken: set[str]) -> None:
    found = allowed(name, taken, otherwise="guest")
    assert re.fullmatch(NAME.removesuffix("$"), found)
    assert len(found) <= LONGEST
    assert found not in taken
