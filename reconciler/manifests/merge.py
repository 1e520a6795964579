"""Fill a guest's spec in from its class.

What the guest says wins. See Note [Said or not] in `kinds.guest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.manifests.fields import Closed
from reconciler.manifests.kinds.devices import DiskSpec, NicSpec
from reconciler.manifests.kinds.guest import BootSpec

if TYPE_CHECKING:
    from reconciler.manifests.kinds.guest import GuestDefaults, GuestSpec

_WAYS_TO_BOOT = {
    "kernel": "kernel",
    "initrd": "kernel",
    "cmdline": "kernel",
    "firmware": "firmware",
    "order": "firmware",
    "loader": "loader",
}

_REPLACED_BY = {"pool": "host", "host": "pool"}
"""Two ways to say where; a class's way yields to the guest's other one."""


def merge(spec: GuestSpec, defaults: GuestDefaults) -> GuestSpec:
    """``spec`` with everything that it does not say taken from ``defaults``."""
    said = spec.model_fields_set
    update: dict[str, object] = {}
    for name in defaults.model_fields_set:
        shared: object = getattr(defaults, name)
        if name not in said:
            if _REPLACED_BY.get(name) in said:
                continue
            update[name] = shared
        else:
            update[name] = _merged(getattr(spec, name), shared)
    return spec.model_copy(update=update)


def inherited(spec: GuestSpec, defaults: GuestDefaults) -> frozenset[str]:
    """The fields of the spec, as written, that only ``defaults`` says."""
    fields = type(defaults).model_fields
    return frozenset(
        fields[name].alias or name for name in defaults.model_fields_set - spec.model_fields_set
    )


def _merged(own: object, shared: object) -> object:
    if isinstance(own, BootSpec) and isinstance(shared, BootSpec):
        other_way = _ways(own) and _ways(own).isdisjoint(_ways(shared))
        return own if other_way else _filled(own, shared)
    if isinstance(own, Closed) and isinstance(shared, Closed):
        return _filled(own, shared)
    if isinstance(own, tuple) and isinstance(shared, tuple):
        return _by_name(own, shared)
    return own


def _filled(own: Closed, shared: Closed) -> Closed:
    missing = shared.model_fields_set - own.model_fields_set
    return own.model_copy(update={name: getattr(shared, name) for name in missing})


def _by_name(own: tuple[object, ...], shared: tuple[object, ...]) -> tuple[object, ...]:
    names = {each.name for each in own if isinstance(each, DiskSpec | NicSpec)}
    kept = [each for each in shared if isinstance(each, DiskSpec | NicSpec)]
    return (*own, *(each for each in kept if each.name not in names))


def _ways(boot: BootSpec) -> frozenset[str]:
    return frozenset(_WAYS_TO_BOOT[name] for name in boot.model_fields_set)
