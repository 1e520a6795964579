"""A controller over a real libvirtd that is killed, restarted and hung: it recovers, once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import pytest

from reconciler.bootstrap import Opened
from reconciler.journal.records import Event, EventKind
from tests.contract.grounds import awaited
from tests.demo.stage import guest_manifest
from tests.lab.qemu import QemuHost, QemuLab
from tests.system.ground import Ground, begin

pytestmark = [pytest.mark.system, pytest.mark.slow]


@dataclass(kw_only=True)
class Running:
    """A controller that runs on a thread of its own, and what it told."""

    ground: Ground
    opened: Opened
    told: list[Event] = field(default_factory=list)
    acts: dict[str, Callable[[], None]] = field(default_factory=dict)

    def tell(self, event: Event) -> None:
        """Keep the event; the first that says ``act.`` lets the act happen."""
        self.told.append(event)
        for words in [words for words in self.acts if words in event.text]:
            self.acts.pop(words)()

    def wait_for(self, kind: EventKind, *, after: int = 0) -> None:
        """Wait until an event of that kind was told behind the first ``after`` events."""
        awaited(
            lambda: any(event.kind is kind for event in self.told[after:]) or None, f"{kind} told"
        )

    def wait_until_it_runs(self, name: str, *, but_not: int | None = None) -> int:
        """Wait until the guest runs, under another number than ``but_not``; its number."""
        return awaited(
            lambda: number if (number := self._running(name)) not in (None, but_not) else None,
            f"{name} running",
        )

    def _running(self, name: str) -> int | None:
        try:
            return self.ground.running().get(name)
        except libvirt.libvirtError:
            return None  # it is being restarted, or hangs

    def wait_until_done(self) -> None:
        """Wait until nothing is under way and nothing is left to do."""

        def done() -> bool | None:
            sight = self.opened.latest.sight
            if sight is None or sight.plan is None:
                return None
            return (not sight.plan.steps and not sight.operations) or None

        awaited(done, "a pass with nothing to do")

    def begun(self, words: str) -> int:
        """How often a step of that kind began."""
        return sum(one.kind is EventKind.STEP_BEGUN and words in one.text for one in self.told)


@contextmanager
def running(ground: Ground) -> Iterator[Running]:
    """The controller, until the block ends; it must end when it is told to."""
    stop = threading.Event()
    with ground.controller() as opened:
        run = Running(ground=ground, opened=opened)
        thread = threading.Thread(target=opened.controller.run, args=(stop, run.tell))
        thread.start()
        try:
            yield run
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()


def kill_guest(ground: Ground, name: str) -> None:
    """Let the guest's process die, as by a fault of its own."""
    pid = ground.host.run("sh", "-c", f"cat /run/libvirt/qemu/{name}.pid")
    ground.host.run("kill", "-KILL", pid.strip())


def processes_of(ground: Ground, name: str) -> int:
    """How many QEMU processes there are of a guest."""
    told = ground.host.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    return told.count(f"-name guest={name},")


def _send(host: QemuHost, signal: str, pid: str) -> None:
    host.run("kill", f"-{signal}", pid)


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_controller_outlives_its_libvirtd_and_doubles_nothing(tmp_path: Path) -> None:
    """Killed and restarted; stopped in the middle of a start, and continued; nothing gathers."""
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("Add dns", {"guests/dns.yaml": guest_manifest("dns")})
        with running(ground) as run:
            first = run.wait_until_it_runs("dns")
            run.wait_until_done()
            threads, files = threading.active_count(), descriptors()

            # Killed and restarted: the next fault of the guest is seen and put right.
            for _ in range(3):
                told = len(run.told)
                lab.host.kill_libvirtd()
                run.wait_for(EventKind.HOST_SILENT, after=told)
                lab.host.start_libvirtd()
                run.wait_for(EventKind.HOST_BACK, after=told)
            kill_guest(ground, "dns")
            second = run.wait_until_it_runs("dns", but_not=first)
            run.wait_until_done()
            assert processes_of(ground, "dns") == 1

            # Stopped while a start is under way: its outcome is unknown until the host was asked.
            pid = str(lab.host.libvirtd_pid())
            run.acts["start"] = lambda: _send(lab.host, "STOP", pid)
            begun = run.begun("start")
            kill_guest(ground, "dns")
            awaited(lambda: "start" not in run.acts or None, "a start under way")
            threading.Timer(8, _send, (lab.host, "CONT", pid)).start()
            run.wait_until_it_runs("dns", but_not=second)
            run.wait_until_done()
            assert run.begun("start") == begun + 1
            assert processes_of(ground, "dns") == 1

            awaited(
                lambda: threading.active_count() <= threads + 1 or None, "threads that have ended"
            )
            assert descriptors() <= files + 2
            assert set(ground.stored()) == {"dns"}
        assert not [one for one in run.told if one.kind is EventKind.TROUBLE]
