"""Compose text into YAML nodes, or say in one sentence why it is none.

libyaml does the work; everything that it would do too generously, or too deeply, is bounded before
it starts: the size, the depth (its composer recurses in C, and deep enough text would end the
process), and the encoding. Marks are kept, so that every node knows its line and column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yaml import MarkedYAMLError, YAMLError
from yaml._yaml import CParser
from yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
)
from yaml.reader import ReaderError

from reconciler.manifests.problems import Fault

if TYPE_CHECKING:
    from yaml.nodes import Node

MAXIMUM_BYTES = 1 << 20
"""A generated file of a thousand guests fits; whoever needs more writes a second file."""

MAXIMUM_DEPTH = 32
"""The grammar needs seven levels."""

_SURELY_SHALLOW = 1000
"""With fewer nesting characters than this, libyaml's recursion cannot exhaust a thread's stack.

Block mappings alone cannot nest deeply within `MAXIMUM_BYTES`: each level needs a longer indent
than the last, so a thousand levels would need half a megabyte of spaces.
"""


class _Parser(CParser):
    """libyaml's parser with a resolver that decides nothing.

    A node's tag is then what libyaml saw: a pair (plain, quoted) for a scalar and True for a
    collection where no tag was written, else the text of the tag. Plain scalars get their YAML 1.2
    meaning in `construct`; PyYAML's own resolver knows YAML 1.1 only, and costs half of the time.
    """

    def resolve(self, _kind: object, _value: object, implicit: object) -> object:
        return implicit

    def descend_resolver(self, _parent: object, _index: object) -> None:
        """No tag depends on a path here."""

    def ascend_resolver(self) -> None:
        """No tag depends on a path here."""


def compose(content: bytes) -> tuple[list[Node], list[Fault]]:
    """Compose every document of ``content``; with a fault, those before it."""
    fault = _unreadable(content) or _too_deep(content)
    if fault is not None:
        return [], [fault]
    nodes: list[Node] = []
    parser = _Parser(content)
    try:
        while parser.check_node():
            node = parser.get_node()
            if node is not None:
                nodes.append(node)
    except YAMLError as error:
        return nodes, [_fault(error, content)]
    except ValueError as error:
        # An escape such as "\U0011FFFF" passes libyaml but is no character of Python's.
        return nodes, [_whole(f"not text that domops can read: {error}")]
    return nodes, []


def _unreadable(content: bytes) -> Fault | None:
    if len(content) > MAXIMUM_BYTES:
        return _whole(
            f"the file has {len(content):,} bytes, more than {MAXIMUM_BYTES:,}",
            "write the manifests into several files",
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start]
        return Fault(
            line=before.count(b"\n") + 1,
            column=error.start - (before.rfind(b"\n") + 1) + 1,
            field="",
            message=f"byte 0x{content[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
        )
    return None


def _too_deep(content: bytes) -> Fault | None:
    nesting = sum(content.count(each) for each in (b"[", b"{", b"-", b"?"))
    if nesting < _SURELY_SHALLOW:
        return None
    depth = 0
    parser = _Parser(content)
    try:
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, CollectionStartEvent):
                depth += 1
                mark = event.start_mark
                if depth > MAXIMUM_DEPTH and mark is not None:
                    return _deep(mark.line + 1, mark.column + 1)
            elif isinstance(event, CollectionEndEvent):
                depth -= 1
    except (YAMLError, ValueError):
        # Composing meets the same error, and says it with the documents before it.
        return None
    return None


def _deep(line: int, column: int) -> Fault:
    return Fault(
        line=line,
        column=column,
        field="",
        message=f"nested more than {MAXIMUM_DEPTH} levels deep",
        hint="no manifest needs that",
    )


def _fault(error: YAMLError, content: bytes) -> Fault:
    if isinstance(error, ReaderError):
        before = content[: error.position].decode(errors="ignore")
        return Fault(
            line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"),
            field="",
            message="a control character, which YAML does not allow",
            hint="take it out",
        )
    if not isinstance(error, MarkedYAMLError):
        return _whole(f"not YAML: {error}")
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return _whole(f"not YAML: {error.problem or error.context or 'it does not parse'}")
    line, column = mark.line + 1, mark.column + 1
    if _is_tab(content, mark.line, mark.column):
        message, hint = "a tab where YAML wants spaces", "indent with spaces"
    else:
        problem = error.problem or "it does not parse"
        message = f"not YAML: {problem}"
        hint = _HINTS.get(problem, "")
        if error.context and not hint:
            hint = f"this was met {error.context}"
            if error.context_mark is not None and error.context_mark.line != mark.line:
                hint += f", which begins in line {error.context_mark.line + 1}"
    return Fault(line=line, column=column, field="", message=message, hint=hint)


_HINTS = {
    "mapping values are not allowed in this context": (
        "look for a missing colon or another indent in the line above"
    ),
    "did not find expected <document start>": "begin a second manifest with a line of ---",
    "found undefined alias": "no anchor of that name comes before it; quote it if text is meant",
    "found unexpected end of stream": "a quotation mark that opens must close",
}


def _is_tab(content: bytes, line: int, column: int) -> bool:
    lines = content.decode().split("\n")
    if line >= len(lines):
        return False
    text = lines[line]
    return text[column : column + 1] == "\t" or "\t" in text[: len(text) - len(text.lstrip())]


def _whole(message: str, hint: str = "") -> Fault:
    return Fault(line=1, column=1, field="", message=message, hint=hint)
