"""Construct plain values from YAML nodes by the rules of YAML 1.2, and find the place of a field.

Only maps, lists, text, whole numbers, numbers and true/false come out; keys are text as written.
What YAML 1.1 made of ``no``, ``on``, ``12:34:56`` or ``2001-01-01`` is text here. A tag, a merge
key, a key said twice or an empty value is a fault: each has once meant what its author did not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from reconciler.manifests.compose import MAXIMUM_DEPTH
from reconciler.manifests.problems import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml.nodes import Node

MAXIMUM_VALUES = 100_000
"""How many values a file may stand for, an alias counted as often as it is used."""

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}\Z|0o[0-7]{1,20}\Z|0x[0-9a-fA-F]{1,15}\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z")
_CONSTANTS: Final = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "~": None,
    "": None,
    ".nan": float("nan"),
    ".NaN": float("nan"),
    ".NAN": float("nan"),
}
_NUMBER_BEGINS = frozenset("-+.0123456789")
_PLAIN = (True, False)
_TEXT_TAG = "tag:yaml.org,2002:str"


class Empty:
    """Stands where a value is missing; the fault is already noted, so nothing else complains."""

    def __repr__(self) -> str:
        return "EMPTY"


EMPTY: Final = Empty()

Scalar = str | int | float | bool | Empty
Value = Scalar | tuple["Value", ...] | dict[str, "Value"]
Key = str | int
"""A step of a path through values: the key of a map, or an index into a list."""


class EndlessError(Exception):
    """The text stands for more than `MAXIMUM_VALUES`, or goes deeper than `MAXIMUM_DEPTH`."""

    def __init__(self, fault: Fault) -> None:
        """Keep the fault to be told."""
        super().__init__(fault.message)
        self.fault = fault


def scalar(text: str) -> str | float | bool | None:
    """What a plain (unquoted) scalar means under the core schema of YAML 1.2."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] in _NUMBER_BEGINS:
        if _INTEGER.match(text):
            return int(text, 0) if text[1:2] in ("o", "x") else int(text)
        if _FLOAT.match(text) or _INFINITE.match(text):
            return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
    return text


class Constructor:
    """Constructs the documents of one file; ``faults`` fills with what was wrong on the way."""

    __slots__ = ("_remaining", "faults")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._remaining = MAXIMUM_VALUES

    def construct(self, node: Node, depth: int = 0) -> Value:
        """Turn ``node`` into plain values; raise `EndlessError` where it has no end."""
        if type(node) is ScalarNode:
            return self._scalar(node)
        self._remaining -= len(node.value) + 1
        if depth > MAXIMUM_DEPTH:
            message = f"nested more than {MAXIMUM_DEPTH} levels deep"
            raise EndlessError(_fault(node, message, "no manifest needs that"))
        if self._remaining < 0:
            message = f"more than {MAXIMUM_VALUES:,} values, where aliases expand"
            raise EndlessError(_fault(node, message, "write it without aliases"))
        tag: object = node.tag
        if tag is not True:
            return self._tagged(node)
        if type(node) is MappingNode:
            return self._mapping(node, depth)
        return tuple([self.construct(item, depth + 1) for item in node.value])

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for key, value in node.value:
            if type(key) is not ScalarNode:
                self._note(key, "a key that is not text", "keys are single words")
                continue
            name = key.value
            key_tag: object = key.tag
            if name == "<<" and key_tag == _PLAIN:
                self._note(
                    key,
                    "a merge key (<<), which YAML 1.2 does not have",
                    "write the fields out, or put them into a GuestClass",
                )
                continue
            if name in values:
                first = next(each for each, _ in node.value if each.value == name)
                line = first.start_mark.line + 1
                self._note(key, f'"{_short(name)}" is said twice, first in line {line}', "keep one")
                continue
            values[name] = self.construct(value, depth + 1)
        return values

    def _scalar(self, node: ScalarNode) -> Scalar:
        tag: object = node.tag
        text: str = node.value
        if type(tag) is tuple:
            if not tag[0]:
                return text
            if text in _CONSTANTS or text[0] in _NUMBER_BEGINS:
                value = scalar(text)
                if value is None:
                    self._note(node, "no value", "write one, or take the line out")
                    return EMPTY
                return value
            return text
        return text if tag == _TEXT_TAG else self._tagged(node)

    def _tagged(self, node: Node) -> Empty:
        self._note(node, f"the tag {_shown_tag(node)}", "manifests need no tags; take it out")
        return EMPTY

    def _note(self, node: Node, message: str, hint: str) -> None:
        self.faults.append(_fault(node, message, hint))


def locate(root: Node, path: tuple[Key, ...], *, key: bool = False) -> tuple[int, int, str]:
    """Line, column and dotted name of the deepest part of ``path`` that is written in ``root``.

    The place is that of the value, or with ``key`` that of the key. A part that is not written is
    named but has the place of what should hold it, except where a short form (``cpus: 2``) stands
    for it: then the short form is what is named.
    """
    node = root
    mark = root.start_mark
    shown: list[str] = []
    for step in path:
        if isinstance(node, ScalarNode):
            break
        found = _child(node, step)
        if found is None:
            shown.append(_shown(step))
            node = _NOTHING
            continue
        name, key_node, node = found
        shown.append(name)
        mark = (key_node if key and key_node is not None else node).start_mark
        if node.end_mark.index == node.start_mark.index and key_node is not None:
            mark = key_node.start_mark  # an empty value stands nowhere; its key does
    return mark.line + 1, mark.column + 1, "".join(shown).removeprefix(".")


def _fault(node: Node, message: str, hint: str) -> Fault:
    return Fault(
        line=node.start_mark.line + 1,
        column=node.start_mark.column + 1,
        field="",
        message=message,
        hint=hint,
    )


_NOTHING = SequenceNode(tag="", value=[])


def _child(node: Node, step: Key) -> tuple[str, Node | None, Node] | None:
    if isinstance(node, MappingNode) and isinstance(step, str):
        for key, value in node.value:
            if key.value == step:
                return _shown(step), key, value
    elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return f"[{_entry_name(item) or step}]", None, item
    return None


def lines(root: Node) -> dict[str, int]:
    """The line of each written field, by dotted path; entries of lists go by their name."""
    return {path: node.start_mark.line + 1 for path, node in _fields(root, "")}


def _fields(node: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            path = f"{prefix}.{key.value}" if prefix else str(key.value)
            yield path, key
            yield from _fields(value, path)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            path = f"{prefix}[{_entry_name(item) or index}]"
            yield path, item
            yield from _fields(item, path)


def _entry_name(item: Node) -> str | None:
    if isinstance(item, MappingNode):
        for key, value in item.value:
            if key.value == "name" and isinstance(value, ScalarNode):
                return _short(value.value)
    return None


def _shown(step: Key) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{_short(step)}"


def _shown_tag(node: Node) -> str:
    return _short(str(node.tag).replace("tag:yaml.org,2002:", "!!"))


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
