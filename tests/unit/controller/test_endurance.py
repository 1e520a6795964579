"""What a controller owes to those who run it for months: order, a stop, a backoff that ends."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.errors import TransientError
from reconciler.journal.records import EventKind
from reconciler.model.observed import RunState
from reconciler.recording.supervisor import Supervisor
from tests.unit.controller.stage import GUEST, guest_yaml
from tests.unit.controller.test_loop import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.controller.stage import Stage


def test_what_a_commit_changes_goes_before_what_a_start_left_to_do(stage: Stage) -> None:
    """Twenty guests are to be made when the commit of the last by name arrives."""
    stage.begin("a")
    flood = [f"g{number:02d}" for number in range(20)]
    stage.commit("Add twenty", **{f"guests_{name}": guest_yaml(name) for name in flood})
    with stage.open() as opened:
        stage.hosts["a"].operating.clear()
        first = opened.controller.pass_once(kept=True)
        assert [one.step.guest for one in first.started] == flood[:4]
        stage.commit("Add zoe", guests_zoe=guest_yaml("zoe"))
        waiting = opened.controller.pass_once(kept=True)
        assert not waiting.started
        stage.hosts["a"].operating.set()
        begun: list[str] = []
        while not begun:
            opened.controller._rooms.observer.note(opened.controller._rooms.wakeups.take(0.05))
            begun = [str(one.step.guest) for one in opened.controller.pass_once(kept=True).started]
        assert begun[0] == "zoe"


def test_a_new_commit_ends_a_backoff(stage: Stage) -> None:
    """Whoever commits has looked at it; waiting out ten minutes would be in the way."""
    stage.begin("a")
    stage.hosts["a"].fails = TransientError("no route")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        for _ in range(4):
            opened.controller.pass_once(kept=True)
            opened.controller._rooms.executor.drain(20)
            opened.controller._rooms.executor.commit_changed()
        opened.controller.pass_once(kept=True)
        opened.controller._rooms.executor.drain(20)
        failure = opened.controller._rooms.executor.failures()[GUEST]
        assert failure.retry_at > opened.clock() + timedelta(seconds=1)
        stage.hosts["a"].fails = None
        stage.commit("Say nothing")
        assert opened.controller.pass_once(kept=True).started


def test_a_controller_that_stops_begins_nothing_more_and_waits_for_its_calls(
    stage: Stage,
) -> None:
    """The call comes back within the grace; the next start goes on from there."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.hosts["a"].operating.clear()
    stop = threading.Event()

    def work() -> None:
        with stage.open() as opened:
            opened.controller.run(stop, stage.events.append)

    thread = threading.Thread(target=work)
    thread.start()
    assert stage.hosts["a"].came.wait(20)
    stop.set()
    threading.Timer(0.2, stage.hosts["a"].operating.set).start()
    thread.join(30)
    assert not thread.is_alive()
    assert len(stage.hosts["a"].done) == 1
    assert stage.apply().complete
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING


def test_a_call_that_outlasts_the_grace_is_understood_by_the_next_start(stage: Stage) -> None:
    """It is not made a second time while it may yet have its effect."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.hosts["a"].operating.clear()
    with stage.open() as opened:
        assert opened.controller.pass_once(kept=True).started
    with stage.open() as opened:
        assert [one.condemned for one in opened.controller._rooms.executor.operations()] == [True]
        stage.hosts["a"].operating.set()
        wait_until(lambda: bool(stage.hosts["a"].done))
        assert stage.converge(opened).complete
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING
    interrupted = [one for one in stage.events if one.kind is EventKind.STEP_ENDED]
    assert "interrupted" in interrupted[0].text


def test_a_manager_that_does_not_listen_is_no_trouble(tmp_path: Path) -> None:
    for address in (None, str(tmp_path / "nobody"), "@nobody-listens"):
        supervisor = Supervisor(address)
        supervisor.ready()
        supervisor.alive()
        supervisor.close()
        supervisor.stopping()
    assert Supervisor.of({"NOTIFY_SOCKET": "vsock:2:1234"})._socket is None
    assert Supervisor.of({})._socket is None
