"""Guests to act on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid5

from reconciler.model.definition import (
    Arch,
    DomainType,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    Memory,
    Vcpus,
)
from reconciler.model.desired import (
    Autostart,
    DesiredGuest,
    GuestState,
    Origin,
    RestartWhen,
)
from reconciler.model.mark import ShutdownPolicy
from reconciler.model.names import Digest, GuestName, PoolName
from reconciler.model.observed import ObservedHost, ObservedWorld
from reconciler.model.steps import DefineGuest
from reconciler.planner.effects import after
from tests.unit.controller.stage import REPOSITORY

if TYPE_CHECKING:
    from uuid import UUID

MIB = 1024


def definition_of(name: str) -> GuestDefinition:
    """A small guest without disks."""
    return GuestDefinition(
        name=GuestName(name),
        uuid=_uuid(name),
        domain_type=DomainType.QEMU,
        type=GuestType.HVM,
        arch=Arch.X86_64,
        vcpus=Vcpus(count=1, maximum=2),
        memory=Memory(size_kib=128 * MIB, maximum_kib=256 * MIB),
        boot=FirmwareBoot(),
    )


def with_guest(host: ObservedHost, name: str) -> ObservedHost:
    """``host`` with the guest defined on it."""
    definition = definition_of(name)
    step = DefineGuest(
        host=host.name,
        guest=definition.name,
        uuid=definition.uuid,
        definition=definition,
        replaces=None,
    )
    made = after(step, ObservedWorld(hosts={host.name: host}), host.answered_at).hosts[host.name]
    assert isinstance(made, ObservedHost)
    return replace(made)


def desired_guest(name: str) -> DesiredGuest:
    """What a manifest of that guest would ask for."""
    definition = definition_of(name)
    return DesiredGuest(
        name=definition.name,
        uuid=definition.uuid,
        pool=PoolName("main"),
        host=None,
        type=definition.type,
        arch=definition.arch,
        state=GuestState.RUNNING,
        cpus=definition.vcpus,
        memory=definition.memory,
        boot=definition.boot,
        disks=(),
        nics=(),
        console=True,
        agent=False,
        shutdown=ShutdownPolicy(),
        heal_after_s=60,
        restart=RestartWhen.NEVER,
        autostart=Autostart.AUTO,
        protect=False,
        labels={},
        intent=Digest("i"),
        origin=Origin(path="guests.yaml", line=1),
    )


def _uuid(name: str) -> UUID:
    return uuid5(REPOSITORY, name)
