"""Fill a guest's spec in from its class.

What the guest says wins. Both are plain values here; see Note [Said or not] in `kinds.guest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.construct import Value

_REPLACED_BY: Final = {"pool": "host", "host": "pool"}
"""Two ways to say where; a class's way yields to the guest's other one."""

_WAYS_TO_BOOT: Final = (
    frozenset({"kernel", "initrd", "cmdline"}),
    frozenset({"firmware", "order"}),
    frozenset({"loader"}),
)
SHORT_FORMS: Final = {"cpus": "count", "memory": "size"}
"""Fields that may be written as a scalar, and the field of the long form that it stands for."""


def merge(own: Mapping[str, Value], shared: Mapping[str, Value]) -> dict[str, Value]:
    """``own`` with everything that it does not say taken from ``shared``."""
    merged = dict(own)
    for name, value in shared.items():
        if name not in own:
            if _REPLACED_BY.get(name) not in own:
                merged[name] = value
        elif name != "class":
            merged[name] = _merged(name, own[name], value)
    return merged


def _merged(name: str, own: Value, shared: Value) -> Value:
    if name in SHORT_FORMS:
        own, shared = _long(name, own), _long(name, shared)
    if isinstance(own, dict) and isinstance(shared, dict):
        if name == "boot" and own.keys() and _other_way(own, shared):
            return own
        return {**shared, **own}
    if isinstance(own, tuple) and isinstance(shared, tuple):
        if not all(map(_name_of, shared)):
            return own  # a list of other things than named ones is said as a whole
        names = {_name_of(entry) for entry in own}
        return (*own, *(entry for entry in shared if _name_of(entry) not in names))
    return own


def _long(name: str, value: Value) -> Value:
    return value if isinstance(value, dict) else {SHORT_FORMS[name]: value}


def _other_way(own: Mapping[str, Value], shared: Mapping[str, Value]) -> bool:
    """Whether the guest boots by firmware where the class gives a kernel, or the like."""
    return not any(own.keys() & way and shared.keys() & way for way in _WAYS_TO_BOOT)


def _name_of(entry: Value) -> Value:
    return entry.get("name", "") if isinstance(entry, dict) else ""
