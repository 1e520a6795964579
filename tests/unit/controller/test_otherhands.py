"""Two controllers: one state directory has room for one, and two directories are noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import RefusedError
from reconciler.journal.records import EventKind
from reconciler.model.observed import RunState, StateReason
from tests.unit.controller.stage import Stage, guest_yaml

if TYPE_CHECKING:
    from reconciler.bootstrap import Opened
    from reconciler.journal.records import Event


def _told(opened: Opened) -> list[Event]:
    events = opened.journal.events(limit=1000)
    return [event for event in events if event.kind is EventKind.OTHER_HAND]


def _forget_own_steps(opened: Opened) -> None:
    """As if they had all ended long before the hosts were last asked."""
    opened.controller._other_hands._touched.clear()


def _another(stage: Stage) -> Stage:
    """A second controller's: the same repository and hosts, and a state directory of its own."""
    root = stage.root / "another"
    root.mkdir()
    return Stage(root=root, hosts=stage.hosts, address=str(stage.repository))


def test_a_state_directory_has_room_for_one_controller(stage: Stage) -> None:
    stage.begin("a")
    with stage.open(), pytest.raises(RefusedError), stage.open():
        pass


def test_another_controller_on_the_same_repository_is_noticed_and_told_once(stage: Stage) -> None:
    """What the other has done stands, since both want the same; who runs them is told."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"), guests_db=guest_yaml("db"))
    other = _another(stage)
    with stage.open() as opened:
        assert stage.converge(opened).last.problems == ()
        _forget_own_steps(opened)
        stage.commit("Change web", guests_web=guest_yaml("web", memory="768MiB"))
        assert other.apply().complete
        before = stage.writes()
        stage.converge(opened)
        last = stage.converge(opened).last
        assert [(one.guest, one.host) for one in _told(opened)] == [("web", "a")]
        assert any("not by this controller" in problem for problem in last.problems)
        assert stage.writes() == before


def test_what_domops_does_itself_is_nobody_elses_hand(stage: Stage) -> None:
    stage.begin("a")
    with stage.open() as opened:
        stage.commit("Add web", guests_web=guest_yaml("web"))
        stage.converge(opened)
        stage.commit("Change web", guests_web=guest_yaml("web", memory="768MiB"))
        stage.converge(opened)
        host = stage.hosts["a"]
        host.memory.stage_stop(host.guests()["web"].uuid, StateReason.CRASHED)
        stage.converge(opened)
        assert host.guests()["web"].state is RunState.RUNNING
        stage.commit("Away with web", guests_web=None)
        stage.converge(opened)
        assert host.guests()["web"].state is RunState.SHUT_OFF
        stage.git("revert", "--no-edit", "HEAD")
        assert stage.converge(opened).last.problems == ()
        assert host.guests()["web"].state is RunState.RUNNING
        assert _told(opened) == []


def test_what_happened_before_we_came_is_not_told(stage: Stage) -> None:
    stage.begin("a")
    other = _another(stage)
    stage.commit("Add web", guests_web=guest_yaml("web"))
    assert other.apply().complete
    with stage.open() as opened:
        assert stage.converge(opened).last.problems == ()
        assert _told(opened) == []
