"""The faults of the world, each on a real host: what domops does, says, and how it comes out of it.

What a person sees of each, and what to do, stands in ``docs/reference/faults.md``.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest

from reconciler.bootstrap import JOURNAL_FILE, Clock, Opened
from reconciler.errors import RefusedError
from reconciler.executor.executor import CONDEMNED_PER_HOST
from reconciler.journal.records import Event, EventKind
from reconciler.model.names import GuestName
from reconciler.model.observed import SilentHost
from reconciler.model.plan import Change, Reason
from reconciler.model.policy import Policy
from tests.contract.grounds import awaited
from tests.demo.stage import DOMOPS, guest_manifest
from tests.lab.qemu import QemuHost, QemuLab
from tests.lab.qemu.relay import Relay
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

    def silent_for(self, seconds: float) -> bool:
        """Whether the newest pass found the host silent for so long."""
        sight = self.opened.latest.sight
        hosts = sight.observed.hosts.values() if sight and sight.observed else ()
        return any(
            isinstance(one, SilentHost)
            and one.since is not None
            and sight is not None
            and (sight.now - one.since).total_seconds() >= seconds
            for one in hosts
        )

    def begun(self, words: str) -> int:
        """How often a step of that kind began."""
        return sum(one.kind is EventKind.STEP_BEGUN and words in one.text for one in self.told)

    def wait_for_problem(self, words: str) -> None:
        """Wait until a pass tells of a problem in these words."""

        def told() -> bool | None:
            sight = self.opened.latest.sight
            return (sight is not None and any(words in one for one in sight.problems)) or None

        awaited(told, words)

    def wait_for_reason(self, name: str, reason: Reason, words: str = "") -> Change:
        """Wait until a change of the guest has that reason, and a message with these words."""

        def found() -> Change | None:
            sight = self.opened.latest.sight
            status = sight.plan.statuses.get(GuestName(name)) if sight and sight.plan else None
            return next(
                (
                    change
                    for change in (status.changes if status else ())
                    if change.reason is reason and words in change.message
                ),
                None,
            )

        return awaited(found, f"{name}: {reason} {words}")


@contextmanager
def running(ground: Ground, policy: Policy | None = None) -> Iterator[Running]:
    """The controller, until the block ends; it must end when it is told to."""
    stop = threading.Event()
    with ground.controller(policy) as opened:
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


def _stopped(name: str, **instead: str) -> str:
    """A guest that shall not run, so that nobody waits for its boot."""
    text = guest_manifest(name) + "  state: stopped\n"
    for old, new in instead.items():
        assert text.count(old) >= 1
        text = text.replace(old, new)
    return text


def _plain(name: str) -> str:
    """A guest of which nothing is asked that it has to answer from inside."""
    text = guest_manifest(name).replace("max: 384MiB", "max: 192MiB")
    return text.replace("agent: true", "agent: false")


SMALL = """\
apiVersion: domops/v1
kind: Storage
metadata: {name: small}
spec: {type: dir, libvirtPool: small}
---
apiVersion: domops/v1
kind: Network
metadata: {name: elsewhere}
spec: {bridge: br9}
"""


def test_what_a_host_lacks_is_named_and_taken_up_once_it_is_there(tmp_path: Path) -> None:
    """A pool that is full, then inactive; an image and a bridge that are missing."""
    with QemuLab() as lab:
        host = lab.host
        host.run("mkdir", "/srv/small")
        host.run("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", "/srv/small")
        with closing(host.connect()) as connection:
            pool = connection.storagePoolDefineXML(
                "<pool type='dir'><name>small</name><target><path>/srv/small</path></target></pool>"
            )
            pool.create()
            (host.images / "heavy.raw").write_bytes(b"\x5a" * (32 << 20))
            connection.storagePoolLookupByName("images").refresh()
            ground = begin(tmp_path, host)
            ground.poll_s = 2
            guests = {
                "guests/crammed.yaml": _stopped(
                    "crammed", **{"storage: guests": "storage: small", "lab.raw": "heavy.raw"}
                ),
                "guests/blank.yaml": _stopped("blank", **{"lab.raw": "later.raw"}),
                "guests/cut-off.yaml": _stopped("cut-off", servers="elsewhere"),
            }
            ground.repository.commit("Ask for too much", {"small.yaml": SMALL, **guests})
            with running(ground) as run:
                run.wait_for_reason("blank", Reason.NO_PLACE, "has no image images/later.raw")
                run.wait_for_reason("cut-off", Reason.NO_PLACE, "has no bridge br9")
                run.wait_for_reason("crammed", Reason.BACKOFF, "No space left on device")
                assert set(ground.stored()) == {"crammed"}

                host.run("mount", "-o", "remount,size=200M", "/srv/small")
                (host.images / "later.raw").write_bytes(bytes(1 << 20))
                connection.storagePoolLookupByName("images").refresh()
                host.namespace.ip("link add br9 type bridge")
                run.wait_until_done()
                awaited(lambda: len(ground.stored()) == len(guests) or None, "all three")

                pool.destroy()
                late: dict[str, str | None] = {
                    "guests/late.yaml": _stopped("late", **{"storage: guests": "storage: small"})
                }
                ground.repository.commit("Ask for a disk in a pool that is off", late)
                run.wait_for_reason("late", Reason.NO_PLACE, "has no active storage pool small")
                pool.create()
                awaited(lambda: "late" in ground.stored() or None, "a pool that is back")
                run.wait_until_done()


DEFINE = 350
"""libvirt's number of ``virDomainDefineXMLFlags``."""

LIST_POOLS = 281
"""And of ``virConnectListAllStoragePools``."""


@dataclass
class Machine:
    """The machine's clock, which somebody sets."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        """What it says."""
        return datetime.now(UTC) + self.ahead


def test_calls_that_never_return_hold_no_more_than_their_bound(tmp_path: Path) -> None:
    """Keepalive goes on; no call is answered, or none of storage, or none that writes."""
    machine = Machine()
    with QemuLab() as lab, Relay(lab.host, tmp_path / "relay") as relay:
        ground = begin(tmp_path, lab.host, uri=relay.uri)
        ground.patience_s, ground.poll_s, ground.clock = 2, 2, Clock(machine=machine)
        ground.repository.commit("Add one", {"guests/one.yaml": _stopped("one")})
        with running(ground) as run:
            awaited(lambda: "one" in ground.stored() or None, "the first guest")
            run.wait_until_done()
            threads = threading.active_count()

            for procedures in ((), (LIST_POOLS,)):
                told = len(run.told)
                relay.go_deaf(*procedures)
                run.wait_for(EventKind.HOST_SILENT, after=told)
                awaited(lambda: run.silent_for(3) or None, "passes that go on")
                assert threading.active_count() <= threads
                relay.hear_again()
                run.wait_for(EventKind.HOST_BACK, after=told)

            told, begun = len(run.told), run.begun("define")
            relay.go_deaf(DEFINE)
            names = [f"more-{number}" for number in range(CONDEMNED_PER_HOST + 2)]
            more: dict[str, str | None] = {f"guests/{name}.yaml": _stopped(name) for name in names}
            ground.repository.commit("Add many", more)
            awaited(
                lambda: run.begun("define") == begun + CONDEMNED_PER_HOST or None, "calls under way"
            )
            machine.ahead += timedelta(hours=2)  # longer than any such call may take
            run.wait_for(EventKind.HOST_SILENT, after=told)
            [silent] = [one.text for one in run.told[told:] if one.kind is EventKind.HOST_SILENT]
            assert (
                silent == "4 calls to it were given up and have not returned; restart its libvirtd"
            )
            run.wait_for_reason(names[0], Reason.GUEST_UNKNOWN)
            assert run.begun("define") == begun + CONDEMNED_PER_HOST
            assert threading.active_count() <= threads + CONDEMNED_PER_HOST

            relay.cut()
            awaited(lambda: {"one", *names} <= set(ground.stored()) or None, "all of them")
            run.wait_until_done()
            awaited(lambda: threading.active_count() <= threads or None, "threads that have ended")
        assert not [one for one in run.told if one.kind is EventKind.TROUBLE]


def test_guests_that_obey_nobody_and_a_clock_that_jumps(tmp_path: Path) -> None:
    """A deaf guest is never destroyed unasked; one that crashes on and on is left; time is kept."""
    machine = Machine()
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.clock, ground.poll_s = Clock(machine=machine), 2
        deaf = _plain("deaf").replace("quiet", "quiet lab.deaf=1")
        waits = deaf + "  state: stopped\n  shutdown: {timeout: 2s}\n"
        frail = _plain("frail")
        ground.repository.commit(
            "Begin",
            {
                "guests/deaf.yaml": deaf,
                "guests/frail.yaml": frail,
                "guests/old.yaml": _stopped("old"),
            },
        )
        policy = Policy(crash_limit=3, crash_backoff_s=1)
        with running(ground, policy) as run:
            number = run.wait_until_it_runs("frail")
            for _ in range(policy.crash_limit - 1):
                run.wait_until_done()
                kill_guest(ground, "frail")
                number = run.wait_until_it_runs("frail", but_not=number)
            run.wait_until_done()
            kill_guest(ground, "frail")
            run.wait_for_reason("frail", Reason.CRASH_LOOP, "it crashed 3 times")

            run.wait_until_it_runs("deaf")
            ground.repository.commit("Stop it", {"guests/deaf.yaml": waits})
            run.wait_for_reason("deaf", Reason.IGNORES_SHUTDOWN)
            assert "deaf" in ground.running()
            destroys = waits.replace("timeout: 2s", "timeout: 2s, then: destroy")
            ground.repository.commit("Stop it by force", {"guests/deaf.yaml": destroys})
            awaited(lambda: "deaf" not in ground.running() or None, "its end")

            ground.repository.commit("Delete it", {"guests/old.yaml": None})
            awaited(lambda: "trash" in ground.stored()["old"] or None, "old in the trash")
            machine.ahead += timedelta(days=365)
            passes = run.opened.latest.sight
            awaited(lambda: run.opened.latest.sight is not passes or None, "a pass a year later")
            run.wait_until_done()
            assert "old" in ground.stored()
            assert "old-data.raw" in ground.host.run("ls", "/var/lib/libvirt/images")

            machine.ahead = timedelta()
            run.wait_for_problem("this machine's clock was set back;")
            changed = frail.replace("5s", "1s")  # a commit lets it be tried again
            ground.repository.commit("Try it again", {"guests/frail.yaml": changed})
            number = run.wait_until_it_runs("frail", but_not=number)
            with closing(ground.host.connect()) as connection:
                connection.lookupByName("frail").destroy()
            run.wait_until_it_runs("frail", but_not=number)  # after a wait that it measured


@contextmanager
def on_a_small_disk(ground: Ground, log: Path) -> Iterator[Path]:
    """``domops run`` with its state on a file system that it alone sees; the state from outside."""
    ground.state.mkdir()
    mount = 'mount -t tmpfs -o size=16M tmpfs "$0" && exec "$@"'
    where = ["--repo", str(ground.repository.folder), "--state-dir", str(ground.state)]
    with log.open("wb") as told:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", mount, ground.state, DOMOPS, *where, "run"],
            stderr=told,
            env={**os.environ, "DOMOPS_KERNEL_PREFIXES": "/boot", "DOMOPS_POLL_S": "2"},
        )
    try:
        yield Path(f"/proc/{process.pid}/root{ground.state}")
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)


def fill(file: Path) -> None:
    """Write until nothing more can be written to the disk."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def test_the_state_directory_that_is_full_or_taken_or_spoilt(tmp_path: Path) -> None:
    """Passes go on and say so, and no step begins; a lost journal makes it careful, not blind."""
    log = tmp_path / "log"
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("Add one", {"guests/one.yaml": _stopped("one")})
        with on_a_small_disk(ground, log) as state:
            awaited(lambda: "one" in ground.stored() or None, "the first guest")
            awaited(lambda: '"ready"' in ground.stored()["one"] or None, "the first guest, whole")
            fill(state / "filler")
            ground.repository.commit("Add two", {"guests/two.yaml": _stopped("two")})
            full = "database or disk is full; no step begins until it can"
            awaited(lambda: full in log.read_text() or None, full)
            assert set(ground.stored()) == {"one"}
            (state / "filler").unlink()
            awaited(lambda: "two" in ground.stored() or None, "the second guest, by itself")
        assert log.read_text().count(full) == 1

        # What was on that disk is gone: the journal begins anew.
        with running(ground) as run:
            with (
                pytest.raises(RefusedError, match="another domops controller"),
                ground.controller(),
            ):
                pass
            run.wait_until_done()
            assert ground.writes == 0
        (ground.state / JOURNAL_FILE).write_bytes(b"this is no database" * 1000)
        with running(ground) as run:
            run.wait_until_done()
            assert ground.writes == 0
            kinds = [one.kind for one in run.opened.journal.events(limit=100)]
            assert kinds.count(EventKind.JOURNAL_LOST) == 1
        assert set(ground.stored()) == {"one", "two"}
