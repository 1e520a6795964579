"""Walk the grammar: every field that a manifest may have, with all that is said of it, as a list.

Problems take their "did you mean" from here, the reference its rows, and the tests their assurance
that no field goes undescribed. Nothing here is written twice: it is read out of `kinds`.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reconciler.manifests import fields
from reconciler.manifests.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ENTRY: Final = "[]"
"""Stands in a path for the entries of a list."""

FREE_KEY: Final = "*"
"""Stands in a path for the keys of a map that the author names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOfGrammar:
    """One field: its path below the document, and what a person may want to know of it.

    ``takes`` is a short phrase for its values. ``default`` is as it would be written, empty where
    there is none. ``not_built`` is empty for a field that is built, else what to do instead.
    """

    path: tuple[str, ...]
    takes: str
    description: str
    required: bool
    default: str
    example: object
    not_built: str

    @property
    def dotted(self) -> str:
        """``spec.disks[].size``, ``spec.hosts.NAME.bridge``."""
        shown = {ENTRY: "[]", FREE_KEY: ".NAME"}
        return "".join(shown.get(step, f".{step}") for step in self.path).removeprefix(".")


@cache
def fields_of(kind: str) -> tuple[FieldOfGrammar, ...]:
    """Every field of ``kind``, parents before children, in the order of the model."""
    return tuple(_walk(KINDS[kind], (), ""))


@cache
def known(kind: str, parent: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that may stand directly in the map at ``parent``."""
    depth = len(parent) + 1
    return tuple(
        each.path[-1]
        for each in fields_of(kind)
        if len(each.path) == depth and each.path[:-1] == parent
    )


@cache
def built(kind: str, parent: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `known` that this version builds."""
    return tuple(
        name
        for name in known(kind, parent)
        if (field := field_at(kind, (*parent, name))) is not None and not field.not_built
    )


@cache
def elsewhere(kind: str, name: str) -> tuple[str, ...]:
    """Where in ``kind`` a field called ``name`` does stand, as dotted paths."""
    return tuple(
        each.dotted for each in fields_of(kind) if each.path[-1] == name and not each.not_built
    )


@cache
def field_at(kind: str, path: tuple[str, ...]) -> FieldOfGrammar | None:
    """The field at ``path``, as `generalised` gives it."""
    return next((each for each in fields_of(kind) if each.path == path), None)


def generalised(kind: str, path: tuple[str | int, ...]) -> tuple[str, ...]:
    """``path`` as the grammar knows it: without indices and free keys."""
    steps: list[str] = []
    for step in path:
        if isinstance(step, int):
            steps.append(ENTRY)
        else:
            free = known(kind, tuple(steps)) == (FREE_KEY,)
            steps.append(FREE_KEY if free else step)
    return tuple(steps)


def _walk(
    model: type[BaseModel], parent: tuple[str, ...], not_built: str
) -> Iterator[FieldOfGrammar]:
    for name, info in model.model_fields.items():
        path = (*parent, info.alias or name)
        marker = next((each for each in info.metadata if isinstance(each, fields.NotBuilt)), None)
        missing = marker.instead if marker else not_built
        yield FieldOfGrammar(
            path=path,
            takes=_takes(info),
            description=info.description or "",
            required=info.is_required(),
            default=_default(info),
            example=(info.examples or [None])[0],
            not_built=missing,
        )
        inner, step = _inner(info.annotation)
        if inner is not None and step:
            yield from _entries(inner, (*path, step), missing)
        elif inner is not None:
            yield from _walk(inner, path, missing)


def _entries(
    inner: type[BaseModel], path: tuple[str, ...], not_built: str
) -> Iterator[FieldOfGrammar]:
    yield FieldOfGrammar(
        path=path,
        takes="map",
        description=_first_sentence(inner.__doc__),
        required=False,
        default="",
        example=None,
        not_built=not_built,
    )
    yield from _walk(inner, path, not_built)


def _first_sentence(text: str | None) -> str:
    return (text or "").split("\n", 1)[0]


def _inner(annotation: object) -> tuple[type[BaseModel] | None, str]:
    """The model inside an annotation, and the step that leads to it from the field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _inner(get_args(annotation)[0])
    for option in get_args(annotation):
        inner, step = _inner(option)
        if inner is not None:
            return inner, ENTRY if origin is tuple else FREE_KEY if origin is dict else step
    return None, ""


_WORDS: Final = (
    (fields.Size, "size"),
    (fields.Duration, "duration"),
    (fields.Instant, "instant"),
    (fields.Zone, "time zone"),
    (fields.UuidText, "UUID"),
    (fields.Mac, "MAC address"),
    (fields.Name, "name"),
    (fields.Volume, "volume name"),
    (fields.HostPath, "path on the host"),
    (fields.RepositoryPath, "path in the repository"),
    (fields.Token, "token"),
    (fields.TargetName, "disk target"),
    (fields.Labels, "map of text"),
)


def _takes(info: FieldInfo) -> str:
    annotation = info.annotation
    for each in info.metadata:
        if isinstance(each, BeforeValidator):  # a short form beside the map
            short = get_args(each.json_schema_input_type)[0]
            return f"{_takes(FieldInfo.from_annotation(short))}, or map"
    for known_type, word in _WORDS:
        if _is(info, annotation, known_type):
            return word
    return _phrase(annotation)


def _is(info: FieldInfo, annotation: object, wanted: object) -> bool:
    if annotation == wanted:
        return True
    if get_origin(wanted) is Annotated:
        base, *metadata = get_args(wanted)
        unpacked = FieldInfo.from_annotation(wanted).metadata  # type: ignore[arg-type]
        if annotation == base and metadata and info.metadata[: len(unpacked)] == unpacked:
            return True
    return get_origin(annotation) in (types.UnionType, Union) and any(
        option == wanted for option in get_args(annotation)
    )


def _phrase(annotation: object) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _phrase(get_args(annotation)[0])
    if origin is Literal:
        return " \\| ".join(f"`{_written(each)}`" for each in get_args(annotation))
    if origin in (types.UnionType, Union):
        options = [each for each in get_args(annotation) if each is not types.NoneType]
        return _phrase(options[0])
    if origin is tuple:
        inner = _phrase(get_args(annotation)[0])
        return f"list of {inner}" if inner != "map" else "list"
    simple = {str: "text", int: "whole number", float: "number", bool: "`true` \\| `false`"}
    return simple.get(annotation, "map") if isinstance(annotation, type) else "map"


def _default(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return str(extra["default"])
    if info.default is PydanticUndefined or info.default is None or info.default == ():
        return ""
    if isinstance(info.default, tuple):
        return f"[{', '.join(map(_written, info.default))}]"
    return _written(info.default)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (
        str(value.value)
        if isinstance(value, Enum)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
