"""A manifest that is rendered is read back as the same values, whatever they are."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.compose import compose
from reconciler.manifests.construct import Constructor
from reconciler.manifests.writing import WIDTH, render_manifest

_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        ["true", "null", "~", "1", "0x1F", "1e3", "20GiB", "5m", "on", "no", "- a", "a: b", "a #b"]
    ),
)
_SCALARS = st.one_of(st.booleans(), st.integers(0, 10**6), _TEXTS)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_TEXTS.filter(len), inner, max_size=3)
    ),
    max_leaves=8,
)


def _read(text: str) -> object:
    nodes, faults = compose(text.encode())
    assert not faults
    [node] = nodes
    constructor = Constructor()
    value = constructor.construct(node)
    assert not constructor.faults
    return value


def _tuples(value: object) -> object:
    """Lists as they are read: as tuples."""
    match value:
        case list():
            return tuple(_tuples(one) for one in value)
        case dict():
            return {key: _tuples(one) for key, one in value.items()}
        case _:
            return value


@given(
    spec=st.dictionaries(st.sampled_from(["host", "memory", "disks", "boot"]), _VALUES, min_size=1),
    comments=st.lists(st.text(max_size=60), max_size=2),
)
def test_what_is_written_is_read_back(spec: dict[str, object], comments: list[str]) -> None:
    """Comments never leave their lines, so nothing in one becomes a part of the manifest."""
    metadata = {"name": "lists"}
    text = render_manifest("Guest", metadata, spec, comments=comments)  # type: ignore[arg-type]
    assert _read(text) == {
        "apiVersion": "domops/v1",
        "kind": "Guest",
        "metadata": metadata,
        "spec": _tuples(spec),
    }


@pytest.mark.parametrize("value", ["20GiB", "/boot/vmlinuz", "on", "pv", "lists-root.raw", "5m"])
def test_what_needs_no_quotes_has_none(value: str) -> None:
    assert f"{{a: {value}}}" in render_manifest("Guest", {"a": value}, {"b": 1})


@pytest.mark.parametrize("value", ["true", "12", "00:16:3e:01:02:03", "a, b", "", "0x1F", "null"])
def test_what_could_be_taken_for_something_else_is_quoted(value: str) -> None:
    assert f'{{a: "{value}"}}' in render_manifest("Guest", {"a": value}, {"b": 1})


def test_long_maps_are_broken_and_long_comments_wrapped() -> None:
    text = render_manifest(
        "Guest",
        {"name": "lists"},
        {"boot": {"kernel": "/boot/vmlinuz", "cmdline": "x" * WIDTH}, "cpus": 2},
        comments=["kept as it is: " + "devices/sound, " * 20],
    )
    lines = text.splitlines()
    assert "  boot:" in lines
    assert "    kernel: /boot/vmlinuz" in lines
    assert all(len(line) <= WIDTH for line in lines if line.startswith("#"))
    assert yaml.safe_load(text)["spec"]["cpus"] == 2
