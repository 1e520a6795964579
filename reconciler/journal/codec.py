"""Write the nouns as JSON and read them back, so that an intent survives the process that had it.

Every dataclass and enum of the model is written with its name, but for the fields that are hidden;
reading knows exactly the classes of the model and builds no other, so a journal that somebody wrote
by hand can name nothing foreign.
What a newer or older domops wrote and this one cannot read is an ``UnreadableError``, not a guess.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.model import (
    counted,
    definition,
    desired,
    mark,
    observed,
    options,
    overlay,
    plan,
    seed,
    steps,
    suspension,
)
from reconciler.model.seed import HIDDEN

if TYPE_CHECKING:
    from types import ModuleType

_MODULES: tuple[ModuleType, ...] = (
    counted,
    definition,
    desired,
    mark,
    observed,
    options,
    overlay,
    plan,
    seed,
    steps,
    suspension,
)


class UnreadableError(ValueError):
    """The text is not a noun of this version."""


def _own_classes() -> dict[str, type]:
    """Every dataclass and enum that a module of the model defines itself, by its name."""
    return {
        name: thing
        for module in _MODULES
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }


_CLASSES = _own_classes()


def encode(noun: object) -> str:
    """Render a noun of the model as one line of JSON."""
    return json.dumps(_plain(noun), separators=(",", ":"), sort_keys=True)


def decode(text: str) -> object:
    """Parse what ``encode`` rendered.

    Raises:
        UnreadableError: it is no JSON, or names something that this version does not have.

    """
    try:
        return _noun(json.loads(text))
    except UnreadableError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableError(f"not a noun of this version: {error}") from error


def _plain(noun: object) -> object:  # noqa: PLR0911 - one row a kind of value
    match noun:
        case enum.Enum():
            return {"enum": type(noun).__name__, "value": noun.value}
        case None | bool() | int() | float() | str():
            return noun
        case UUID():
            return {"uuid": str(noun)}
        case datetime():
            return {"at": noun.isoformat()}
        case tuple() | list():
            return [_plain(item) for item in noun]
        case frozenset() | set():
            return {"set": sorted((_plain(item) for item in noun), key=json.dumps)}
        case dict():
            return {"map": [[_plain(key), _plain(value)] for key, value in noun.items()]}
        case _ if dataclasses.is_dataclass(noun) and not isinstance(noun, type):
            fields = {
                field.name: _plain(getattr(noun, field.name))
                for field in dataclasses.fields(noun)
                if not field.metadata.get(HIDDEN)
            }
            return {"noun": type(noun).__name__, "fields": fields}
        case _:
            raise TypeError(f"{type(noun).__name__} is no noun of the model")


def _noun(plain: object) -> object:  # noqa: PLR0911 - one row a tag
    if isinstance(plain, list):
        return tuple(_noun(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    match plain:
        case {"noun": str(name), "fields": dict(fields)}:
            return _class(name)(**{key: _noun(value) for key, value in fields.items()})
        case {"enum": str(name), "value": value}:
            return _class(name)(value)
        case {"uuid": str(text)}:
            return UUID(text)
        case {"at": str(text)}:
            return datetime.fromisoformat(text)
        case {"set": list(items)}:
            return frozenset(_noun(item) for item in items)
        case {"map": list(items)}:
            return {_noun(key): _noun(value) for key, value in items}
        case _:
            raise UnreadableError("an object without a known tag")


def _class(name: str) -> type:
    if name not in _CLASSES:
        raise UnreadableError(f"this version knows no {name}")
    return _CLASSES[name]
