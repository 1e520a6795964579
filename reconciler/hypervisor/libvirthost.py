"""A host behind libvirt: the port's implementation for QEMU, Xen and libvirt's test driver.

Three connections, each opened at its first use: one observes, one operates, and one fills volumes,
because a daemon answers only a few calls of a connection at once and a copy may take an hour. The
test driver keeps its world inside a connection, so there all three are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import libvirt

from reconciler.errors import RefusedError, StalledError
from reconciler.hypervisor import (
    definitions,
    devices,
    emptying,
    running,
    seeds,
    snapshotting,
    tuning,
    volumes,
)
from reconciler.hypervisor.door import Door
from reconciler.hypervisor.gate import Gate
from reconciler.hypervisor.guests import GuestMemo, observe_guests
from reconciler.hypervisor.inspection import inspect
from reconciler.hypervisor.link import Link
from reconciler.hypervisor.node import (
    BridgeMemo,
    ask_bridges,
    ask_identity,
    ask_networks,
    ask_size,
)
from reconciler.hypervisor.pools import VolumeMemo, observe_pools
from reconciler.hypervisor.surveying import outlines, read_xl
from reconciler.hypervisor.tuning import can_share, capabilities_of
from reconciler.model.crossing import unwatched
from reconciler.model.observed import ObservedHost
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateSnapshot,
    CreateVolume,
    DefineGuest,
    DeleteSnapshot,
    DeleteVolume,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    ResumeGuest,
    SetAutostart,
    SetDiskLimits,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
    UndefineGuest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime
    from uuid import UUID

    from reconciler.domxml import Outline
    from reconciler.hypervisor.capabilities import Driver
    from reconciler.hypervisor.node import Identity
    from reconciler.hypervisor.port import Draft, NativeGuest
    from reconciler.model.checkup import Inspection
    from reconciler.model.crossing import Watch
    from reconciler.model.names import HostName
    from reconciler.model.operation import Progress
    from reconciler.model.steps import Step


class LibvirtHost:
    """One host, reached by its libvirt URI."""

    def __init__(
        self,
        *,
        name: HostName,
        uri: str,
        clock: Callable[[], datetime],
        open_connection: Callable[[str], libvirt.virConnect] = libvirt.open,
        places: tuple[str, ...] = (),
        crossed: Watch = unwatched,
    ) -> None:
        """Keep the address; nothing is opened before it is used.

        ``places`` are those of a definition that are open to overlays; ``crossed`` is told of each
        writing call, before and after it.

        Raises:
            StalledError: the URI carries a password.

        """
        self._name = name
        self._clock = clock
        self._gate = Gate()
        self._crossed = crossed
        self._memo = GuestMemo(places=places)
        self._volumes = VolumeMemo()
        self._bridges = BridgeMemo()
        self._observing = Link(uri, open_connection=open_connection)
        if uri.startswith("test:"):
            self._operating = self._filling = self._observing
        else:
            self._operating = Link(uri, open_connection=open_connection)
            self._filling = Link(uri, open_connection=open_connection)
        self._shares: tuple[libvirt.virConnect, bool | None] | None = None
        self._identities: dict[Link, tuple[libvirt.virConnect, Identity]] = {}

    @property
    def name(self) -> HostName:
        """The name of the host's manifest."""
        return self._name

    @property
    def writes(self) -> int:
        """How many writing calls were made at the hypervisor since this object exists."""
        return self._gate.writes

    def observe(self) -> ObservedHost:
        """Ask the host for everything; the answer is whole or there is none."""
        link = self._observing
        try:
            with link.connection(f"looking at {self._name}") as connection:
                identity = self._identity(link, connection)
                size = ask_size(connection, identity.driver)
                pools = observe_pools(connection, self._volumes, self._clock())
                guests = observe_guests(connection, identity.driver, pools, self._memo)
                return ObservedHost(
                    name=self._name,
                    uuid=identity.uuid,
                    answered_at=self._clock(),
                    domain_type=identity.domain_type,
                    guest_types=identity.guest_types,
                    capabilities=capabilities_of(
                        identity.driver, shares=self._can_share(connection, identity.driver)
                    ),
                    cpus=size.cpus,
                    memory_kib=size.memory_kib,
                    free_memory_kib=size.free_memory_kib,
                    pools=pools.pools,
                    networks=ask_networks(connection),
                    bridges=ask_bridges(connection, self._bridges),
                    guests=guests,
                )
        except RefusedError as error:
            raise StalledError(str(error)) from error

    def inspect(self, paths: Collection[str]) -> Inspection:
        """Ask what a check-up wants to know beside an observation."""
        link = self._observing
        try:
            with link.connection(f"examining {self._name}") as connection:
                driver = self._identity(link, connection).driver
                pools = observe_pools(connection, VolumeMemo(), self._clock())
                return inspect(connection, driver, pools, paths=paths)
        except RefusedError as error:
            raise StalledError(str(error)) from error

    def draft(self, step: DefineGuest) -> Draft:
        """The text that ``step`` would define, for people to read."""
        link = self._observing
        doing = f"reading the definition of {step.guest} on {self._name}"
        with link.connection(doing) as connection:
            door = Door(
                host=self._name,
                step=step,
                doing=doing,
                connection=connection,
                gate=self._gate,
                identity=self._identity(link, connection),
            )
            return definitions.draft(door, step)

    def carry_out(self, step: Step) -> None:
        """Make the step's obligation true, or raise and say what was left."""
        if step.host != self._name:
            raise RefusedError(f"a step for {step.host} was brought to {self._name}")
        doing = _in_words(step)
        fills = isinstance(step, CreateVolume | CreateSeed)
        link = self._filling if fills else self._operating
        with link.connection(doing) as connection:
            door = Door(
                host=self._name,
                step=step,
                doing=doing,
                connection=connection,
                gate=self._gate,
                identity=self._identity(link, connection),
                watch=self._crossed,
            )
            try:
                _carry_out(door, step)
            finally:
                if isinstance(step, _ON_VOLUMES):
                    self._volumes.forget()
        if isinstance(step, GrowDisk):
            self._memo.forget_sizes(step.uuid)

    def outlines(self) -> Mapping[UUID, Outline]:
        """What no field models of each stored definition, secrets left out."""
        link = self._observing
        with link.connection(f"looking at {self._name}") as connection:
            return outlines(connection, self._identity(link, connection).driver)

    def read_xl(self, config: str) -> NativeGuest:
        """The guest of an xl configuration file, as this host's libvirt understands it."""
        with self._observing.connection(f"asking {self._name} to read a file") as connection:
            pools = observe_pools(connection, VolumeMemo(), self._clock())
            return read_xl(connection, config, volumes=pools.source_of)

    def progress(self, step: Step) -> Progress | None:
        """How far a copy has come, by what its volume takes; of other steps nobody can tell."""
        if not isinstance(step, CreateVolume) or step.image is None:
            return None
        doing = f"looking how far the copy for {step.guest} on {self._name} has come"
        with self._operating.connection(doing) as connection:
            return volumes.progress(connection, step, step.image)

    def watch(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` (from any thread, without data) whenever something happened here.

        Opens nothing: events come from the first observation on, which is the truth they point to.
        """
        self._observing.watch(notify)

    def close(self) -> None:
        """Let go of all connections; the object is not used afterwards."""
        for link in (self._observing, self._operating, self._filling):
            link.close()

    def _can_share(self, connection: libvirt.virConnect, driver: Driver) -> bool | None:
        """Whether guests can be given shares, asked until a guest runs that can tell."""
        known = self._shares
        if known is None or known[0] is not connection or known[1] is None:
            known = self._shares = (connection, can_share(connection, driver))
        return known[1]

    def _identity(self, link: Link, connection: libvirt.virConnect) -> Identity:
        """Who the host is, asked once a connection: behind a new one another host may stand."""
        known = self._identities.get(link)
        if known is not None and known[0] is connection:
            return known[1]
        identity = ask_identity(connection)
        self._identities[link] = (connection, identity)
        return identity


_ON_VOLUMES = (
    CreateVolume,
    DiscardVolume,
    GrowVolume,
    GrowDisk,
    CreateSeed,
    RemoveSeed,
    DeleteVolume,
)
"""Steps after which volumes are not what they were."""


def _in_words(step: Step) -> str:
    """What the step does, for the beginning of a sentence about what went wrong."""
    act = "".join(f" {char.lower()}" if char.isupper() else char for char in type(step).__name__)
    match step:
        case (
            CreateVolume()
            | DiscardVolume()
            | CreateSeed()
            | RemoveSeed()
            | DeleteVolume()
            | GrowVolume()
        ):
            act = f"{act} {step.volume!r} in {step.pool!r}"
        case CreateSnapshot() | DeleteSnapshot():
            act = f"{act} {step.name!r}"
        case _:
            pass
    return f"{act.strip()} for {step.guest} on {step.host}"


def _carry_out(door: Door, step: Step) -> None:  # noqa: C901, PLR0912, PLR0915 - one line a step is clearest
    match step:
        case DefineGuest():
            definitions.define(door, step)
        case SetMark():
            definitions.set_mark(door, step)
        case SetAutostart():
            definitions.set_autostart(door, step)
        case CreateVolume():
            volumes.create(door, step)
        case DiscardVolume():
            volumes.discard(door, step)
        case CreateSeed():
            seeds.create(door, step)
        case RemoveSeed():
            seeds.remove(door, step)
        case DeleteVolume():
            emptying.delete_volume(door, step)
        case DeleteSnapshot():
            emptying.delete_snapshot(door, step)
        case UndefineGuest():
            emptying.undefine(door, step)
        case GrowVolume():
            volumes.grow(door, step)
        case GrowDisk():
            devices.grow_disk(door, step)
        case StartGuest():
            running.start(door, step)
        case ShutDownGuest():
            running.shut_down(door, step)
        case DestroyGuest():
            running.destroy(door, step)
        case SetVcpus():
            running.set_vcpus(door, step)
        case SetMemory():
            running.set_memory(door, step)
        case PinVcpus():
            tuning.pin_vcpus(door, step)
        case SetShares():
            tuning.set_shares(door, step)
        case AttachDisk():
            devices.attach_disk(door, step)
        case DetachDisk():
            devices.detach_disk(door, step)
        case ChangeMedium():
            devices.change_medium(door, step)
        case SetDiskLimits():
            devices.set_disk_limits(door, step)
        case AttachNic():
            devices.attach_nic(door, step)
        case DetachNic():
            devices.detach_nic(door, step)
        case ChangeNic():
            devices.change_nic(door, step)
        case CreateSnapshot():
            snapshotting.create(door, step)
        case ResumeGuest():
            snapshotting.resume(door, step)
        case _:
            assert_never(step)
