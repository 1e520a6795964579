"""Renaming: what a manifest calls otherwise than before is known by what its mark said of it.

A name is no identity. A guest is known by its mark under the former name and keeps its UUID; a disk
keeps its entry, and with it volume and target; a card its address. Nothing is written for that but
the mark. The domain keeps the name that its host has for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.desired import VolumeDisk
from reconciler.model.plan import Reason
from reconciler.planner.disks import refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.desired import DesiredDisk, DesiredGuest, DesiredNic
    from reconciler.model.mark import Mark, MarkedNic
    from reconciler.model.plan import Change
    from reconciler.planner.disks import Existing


def renamed(
    guest: DesiredGuest, existing: Existing | None, refusals: list[Change]
) -> tuple[Existing | None, bool]:
    """What there is, its disks called as they are now; and whether two of them would be one.

    Then nothing is done to the guest: to guess wrong would give it the one disk for the other.
    """
    if existing is None:
        return None, False
    mark, blocked = existing.mark, False
    for disk in guest.disks:
        old = mark.disk(disk.former) if disk.former is not None else None
        if old is None:
            continue
        if mark.disk(disk.name) is None:
            entries = (
                replace(one, name=disk.name) if one.name == old.name else one for one in mark.disks
            )
            mark = replace(mark, disks=tuple(sorted(entries, key=lambda one: one.name)))
            continue
        why = (
            f"there was a disk {disk.name} as well as {disk.former}, and both are kept; call it"
            " otherwise, or take formerName out"
        )
        field = f"disks[{disk.name}]"
        refusals.append(
            refusal_of(guest, field, disk.former or "", disk.name, Reason.CONFLICT, why)
        )
        blocked = True
    return replace(existing, mark=mark), blocked


def in_their_volumes(guest: DesiredGuest, existing: Existing | None) -> Iterator[DesiredDisk]:
    """The disks, each in the volume that it has, unless its manifest says one."""
    for disk in guest.disks:
        old = existing.mark.disk(disk.name) if existing is not None else None
        there = old.volume if old is not None else None
        if isinstance(disk, VolumeDisk) and not disk.volume_said and there is not None:
            yield replace(disk, volume=there)
        else:
            yield disk


def at_its_address(nic: DesiredNic, mark: Mark) -> DesiredNic:
    """The card at the address that it has, unless its manifest says one."""
    if nic.mac_said or any(one.mac == nic.mac for one in mark.nics):
        return nic
    known = _card(nic, mark)
    return nic if known is None else replace(nic, mac=known.mac)


def _card(nic: DesiredNic, mark: Mark) -> MarkedNic | None:
    by_name = {one.name: one for one in reversed(mark.nics)}
    former = by_name.get(nic.former) if nic.former is not None else None
    return by_name.get(nic.name) or former
