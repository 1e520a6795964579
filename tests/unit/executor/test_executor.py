"""The executor: intent first, never waiting, and ended only when the end was seen."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import pytest

from reconciler.errors import RefusedError, StalledError, TransientError, UnknownOutcomeError
from reconciler.executor.executor import CALLS_PER_HOST, CONDEMNED_PER_HOST, Executor
from reconciler.executor.failures import pause_after
from reconciler.executor.patience import patience_for
from reconciler.executor.running import Running
from reconciler.journal.journal import Journal
from reconciler.journal.records import EventKind
from reconciler.model.definition import DiskFormat
from reconciler.model.desired import Commit, DesiredWorld, HostState
from reconciler.model.mark import Mark, Phase, ShutdownPolicy
from reconciler.model.names import (
    Digest,
    GuestName,
    HostName,
    LibvirtPool,
    Sha,
    SnapshotName,
    VolumeName,
)
from reconciler.model.observed import ObservedHost, ObservedWorld, RunState, SilentHost
from reconciler.model.operation import Progress
from reconciler.model.plan import PlannedStep
from reconciler.model.steps import (
    CreateSnapshot,
    CreateVolume,
    SetAutostart,
    ShutDownGuest,
    StartGuest,
    Step,
)
from tests.strategies.worlds import host_manifest
from tests.unit.controller.stage import REPOSITORY, in_memory
from tests.unit.controller.test_loop import wait_until
from tests.unit.executor.guests import desired_guest, with_guest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.controller.stage import GatedHost

A = HostName("a")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

DESIRED = DesiredWorld(
    repository=REPOSITORY,
    commit=Commit(sha=Sha("1"), author="t", committed_at=NOON, subject="s"),
    hosts={},
    pools={},
    storages={},
    networks={},
    guests={},
)


def uuid_of(guest: str) -> UUID:
    return uuid5(REPOSITORY, guest)


def planned(step: Step) -> PlannedStep:
    return PlannedStep(step=step, pool=None, changes=(), disruptive=False, commit=Sha("1"))


def start(guest: str = "web") -> PlannedStep:
    return planned(StartGuest(host=A, guest=GuestName(guest), uuid=uuid_of(guest)))


def autostart(guest: str = "web", *, on: bool = True) -> PlannedStep:
    return planned(SetAutostart(host=A, guest=GuestName(guest), uuid=uuid_of(guest), on=on))


def shut_down(timeout_s: int = 60) -> PlannedStep:
    web = GuestName("web")
    return planned(ShutDownGuest(host=A, guest=web, uuid=uuid_of(web), timeout_s=timeout_s))


class Bench:
    """One host with guests, an executor, and a clock that a test turns."""

    def __init__(self) -> None:
        self.now = NOON
        self.host: GatedHost = in_memory(A)
        for guest in ("web", *(f"web{number}" for number in range(12))):
            self.host.memory.stage(partial(with_guest, name=guest))
        self.journal = Journal.in_memory()
        self.woken: list[str] = []
        self.executor = self.new_executor()

    def new_executor(self) -> Executor:
        """An executor as a new process would make it."""
        return Executor(
            journal=self.journal,
            host_named=lambda _: self.host,
            clock=self.clock,
            wake=self.woken.append,
        )

    def clock(self) -> datetime:
        """Each instant a little later than the one before."""
        self.now += timedelta(microseconds=1)
        return self.now

    def start(self, *steps: PlannedStep) -> int:
        """Start steps; return how many began."""
        return len(self.executor.start(steps, desired=DESIRED, observed=self.world()))

    def world(self) -> ObservedWorld:
        """What the host says now."""
        return ObservedWorld(hosts={A: self.host.memory.observe()})

    def look(self) -> None:
        """Ask the host now, and let the executor notice the answer."""
        asked = self.clock()
        self.executor.notice(self.world(), {A: asked}, self.clock())

    def settled(self) -> None:
        """Wait for all calls, and look."""
        assert self.executor.drain(20)
        self.look()

    def endings(self) -> list[str]:
        """How steps ended, oldest first."""
        events = self.journal.events(limit=1000)
        return [event.text for event in events if event.kind is EventKind.STEP_ENDED]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.host.operating.set()
    made.executor.close(20)


def test_a_step_ends_when_it_was_seen_and_not_before(bench: Bench) -> None:
    assert bench.start(start()) == 1
    assert bench.executor.drain(20)
    [operation] = bench.executor.operations()
    assert not operation.condemned
    bench.look()
    assert bench.executor.operations() == ()
    assert bench.endings() == ["start: done"]
    assert "web" in bench.woken


def test_an_answer_to_an_older_question_proves_nothing(bench: Bench) -> None:
    """The host was asked before the call returned: what it said may be from before."""
    asked = bench.clock()
    bench.start(start())
    assert bench.executor.drain(20)
    bench.executor.notice(bench.world(), {A: asked}, bench.clock())
    assert len(bench.executor.operations()) == 1


def test_starting_never_waits_for_the_call(bench: Bench) -> None:
    bench.host.operating.clear()
    assert bench.start(start()) == 1
    assert bench.host.came.wait(20)
    assert bench.host.done == []
    assert len(bench.journal.open_intents()) == 1


def test_the_intent_is_written_before_the_call(bench: Bench) -> None:
    """If it cannot be written, the host hears nothing."""
    bench.journal.close()
    with pytest.raises((StalledError, TransientError)):
        bench.start(start())
    assert not bench.host.came.is_set()
    assert bench.executor.operations() == ()


def test_one_guest_has_one_operation(bench: Bench) -> None:
    bench.host.operating.clear()
    assert bench.start(start(), autostart()) == 1
    assert bench.start(autostart()) == 0


def test_one_host_has_a_few_calls_at_once(bench: Bench) -> None:
    bench.host.operating.clear()
    assert bench.start(*(start(f"web{number}") for number in range(12))) == CALLS_PER_HOST


def test_a_call_that_does_not_return_is_condemned_and_binds_its_guest(bench: Bench) -> None:
    """Until it has returned *and* the host was asked after that."""
    bench.host.operating.clear()
    bench.start(start())
    bench.now += timedelta(seconds=patience_for(start().step).call_s)
    bench.look()
    [operation] = bench.executor.operations()
    assert operation.condemned
    bench.look()
    assert bench.start(start()) == 0
    bench.host.operating.set()
    assert bench.host.came.wait(20)
    while not bench.woken:
        threading.Event().wait(0.01)
    [operation] = bench.executor.operations()
    assert operation.condemned
    bench.look()
    assert bench.executor.operations() == ()
    assert bench.endings() == ["start: done: its call came back after it had been given up"]


def test_a_host_that_swallows_calls_gets_no_more(bench: Bench) -> None:
    bench.host.operating.clear()
    for first in range(0, CONDEMNED_PER_HOST, CALLS_PER_HOST):
        names = [f"web{number}" for number in range(first, first + CALLS_PER_HOST)]
        assert bench.start(*(start(name) for name in names)) == CALLS_PER_HOST
        bench.now += timedelta(hours=1)
        bench.look()
    assert bench.start(start("web11")) == 0


def test_a_guest_that_ignores_its_shutdown_is_lost_at_the_deadline(bench: Bench) -> None:
    bench.host.memory.carry_out(start().step)
    bench.host.memory.stage_deaf(uuid_of("web"))
    bench.start(shut_down(timeout_s=60))
    bench.settled()
    assert len(bench.executor.operations()) == 1
    assert bench.executor.next_deadline(bench.now) is not None
    bench.now += timedelta(seconds=61)
    bench.look()
    assert bench.executor.operations() == ()
    [ending] = bench.endings()
    assert ending == "shut down, within 60 s: not reached in time: not reached within 60 s"
    assert bench.executor.failures()[GuestName("web")].count == 1


def test_a_guest_that_was_asked_is_looked_at_often(bench: Bench) -> None:
    """No event may tell that it followed; but one that is overdue on a silent host is no hurry."""
    bench.host.memory.carry_out(start().step)
    bench.host.memory.stage_deaf(uuid_of("web"))
    bench.start(shut_down(timeout_s=60))
    bench.settled()
    due = bench.executor.next_deadline(bench.now)
    assert due is not None
    assert due - bench.now <= timedelta(seconds=2)
    assert bench.executor.next_deadline(bench.now + timedelta(minutes=5)) is None


def test_a_silent_host_keeps_its_operations(bench: Bench) -> None:
    bench.start(start())
    assert bench.executor.drain(20)
    silent = ObservedWorld(hosts={A: SilentHost(name=A, why="gone", since=None)})
    bench.now += timedelta(days=1)
    bench.executor.notice(silent, {}, bench.clock())
    assert len(bench.executor.operations()) == 1


@pytest.mark.parametrize(
    ("error", "stalled", "word"),
    [
        (TransientError("busy"), False, "failed"),
        (StalledError("no such pool"), True, "stalled"),
        (RefusedError("cannot"), True, "refused"),
    ],
)
def test_what_did_not_happen_ends_at_once_and_is_counted(
    bench: Bench, error: Exception, *, stalled: bool, word: str
) -> None:
    guest = GuestName("web")
    bench.host.fails = error
    bench.executor.start([start()], desired=_wanting("web"), observed=bench.world())
    assert bench.executor.drain(20)
    assert bench.executor.operations() == ()
    failure = bench.executor.failures()[guest]
    assert (failure.stalled, failure.count) == (stalled, 1)
    assert bench.endings() == [f"start: {word}: {error}"]


def _wanting(guest: str) -> DesiredWorld:
    return replace(DESIRED, guests={GuestName(guest): desired_guest(guest)})


def test_pauses_double_up_to_a_bound_and_success_forgets_them(bench: Bench) -> None:
    bench.host.fails = TransientError("busy")
    for count in (1, 2, 3):
        assert bench.start(start()) == 1
        assert bench.executor.drain(20)
        assert bench.start(start()) == 0
        assert bench.executor.failures()[GuestName("web")].count == count
        bench.now += pause_after(count)
    assert pause_after(2) == 2 * pause_after(1)
    assert pause_after(10_000) == timedelta(minutes=10)
    bench.host.fails = None
    bench.start(start())
    bench.settled()
    assert bench.executor.failures() == {}


def test_what_stalled_is_tried_again_after_a_commit_or_a_change_of_the_host(bench: Bench) -> None:
    bench.host.fails = StalledError("no such pool")
    desired = _wanting("web")

    def attempt() -> int:
        begun = bench.executor.start([start()], desired=desired, observed=bench.world())
        assert bench.executor.drain(20)
        bench.look()
        bench.now += timedelta(hours=1)
        return len(begun)

    assert [attempt(), attempt()] == [1, 0]
    bench.executor.commit_changed()
    assert [attempt(), attempt()] == [1, 0]
    bench.host.memory.stage(lambda host: replace(host, networks={"made": True}))
    bench.look()
    assert [attempt(), attempt()] == [1, 0]


def test_a_host_that_swallowed_calls_is_lost_until_they_return(bench: Bench) -> None:
    """What it says counts for nothing meanwhile; the reason names the way out."""
    bench.host.operating.clear()
    names = [f"web{number}" for number in range(CONDEMNED_PER_HOST)]
    assert bench.start(*(start(name) for name in names)) == CONDEMNED_PER_HOST
    assert bench.executor.lost() == {}
    bench.now += timedelta(seconds=patience_for(start().step).call_s)
    bench.look()
    assert "restart its libvirtd" in bench.executor.lost()[A]
    bench.host.operating.set()
    wait_until(lambda: bench.executor.lost() == {})
    wait_until(lambda: len(bench.woken) == CONDEMNED_PER_HOST)
    bench.look()
    assert bench.executor.operations() == ()


@pytest.mark.parametrize("error", [UnknownOutcomeError("cut"), ValueError("a defect")])
def test_an_unknown_outcome_binds_the_guest_until_the_host_was_asked(
    bench: Bench, error: Exception
) -> None:
    bench.host.fails = error
    bench.start(start())
    assert bench.executor.drain(20)
    [operation] = bench.executor.operations()
    assert operation.condemned
    bench.look()
    assert bench.executor.operations() == ()
    assert "outcome unknown" in bench.endings()[0]


def test_a_job_on_the_guest_keeps_an_unknown_outcome_unknown(bench: Bench) -> None:
    bench.host.fails = UnknownOutcomeError("cut")
    bench.start(start())
    assert bench.executor.drain(20)
    bench.host.memory.stage(lambda host: _with_job(host, "somebody's"))
    bench.look()
    assert len(bench.executor.operations()) == 1
    bench.host.memory.stage(lambda host: _with_job(host, None))
    bench.look()
    assert bench.executor.operations() == ()


def _with_job(host: ObservedHost, job: str | None) -> ObservedHost:
    guest = replace(host.guests[uuid_of("web")], job=job)
    return replace(host, guests={**host.guests, guest.uuid: guest})


def test_a_dead_controllers_step_is_unknown_until_its_host_answers(bench: Bench) -> None:
    bench.journal.begin(start(), NOON)
    bench.executor = bench.new_executor()
    [operation] = bench.executor.operations()
    assert operation.condemned
    silent = ObservedWorld(hosts={A: SilentHost(name=A, why="gone", since=None)})
    bench.executor.notice(silent, {}, bench.clock())
    assert bench.start(start()) == 0
    bench.look()
    assert bench.executor.operations() == ()
    assert bench.journal.open_intents() == ()
    assert bench.endings()[0].startswith("start: interrupted")


def test_a_step_may_begin_elsewhere_although_one_is_out_on_a_fenced_host(bench: Bench) -> None:
    """The call on the host that was cut off binds nobody, whether it ever comes back or not."""
    bench.journal.begin(elsewhere(start(), HostName("dead")), NOON)
    bench.executor = bench.new_executor()
    fenced = replace(host_manifest(HostName("dead")), state=HostState.FENCED)
    assert bench.executor.start([start()], desired=DESIRED, observed=bench.world()) == ()
    world = replace(DESIRED, hosts={fenced.name: fenced})
    assert bench.executor.start([start()], desired=world, observed=bench.world()) == (start(),)


def elsewhere(one: PlannedStep, host: HostName) -> PlannedStep:
    """The same step on another host."""
    return replace(one, step=replace(one.step, host=host))


def test_a_volume_is_known_to_be_filled_only_after_its_making_returned(bench: Bench) -> None:
    volume = (A, LibvirtPool("guests"), VolumeName("web-root.raw"))
    step = CreateVolume(
        host=A,
        guest=GuestName("web"),
        uuid=uuid_of("web"),
        pool=volume[1],
        volume=volume[2],
        capacity_bytes=1 << 20,
        format=DiskFormat.RAW,
        image=None,
    )
    bench.host.operating.clear()
    bench.start(planned(step))
    assert bench.executor.filled() == frozenset()
    bench.host.operating.set()
    bench.settled()
    assert bench.executor.filled() == {volume}
    assert bench.journal.filled() == {volume}


def test_a_step_without_effect_becomes_a_failure_and_no_hot_loop(bench: Bench) -> None:
    """The host takes it and nothing changes: after a few times, pause."""
    bench.host.memory.stage(_undone)
    for _ in range(3):
        assert bench.start(autostart()) == 1
        assert bench.executor.drain(20)
        bench.host.memory.stage(_undone)
        bench.look()
    assert bench.start(autostart()) == 0
    assert "still not so" in bench.executor.failures()[GuestName("web")].message


def _undone(host: ObservedHost) -> ObservedHost:
    guest = replace(host.guests[uuid_of("web")], autostart=False)
    return replace(host, guests={**host.guests, guest.uuid: guest})


def test_closing_waits_for_calls_and_begins_nothing(bench: Bench) -> None:
    bench.host.operating.clear()
    bench.start(start())
    assert not bench.executor.close(0.05)
    assert bench.start(start("web1")) == 0
    bench.host.operating.set()
    assert bench.executor.close(20)
    assert bench.host.guests()["web"].state is RunState.RUNNING


def test_a_snapshot_that_failed_keeps_back_itself_alone(bench: Bench) -> None:
    """The guest lives without it: its other steps go on, and their success does not revive it."""
    web = GuestName("web")
    mark = Mark(
        owner=REPOSITORY,
        guest=web,
        uuid=uuid_of(web),
        generation=1,
        phase=Phase.READY,
        commit=Sha("1"),
        intent=Digest(""),
        renderer=1,
        shutdown=ShutdownPolicy(),
    )
    snapshot = planned(
        CreateSnapshot(
            host=A,
            guest=web,
            uuid=uuid_of(web),
            name=SnapshotName("one"),
            quiesced=False,
            mark=mark,
        )
    )
    assert bench.start(snapshot) == 1
    bench.settled()
    failure = bench.executor.failures()[web]
    assert failure.optional
    assert bench.start(snapshot) == 0
    assert bench.start(autostart(on=True)) == 1
    bench.settled()
    assert bench.executor.failures() == {web: failure}
    assert bench.start(snapshot) == 0


def test_the_rate_of_a_copy_is_known_from_the_second_look_on_and_does_not_jump() -> None:
    """And is forgotten with the call: what is done has no time left."""
    one = Running(
        number=1,
        planned=start(),
        intent=None,
        began=NOON,
        patience=patience_for(start().step),
        memory_kib=0,
    )
    told = []
    for second, done in enumerate((0, 100, 200, 200)):
        one.came_to(Progress(done_bytes=done, total_bytes=1000), NOON + timedelta(seconds=second))
        progress = one.operation().progress
        assert progress is not None
        told.append((progress.rate_bytes_s, progress.left_s))
    assert told == [(None, None), (100, 9), (100, 8), pytest.approx((70, 800 / 70))]
    one.returned = NOON
    assert one.operation().progress is None
