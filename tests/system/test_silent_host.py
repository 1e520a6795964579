"""What may be on a silent host is neither made nor started anywhere else, whatever else is lost.

The real control loop over a real git repository; the hosts live in memory, because only there can a
guest be looked at whose host says nothing.
"""

import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from reconciler.model.names import GuestName
from reconciler.model.observed import ObservedGuest, ObservedHost, RunState, StateReason
from reconciler.model.plan import PlannedStep, Reason
from tests.unit.controller.stage import Stage, guest_yaml, host_yaml

# Not marked as a system test: it needs no hypervisor.
HOSTS = ("a", "b", "c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is lost besides the host's voice."""

    state: bool
    manifest: bool

    def __str__(self) -> str:
        state = "state-deleted" if self.state else "state-kept"
        manifest = "manifest-deleted" if self.manifest else "manifest-kept"
        return f"{state},{manifest}"

    def happen(self, stage: Stage, home: str) -> None:
        """Delete what is lost; the state goes last, so that nobody saw the manifest go."""
        if self.manifest:
            stage.commit("Drop the host", **{f"hosts_{home}": None})
        if self.state:
            shutil.rmtree(stage.state)


EVERY_LOSS = [
    Loss(state=state, manifest=manifest)
    for state, manifest in itertools.product((False, True), repeat=2)
]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Three hosts, and web running on one of them."""
    stage = Stage(root=tmp_path)
    stage.begin(*HOSTS)
    stage.commit("Add web", guests_web=guest_yaml("web"))
    assert stage.apply().complete
    [home] = stage.where("web")
    assert stage.hosts[home].guests()["web"].state is RunState.RUNNING
    return stage


def _silence(stage: Stage) -> tuple[str, list[str]]:
    """Let the host of web go silent; its name and the names of those that still answer."""
    [home] = stage.where("web")
    stage.hosts[home].memory.stage_silence("the cable is out")
    return home, [name for name in HOSTS if name != home]


def _planned(stage: Stage) -> tuple[PlannedStep, ...]:
    """Apply, then the steps of one more pass by a controller that knows only the state."""
    stage.apply()
    with stage.open() as opened:
        plan = opened.controller.pass_once(enforce=True).plan
    assert plan is not None
    return plan.steps


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_nothing_is_made_elsewhere_while_the_host_is_silent(stage: Stage, loss: Loss) -> None:
    """No step, and no writing call at a host that answers."""
    home, others = _silence(stage)
    loss.happen(stage, home)
    before = stage.writes()
    assert _planned(stage) == ()
    assert stage.writes() == before
    assert all("web" not in stage.hosts[name].guests() for name in others)


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_a_stopped_copy_elsewhere_stays_off_while_the_host_is_silent(
    stage: Stage, loss: Loss
) -> None:
    """A definition with our mark on a host that answers: the silent one may still run the guest."""
    home, others = _silence(stage)
    running = stage.hosts[home].guests()["web"]
    copy = replace(running, state=RunState.SHUT_OFF, reason=StateReason.SHUT_DOWN, live=None)
    _stage_guest(stage, others[0], copy)
    loss.happen(stage, home)
    before = stage.writes()
    assert _planned(stage) == ()
    assert stage.writes() == before
    assert stage.hosts[others[0]].guests()["web"] == copy


@pytest.mark.parametrize("loss", EVERY_LOSS, ids=str)
def test_a_host_that_answers_again_keeps_its_guest(stage: Stage, loss: Loss) -> None:
    """After the silence the guest is where it was, as it was, and nothing needs to be done."""
    home, _ = _silence(stage)
    was = stage.hosts[home].guests()["web"]
    loss.happen(stage, home)
    stage.apply()
    if loss.manifest:
        stage.commit("Bring the host back", **{f"hosts_{home}": host_yaml(home)})
    stage.hosts[home].memory.stage_silence(None)
    before = stage.writes()
    assert _planned(stage) == ()
    assert stage.writes() == before
    assert stage.where("web") == [home]
    assert stage.hosts[home].guests()["web"] == was


@pytest.mark.parametrize("state_deleted", [False, True], ids=["state-kept", "state-deleted"])
def test_a_host_declared_gone_in_git_holds_nothing_back(
    stage: Stage, *, state_deleted: bool
) -> None:
    """What shows that it is the silence that held it: declared retired, its guest is made anew."""
    home, others = _silence(stage)
    stage.commit("It burnt down", **{f"hosts_{home}": host_yaml(home, state="retired")})
    stage.commit("Drop it", **{f"hosts_{home}": None})
    if state_deleted:
        shutil.rmtree(stage.state)
    stage.apply()
    assert [name for name in others if "web" in stage.hosts[name].guests()]


@pytest.mark.parametrize("state_deleted", [False, True], ids=["state-kept", "state-deleted"])
def test_a_fenced_host_that_answers_again_is_shown_and_left_as_it_is(
    stage: Stage, *, state_deleted: bool
) -> None:
    """Its guest lives elsewhere by then: a leftover if it is off, a conflict if it runs."""
    home, others = _silence(stage)
    was = stage.hosts[home].guests()["web"]
    stage.commit("Power cut by hand: fan is dead", **{f"hosts_{home}": _fenced(home)})
    if state_deleted:
        shutil.rmtree(stage.state)
    stage.apply()
    [new] = [name for name in others if "web" in stage.hosts[name].guests()]
    assert stage.hosts[new].guests()["web"].active

    stage.hosts[home].memory.stage_stop(was.uuid, StateReason.UNKNOWN)
    stage.hosts[home].memory.stage_silence(None)
    before = stage.writes()
    assert _planned(stage) == ()
    assert stage.writes() == before
    assert not stage.hosts[home].guests()["web"].active
    with stage.open() as opened:
        plan = opened.controller.pass_once(enforce=True).plan
        assert plan is not None
        assert [(one.host, one.name) for one in plan.foreign] == [(home, "web")]

    _stage_guest(stage, home, was)
    assert _planned(stage) == ()
    assert stage.writes() == before
    with stage.open() as opened:
        plan = opened.controller.pass_once(enforce=True).plan
    assert plan is not None
    [change] = plan.statuses[GuestName("web")].changes
    assert change.reason is Reason.CONFLICT


def _fenced(name: str) -> str:
    return host_yaml(name, state="fenced")


def _stage_guest(stage: Stage, name: str, guest: ObservedGuest) -> None:
    """Let somebody put a guest on a host by hand."""

    def with_guest(host: ObservedHost) -> ObservedHost:
        return replace(host, guests={**host.guests, guest.uuid: guest})

    stage.hosts[name].memory.stage(with_guest)
