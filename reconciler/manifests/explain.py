"""Say in a person's words what a pydantic model found wrong with a document.

Every error of a document becomes one fault at the line where it is written. pydantic's own wording
speaks to programmers; none of it reaches the reader.
"""

from __future__ import annotations

import json
import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from reconciler.manifests.construct import EMPTY, Key, locate
from reconciler.manifests.fields import SENTENCES
from reconciler.manifests.grammar import built, elsewhere, field_at, generalised, known
from reconciler.manifests.problems import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails
    from yaml.nodes import Node

_MUST_BE: Final = {
    "model_type": "a map of fields",
    "dict_type": "a map",
    "tuple_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a number that ends",
}
_SHOWN: Final = 60
"""How much of a value a sentence can carry."""

_LIMITS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "more than"),
    "less_than": ("lt", "less than"),
}


def explain(kind: str, error: ValidationError, root: Node, *, whole: bool) -> list[Fault]:
    """One fault for each thing that ``error`` tells of the document at ``root``.

    Without ``whole``, something of the text was not taken into the document, and nothing is missed.
    """
    faults = []
    for each in error.errors(include_url=False):
        if each["input"] is EMPTY or (each["type"] == "missing" and not whole):
            continue
        path = tuple(step for step in each["loc"] if step != "[key]")
        message, hint = _words(kind, path, each)
        at_key = each["type"] in ("extra_forbidden", "not_built") or "[key]" in each["loc"]
        line, column, field = locate(root, path, key=at_key)
        fault = Fault(line=line, column=column, field=field, message=message, hint=hint)
        if fault not in faults:
            faults.append(fault)
    return faults


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint that names the closest of ``choices``, or nothing."""
    close = get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


def quoted(value: object) -> str:
    """A value as the reader may recognise it, cut where it goes on and on."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, dict):
        return "a map"
    elif isinstance(value, tuple):
        return "a list"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}..."


def _words(  # noqa: PLR0911 - a table of sentences returns at the first that matches
    kind: str, path: tuple[Key, ...], error: ErrorDetails
) -> tuple[str, str]:
    value: object = error["input"]
    context: Mapping[str, object] = error.get("ctx", {})
    match error["type"]:
        case "refused" | "not_built":
            return str(context["message"]), str(context["hint"])
        case "extra_forbidden":
            return "unknown field", _hint_for_unknown(kind, path)
        case "missing":
            return "missing", _hint_for_missing(kind, path)
        case "literal_error" | "enum":
            return _none_of(kind, path, value)
        case "string_pattern_mismatch":
            sentence = SENTENCES.get(str(context["pattern"]), "does not fit")
            return f"{quoted(value)} {sentence}", _strange_letter(value)
        case "string_too_long":
            return (
                f"{quoted(value)} is too long",
                f"at most {context['max_length']} characters",
            )
        case "too_long" | "too_short":
            word = "most" if error["type"] == "too_long" else "least"
            limit = context.get("max_length", context.get("min_length"))
            return f"{context['actual_length']} entries", f"at {word} {limit}"
        case type_ if type_ in _LIMITS:
            key, words = _LIMITS[type_]
            bound = context[key]
            shown = f"{bound:g}" if isinstance(bound, float) else str(bound)
            return f"{quoted(value)} is out of range", f"{words} {shown}"
        case type_ if type_ in _MUST_BE:
            return f"must be {_MUST_BE[type_]}, not {quoted(value)}", _hint_for_type(type_, value)
        case _:
            return f"{quoted(value)} is not taken here", ""


def _hint_for_unknown(kind: str, path: tuple[Key, ...]) -> str:
    name = str(path[-1])
    fields = known(kind, generalised(kind, path[:-1]))
    hint = did_you_mean(name, fields)
    if hint:
        return hint
    lower = {field.lower(): field for field in fields}
    if name.lower() in lower:
        return f'did you mean "{lower[name.lower()]}"?'
    places = elsewhere(kind, name)
    if places:
        return f"it belongs at {places[0]}"
    return f"known here: {', '.join(built(kind, generalised(kind, path[:-1])))}"


def _hint_for_missing(kind: str, path: tuple[Key, ...]) -> str:
    field = field_at(kind, generalised(kind, path))
    if field is None or field.example is None:
        return f"write {path[-1]}: and what belongs below it"
    return f"write it, as in {path[-1]}: {_flow(field.example)}"


def _flow(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _none_of(kind: str, path: tuple[Key, ...], value: object) -> tuple[str, str]:
    if isinstance(path[-1], int):
        path = path[:-1]  # an entry is one of what the list takes
    field = field_at(kind, generalised(kind, path))
    takes = field.takes if field is not None else ""
    choices = [each.strip().strip("`") for each in takes.removeprefix("list of ").split("\\|")]
    hint = did_you_mean(value.lower(), choices) if isinstance(value, str) else ""
    if isinstance(value, bool) and {"on", "off"} <= set(choices):
        hint = "write on or off"
    if len(choices) == 1:
        return f"{quoted(value)} is not taken here", f"write {choices[0]}"
    return f"{quoted(value)} is none of {', '.join(choices)}", hint


def _hint_for_type(error: str, value: object) -> str:
    if error == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{quoted(value)}"'
    if error == "bool_type" and isinstance(value, str):
        return "YAML 1.2 knows only true and false"
    if error in ("int_type", "float_type") and isinstance(value, str) and value.isdecimal():
        return "take the quotes away"
    if error == "tuple_type" and isinstance(value, dict):
        return "begin each entry with a hyphen"
    return ""


def _strange_letter(value: object) -> str:
    """Which letter of ``value`` only looks like one of those that fit, or does not show at all."""
    strange = next((letter for letter in str(value) if not letter.isascii()), None)
    if strange is None:
        return ""
    name = unicodedata.name(strange, "a character without a name").lower()
    return f"it holds U+{ord(strange):04X}, {name}"
