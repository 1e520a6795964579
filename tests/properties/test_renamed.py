"""A name is no identity: renaming what is there writes marks, and touches nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import VolumeDisk
from reconciler.model.names import (
    Digest,
    DiskName,
    GuestName,
    MacAddress,
    NicName,
    VolumeName,
)
from reconciler.model.steps import SetMark
from tests.strategies.stories import Event, events, stories
from tests.strategies.worlds import intended

if TYPE_CHECKING:
    from uuid import UUID

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredDisk, DesiredGuest
    from reconciler.model.observed import RunState
    from tests.strategies.worlds import Story


def _called(name: GuestName) -> GuestName:
    return GuestName(f"{name}-2")


def _renamed(guest: DesiredGuest, *, parts: bool) -> DesiredGuest:
    """The guest under another name, and perhaps its disks and cards too.

    What is derived from a name is derived from the new one: the worst that a manifest can do.
    """
    if parts:
        disks = tuple(
            replace(_anew(one), name=DiskName(f"{one.name}-2"), former=one.name)
            for one in guest.disks
        )
        nics = tuple(
            replace(
                one,
                name=NicName(f"{one.name}-2"),
                former=one.name,
                mac=MacAddress(f"06{one.mac[2:]}"),
                mac_said=False,
            )
            for one in guest.nics
        )
        guest = replace(guest, disks=disks, nics=nics, ignore_drift=())
    waits = tuple(replace(one, guest=_called(one.guest)) for one in guest.start_after)
    return replace(
        guest,
        name=_called(guest.name),
        former=guest.name,
        start_after=waits,
        intent=Digest("renamed"),
    )


def _anew(disk: DesiredDisk) -> DesiredDisk:
    if not isinstance(disk, VolumeDisk):
        return disk
    return replace(disk, volume=VolumeName(f"{disk.name}-2.raw"), volume_said=False)


def _seen(story: Story) -> dict[UUID, tuple[RunState, GuestDefinition | None, object]]:
    return {
        uuid: (
            one.state,
            replace(one.stored, mark=None) if one.stored is not None else None,
            one.disk_sizes,
        )
        for host in story.hosts.values()
        for uuid, one in host.observe().guests.items()
    }


@given(
    story=stories(),
    happenings=st.lists(events(doubts=False), max_size=6),
    parts=st.booleans(),
)
def test_renaming_what_is_there_only_writes_marks(
    story: Story, happenings: list[Event], *, parts: bool
) -> None:
    """Of guests in any state, with their disks and cards or without; and the plan ends there."""
    for event in happenings:
        event(story)
    for one in story.hosts.values():
        one._deaf.clear()
    # What is ignored is named by its disk: under another name it would be another wish.
    plain = {
        name: intended(replace(one, ignore_drift=())) for name, one in story.desired.guests.items()
    }
    story.arrive(replace(story.desired, guests=plain))
    story.passes(200)
    there = {
        one.mark.guest
        for host in story.look().answered()
        for one in host.guests.values()
        if one.mark is not None
    }
    before = _seen(story)
    guests = {
        _called(name): _renamed(one, parts=parts) for name, one in story.desired.guests.items()
    }
    story.arrive(replace(story.desired, guests=guests))
    old = {_called(name) for name in there}
    for outcome in story.passes(200):
        for planned in outcome.steps:
            if planned.step.guest in old:
                assert isinstance(planned.step, SetMark), planned.step
    after = _seen(story)
    assert {uuid: after[uuid] for uuid in before} == before
