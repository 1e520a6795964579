"""Parse the text of one file into documents, or into every fault in it.

``parse_file`` is a function of the bytes alone, so its result may be kept for as long as a blob
lives, wherever in the tree the blob lies and whatever the rest of the commit says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from yaml.nodes import MappingNode, ScalarNode

from reconciler.manifests.compose import compose
from reconciler.manifests.construct import (
    EMPTY,
    Constructor,
    EndlessError,
    Key,
    Value,
    lines,
    locate,
)
from reconciler.manifests.explain import did_you_mean, explain, quoted
from reconciler.manifests.fields import API_VERSION
from reconciler.manifests.included import included_by, is_user_data
from reconciler.manifests.kinds import KINDS, Manifest
from reconciler.manifests.problems import Fault

if TYPE_CHECKING:
    from yaml.nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One manifest that is right in itself; ``index`` counts the documents of its file from 0.

    It keeps the plain values, not the model that has checked them: ten thousand guests as models
    would be 120 MiB and a burden on every garbage collection.
    """

    kind: str
    name: str
    index: int
    line: int
    value: dict[str, Value]

    def read(self) -> Manifest:
        """The manifest as its kind's model; validates once more, which always succeeds."""
        return KINDS[self.kind].model_validate(self.value)

    @property
    def spec(self) -> Mapping[str, Value]:
        """What is written below ``spec``."""
        spec = self.value["spec"]
        return spec if isinstance(spec, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedFile:
    """What one file says. With faults, ``documents`` are those that have none.

    ``suspects`` are names that the faulty part may define: a reference to one of them is not
    reported as dangling, because the mistake is elsewhere and already told.
    """

    content: bytes
    documents: tuple[Document, ...]
    faults: tuple[Fault, ...] = ()
    suspects: frozenset[str] = frozenset()
    includes: frozenset[str] = frozenset()
    """The files of the repository that its documents take in, by path."""


def parse_file(content: bytes) -> ParsedFile:
    """Parse every document of ``content``; never raises, whatever the bytes are."""
    if is_user_data(content):
        return ParsedFile(content=content, documents=())
    nodes, faults = compose(content)
    documents: list[Document] = []
    constructor = Constructor()
    for index, node in enumerate(nodes):
        if isinstance(node, ScalarNode) and not node.value:
            faults.append(_at(node, "an empty document", "take its --- out, or fill it"))
            continue
        before = len(constructor.faults)
        try:
            value = constructor.construct(node)
        except EndlessError as error:
            faults.append(error.fault)
            break
        # What a fault took out of the values is not missed a second time.
        found = _document(index, node, value, whole=len(constructor.faults) == before)
        if isinstance(found, Document):
            documents.append(found)
        else:
            faults.extend(found)
    faults.extend(constructor.faults)
    if not nodes and not faults:
        faults.append(
            Fault(
                line=1,
                column=1,
                field="",
                message="no manifest in this file",
                hint="write one, or take the file out",
            )
        )
    return ParsedFile(
        content=content,
        documents=tuple(documents),
        faults=tuple(faults),
        suspects=_suspects(content) if faults else frozenset(),
        includes=frozenset(path for one in documents for path in included_by(one.spec)),
    )


def root_of(content: bytes, index: int) -> Node:
    """The node of document ``index`` of a text that has been parsed before."""
    return compose(content)[0][index]


def locate_in(
    content: bytes, index: int, path: tuple[Key, ...], *, key: bool = False
) -> tuple[int, int, str]:
    """Line, column and dotted name of ``path`` in document ``index`` of ``content``.

    Composes the text anew: places are asked for only when something is told about a field, which
    is rare, and keeping ten thousand files' places in memory for that is dear.
    """
    return locate(root_of(content, index), path, key=key)


class Lines(Mapping[str, int]):
    """The line of each written field of a document, found out when first asked for.

    What ``guest_class`` fills in stands where the class is named.
    """

    __slots__ = ("_class", "_content", "_found", "_index")

    def __init__(self, content: bytes, index: int, guest_class: Document | None) -> None:
        """Remember the text; nothing is parsed yet."""
        self._content = content
        self._index = index
        self._class = guest_class
        self._found: dict[str, int] | None = None

    def _lines(self) -> dict[str, int]:
        if self._found is None:
            found = lines(root_of(self._content, self._index))
            for name in self._class.spec if self._class is not None else ():
                found.setdefault(f"spec.{name}", found.get("spec.class", found["spec"]))
            self._found = found
        return self._found

    def __getitem__(self, path: str) -> int:
        return self._lines()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines())

    def __len__(self) -> int:
        return len(self._lines())

    def __repr__(self) -> str:
        return f"Lines({len(self._content)} bytes)"


def _document(index: int, root: Node, value: Value, *, whole: bool) -> Document | list[Fault]:
    if value is EMPTY:
        return []
    if not isinstance(value, dict):
        return [_at(root, f"a manifest is a map, not {quoted(value)}", "begin with apiVersion:")]
    heading = _heading_faults(root, value)
    kind = value.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None or heading:
        return heading
    try:
        manifest = model.model_validate(value)
    except ValidationError as error:
        return explain(model.__name__, error, root, whole=whole)
    if not whole:
        return []
    return Document(
        kind=model.__name__,
        name=manifest.metadata.name,
        index=index,
        line=root.start_mark.line + 1,
        value=value,
    )


def _heading_faults(root: Node, value: dict[str, Value]) -> list[Fault]:
    """Without a known kind and version, nothing else of a document can be judged."""
    faults = []
    version = value.get("apiVersion")
    if "apiVersion" not in value:
        hint = f"every .yaml file here is a manifest and begins with apiVersion: {API_VERSION}"
        faults.append(_field(root, "apiVersion", "missing", hint))
    elif isinstance(version, str | int | float | tuple | dict) and version != API_VERSION:
        message = f"{quoted(version)} is no version that domops knows"
        faults.append(_field(root, "apiVersion", message, f"write {API_VERSION}"))
    kind = value.get("kind")
    if "kind" not in value:
        faults.append(_field(root, "kind", "missing", f"one of {', '.join(KINDS)}"))
    elif isinstance(kind, str) and kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"one of {', '.join(KINDS)}"
        faults.append(_field(root, "kind", f"unknown kind {quoted(kind)}", hint))
    elif isinstance(kind, int | float | tuple | dict):
        message = f"must be text, not {quoted(kind)}"
        faults.append(_field(root, "kind", message, f"one of {', '.join(KINDS)}"))
    return faults


def _field(root: Node, name: str, message: str, hint: str) -> Fault:
    line, column, shown = locate(root, (name,))
    return Fault(line=line, column=column, field=shown, message=message, hint=hint)


def _at(root: Node, message: str, hint: str) -> Fault:
    mark = root.start_mark
    return Fault(
        line=mark.line + 1,
        column=(mark.column if isinstance(root, MappingNode) else 0) + 1,
        field="",
        message=message,
        hint=hint,
    )


_NAMED: Final = re.compile(rb"\bname\s*:\s*[\"']?([A-Za-z0-9-]{1,63})")


def _suspects(content: bytes) -> frozenset[str]:
    return frozenset(each.decode() for each in _NAMED.findall(content))
