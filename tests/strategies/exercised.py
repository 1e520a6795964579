"""Which parts of the model a set of values has exercised, and which it never did.

A field that is the same in every example proves nothing of the code that handles it, and a field
that somebody adds to the model later must not go untested unnoticed.
"""

from dataclasses import fields, is_dataclass
from enum import Enum
from types import ModuleType


class Exercised:
    """The classes, field values and words that were met in the values noted."""

    def __init__(self) -> None:
        self._values: dict[type, dict[str, set[str]]] = {}
        self._words: dict[type, set[str]] = {}

    def note(self, value: object) -> None:
        """Take ``value`` and all that it is made of into account."""
        if isinstance(value, Enum):
            self._words.setdefault(type(value), set()).add(value.name)
        elif is_dataclass(value) and not isinstance(value, type):
            seen = self._values.setdefault(type(value), {})
            for field in fields(value):
                content = getattr(value, field.name)
                seen.setdefault(field.name, set()).add(repr(content))
                self.note(content)
        elif isinstance(value, tuple):
            for one in value:
                self.note(one)

    def never(self, *modules: ModuleType) -> list[str]:
        """What of ``modules`` was never met: classes, words, and fields without a second value."""
        missing: list[str] = []
        for module in modules:
            for name, kind in vars(module).items():
                if not isinstance(kind, type) or kind.__module__ != module.__name__:
                    continue
                if issubclass(kind, Enum):
                    met = self._words.get(kind, set())
                    missing += [f"{name}.{one.name}" for one in kind if one.name not in met]
                elif is_dataclass(kind):
                    seen = self._values.get(kind)
                    missing += [name] if seen is None else _constant(name, seen)
        return sorted(missing)


def _constant(name: str, seen: dict[str, set[str]]) -> list[str]:
    return [f"{name}.{field}" for field, contents in seen.items() if len(contents) == 1]
