"""Render a manifest as a person would write it: short maps on one line, the rest in blocks.

What is rendered is read back as the same values; text is quoted wherever YAML, or a reader, could
take it for something else.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

from reconciler.manifests.construct import scalar
from reconciler.manifests.fields import API_VERSION
from reconciler.manifests.quantities import DURATION_PATTERN, SIZE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Wish = str | int | bool | Sequence["Wish"] | Mapping[str, "Wish"]
    """A value of a manifest; what is not said is not there."""

WIDTH: Final = 100
_WORD: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_QUANTITIES: Final = (re.compile(SIZE_PATTERN), re.compile(DURATION_PATTERN))


def render_manifest(
    kind: str,
    metadata: Mapping[str, Wish],
    spec: Mapping[str, Wish],
    *,
    comments: Sequence[str] = (),
) -> str:
    """Render one document, with ``comments`` above it, a paragraph each."""
    lines = [line for comment in comments for line in _comment(comment)]
    lines += [f"apiVersion: {API_VERSION}", f"kind: {kind}", f"metadata: {_inline(metadata)}"]
    one_line = f"spec: {_inline(spec)}"
    flat = not any(isinstance(value, dict | list | tuple) for value in spec.values())
    if flat and len(one_line) <= WIDTH:
        return "\n".join([*lines, one_line, ""])
    lines.append("spec:")
    for name, value in spec.items():
        lines += _field(name, value, "  ")
    return "\n".join([*lines, ""])


def _comment(text: str) -> list[str]:
    tame = "".join(one if one.isprintable() else "?" for one in text)
    return textwrap.wrap(
        tame,
        WIDTH,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _field(name: str, value: Wish, indent: str) -> list[str]:
    key = f"{indent}{_text(name)}:"
    if isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        return [key, *(f"{indent}  - {_inline(item)}" for item in value)]
    whole = f"{key} {_inline(value)}"
    if isinstance(value, dict) and value and len(whole) > WIDTH:
        parts = [line for name, part in value.items() for line in _field(name, part, f"{indent}  ")]
        return [key, *parts]
    return [whole]


def _inline(value: Wish) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _text(value)
        case dict():
            return f"{{{', '.join(f'{_text(key)}: {_inline(one)}' for key, one in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(_inline(one) for one in value)}]"
        case _:
            message = f"a manifest has no words for {value!r}"
            raise AssertionError(message)


def _text(text: str) -> str:
    plain = (
        _WORD.fullmatch(text) is not None
        or _UUID.fullmatch(text) is not None
        or any(pattern.fullmatch(text) for pattern in _QUANTITIES)
    )
    if plain and scalar(text) == text:
        return text
    return f'"{"".join(map(_quoted, text))}"'


def _quoted(char: str) -> str:
    if char in {'"', "\\"}:
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
