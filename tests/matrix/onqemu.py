"""The kill matrix on a real QEMU host: real deaths of a real controller, judged by the host alone.

One host and five guests serve all of it. A victim dies by ``kill -9`` at a crossing; the next
controller, with the state directory or without, has to reach what the manifests say. Then it is not
asked: libvirt says which domains and volumes there are and how they are, and the guests themselves
say what is on their disks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import libvirt

from reconciler.bootstrap import open_controller
from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.model.names import HostName
from tests.lab.cache import CHECKOUT
from tests.lab.qemu import Agent
from tests.lab.qemu.host import GUESTS_DIRECTORY, GUESTS_POOL
from tests.matrix.points import crossings
from tests.matrix.scenes import (
    AFTERMATH,
    FAILING,
    LIFE,
    LIVE,
    SCENES,
    SLOW_IMAGE,
    begin_to_empty,
    excuse,
    first_manifests,
)
from tests.matrix.standin import Verdict
from tests.matrix.unit import restart_delay_s
from tests.matrix.victim import POLICY, URI, settings
from tests.system.ground import begin, converge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from reconciler.model.crossing import Crossing
    from tests.lab.qemu import QemuHost
    from tests.matrix.scenes import Turn
    from tests.system.ground import Ground

WRITTEN = {LIVE: "here before all deaths", "wiki": "here as well", "grown": "and here"}
"""What the guests that run have on their disks."""

SLOW_IMAGE_BYTES = 256 << 20
"""As ``scenes`` has it."""
_TURNS_AT_MOST = 60


@dataclass(kw_only=True)
class OnQemu:
    """The host, what is expected of it, and what was found."""

    ground: Ground
    verdicts: list[Verdict] = field(default_factory=list)
    held_s: dict[str, float] = field(default_factory=dict)
    """How long a guest was held still after a death, by crossing."""

    _running: dict[str, int] = field(default_factory=dict)
    _manifests: dict[str, str] = field(default_factory=dict)
    _volumes: set[str] = field(default_factory=set)
    _image: str = ""

    @property
    def host(self) -> QemuHost:
        """Where it happens."""
        return self.ground.host

    def set_up(self) -> None:
        """The guests of all scenes, up, with something on their disks."""
        content = os.urandom(1 << 20) * (SLOW_IMAGE_BYTES >> 20)
        (self.host.images / SLOW_IMAGE).write_bytes(content)
        self._image = hashlib.sha256(content).hexdigest()
        with contextlib.closing(self.host.connect()) as connection:
            connection.storagePoolLookupByName("images").refresh()
        first = first_manifests()
        for path, text in first.items():
            assert text is not None
            self._expect(path.removeprefix("guests/").removesuffix(".yaml"), text)
        self.ground.repository.commit("The guests of all scenes", first)
        self._live()
        for name, text in WRITTEN.items():
            with self._domain(name) as domain:
                agent = Agent(domain)
                agent.wait_for_mount("vda")
                agent.write("vda", text)
        self._running = self.ground.running()

    def play(self, wanted: Collection[str]) -> None:
        """Die at each of the ``wanted`` crossings, in the first scene that has it."""
        pending = [
            one
            for points in crossings().values()
            for one in points
            if str(one) in wanted and excuse(str(one), on_qemu=True) is None
        ]
        for scene in SCENES:
            missed: set[Crossing] = set()
            for number in range(_TURNS_AT_MOST):
                brings = frozenset().union(*(scene(number + i).brings for i in range(3)))
                left = [one for one in pending if one.step in brings and one not in missed]
                if not left:
                    break
                turn = scene(number)
                here = next((one for one in left if one.step in turn.brings), None)
                if self._turn(turn, here, kept=len(self.verdicts) % 2 == 0):
                    assert here is not None
                    pending.remove(here)
                elif here is not None:
                    missed.add(here)
            self._settle(scene(0))
        for one in pending:
            self._judge(str(one), "the scene did not come to it", kept=True)

    def _turn(self, turn: Turn, crossing: Crossing | None, *, kept: bool) -> bool:
        """Make a turn, with a death at ``crossing``; whether it came to that."""
        self.ground.repository.commit(f"Turn {turn.guest}", turn.files)
        if turn.manifest is None:
            self._live()
            begin_to_empty(self._door(), turn.guest)
        self._expect(turn.guest, turn.manifest)
        died = crossing is not None and self._kill(turn, crossing)
        if died and not kept:
            shutil.rmtree(self.ground.state)
        wrong = None
        try:
            if died and self._is_held(turn.guest):
                self.held_s[str(crossing)] = self._restart(turn.guest)
            self._live()
            self._look(turn)
        except AssertionError as error:
            wrong = f"{error}" or "not as it should be"
        if died or wrong is not None:
            self._judge(str(crossing) if died else "nobody died", wrong, kept=kept)
        if turn.guest.startswith("new-"):
            self._forget(turn.guest)
        self._running = self.ground.running()
        return died

    def _judge(self, crossing: str, wrong: str | None, *, kept: bool) -> None:
        self.verdicts.append(Verdict(crossing=crossing, kept=kept, wrong=wrong))
        print(
            f"{crossing} ({'kept' if kept else 'lost'}): {wrong or 'as it should be'}", flush=True
        )

    def _kill(self, turn: Turn, crossing: Crossing) -> bool:
        before = AFTERMATH.get(crossing.step)
        if before is not None:
            if not self._die(turn, before):
                return False
            shutil.rmtree(self.ground.state)
        return self._die(turn, str(crossing), FAILING.get(str(crossing)))

    def _die(self, turn: Turn, crossing: str, failing: str | None = None) -> bool:
        done = subprocess.run(
            [*self._victim(crossing, turn.guest), *([failing] if failing else [])],
            cwd=CHECKOUT,
            env={**os.environ, URI: self.host.uri},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == -signal.SIGKILL:
            return True
        assert done.returncode == 0, done.stderr
        return False

    def _victim(self, crossing: str, guest: str) -> list[str]:
        folder = str(self.ground.repository.folder.parent)
        return [sys.executable, "-m", "tests.matrix.victim", folder, crossing, guest]

    def _restart(self, guest: str) -> float:
        """Start the controller as the unit would; the seconds from now until the guest goes on."""
        died = time.monotonic()
        time.sleep(restart_delay_s())  # what systemd does, too
        with subprocess.Popen(self._victim("never", guest), cwd=CHECKOUT) as controller:
            while self._is_held(guest) and controller.poll() is None:
                time.sleep(0.05)  # the guest itself is asked
            went_on = time.monotonic()
            controller.wait()
        assert not self._is_held(guest), f"{guest} is held still"
        return went_on - died

    def _is_held(self, guest: str) -> bool:
        if guest not in WRITTEN:
            return False
        with self._domain(guest) as domain:
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                return True
            return Agent(domain).freeze_status() == "frozen"

    def _live(self) -> None:
        """A controller that is not killed, to the end; a second plan is empty."""
        folder = self.ground.repository.folder.parent
        with open_controller(settings(folder), writing=True, policy=POLICY) as opened:
            converge(opened)
            before = opened.doors.writes()
            plan = opened.controller.pass_once(enforce=True).plan
            assert plan is not None
            assert plan.steps == (), f"it would go on with {plan.steps}"
            assert opened.doors.writes() == before

    # ------------------------------------------------------------------------------- judging

    def _door(self) -> LibvirtHost:
        return LibvirtHost(
            name=HostName("dom0-a"), uri=self.host.uri, clock=lambda: datetime.now(UTC)
        )

    def _expect(self, guest: str, manifest: str | None) -> None:
        if manifest is None:
            del self._manifests[guest]
            self._volumes -= {one for one in self._volumes if one.startswith(f"{guest}-")}
            return
        self._manifests[guest] = manifest
        for name, rest in re.findall(r"\{name: (\w+), (size: .*)\}", manifest):
            suffix = "qcow2" if "format: qcow2" in rest else "raw"
            self._volumes.add(f"{guest}-{name}.{suffix}")
        if "cloudInit" in manifest:
            self._volumes.add(f"{guest}-cidata.iso")

    def _look(self, turn: Turn) -> None:
        """What the host and the guests say of themselves."""
        with contextlib.closing(self.host.connect()) as connection:
            states = {one.name(): one.state()[0] for one in connection.listAllDomains()}
            pool = connection.storagePoolLookupByName(GUESTS_POOL)
            pool.refresh()
            volumes = set(pool.listVolumes())
        off, on = libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_RUNNING
        wanted = {
            name: off if "state: stopped" in text else on for name, text in self._manifests.items()
        }
        assert states == wanted, f"domains: {states} instead of {wanted}"
        assert volumes == self._volumes, f"volumes: {sorted(volumes ^ self._volumes)}"
        running = self.ground.running()
        for name in WRITTEN:
            assert running[name] == self._running.get(name, running[name]), f"{name} was restarted"
        if turn.guest in WRITTEN:
            with self._domain(turn.guest) as domain:
                agent = Agent(domain)
                assert agent.freeze_status() == "thawed", f"{turn.guest} is frozen"
                said = agent.run("cat /mnt/vda/data").strip()
            assert said == WRITTEN[turn.guest], f"{turn.guest} has {said!r} on its disk"
        if turn.guest.startswith("new-"):
            copy = self._file(f"{turn.guest}-data.raw")
            assert hashlib.sha256(copy.read_bytes()).hexdigest() == self._image, "half a copy"
        assert not [name for name in running if name not in (*WRITTEN, LIFE)]

    def _file(self, volume: str) -> Path:
        assert GUESTS_DIRECTORY.endswith("/images")
        return self.host.directory / "lib/images" / volume

    def _forget(self, guest: str) -> None:
        """Take a guest away by hand, so that the host does not fill up."""
        self.ground.repository.commit(f"No {guest}", {f"guests/{guest}.yaml": None})
        del self._manifests[guest]
        with self._domain(guest) as domain:
            domain.undefine()
        with contextlib.closing(self.host.connect()) as connection:
            pool = connection.storagePoolLookupByName(GUESTS_POOL)
            for name in [one for one in self._volumes if one.startswith(f"{guest}-")]:
                pool.storageVolLookupByName(name).delete()
                self._volumes.discard(name)

    def _settle(self, turn: Turn) -> None:
        """Leave a scene as the next ones expect it."""
        first = first_manifests().get(f"guests/{turn.guest}.yaml")
        if first is None or self._manifests.get(turn.guest) == first or turn.guest != LIVE:
            return
        self.ground.repository.commit("As at first", {f"guests/{turn.guest}.yaml": first})
        self._manifests[turn.guest] = first
        self._live()

    @contextlib.contextmanager
    def _domain(self, name: str) -> Iterator[libvirt.virDomain]:
        with contextlib.closing(self.host.connect()) as connection:
            yield connection.lookupByName(name)


def on_qemu(folder: Path, host: QemuHost) -> OnQemu:
    """The guests of all scenes on ``host``, ready for deaths."""
    matrix = OnQemu(ground=begin(folder, host))
    matrix.set_up()
    return matrix
