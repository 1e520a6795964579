"""Suspended beside a controller that runs: nothing under way is known, and nothing comes after."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

from reconciler import bootstrap
from reconciler.journal.records import EventKind
from reconciler.model.observed import RunState, StateReason
from reconciler.model.suspension import Covered, Scope
from tests.unit.controller.stage import guest_yaml
from tests.unit.controller.test_loop import wait_until

if TYPE_CHECKING:
    from tests.unit.controller.stage import Stage

WEB = Covered(scope=Scope.GUEST, name="web")


def _suspend(stage: Stage) -> None:
    with bootstrap.beside(stage.settings()) as beside:
        beside.suspend([WEB], who="anna", why="a backup", until=None)


def _moving(stage: Stage) -> frozenset[Covered]:
    with bootstrap.beside(stage.settings()) as beside:
        return beside.still_moving([WEB])


def _resume(stage: Stage) -> None:
    with bootstrap.beside(stage.settings()) as beside:
        assert beside.resume([WEB], who="anna") == {WEB}


def test_a_running_controller_takes_it_up_says_when_nothing_moves_and_heals_after_it(
    stage: Stage,
) -> None:
    stage.begin("a")
    yaml = guest_yaml("web").replace("  type: hvm\n", "  type: hvm\n  heal: {after: 0s}\n")
    stage.commit("Add web", guests_web=yaml)
    stage.apply()
    host = stage.hosts["a"]
    stop = threading.Event()
    with stage.open() as opened:
        loop = threading.Thread(
            target=opened.controller.run, args=(stop, stage.events.append), daemon=True
        )
        loop.start()
        host.operating.clear()
        stage.commit("Give it more", guests_web=yaml.replace("512MiB", "1GiB"))
        assert host.came.wait(20)
        _suspend(stage)
        assert _moving(stage) == {WEB}, "the step from before is under way"
        host.operating.set()
        wait_until(lambda: not _moving(stage))
        mark = host.guests()["web"].mark
        assert mark is not None
        assert [one.who for one in mark.suspended] == ["anna"]
        done = len(host.done)
        host.memory.stage_stop(host.guests()["web"].uuid, StateReason.DESTROYED)
        asked = host.looks
        opened.wakeups.put("web")
        wait_until(lambda: host.looks > asked)
        assert host.guests()["web"].state is RunState.SHUT_OFF
        assert len(host.done) == done
        _resume(stage)
        wait_until(lambda: host.guests()["web"].state is RunState.RUNNING)
        stop.set()
        loop.join(20)
        kinds = [event.kind for event in opened.journal.events(limit=500)]
    assert EventKind.SUSPENDED in kinds
    assert EventKind.RESUMED in kinds


def test_without_a_controller_nothing_is_under_way_and_the_next_one_knows(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    _suspend(stage)
    assert not _moving(stage)
    stage.apply()
    assert not stage.where("web")
    _resume(stage)
    stage.apply()
    assert stage.where("web") == ["a"]


def test_a_guest_stays_suspended_when_the_state_is_gone(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    _suspend(stage)
    stage.apply()
    shutil.rmtree(stage.state)
    stage.commit("Stop it", guests_web=guest_yaml("web") + "  state: stopped\n")
    stage.apply()
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING
    with bootstrap.beside(stage.settings()) as beside:
        assert not beside.resume([WEB], who="anna"), "nothing is known of it, but it counts"
    stage.apply()
    assert stage.hosts["a"].guests()["web"].state is RunState.SHUT_OFF
