"""Builders and strategies of small, possible worlds.

Three guests, three hosts, one or two pools: so little that worlds collide. A world grows as real
ones do: from hosts that are empty or hold foreigners, by plans that were carried out, and by what
people and machines do behind domops' back. Only what could come about is ever drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from reconciler.errors import DomopsError
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.model.definition import (
    Arch,
    BlockSource,
    BridgeSource,
    Bus,
    Disk,
    DiskFormat,
    DomainType,
    FileSource,
    FirmwareBoot,
    GuestDefinition,
    GuestType,
    KernelBoot,
    Memory,
    Nic,
    Vcpus,
    VolumeSource,
)
from reconciler.model.desired import (
    Autostart,
    Budget,
    CdromDisk,
    Commit,
    DesiredGuest,
    DesiredHost,
    DesiredNetwork,
    DesiredNic,
    DesiredPool,
    DesiredStorage,
    DesiredWorld,
    GivenDisk,
    GuestState,
    HostRole,
    HostState,
    ImageRef,
    OpenPort,
    Origin,
    PoolMode,
    RestartWhen,
    VolumeDisk,
)
from reconciler.model.mark import ShutdownPolicy
from reconciler.model.memory import GuestHistory, Probe
from reconciler.model.memory import Memory as Remembered
from reconciler.model.names import (
    Digest,
    DiskName,
    GuestName,
    HostName,
    LibvirtPool,
    MacAddress,
    NetworkName,
    NicName,
    PoolName,
    Sha,
    StorageName,
    Target,
    VolumeName,
)
from reconciler.model.observed import (
    Capabilities,
    ObservedGuest,
    ObservedHost,
    ObservedPool,
    ObservedVolume,
    ObservedWorld,
    RunState,
    SilentHost,
    StateReason,
)
from reconciler.model.policy import Policy
from reconciler.model.seed import DesiredCloudInit, SeedData
from reconciler.planner import plan
from reconciler.planner.effects import digest_of, remembered
from reconciler.planner.keeping import days_of, waiting_on

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.keeping import Kept
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan
    from reconciler.model.steps import Step

START = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
REPOSITORY = UUID("6f1c0d8e-3f63-4a5e-9d3f-1d2f8c8b7a10")
MIB = 1024
GIB = 1024**3
NAMES = (GuestName("a"), GuestName("b"), GuestName("c"))
HOSTS = (HostName("h1"), HostName("h2"), HostName("h3"))
MAIN, SIDE = PoolName("main"), PoolName("side")
VOLUMES = LibvirtPool("default")
IMAGE = VolumeName("debian.raw")
ORIGIN = Origin(path="guests.yaml", line=1)
OPEN_PORT = OpenPort(address="10.0.0.53", port=53)
CLOSED_PORT = OpenPort(address="10.0.0.53", port=54)

ABLE = Capabilities(
    vcpu_hotplug=True,
    vcpu_unplug=False,
    memory_balloon=True,
    disk_hotplug=True,
    nic_hotplug=True,
    nic_change=True,
    media_change=True,
    grow_running_disk=True,
    grow_stopped_volume=True,
    disk_limits=True,
    volume_sources=True,
    volume_upload=True,
    agent=True,
    snapshots=True,
    pin_running=True,
    share_running=True,
)
UNABLE = Capabilities(
    vcpu_hotplug=False,
    vcpu_unplug=False,
    memory_balloon=False,
    disk_hotplug=False,
    nic_hotplug=False,
    nic_change=False,
    media_change=False,
    grow_running_disk=False,
    grow_stopped_volume=False,
    disk_limits=False,
    volume_sources=False,
    volume_upload=False,
    agent=False,
    snapshots=False,
    pin_running=False,
    share_running=False,
)


def identity(name: str) -> UUID:
    """The UUID that a guest, host or stranger called ``name`` has."""
    return uuid5(REPOSITORY, name)


def volume_disk(
    name: str = "root", size_gib: int = 2, *, image: bool = False, qcow2: bool = False
) -> VolumeDisk:
    """A disk of the storage ``guests``; ``for_guest`` gives it its guest's volume."""
    return VolumeDisk(
        name=DiskName(name),
        target=None,
        storage=StorageName("guests"),
        volume=VolumeName(f"{name}.raw"),
        size_bytes=size_gib * GIB,
        format=DiskFormat.QCOW2 if qcow2 else DiskFormat.RAW,
        image=ImageRef(storage=StorageName("guests"), volume=IMAGE) if image else None,
    )


def told(text: str = "one", *, keep: bool = False, rerun: str | None = None) -> DesiredCloudInit:
    """What a guest shall be told; ``intended`` gives it its guest's volume."""
    digest = Digest(blake2b(text.encode(), digest_size=16).hexdigest())
    return DesiredCloudInit(
        data=SeedData(digest=digest, size_bytes=len(text), user_data=text),
        storage=StorageName("guests"),
        volume=VolumeName("cidata.iso"),
        keep=keep,
        rerun=rerun,
    )


def given_disk(name: str, path: str) -> GivenDisk:
    """A block device that the hosts have anyway."""
    return GivenDisk(name=DiskName(name), target=None, source=BlockSource(path=path))


def drive(volume: str | None = None) -> CdromDisk:
    """A CD-ROM drive, empty unless ``volume`` is said."""
    return CdromDisk(
        name=DiskName("cd"),
        target=None,
        storage=StorageName("guests") if volume else None,
        volume=VolumeName(volume) if volume else None,
    )


def nic(guest: str, name: str = "eth0", network: str = "lan") -> DesiredNic:
    """A network card whose address is derived, as domops derives it."""
    octets = blake2b(f"{guest} {name}".encode(), digest_size=5).hexdigest()
    mac = ":".join(["02", *(octets[at : at + 2] for at in range(0, 10, 2))])
    return DesiredNic(
        name=NicName(name), network=NetworkName(network), mac=MacAddress(mac), model="pv"
    )


def guest(name: str = "a", **changes: object) -> DesiredGuest:
    """A guest of 512 MiB and one vCPU with one disk and one card; ``changes`` are its fields."""
    plain = DesiredGuest(
        name=GuestName(name),
        uuid=identity(name),
        pool=MAIN,
        host=None,
        type=None,
        arch=Arch.X86_64,
        state=GuestState.RUNNING,
        cpus=Vcpus(count=1, maximum=4),
        memory=Memory(size_kib=512 * MIB, maximum_kib=1024 * MIB),
        boot=KernelBoot(kernel="/boot/vmlinuz"),
        disks=(volume_disk(),),
        nics=(nic(name),),
        console=True,
        agent=False,
        shutdown=ShutdownPolicy(),
        heal_after_s=60,
        restart=RestartWhen.NEVER,
        autostart=Autostart.AUTO,
        protect=False,
        labels={},
        intent=Digest(""),
        origin=ORIGIN,
    )
    return intended(replace(plain, **changes))  # type: ignore[arg-type]


def intended(one: DesiredGuest) -> DesiredGuest:
    """The guest with volumes of its own unless they are adopted, and its intent's digest."""
    disks = tuple(
        replace(disk, volume=VolumeName(f"{one.name}-{disk.name}.raw"))
        if isinstance(disk, VolumeDisk) and not (one.adopt or disk.adopt)
        else disk
        for disk in one.disks
    )
    seed = one.cloud_init
    if seed is not None:
        seed = replace(seed, volume=VolumeName(f"{one.name}-cidata.iso"))
    one = replace(one, disks=disks, cloud_init=seed, intent=Digest(""))
    return replace(one, intent=Digest(blake2b(repr(one).encode(), digest_size=8).hexdigest()))


def pool(name: PoolName = MAIN, **changes: object) -> DesiredPool:
    """A pool in mode enforce whose budget is one deletion."""
    plain = DesiredPool(
        name=name,
        mode=PoolMode.ENFORCE,
        budget=Budget(),
        overcommit_cpus=4,
        trash_keep_s=30 * 86400,
        origin=ORIGIN,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def host_manifest(name: HostName, in_pool: PoolName = MAIN) -> DesiredHost:
    """The manifest of an active host that reserves nothing."""
    return DesiredHost(
        name=name,
        uri="qemu:///system",
        uuid=identity(name),
        pool=in_pool,
        role=HostRole.PRODUCTION,
        state=HostState.ACTIVE,
        reserve_memory_kib=0,
        reserve_cpus=0,
        labels={},
        origin=ORIGIN,
    )


def desired(
    *guests: DesiredGuest,
    hosts: Mapping[HostName, PoolName] | None = None,
    pools: tuple[DesiredPool, ...] = (pool(), pool(SIDE)),
    sha: str = "c0ffee",
) -> DesiredWorld:
    """A desired world of these guests on two hosts of one pool, unless ``hosts`` says other."""
    where = hosts or {HOSTS[0]: MAIN, HOSTS[1]: MAIN}
    return DesiredWorld(
        repository=REPOSITORY,
        commit=Commit(sha=Sha(sha), author="A Tester", committed_at=START, subject="A change"),
        hosts={name: host_manifest(name, of) for name, of in where.items()},
        pools={one.name: one for one in pools},
        storages={
            StorageName("guests"): DesiredStorage(
                name=StorageName("guests"),
                libvirt_pool=VOLUMES,
                hosts={},
                shared=False,
                origin=ORIGIN,
            )
        },
        networks={
            NetworkName(name): DesiredNetwork(
                name=NetworkName(name),
                bridge=bridge,
                libvirt_network=network,
                hosts={},
                origin=ORIGIN,
            )
            for name, bridge, network in (("lan", "br0", None), ("dmz", None, "dmz"))
        },
        guests={one.name: one for one in guests},
    )


def volume(name: str, size_gib: int = 1) -> ObservedVolume:
    """A volume of the pool ``default``."""
    return ObservedVolume(
        name=VolumeName(name),
        path=f"/images/{name}",
        capacity_bytes=size_gib * GIB,
        allocation_bytes=0,
        format=DiskFormat.RAW,
    )


def host(
    name: HostName = HOSTS[0],
    *guests: ObservedGuest,
    xen: bool = False,
    capabilities: Capabilities = ABLE,
    volumes: tuple[ObservedVolume, ...] = (),
) -> ObservedHost:
    """A host with 8 GiB, an image, two CDs and one foreign volume."""
    there = (volume(IMAGE), volume("one.iso"), volume("two.iso"), volume("theirs.raw"), *volumes)
    kinds = {GuestType.PV, GuestType.PVH, GuestType.HVM} if xen else {GuestType.HVM}
    used = sum(one.live.memory.size_kib for one in guests if one.live is not None)
    return ObservedHost(
        name=name,
        uuid=identity(name),
        answered_at=START,
        domain_type=DomainType.XEN if xen else DomainType.QEMU,
        guest_types=frozenset((kind, Arch.X86_64) for kind in kinds),
        capabilities=capabilities,
        cpus=8,
        memory_kib=8192 * MIB,
        free_memory_kib=8192 * MIB - used,
        pools={
            VOLUMES: ObservedPool(
                name=VOLUMES,
                active=True,
                type="dir",
                path="/images",
                available_bytes=500 * GIB,
                volumes={one.name: one for one in there},
            )
        },
        networks={"dmz": True},
        bridges=frozenset({"br0"}),
        guests={one.uuid: one for one in guests},
    )


def foreigner(name: str = "theirs", *, running: bool = True) -> ObservedGuest:
    """A domain that somebody else made, with a disk and a card of its own and no mark."""
    definition = GuestDefinition(
        name=GuestName(name),
        uuid=identity(f"foreign {name}"),
        domain_type=DomainType.QEMU,
        type=GuestType.HVM,
        arch=Arch.X86_64,
        vcpus=Vcpus(count=1, maximum=1),
        memory=Memory(size_kib=256 * MIB, maximum_kib=256 * MIB),
        boot=FirmwareBoot(),
        disks=(
            Disk(
                target=Target("vda"),
                bus=Bus.VIRTIO,
                source=VolumeSource(pool=VOLUMES, volume=VolumeName("theirs.raw")),
            ),
        ),
        nics=(their_nic(),),
    )
    return ObservedGuest(
        name=definition.name,
        uuid=definition.uuid,
        state=RunState.RUNNING if running else RunState.SHUT_OFF,
        reason=StateReason.BOOTED if running else StateReason.SHUT_DOWN,
        state_since=START,
        stored=definition,
        live=definition if running else None,
        stored_digest=digest_of(definition),
        autostart=running,
        managed_save=False,
        mark=None,
        mark_problem=None,
        disk_sizes={Target("vda"): GIB},
    )


def adopting(name: str = "theirs", **changes: object) -> DesiredGuest:
    """A manifest that asks for the foreigner as it is; ``changes`` are its fields."""
    disk = replace(volume_disk("root", 1), volume=VolumeName("theirs.raw"))
    plain: dict[str, object] = {
        "adopt": True,
        "cpus": Vcpus(count=1, maximum=1),
        "memory": Memory(size_kib=256 * MIB, maximum_kib=256 * MIB),
        "boot": FirmwareBoot(),
        "disks": (disk,),
        "nics": (),
        "autostart": Autostart.ON,
        "uuid_said": "uuid" in changes,
    }
    return guest(name, **(plain | changes))


def their_nic() -> Nic:
    """A network card that no manifest names."""
    return Nic(
        mac=MacAddress("52:54:00:00:00:01"), source=BridgeSource(bridge="br9"), model="e1000"
    )


def their_disk(target: str = "vdx") -> Disk:
    """A disk that no manifest names."""
    return Disk(target=Target(target), bus=Bus.VIRTIO, source=FileSource(path="/srv/theirs.raw"))


@dataclass
class Story:
    """A world in motion: hosts in memory, a clock, and the controller's memory.

    ``passes`` does what a controller does: look, plan, begin the steps. Steps that are refused are
    recorded, since a plan may be overtaken by the world, but never because domops asked nonsense.
    """

    desired: DesiredWorld
    hosts: dict[HostName, InMemoryHost]
    now: datetime
    memory: Remembered
    policy: Policy
    operations: tuple[Operation, ...]
    refused: list[str]
    since: dict[tuple[HostName, UUID], tuple[RunState, StateReason, datetime]]
    silent: set[HostName]
    met: set[GuestName]
    """Guests that were ever seen: such a one did not come with the commit that names it next."""

    waited: dict[Kept, set[date]]
    """On which days each thing was seen that waits to be removed for good."""

    open_ports: set[OpenPort]
    """The ports that take connections; whoever asks is told after the plan that asked."""

    fenced: dict[HostName, datetime] = field(default_factory=dict)
    """When each host was cut off last, of those that ever were."""

    @classmethod
    def of(cls, wish: DesiredWorld, *observed: ObservedHost, **policy: object) -> Story:
        """Begin with these hosts, and with a memory that knows that no host has left."""
        story = cls(
            desired=wish,
            hosts={},
            now=START,
            memory=Remembered(departed=()),
            policy=Policy(**policy),  # type: ignore[arg-type]
            operations=(),
            refused=[],
            since={},
            silent=set(),
            met=set(),
            waited={},
            open_ports={OPEN_PORT},
        )
        story.hosts = {one.name: InMemoryHost(one, clock=lambda: story.now) for one in observed}
        return story

    def look(self) -> ObservedWorld:
        """Observe every host, and remember since when each guest is as it is."""
        seen: dict[HostName, ObservedHost | SilentHost] = {}
        for name, one in self.hosts.items():
            if name not in self.desired.hosts:
                continue
            if name in self.silent:
                seen[name] = SilentHost(name=name, why="no route", since=None)
                continue
            answer = one.observe()
            seen[name] = replace(
                answer,
                guests={
                    uuid: replace(found, state_since=self._since(name, found))
                    for uuid, found in answer.guests.items()
                },
            )
        complete = {
            **self.memory.last_complete,
            **{name: self.now for name in seen if name not in self.silent},
        }
        self.memory = replace(self.memory, last_complete=complete)
        for answer in ObservedWorld(hosts=seen).answered():
            self.met |= {one.mark.guest for one in answer.guests.values() if one.mark}
            for thing in waiting_on(answer, self.desired.repository):
                self.waited.setdefault(thing, set()).add(self.now.date())
        self.memory = replace(self.memory, days=days_of(self.waited))
        return ObservedWorld(hosts=seen)

    def _since(self, name: HostName, found: ObservedGuest) -> datetime:
        known = self.since.get((name, found.uuid))
        if known is None or known[:2] != (found.state, found.reason):
            known = (found.state, found.reason, self.now)
            self.since[name, found.uuid] = known
        return known[2]

    def plan(self) -> Plan:
        """The plan of this instant."""
        outcome = plan(
            self.desired,
            self.look(),
            operations=self.operations,
            memory=self.memory,
            policy=self.policy,
            now=self.now,
        )
        probes = {port: Probe(at=self.now, open=port in self.open_ports) for port in outcome.ports}
        self.memory = replace(self.memory, waits=outcome.waits, probes=probes)
        return outcome

    def carry_out(self, outcome: Plan) -> None:
        """Do the steps of a plan, each to its end."""
        for planned in outcome.steps:
            step = planned.step
            self.touch(step)
            if step.host in self.silent:
                self.refused.append(f"{step} on a silent host")
                continue
            try:
                self.hosts[step.host].carry_out(step)
            except DomopsError as error:
                self.refused.append(f"{type(step).__name__}: {error}")
            else:
                self.memory = remembered(step, self.memory)

    def touch(self, step: Step) -> None:
        """Remember that a step for the guest began on that host."""
        history = self.memory.guests.get(step.guest)
        if history is not None:
            history = replace(history, touched=history.touched | {step.host})
            guests = {**self.memory.guests, step.guest: history}
            self.memory = replace(self.memory, guests=guests)

    def passes(self, most: int = 60, *, wait: bool = True) -> list[Plan]:
        """Pass after pass, at the instants that plans wait for, until a plan has no steps."""
        plans: list[Plan] = []
        for _ in range(most):
            outcome = self.plan()
            plans.append(outcome)
            if outcome.steps:
                self.carry_out(outcome)
                self.now += timedelta(seconds=1)
            elif outcome.wake_at is not None and wait:
                self.now = outcome.wake_at
            else:
                return plans
        message = f"no end after {most} passes; the last plan: {plans[-1].steps}"
        raise AssertionError(message)

    def arrive(self, wish: DesiredWorld) -> None:
        """A new commit is taken into force; guests that it names first get their history."""
        guests = dict(self.memory.guests)
        for one in wish.guests.values():
            new = one.name not in self.desired.guests and one.name not in guests
            if one.former is not None:
                if new and one.former in guests:  # it may be wherever it was before
                    guests[one.name] = guests[one.former]
            elif new and one.name not in self.met:
                guests[one.name] = GuestHistory(first_seen=self.now, pools=frozenset({one.pool}))
            elif one.name in guests:
                known = guests[one.name]
                guests[one.name] = replace(known, pools=known.pools | {one.pool})
        self.memory = replace(self.memory, guests=guests)
        self.desired = wish

    def forget(self) -> None:
        """Lose the local state; the operator has said anew that no host has left."""
        self.memory = Remembered(departed=())
        self.waited = {}

    def days(self, count: int) -> None:
        """Days go by, on each of which a controller looks and does nothing."""
        for _ in range(count):
            self.now += timedelta(days=1)
            self.look()

    @property
    def writes(self) -> int:
        """How many writing calls all hosts have seen."""
        return sum(one.writes for one in self.hosts.values())

    def find(self, name: str) -> ObservedGuest:
        """The guest called ``name``, wherever it is."""
        for one in self.hosts.values():
            for found in one.observe().guests.values():
                if found.name == name:
                    return found
        message = f"there is no {name}"
        raise AssertionError(message)

    def host_of(self, name: str) -> InMemoryHost:
        """The host that has the guest called ``name``."""
        for one in self.hosts.values():
            if any(found.name == name for found in one.observe().guests.values()):
                return one
        message = f"there is no {name}"
        raise AssertionError(message)

    def stage(self, name: str, **changes: object) -> None:
        """Let fields of the guest called ``name`` change behind domops' back."""
        uuid = self.find(name).uuid
        self.host_of(name).stage(
            lambda seen: replace(
                seen,
                guests={
                    **seen.guests,
                    uuid: replace(seen.guests[uuid], **changes),  # type: ignore[arg-type]
                },
            )
        )
