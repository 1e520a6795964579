"""The grounds on which the contract is tried: each a host, and a hand to interfere with it.

A ground hides what the implementations differ in (names of pools, kinds of guests, how one kills a
guest behind domops' back), so that a test speaks of the port alone.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import NAMESPACE_DNS, UUID, uuid5

import libvirt

from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.model.definition import (
    Arch,
    Bus,
    Disk,
    DiskFormat,
    DomainType,
    GuestDefinition,
    GuestType,
    KernelBoot,
    Memory,
    NetworkSource,
    Nic,
    Vcpus,
    VolumeSource,
)
from reconciler.model.mark import Mark, MarkedDisk, Phase, ShutdownPolicy
from reconciler.model.names import (
    Digest,
    DiskName,
    GuestName,
    HostName,
    LibvirtPool,
    MacAddress,
    Sha,
    SnapshotName,
    Target,
    VolumeName,
)
from reconciler.model.observed import (
    ObservedHost,
    ObservedPool,
    ObservedSnapshot,
    ObservedVolume,
    StateReason,
)
from reconciler.model.steps import CreateVolume, DefineGuest

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.hypervisor.libvirthost import LibvirtHost
    from reconciler.hypervisor.port import Host
    from reconciler.model.definition import NicSource
    from reconciler.model.observed import ObservedGuest

T = TypeVar("T")
MIB = 1 << 20
KIB_PER_MIB = 1 << 10
PREFIX = "contract-"
OWNER = uuid5(NAMESPACE_DNS, "repository.example.org")
NAME = GuestName(f"{PREFIX}web")
FOREIGN = "somebody-elses"
GUESTS = LibvirtPool("guests")
IMAGES = LibvirtPool("images")
PATIENCE_S = 120.0
LOOK_AGAIN_AFTER_S = 0.2


def now() -> datetime:
    """The clock that the hosts under test are given."""
    return datetime.now(UTC)


def awaited(ask: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
    """Ask again until there is an answer."""
    deadline = time.monotonic() + within_s
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, f"{what} did not come to pass within {within_s} s"
        time.sleep(LOOK_AGAIN_AFTER_S)  # what is asked for calls nobody back
    return answer


class Ground(ABC):
    """A host to try the contract on, as it was before the test."""

    domain_type: DomainType
    guest_type: GuestType
    arch = Arch.X86_64
    bus = Bus.VIRTIO
    letters = "vd"
    nic_model: str | None = "virtio"
    nic_source: NicSource
    boot: KernelBoot
    agent = False
    image: VolumeSource
    host: Host

    # ------------------------------------------------------------------ what is told to the host

    def definition(self, name: GuestName = NAME) -> GuestDefinition:
        """A small guest that the host can run; without disks, of which it needs none."""
        uuid = uuid5(OWNER, name)
        return GuestDefinition(
            name=name,
            uuid=uuid,
            domain_type=self.domain_type,
            type=self.guest_type,
            arch=self.arch,
            vcpus=Vcpus(count=1, maximum=2),
            memory=Memory(size_kib=128 * KIB_PER_MIB, maximum_kib=160 * KIB_PER_MIB),
            boot=self.boot,
            nics=(self.nic(1),),
            agent=self.agent,
            mark=mark(name, uuid),
        )

    def nic(self, number: int) -> Nic:
        """A card on the host's bridge."""
        return Nic(
            mac=MacAddress(f"02:00:00:00:00:{number:02x}"),
            source=self.nic_source,
            model=self.nic_model,
        )

    def disk(self, number: int, volume: str, format: DiskFormat = DiskFormat.RAW) -> Disk:  # noqa: A002 the model's word
        """The disk number ``number`` (0 is the first), on a volume of the pool for guests."""
        return Disk(
            target=Target(f"{self.letters}{chr(ord('a') + number)}"),
            bus=self.bus,
            source=VolumeSource(pool=GUESTS, volume=VolumeName(volume), format=format),
        )

    # ------------------------------------------------------------------------ steps, in one line

    def define(self, definition: GuestDefinition) -> GuestDefinition:
        """Have ``definition`` stored over whatever is stored now."""
        guest = self.host.observe().guests.get(definition.uuid)
        replaces = None if guest is None else guest.stored_digest
        self.host.carry_out(
            DefineGuest(
                host=self.host.name,
                guest=definition.name,
                uuid=definition.uuid,
                definition=definition,
                replaces=replaces,
            )
        )
        return definition

    def create_volume(
        self,
        name: str,
        *,
        mib: int = 16,
        image: VolumeSource | None = None,
        format: DiskFormat = DiskFormat.RAW,  # noqa: A002 the model's word
    ) -> None:
        """Make a volume in the pool for guests."""
        self.host.carry_out(
            CreateVolume(
                host=self.host.name,
                guest=NAME,
                uuid=uuid5(OWNER, NAME),
                pool=GUESTS,
                volume=VolumeName(name),
                capacity_bytes=mib * MIB,
                format=format,
                image=image,
            )
        )

    def guest(self, name: GuestName = NAME) -> ObservedGuest:
        """What the host says of the guest now."""
        return self.host.observe().guests[uuid5(OWNER, name)]

    def wait(
        self, holds: Callable[[ObservedGuest], bool], what: str, *, within_s: float = PATIENCE_S
    ) -> ObservedGuest:
        """Observe until ``holds`` does."""

        def ask() -> ObservedGuest | None:
            guest = self.guest()
            return guest if holds(guest) else None

        return awaited(ask, what, within_s=within_s)

    # ---------------------------------------------------------------------------- the other hand

    @abstractmethod
    def define_foreign(self) -> None:
        """Let somebody define a guest called ``FOREIGN``, without asking domops."""

    @abstractmethod
    def save_by_hand(self) -> None:
        """Let somebody save the running guest's memory to the host's disk."""

    @abstractmethod
    def snapshot_by_hand(self, name: str) -> None:
        """Let somebody take a snapshot of the guest, without asking domops."""

    @abstractmethod
    def wait_until_up(self) -> None:
        """Wait until the running guest's own system is there to be talked to."""

    def crash(self) -> None:
        """Let the running guest's process die."""
        raise NotImplementedError  # Xen and the test driver are not asked

    def power_off_from_inside(self) -> None:
        """Let the guest's own root switch it off."""
        raise NotImplementedError  # as above

    @abstractmethod
    def clear(self) -> None:
        """Remove what the test made."""


def mark(name: GuestName, uuid: UUID, *disks: MarkedDisk, phase: Phase = Phase.READY) -> Mark:
    """A mark as domops writes it."""
    return Mark(
        owner=OWNER,
        guest=name,
        uuid=uuid,
        generation=1,
        phase=phase,
        commit=Sha("0123456789abcdef0123456789abcdef01234567"),
        intent=Digest("00112233445566778899aabbccddeeff"),
        renderer=1,
        shutdown=ShutdownPolicy(),
        disks=disks,
    )


def marked_disk(volume: str, *, filled: bool) -> MarkedDisk:
    """A disk whose volume domops has begun to make."""
    return MarkedDisk(
        name=DiskName("data"),
        target=Target("vda"),
        pool=GUESTS,
        volume=VolumeName(volume),
        ours=True,
        filled=filled,
    )


def _observed_pool(name: LibvirtPool, *volumes: ObservedVolume) -> ObservedPool:
    return ObservedPool(
        name=name,
        active=True,
        type="dir",
        path=f"/{name}",
        available_bytes=1 << 40,
        volumes={volume.name: volume for volume in volumes},
    )


def _is_off(domain: libvirt.virDomain) -> bool | None:
    """Destroy the domain; True when it is off or gone, None while it is still going down."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()
    try:
        return None if domain.isActive() else True
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return True  # it had no stored definition
        raise


class MemoryGround(Ground):
    """The stand-in that is built on the planner's effects."""

    domain_type = DomainType.QEMU
    guest_type = GuestType.HVM
    nic_source = NetworkSource(network="lab")
    boot = KernelBoot(kernel="/boot/vmlinuz", initrd="/boot/initrd.gz", cmdline="quiet")
    agent = True
    image = VolumeSource(pool=IMAGES, volume=VolumeName("lab.raw"))

    def __init__(self) -> None:
        """Begin with a host that has pools, an image, a bridge, a network, and no guest."""
        image = ObservedVolume(
            name=self.image.volume,
            path="/images/lab.raw",
            capacity_bytes=64 * MIB,
            allocation_bytes=64 * MIB,
            format=DiskFormat.RAW,
        )
        iso = replace(image, name=VolumeName("lab.iso"), path="/images/lab.iso")
        self.memory = InMemoryHost(
            ObservedHost(
                name=HostName("memory"),
                uuid=uuid5(OWNER, "memory"),
                answered_at=now(),
                domain_type=self.domain_type,
                guest_types=frozenset({(GuestType.HVM, Arch.X86_64)}),
                capabilities=TABLE[Driver.QEMU].capabilities,
                cpus=4,
                memory_kib=1 << 24,
                free_memory_kib=1 << 24,
                pools={
                    pool.name: pool
                    for pool in (_observed_pool(GUESTS), _observed_pool(IMAGES, image, iso))
                },
                networks={"lab": True},
                bridges=frozenset({"br0"}),
                guests={},
            ),
            clock=now,
        )
        self.host = self.memory

    def define_foreign(self) -> None:
        """Put a guest without a mark into the world."""
        definition = replace(self.definition(GuestName(FOREIGN)), mark=None, nics=())
        self.define(definition)

    def wait_until_up(self) -> None:
        """Its guests are up at once."""

    def snapshot_by_hand(self, name: str) -> None:
        """Put a snapshot without a signature beside those that are there."""
        guest = self.guest()
        taken = ObservedSnapshot(
            name=SnapshotName(name), taken=now(), disks=(Target("vda"),), memory=guest.active
        )

        def change(host: ObservedHost) -> ObservedHost:
            more = replace(guest, snapshots=(*guest.snapshots, taken))
            return replace(host, guests={**host.guests, guest.uuid: more})

        self.memory.stage(change)

    def save_by_hand(self) -> None:
        """Turn the running guest into a saved one."""
        guest = self.guest()
        self.memory.stage_stop(guest.uuid, StateReason.SAVED)

        def saved(host: ObservedHost) -> ObservedHost:
            off = replace(host.guests[guest.uuid], managed_save=True)
            return replace(host, guests={**host.guests, guest.uuid: off})

        self.memory.stage(saved)

    def crash(self) -> None:
        """Stage a crash."""
        self.memory.stage_stop(self.guest().uuid, StateReason.CRASHED)

    def power_off_from_inside(self) -> None:
        """Stage a shutdown."""
        self.memory.stage_stop(self.guest().uuid, StateReason.SHUT_DOWN)

    def clear(self) -> None:
        """Nothing is left: every test has a world of its own."""
        self.host.close()


class LibvirtGround(Ground):
    """A host behind libvirt, with a connection of the test's own beside domops'."""

    def __init__(self, host: LibvirtHost, hand: libvirt.virConnect) -> None:
        """Take the host under test, and the connection by which the test interferes."""
        self.host = host
        self.hand = hand

    def domain(self) -> libvirt.virDomain:
        """The guest, for the test's own hand."""
        return self.hand.lookupByName(NAME)

    def define_foreign(self) -> None:
        """Define a guest that no field of domops describes in full."""
        words = {GuestType.HVM: "hvm", GuestType.PV: "linux", GuestType.PVH: "xenpvh"}
        self.hand.defineXML(
            f"<domain type='{self.domain_type}'><name>{FOREIGN}</name>"
            f"<uuid>{uuid5(OWNER, FOREIGN)}</uuid><title>not yours</title>"
            f"<memory unit='MiB'>64</memory><vcpu>1</vcpu>"
            f"<os><type arch='{self.arch}'>{words[self.guest_type]}</type>"
            f"<kernel>{self.boot.kernel}</kernel></os></domain>"
        )

    def save_by_hand(self) -> None:
        """Save it by its managed save, as a rebooting host does."""
        self.domain().managedSave(0)

    def snapshot_by_hand(self, name: str) -> None:
        """Take it as virsh does."""
        self.domain().snapshotCreateXML(
            f"<domainsnapshot><name>{name}</name><description>mine</description></domainsnapshot>"
        )

    def destroy(self) -> None:
        """End the guest, if there is one, so that it lets go of everything."""
        with contextlib.suppress(libvirt.libvirtError):
            self.domain().destroy()

    def clear(self) -> None:
        """Destroy and undefine the guests, and delete the volumes, that the test made."""
        for domain in self.hand.listAllDomains():
            if domain.name().startswith((PREFIX, FOREIGN)):
                awaited(partial(_is_off, domain), f"the end of {domain.name()}")
        having = libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT
        with_snapshots = {domain.UUID() for domain in self.hand.listAllDomains(having)}
        for domain in self.hand.listAllDomains():
            if domain.name().startswith((PREFIX, FOREIGN)):
                if domain.hasManagedSaveImage():
                    domain.managedSaveRemove()
                if domain.UUID() in with_snapshots:
                    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
                else:
                    domain.undefine()
        pool = self.hand.storagePoolLookupByName(GUESTS)
        for volume in pool.listAllVolumes():
            if volume.name().startswith(PREFIX):
                volume.delete()
        self.host.close()
