"""The kill matrix in memory: a death is a picture of all that outlives it, taken at a crossing.

A controller that is killed runs nothing more: no ``except``, no ``finally``. So nothing is raised
here. At each crossing the host and the state directory are copied as they are at that instant, and
the controller goes on unharmed; what a next one makes of each picture is seen afterwards.
"""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from reconciler.bootstrap import open_controller
from reconciler.errors import TransientError
from reconciler.hypervisor.callbycall import Beneath, World
from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.model.definition import Arch, DiskFormat, DomainType, GuestType
from reconciler.model.mark import OperationKind
from reconciler.model.names import HostName, LibvirtPool, VolumeName
from reconciler.model.observed import ObservedHost, ObservedPool, ObservedVolume
from reconciler.model.policy import Policy
from reconciler.settings import Settings
from tests.demo.stage import AROUND, HOST, POOLS, Repository
from tests.matrix.scenes import (
    AFTERMATH,
    FAILING,
    LIFE,
    SCENES,
    SLOW_IMAGE,
    begin_to_empty,
    first_manifests,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from reconciler.model.crossing import Crossing
    from tests.matrix.scenes import Turn

MIB = 1 << 20
WITHIN = timedelta(seconds=60)
POLICY = Policy(settle_qemu_s=0, settle_xen_s=0, seed_after_s=3600)
GENEROUS = POOLS.replace("deletions: 1", "deletions: 100, restarts: 100, percent: 100")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a death leaves: the world, and the files of the controller."""

    crossing: str
    number: int
    world: World
    state: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one death, with the state directory ``kept`` or not.

    ``wrong`` says what is not as it should be, if anything; ``left`` what the death had left.
    """

    crossing: str
    kept: bool
    wrong: str | None
    left: str | None = None


@dataclass(kw_only=True)
class StandIn:
    """A repository, a host in memory, and the pictures that were taken."""

    folder: Path
    repository: Repository
    world: World
    wanted: Callable[[str], bool]
    """Whether another picture is wanted of a crossing."""

    by_turns: bool = False
    """Whether each death is tried one way only, with and without its state by turns."""

    verdicts: list[Verdict] = field(default_factory=list)
    _number: int = 0

    @property
    def state(self) -> Path:
        """The state directory of the controller that lives."""
        return self.folder / "state"

    def turn(self, turn: Turn, *, fails_at: str | None = None) -> None:
        """Make a turn, and let another controller die at each crossing of it."""
        self.repository.commit(f"Turn {turn.guest}", turn.files)
        if turn.manifest is None:
            self.world = self._live(self.world, self.state, _Camera(self, None))
            host = InMemoryHost(self.world.host, clock=_now, beneath=self.world.beneath)
            begin_to_empty(host, turn.guest)
            self.world = host.world
        pictures: list[Picture] = []
        self.world = self._live(self.world, self.state, _Camera(self, pictures, fails_at=fails_at))
        for picture in pictures:
            self._die_at(picture, deeper=True)

    def _die_at(self, picture: Picture, *, deeper: bool) -> None:
        """Let new controllers live in the picture; with ``deeper`` these die in their turn."""
        for kept in (len(self.verdicts) % 2 == 0,) if self.by_turns else (True, False):
            state = self.folder / f"next-{picture.number}-{kept}"
            if kept:
                shutil.copytree(picture.state, state)
            pictures: list[Picture] = []
            try:
                camera = _Camera(self, pictures if deeper else None, only=AFTERMATH)
                seen = self._live(picture.world, state, camera)
            except AssertionError as error:
                wrong: str | None = f"{error}"
            else:
                wrong = difference(seen, self.world)
            self.verdicts.append(
                Verdict(
                    crossing=picture.crossing,
                    kept=kept,
                    wrong=wrong,
                    left=difference(picture.world, self.world),
                )
            )
            shutil.rmtree(state)
            for one in pictures:
                self._die_at(one, deeper=False)
        shutil.rmtree(picture.state)

    def _live(self, world: World, state: Path, camera: _Camera) -> World:
        """Let a controller work in ``world`` to the end; the world that it leaves."""
        host = camera.host = InMemoryHost(
            world.host, clock=_now, beneath=world.beneath, crossed=camera
        )
        camera.state = state
        for guest in world.host.guests.values():
            if guest.name == LIFE:
                host.stage_deaf(guest.uuid)
        settings = Settings(
            repository=str(self.repository.folder),
            state_dir=state,
            patience_s=30,
            grace_s=1,
            kernel_prefixes=("/boot",),
        )
        with open_controller(
            settings,
            writing=True,
            host_for=lambda _host, _clock: host,
            policy=POLICY,
            crossed=camera,
        ) as opened:
            done = opened.controller.converge(
                within=WITHIN,
                stop=threading.Event(),
                tell=lambda _: None,
                patience=timedelta(seconds=20),
            )
            assert done.complete, "it came to no end"
            assert done.last.problems == (), done.last.problems
            writes = host.writes
            plan = opened.controller.pass_once(enforce=True).plan
            assert plan is not None
            assert plan.steps == (), f"it would go on with {plan.steps}"
            assert host.writes == writes
            assert opened.journal.open_intents() == ()
        camera.closed = True
        return host.world


class _Camera:
    """Takes a picture at each crossing of which one is wanted."""

    def __init__(
        self,
        stand: StandIn,
        pictures: list[Picture] | None,
        *,
        fails_at: str | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self._stand = stand
        self._pictures = pictures
        self._fails_at = fails_at
        self._only = only
        self._lock = threading.Lock()
        self.host: InMemoryHost | None = None
        self.state: Path | None = None
        self.closed = False

    def __call__(self, crossing: Crossing) -> None:
        """Take what a death would leave at this instant."""
        name = str(crossing)
        if self._pictures is not None and not self.closed and self._is_wanted(crossing):
            self._pictures.append(self._take(name))
        if name == self._fails_at:
            self._fails_at = None
            raise TransientError("staged")

    def _is_wanted(self, crossing: Crossing) -> bool:
        told = self._only is None or crossing.step in self._only
        return told and self._stand.wanted(str(crossing))

    def _take(self, name: str) -> Picture:
        assert self.host is not None
        assert self.state is not None
        with self._lock:
            self._stand._number += 1
            number = self._stand._number
        copy = self._stand.folder / f"picture-{number}"
        # The pass goes on writing its status meanwhile, which is read by nobody who comes after a
        # death: a file of it that is renamed under the copy must not look like a failing step.
        shutil.copytree(self.state, copy, ignore=shutil.ignore_patterns("*status.json*"))
        return Picture(crossing=name, number=number, world=self.host.world, state=copy)


def difference(seen: World, wanted: World) -> str | None:
    """What is not as it should be after a death and a new life; None if all is."""
    beneath = seen.beneath
    if beneath.harm:
        return "; ".join(beneath.harm)
    if beneath.half:
        return f"left half made: {sorted(beneath.half)}"
    if beneath.frozen:
        return "a guest is frozen"
    lost = wanted.beneath.used - {
        (pool.name, volume) for pool in seen.host.pools.values() for volume in pool.volumes
    }
    if lost:
        return f"lost: {sorted(lost)}"
    for what, left, right in zip(("guests", "volumes"), _told(seen), _told(wanted), strict=True):
        if left != right:
            return f"{what}: {left} instead of {right}"
    return None


def _told(world: World) -> tuple[dict[str, object], dict[str, object]]:
    """What must be the same, however it came about: no instants, and no marks but for what acts."""
    guests: dict[str, object] = {}
    for guest in world.host.guests.values():
        mark = guest.mark
        assert mark is not None
        operation = mark.operation.kind if mark.operation is not None else None
        guests[guest.name] = (
            guest.state,
            guest.stored and replace(guest.stored, mark=None),
            guest.live and replace(guest.live, mark=None),
            guest.autostart,
            [snapshot.name for snapshot in guest.snapshots],
            mark.phase,
            None if operation is OperationKind.STOPPED else operation,
            [(disk.name, disk.volume, disk.filled) for disk in mark.disks],
            mark.seed and (mark.seed.volume, mark.seed.filled, mark.seed.done),
        )
    volumes: dict[str, object] = {
        f"{pool.name}/{volume.name}": (volume.capacity_bytes, volume.format)
        for pool in world.host.pools.values()
        for volume in pool.volumes.values()
    }
    return guests, volumes


def _now() -> datetime:
    return datetime.now(UTC)


def _volume(pool: str, name: str, mib: int, image_format: DiskFormat) -> ObservedVolume:
    return ObservedVolume(
        name=VolumeName(name),
        path=f"/{pool}/{name}",
        capacity_bytes=mib * MIB,
        allocation_bytes=mib * MIB,
        format=image_format,
    )


def _host() -> ObservedHost:
    images = [
        _volume("images", "lab.raw", 64, DiskFormat.RAW),
        _volume("images", "lab.qcow2", 64, DiskFormat.QCOW2),
        _volume("images", SLOW_IMAGE, 256, DiskFormat.RAW),
        _volume("images", "lab.iso", 1, DiskFormat.RAW),
    ]
    pools = [
        ObservedPool(
            name=LibvirtPool(name),
            active=True,
            type="dir",
            path=f"/{name}",
            available_bytes=1 << 40,
            volumes={volume.name: volume for volume in volumes},
        )
        for name, volumes in (("guests", []), ("images", images))
    ]
    return ObservedHost(
        name=HostName("dom0-a"),
        uuid=uuid5(UUID(int=1), "dom0-a"),
        answered_at=_now(),
        domain_type=DomainType.QEMU,
        guest_types=frozenset({(GuestType.HVM, Arch.X86_64)}),
        capabilities=TABLE[Driver.QEMU].capabilities,
        cpus=8,
        memory_kib=1 << 26,
        free_memory_kib=1 << 26,
        pools={pool.name: pool for pool in pools},
        networks={},
        bridges=frozenset({"br0"}),
        guests={},
    )


def begin(folder: Path, wanted: Callable[[str], bool], *, by_turns: bool = False) -> StandIn:
    """A host in memory with the guests of all scenes."""
    repository = Repository(folder / "manifests")
    around: dict[str, str | None] = {
        "pools/main.yaml": GENEROUS,
        "hosts/dom0-a.yaml": HOST.format(uri="qemu+tls://dom0-a.example.org/system"),
        "around.yaml": AROUND,
    }
    repository.commit("The guests of all scenes", {**around, **first_manifests()})
    stand = StandIn(
        folder=folder,
        repository=repository,
        world=World(host=_host(), beneath=Beneath()),
        wanted=wanted,
        by_turns=by_turns,
    )
    stand.world = stand._live(stand.world, stand.state, _Camera(stand, None))
    return stand


def play(stand: StandIn) -> None:
    """All scenes, each until it has come round, and the failures that are on the way."""
    number = 0
    for scene in SCENES:
        for number in range(3):
            stand.turn(scene(number))
    for fails_at in dict.fromkeys(FAILING.values()):
        number += 1
        stand.turn(SCENES[-1](number), fails_at=fails_at)
