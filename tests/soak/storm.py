"""The storm: random commits, random interference, random faults of libvirtd, from one seed.

What a commit wants is kept as a value, so that the end can be compared with what the last one
asked for. A disk is never asked to shrink, because that is refused for ever; all else may go up,
down, away and come back.
"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import libvirt

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Callable

    from tests.demo.stage import Stage

NAMES = ("dns", "lists", "mail", "web")
_MEMORY = (160, 192, 224, 256)
_DISK_STEP, _DISK_MOST = 16, 256
_HANG_S = (2.0, 12.0)
_PAUSE_S = (1.0, 5.0)

MANIFEST = """\
apiVersion: domops/v1
kind: Guest
metadata: {{name: {name}}}
spec:
  pool: main
  type: hvm
  state: {state}
  cpus: {{count: {cpus}, max: 2}}
  memory: {{size: {memory}MiB, max: 256MiB}}
  boot:
    kernel: /boot/vmlinuz
    initrd: /boot/initrd.gz
    cmdline: "console=ttyS0 quiet"
  disks:
    - {{name: data, size: {disk}MiB, storage: guests, image: lab.raw}}
  networks:
    - {{name: eth0, network: servers}}
  update: {{restart: now}}
  shutdown: {{timeout: 30s, then: destroy}}
  heal: {{after: 3s}}
"""

POOLS = """\
apiVersion: domops/v1
kind: Pool
metadata: {name: main}
spec:
  mode: enforce
  overcommit: {cpus: 16}
  budget: {deletions: 10000, restarts: 10000, percent: 100}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a manifest asks for; memory and disk in MiB."""

    cpus: int = 1
    memory: int = 192
    disk: int = 64
    running: bool = True

    def manifest(self, name: str) -> str:
        """The guest's manifest."""
        return MANIFEST.format(
            name=name,
            state="running" if self.running else "stopped",
            cpus=self.cpus,
            memory=self.memory,
            disk=self.disk,
        )


@dataclass(slots=True)
class Storm:
    """Acts at random on ``stage``; ``counts`` says what it did, ``faults`` when libvirtd broke."""

    stage: Stage
    chance: random.Random
    clock: Callable[[], float]
    wishes: dict[str, Wish] = field(default_factory=dict)
    gone: dict[str, Wish] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Commit all guests."""
        self.wishes = {name: Wish() for name in NAMES}
        files = {f"guests/{name}.yaml": wish.manifest(name) for name, wish in self.wishes.items()}
        self.stage.repository.commit("All guests", {**files})

    def blow(self, until_s: float, stop: threading.Event) -> None:
        """Act again and again, with pauses, until the clock says ``until_s``."""
        acts = (
            *(3 * [self._change_a_guest]),
            self._take_a_guest_out,
            self._bring_a_guest_back,
            self._commit_nonsense,
            *(4 * [self._interfere]),
            self._hang_libvirtd,
            self._restart_libvirtd,
        )
        while self.clock() < until_s and not stop.is_set():
            act = self.chance.choice(acts)
            act()
            stop.wait(self.chance.uniform(*_PAUSE_S))

    def calm(self) -> None:
        """Ask for all guests, running: from here on the world is only put right."""
        self.wishes = {
            name: replace(wish, running=True) for name, wish in {**self.gone, **self.wishes}.items()
        }
        self.gone = {}
        files = {f"guests/{name}.yaml": wish.manifest(name) for name, wish in self.wishes.items()}
        self.stage.repository.commit("The storm is over", {**files})

    # -------------------------------------------------------------------------------- commits

    def _change_a_guest(self) -> None:
        if not self.wishes:
            return
        name = self.chance.choice(sorted(self.wishes))
        wish = self.wishes[name]
        what = self.chance.choice(("cpus", "memory", "disk", "state"))
        match what:
            case "cpus":
                wish = replace(wish, cpus=3 - wish.cpus)
            case "memory":
                wish = replace(wish, memory=self.chance.choice(_MEMORY))
            case "disk":
                wish = replace(wish, disk=min(wish.disk + _DISK_STEP, _DISK_MOST))
            case _:
                wish = replace(wish, running=not wish.running)
        self.wishes[name] = wish
        self._commit(f"{name}: {what}", {f"guests/{name}.yaml": wish.manifest(name)})

    def _take_a_guest_out(self) -> None:
        if len(self.wishes) < 2:
            return
        name = self.chance.choice(sorted(self.wishes))
        self.gone[name] = self.wishes.pop(name)
        self._commit(f"{name} goes", {f"guests/{name}.yaml": None})

    def _bring_a_guest_back(self) -> None:
        if not self.gone:
            return
        name = self.chance.choice(sorted(self.gone))
        self.wishes[name] = self.gone.pop(name)
        self._commit(f"{name} returns", {f"guests/{name}.yaml": self.wishes[name].manifest(name)})

    def _commit_nonsense(self) -> None:
        """A bad commit, mended by the next: the good one before it stays in force meanwhile."""
        self._commit("Nonsense", {"guests/nonsense.yaml": "kind: Guest\nspec: {cpu: 2}\n"})
        self.stage.repository.commit("Mended", {"guests/nonsense.yaml": None})

    def _commit(self, subject: str, files: dict[str, str | None]) -> None:
        self._count("commit")
        self.stage.repository.commit(subject, files)

    # --------------------------------------------------------------------------- interference

    def _interfere(self) -> None:
        """Do to some guest, through libvirt, what a person at the host might do."""
        acts: dict[str, Callable[[libvirt.virDomain], object]] = {
            "setmem": lambda one: one.setMemoryFlags(160 * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE),
            "destroy": lambda one: one.destroy(),
            "shutdown": lambda one: one.shutdown(),
            "autostart": lambda one: one.setAutostart(1 - one.autostart()),
            "start": lambda one: one.create(),
            "describe": lambda one: one.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_TITLE,
                f"touched {self.chance.random():.6f}",
                None,
                None,
                libvirt.VIR_DOMAIN_AFFECT_CONFIG,
            ),
            "suspend": self._suspend_for_a_moment,
            "redefine": lambda one: one.connect().defineXML(
                one.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace(
                    "<vcpu placement='static' current='1'>", "<vcpu placement='static'>"
                )
            ),
        }
        name = self.chance.choice(sorted(acts))
        with (
            contextlib.suppress(libvirt.libvirtError),  # the guest may be in no state for it
            contextlib.closing(self.stage.host.connect()) as connection,
        ):
            domains = sorted(connection.listAllDomains(), key=lambda one: one.name())
            if domains:
                acts[name](self.chance.choice(domains))
                self._count(name)

    @staticmethod
    def _suspend_for_a_moment(domain: libvirt.virDomain) -> None:
        domain.suspend()
        time.sleep(1)  # a person who looks at a paused guest takes his time
        domain.resume()

    # --------------------------------------------------------------------------------- faults

    def _hang_libvirtd(self) -> None:
        """Stop the daemon in the middle of whatever it does, and let it go on."""
        self._count("libvirtd hung")
        self.faults.append(self.clock())
        pid = str(self.stage.host.libvirtd_pid())
        self.stage.host.run("kill", f"-{signal.SIGSTOP.name[3:]}", pid)
        time.sleep(self.chance.uniform(*_HANG_S))  # the hang itself
        self.stage.host.run("kill", f"-{signal.SIGCONT.name[3:]}", pid)

    def _restart_libvirtd(self) -> None:
        """Kill the daemon without warning, and start it again a moment later."""
        self._count("libvirtd killed")
        self.faults.append(self.clock())
        self.stage.host.kill_libvirtd()
        time.sleep(self.chance.uniform(*_PAUSE_S))
        self.stage.host.start_libvirtd()

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
