"""Devices of the host that a guest has for itself: whose each is, and what of them differs.

Each device is owned for itself, see Note [Owned fields] in ``planner.options``: a manifest that
speaks of one says nothing of another that a person has handed over. The mark remembers a device by
its address, since a name that left the manifest would lead nowhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.options import HOST_DEVICES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.model.definition import GuestType
    from reconciler.model.names import FieldName
    from reconciler.model.observed import Capabilities
    from reconciler.model.options import Options
    from reconciler.planner.options import Ownership


def choose_devices(owner: Ownership, said: Options, chosen: Options) -> Options:
    """The options ``chosen`` with the devices that the stored definition shall have."""
    ours = {one for one in said.host_devices if one.field in owner.owned}
    others = {one for one in chosen.host_devices if one.field not in owner.owned}
    return replace(chosen, host_devices=tuple(sorted(ours | others)))


def devices_back(marked: Collection[FieldName], *seen: Options | None) -> frozenset[FieldName]:
    """The devices of the mark that the guest is seen without."""
    there = {device.field for one in seen if one is not None for device in one.host_devices}
    return frozenset(
        field for field in marked if field.startswith(f"{HOST_DEVICES}[") and field not in there
    )


def differing_devices(
    wanted: Options, actual: Options, owned: Collection[FieldName]
) -> Iterator[tuple[FieldName, str, str]]:
    """Every owned device that is there and shall not be, or the other way round, in words."""
    for device in sorted({*wanted.host_devices} ^ {*actual.host_devices}):
        if device.field in owned:
            there = device in actual.host_devices
            yield device.field, *((str(device), "none") if there else ("none", str(device)))


def impossible_devices(
    wanted: Options, type_: GuestType, capabilities: Capabilities, *, there: Options
) -> Iterator[tuple[FieldName, str]]:
    """The devices that no guest of ``type_`` can be given; one that is ``there`` may stay."""
    denial = capabilities.without.get((type_, HOST_DEVICES))
    for device in wanted.host_devices:
        if denial is not None and device not in there.host_devices:
            yield device.field, denial.why
