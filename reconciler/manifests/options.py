"""Build the options of a guest, and say which of them its manifest mentions.

Mentioned is what the guest or its class writes, be it the default itself: see Note [Owned fields]
in `planner.options`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.model.options import FIELDS, Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.construct import Value
    from reconciler.manifests.drafts import Draft
    from reconciler.model.names import FieldName

# Most guests are alike in these parts, and equal values may as well be the same value.
_options = lru_cache(maxsize=1024)(Options)

_PATHS = tuple((field, tuple(field.split("."))) for field in FIELDS)


def mentioned(written: Mapping[str, Value]) -> tuple[FieldName, ...]:
    """The options that a spec, merged with its class, names."""
    return tuple(sorted(field for field, path in _PATHS if _names(written, path)))


def options(draft: Draft) -> Options:
    """The options, each at its default where it is not said."""
    return _options(rng=bool(draft.spec.rng))


def _names(written: Value | Mapping[str, Value], path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(written, dict) or step not in written:
            return False
        written = written[step]
    return True
