"""What differs between two mappings is found by identity."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.identity import differing

_OBJECTS = (object(), object(), object())
_MAPPINGS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(_OBJECTS))


@given(_MAPPINGS, _MAPPINGS)
def test_differing_names_what_is_new_and_what_is_another_object(
    new: dict[str, object], old: dict[str, object]
) -> None:
    expected = tuple(key for key, value in new.items() if old.get(key) is not value)
    assert differing(new, old) == expected
