"""What the hosts said is kept: a pass asks whom it must, and nobody else."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.controller.fresh import plan_on_fresh_words
from reconciler.controller.observing import Observation, Observer, Waits
from reconciler.controller.results import Look
from reconciler.model.desired import DesiredHost, HostRole, HostState
from reconciler.model.names import HostName, PoolName
from reconciler.model.observed import ObservedHost, RunState, SilentHost, StateReason
from reconciler.model.plan import Reason
from tests.strategies.worlds import ORIGIN, START
from tests.unit.controller.stage import GUEST, Stage, guest_yaml, in_memory
from tests.unit.controller.test_loop import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.bootstrap import Opened
    from reconciler.controller.results import PassResult


def settled(opened: Opened, stage: Stage) -> PassResult:
    """Passes on kept answers until one asks nobody and begins nothing."""
    for _ in range(50):
        before = stage.looks()
        opened.controller._rooms.observer.note(opened.controller._rooms.wakeups.take(0.05))
        result = opened.controller.pass_once(kept=True)
        if stage.looks() == before and not result.started and _all_at_rest(opened):
            return result
    message = "no end"
    raise AssertionError(message)


def _all_at_rest(opened: Opened) -> bool:
    """Whether no host is being asked because of an event, or has said what nobody took."""
    askers = [asker for _, asker in opened.controller._rooms.observer._askers.values()]
    return not any(asker.asked or asker.has_answer for asker in askers)


@pytest.fixture
def running(stage: Stage) -> Iterator[Opened]:
    """Two hosts, and web running on one of them; the controller has nothing to do."""
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        settled(opened, stage)
        assert [stage.hosts[name].guests()["web"].state for name in stage.where("web")] == [
            RunState.RUNNING
        ]
        yield opened


def test_a_pass_with_nothing_to_do_asks_no_host(stage: Stage, running: Opened) -> None:
    before = stage.looks()
    result = running.controller.pass_once(kept=True)
    assert stage.looks() == before
    assert result.plan is not None
    assert not result.plan.steps
    assert result.observed is not None
    assert len(result.observed.answered()) == 2
    assert result.look is not None
    assert result.look.fresh == frozenset()


def test_an_event_has_its_host_asked_again_and_no_other(stage: Stage, running: Opened) -> None:
    """Somebody pauses web: it is seen, and what is to be done about it is nothing."""
    [home] = stage.where("web")
    other = "b" if home == "a" else "a"
    web = stage.hosts[home].guests()["web"]
    before = stage.looks()
    stage.hosts[home].memory.stage(
        lambda seen: replace(
            seen, guests={web.uuid: replace(web, state=RunState.PAUSED, reason=StateReason.USER)}
        )
    )
    wait_until(lambda: stage.looks()[home] > before[home])
    result = settled(running, stage)
    assert result.plan is not None
    assert result.plan.statuses[GUEST].changes[-1].reason is Reason.PAUSED
    assert stage.looks()[home] == before[home] + 1
    assert stage.looks()[other] == before[other]


def test_a_start_rests_on_every_host_that_could_have_the_guest(
    stage: Stage, running: Opened
) -> None:
    """One of them hangs now, though it answered a moment ago: nothing is started (promise 1)."""
    [home] = stage.where("web")
    other = "b" if home == "a" else "a"
    stage.hosts[other].memory.stage_silence("the cable is out")
    web = stage.hosts[home].guests()["web"]
    looks = stage.hosts[home].looks
    stage.hosts[home].memory.stage_stop(web.uuid, StateReason.CRASHED)
    wait_until(lambda: stage.hosts[home].looks > looks)
    result = settled(running, stage)
    assert result.observed is not None
    assert isinstance(result.observed.hosts[HostName(other)], SilentHost)
    assert stage.hosts[home].guests()["web"].state is RunState.SHUT_OFF
    stage.hosts[other].memory.stage_silence(None)
    running.controller._rooms.observer.note([other])
    settled(running, stage)
    assert stage.hosts[home].guests()["web"].state is RunState.RUNNING


def test_a_change_to_a_running_guest_asks_its_host_alone(stage: Stage, running: Opened) -> None:
    [home] = stage.where("web")
    other = "b" if home == "a" else "a"
    before = stage.looks()
    stage.commit("More memory", guests_web=guest_yaml("web", memory="1GiB"))
    settled(running, stage)
    live = stage.hosts[home].guests()["web"].live
    assert live is not None
    assert live.memory.size_kib == 1 << 20
    assert stage.looks()[other] == before[other]


def test_a_commits_step_is_planned_once(stage: Stage, running: Opened) -> None:
    """The host of a guest that was in order is asked before the plan, and not because of it."""
    stage.commit("More memory", guests_web=guest_yaml("web", memory="1GiB"))
    look = running.controller.look(kept=True)
    assert isinstance(look, Look)
    assert sorted(look.fresh) == stage.where("web")

    def observe(_: Look, missing: frozenset[HostName]) -> Look:
        message = f"{missing} had to be asked"
        raise AssertionError(message)

    _, planned = plan_on_fresh_words(look, observe)
    assert [type(one.step).__name__ for one in planned.steps] == ["DefineGuest"]


def test_a_commit_that_gives_no_step_is_looked_at_with_all_hosts_asked(
    stage: Stage, running: Opened
) -> None:
    """A person who commits may just have put something right that no event tells of."""
    before = stage.looks()
    stage.commit("Say nothing")
    settled(running, stage)
    assert stage.looks() == {name: count + 1 for name, count in before.items()}


def test_commands_ask_every_host_whatever_is_known(stage: Stage, running: Opened) -> None:
    before = stage.looks()
    running.controller.pass_once()
    assert stage.looks() == {name: count + 1 for name, count in before.items()}


# ------------------------------------------------------------------------------- the observer


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """Say what it shows; no two instants are the same."""
        self.now += timedelta(microseconds=1)
        return self.now


def manifest(name: str) -> DesiredHost:
    """The manifest of a host in memory."""
    return DesiredHost(
        name=HostName(name),
        uri="qemu:///system",
        uuid=None,
        pool=PoolName("main"),
        role=HostRole.PRODUCTION,
        state=HostState.ACTIVE,
        reserve_memory_kib=0,
        reserve_cpus=0,
        labels={},
        origin=ORIGIN,
    )


A, B = manifest("a"), manifest("b")


class Bench:
    """An observer of two hosts in memory."""

    def __init__(self) -> None:
        self.hosts = {name: in_memory(name) for name in ("a", "b")}
        self.clock = Watch()
        self.woken: list[str] = []
        self.observer = Observer(
            host_for=lambda host: self.hosts[host.name],
            clock=self.clock,
            wake=self.woken.append,
            waits=Waits(patience_s=0.1, deadline_s=30, keep_s=60),
        )

    def due(self) -> frozenset[HostName]:
        """Who is to be asked at this instant."""
        return self.observer.due((A, B), self.clock())

    def look(self) -> dict[str, ObservedHost | SilentHost]:
        """Ask who is due."""
        seen = self.observer.observe((A, B), {}, only=self.due())
        return {str(name): what for name, what in seen.world.hosts.items()}


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An observer that has asked both once."""
    bench = Bench()
    bench.look()
    yield bench
    for host in bench.hosts.values():
        host.observing.set()
    bench.observer.close()


def test_an_answer_is_good_until_the_poll(bench: Bench) -> None:
    assert bench.due() == set()
    due = bench.observer.next_due(bench.clock())
    assert due is not None
    bench.clock.now = due - timedelta(seconds=1)
    assert bench.due() == set()
    bench.clock.now = due
    assert bench.due() == {"a", "b"}


def test_a_host_that_was_noted_is_due_once(bench: Bench) -> None:
    bench.observer.note(["b", "some guest"])
    assert bench.due() == {"b"}
    bench.look()
    assert bench.due() == set()


def test_a_silent_host_is_due_again_soon(bench: Bench) -> None:
    bench.hosts["a"].memory.stage_silence("restarting")
    bench.observer.note(["a"])
    assert isinstance(bench.look()["a"], SilentHost)
    assert bench.due() == set()
    bench.hosts["a"].memory.stage_silence(None)
    bench.clock.now += timedelta(seconds=6)
    assert bench.due() == {"a"}
    assert isinstance(bench.look()["a"], ObservedHost)


def test_what_happens_after_a_host_was_asked_is_not_covered_by_a_late_answer(
    bench: Bench,
) -> None:
    """The late answer is taken, and the host asked once more."""
    bench.hosts["a"].observing.clear()
    bench.observer.note(["a"])
    assert isinstance(bench.look()["a"], SilentHost)
    bench.observer.note(["a"])  # something happened after the question
    bench.hosts["a"].observing.set()
    wait_until(lambda: bool(bench.woken))
    looks = bench.hosts["a"].looks
    assert isinstance(bench.look()["a"], ObservedHost)
    assert "a" in bench.woken
    assert bench.due() == {"a"}
    bench.look()
    assert bench.hosts["a"].looks == looks + 1
    assert bench.due() == set()


def test_a_late_answer_that_nothing_happened_after_is_enough(bench: Bench) -> None:
    bench.hosts["a"].observing.clear()
    bench.observer.note(["a"])
    bench.look()
    bench.hosts["a"].observing.set()
    wait_until(lambda: bool(bench.woken))
    looks = bench.hosts["a"].looks
    assert isinstance(bench.look()["a"], ObservedHost)
    assert bench.hosts["a"].looks == looks
    assert bench.due() == set()


def test_a_host_that_hangs_is_waited_for_once(bench: Bench) -> None:
    """Every look in which it still hangs goes on at once without it."""
    bench.hosts["a"].observing.clear()
    bench.observer.note(["a"])
    bench.look()
    waited = threading.Event()
    bench.observer._waits = Waits(patience_s=3600, deadline_s=30, keep_s=60)
    bench.clock.now += timedelta(seconds=6)
    assert bench.due() == {"a"}

    def look() -> None:
        bench.look()
        waited.set()

    threading.Thread(target=look, daemon=True).start()
    assert waited.wait(20)


def happen(bench: Bench, name: str) -> None:
    """Something happens at a host; nothing is different afterwards."""
    bench.hosts[name].memory.stage(lambda seen: seen)


def test_an_event_has_its_host_asked_though_nobody_makes_passes(bench: Bench) -> None:
    """The answer wakes a pass, which takes it and asks nobody."""
    looks = bench.hosts["b"].looks
    happen(bench, "b")
    wait_until(lambda: bool(bench.woken))
    assert bench.due() == {"b"}
    observation = bench.observer.observe((A, B), {}, only=bench.due())
    assert observation.heard == {"b"}
    assert observation.fresh == set()
    assert bench.hosts["b"].looks == looks + 1
    assert bench.due() == set()


def test_who_needs_younger_words_does_not_take_what_an_event_asked_for(bench: Bench) -> None:
    """Else a step could rest on words from before another step's end."""
    looks = bench.hosts["b"].looks
    happen(bench, "b")
    wait_until(lambda: bool(bench.woken))
    now = bench.clock()
    observation = bench.observer.observe((A, B), {}, only={B.name}, anew={B.name})
    assert observation.fresh == {"b"}
    assert observation.asked[B.name] > now
    assert bench.hosts["b"].looks == looks + 2


def test_a_look_asks_behind_the_question_of_an_event(bench: Bench) -> None:
    """It waits for its own answer, and is not told that the host is silent."""
    bench.observer._waits = Waits(patience_s=120, deadline_s=30, keep_s=60)
    gate = bench.hosts["b"]
    looks = gate.looks
    gate.observing.clear()
    happen(bench, "b")
    wait_until(lambda: gate.looks == looks + 1)
    now = bench.clock()
    seen: list[Observation] = []
    looking = threading.Thread(
        target=lambda: seen.append(bench.observer.observe((A, B), {}, only={B.name}))
    )
    looking.start()
    wait_until(lambda: (bench.observer._askers[B.name][1].asked or now) > now)
    gate.observing.set()
    looking.join(120)
    assert seen[0].fresh == {"b"}
    assert seen[0].asked[B.name] > now
    assert gate.looks == looks + 2


def test_events_that_a_question_covers_ask_no_more(bench: Bench) -> None:
    """Three happen while a host is being asked: it is asked once more, after all of them."""
    gate = bench.hosts["b"]
    looks = gate.looks
    gate.observing.clear()
    happen(bench, "b")
    wait_until(lambda: gate.looks == looks + 1)
    for _ in range(3):
        happen(bench, "b")
    gate.observing.set()
    wait_until(lambda: gate.looks == looks + 2)
    bench.observer.close()  # the thread works off what was put before
    wait_until(lambda: not _asks("b"))
    assert gate.looks == looks + 2


def _asks(name: str) -> bool:
    return any(thread.name == f"{name}: observing" for thread in threading.enumerate())


def test_what_has_not_changed_is_the_same_object(bench: Bench) -> None:
    """So that a planner may know it by identity."""
    first = bench.look()["a"]
    bench.observer.note(["a"])
    second = bench.look()["a"]
    assert isinstance(first, ObservedHost)
    assert isinstance(second, ObservedHost)
    assert second is not first
    assert second.pools is first.pools
    assert second.guest_types is first.guest_types


def test_what_a_host_says_that_swallowed_calls_does_not_count(bench: Bench) -> None:
    seen = bench.observer.observe((A, B), {}, lost={A.name: "4 calls have not returned"}).world
    silent = seen.hosts[A.name]
    assert isinstance(silent, SilentHost)
    assert silent.why == "4 calls have not returned"
    assert isinstance(seen.hosts[B.name], ObservedHost)
    assert isinstance(bench.look()["a"], ObservedHost)
