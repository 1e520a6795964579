"""YAML is read by the rules of version 1.2, and nothing of it can hang or crash the reader."""

from __future__ import annotations

import math

import pytest

from reconciler.manifests.compose import MAXIMUM_BYTES, compose
from reconciler.manifests.construct import Constructor, Value, lines, locate, scalar
from reconciler.manifests.parse import parse_file


def construct(text: str) -> Value:
    nodes, faults = compose(text.encode())
    assert faults == []
    constructor = Constructor()
    value = constructor.construct(nodes[0])
    assert constructor.faults == []
    return value


@pytest.mark.parametrize(
    "text",
    [
        *("no", "No", "NO", "yes", "on", "off", "y", "n", "tRUE", "nil", "none", "NaN", "inf"),
        *("12:34:56", "52:54:00:12:34:56", "1:30", "2001-01-01", "1_000", "0b101", "0o8", "0xg"),
        *("1.2.3", "+", "-", ".", "e5", "1e", "--1", "=", "<<", "+.nan", "1,000"),
    ],
)
def test_what_yaml_1_1_would_have_turned_into_something_stays_text(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("1e3", 1000.0),
        ("3.", 3.0),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_the_core_schema_gives_numbers_truth_and_nothing(text: str, value: object) -> None:
    found = scalar(text)
    assert (found, type(found)) == (value, type(value))


def test_infinity_and_not_a_number_are_numbers() -> None:
    assert scalar("-.inf") == -math.inf
    assert isinstance(scalar(".nan"), float)


def test_a_number_too_large_to_count_with_is_a_number_but_no_whole_one() -> None:
    assert isinstance(scalar("9" * 5000), float)


def test_what_is_quoted_is_text() -> None:
    quoted = construct("- \"1\"\n- 'true'\n- ''\n- '~'\n- |-\n  5\n")
    assert quoted == ("1", "true", "", "~", "5")


def test_a_key_is_text_whatever_it_looks_like() -> None:
    assert construct("{1: a, true: b, 1.5: c}") == {"1": "a", "true": "b", "1.5": "c"}


def test_an_alias_means_its_anchor() -> None:
    assert construct("a: &x {b: 1}\nc: *x") == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "-\t"])
def test_text_of_any_depth_is_refused_before_it_is_composed(opening: str) -> None:
    """The composer of libyaml recurses in C: a hundred thousand levels would end the process."""
    content = (opening * (MAXIMUM_BYTES // len(opening)))[:MAXIMUM_BYTES].encode()

    faults = parse_file(content).faults

    assert len(faults) == 1


def test_a_file_beyond_the_bound_is_refused_unread() -> None:
    (fault,) = parse_file(b"#" * (MAXIMUM_BYTES + 1)).faults
    assert fault.message == "the file has 1,048,577 bytes, more than 1,048,576"


def test_an_alias_of_itself_is_refused() -> None:
    (fault,) = parse_file(b"&a [*a]").faults
    assert "levels deep" in fault.message


def test_utf_16_is_refused() -> None:
    (fault,) = parse_file("apiVersion: domops/v1".encode("utf-16")).faults
    assert fault.message == "byte 0xff is not UTF-8"


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    text = "apiVersion: domops/v1\r\nkind: Pool\r\nmetadata: {name: main}\r\nspec: {}\r\n"
    parsed = parse_file(b"\xef\xbb\xbf" + text.encode())
    assert [document.name for document in parsed.documents] == ["main"]


def test_a_place_is_that_of_the_value_or_of_what_should_hold_it() -> None:
    (root,), _ = compose(b"spec:\n  disks:\n    - {name: root, size: 1}\n  cpus: 2\n")
    assert locate(root, ("spec", "disks", 0, "size")) == (3, 26, "spec.disks[root].size")
    assert locate(root, ("spec", "disks", 0, "size"), key=True) == (3, 20, "spec.disks[root].size")
    assert locate(root, ("spec", "disks", 0, "image")) == (3, 7, "spec.disks[root].image")
    assert locate(root, ("spec", "memory", "size")) == (2, 3, "spec.memory.size")
    assert locate(root, ("spec", "cpus", "count")) == (4, 9, "spec.cpus")


def test_lines_go_by_the_names_of_entries() -> None:
    (root,), _ = compose(b"spec:\n  disks:\n    - name: root\n      size: 1\n    - {size: 2}\n")
    assert lines(root) == {
        "spec": 1,
        "spec.disks": 2,
        "spec.disks[root]": 3,
        "spec.disks[root].name": 3,
        "spec.disks[root].size": 4,
        "spec.disks[1]": 5,
        "spec.disks[1].size": 5,
    }


def test_every_document_of_a_file_is_parsed() -> None:
    text = b"""\
apiVersion: domops/v1
kind: Pool
metadata: {name: one}
spec: {}
---
apiVersion: domops/v1
kind: Pool
metadata: {name: two}
spec: {}
"""
    documents = parse_file(text).documents
    assert [(each.kind, each.name, each.index, each.line) for each in documents] == [
        ("Pool", "one", 0, 1),
        ("Pool", "two", 1, 6),
    ]
