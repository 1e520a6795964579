"""What a slip of the hand takes out of the desired world is held, whatever the slip was.

domops has no ignore file: what one that suddenly matches would do, files do that lose their ending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.model.mark import Phase
from reconciler.model.observed import RunState, StateReason
from tests.unit.controller.stage import (
    AROUND_YAML,
    REPOSITORY_YAML,
    guest_yaml,
    host_yaml,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.controller.results import PassResult
    from reconciler.model.plan import Held
    from tests.unit.controller.stage import Stage

TEN = tuple(f"g{number}" for number in range(10))


def _ten(stage: Stage) -> None:
    """Ten guests that run, all in one folder; g9 is protected."""
    stage.begin("a")
    heals = "  heal: {after: 0s}\n"
    files = {f"guests_{name}": guest_yaml(name, memory="256MiB") + heals for name in TEN}
    files["guests_g9"] += "  protect: true\n"
    stage.commit("Ten guests", **files)
    stage.apply()
    assert _running(stage) == set(TEN)


def _running(stage: Stage) -> set[str]:
    guests = stage.hosts["a"].guests().values()
    return {guest.name for guest in guests if guest.state is RunState.RUNNING}


def _binned(stage: Stage) -> set[str]:
    guests = stage.hosts["a"].guests().values()
    return {guest.name for guest in guests if guest.mark and guest.mark.phase is Phase.TRASH}


def _held(result: PassResult) -> tuple[Held, ...]:
    assert result.plan is not None
    assert not result.plan.steps
    return result.plan.held


def _empty_the_folder(stage: Stage) -> None:
    stage.commit("Oops", **{f"guests_{name}": None for name in TEN})


def _take_the_endings(stage: Stage) -> None:
    for name in TEN:
        stage.git("mv", f"guests/{name}.yaml", f"guests/{name}.yaml.orig")
    stage.commit("Oops")


def _follow_another_path(stage: Stage) -> None:
    """A copy of the repository for new hardware stands beside, with the same id and no guests."""
    there = {"domops": REPOSITORY_YAML, "around": AROUND_YAML, "hosts": host_yaml("a")}
    stage.commit("Oops", **{f"new_{name}": text for name, text in there.items()})
    stage.path = "new"


def _follow_another_branch(stage: Stage) -> None:
    stage.git("checkout", "--quiet", "-b", "rebuild")
    _empty_the_folder(stage)
    stage.ref = "rebuild"


MISHAPS = (_empty_the_folder, _take_the_endings, _follow_another_path, _follow_another_branch)


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.__name__.strip("_"))
def test_a_mishap_deletes_nothing_and_an_approval_in_a_later_commit_is_obeyed(
    stage: Stage, mishap: Callable[[Stage], None]
) -> None:
    """All are held together, the protected one by itself; and two commits later it is meant."""
    _ten(stage)
    mishap(stage)
    held = _held(stage.apply().last)
    by_name = {one.protected: one for one in held}
    assert by_name[False].guests == TEN[:-1]
    assert by_name[True].guests == TEN[-1:]
    assert _running(stage) == set(TEN)
    stage.commit("Something else")
    assert [one.plan_id for one in _held(stage.apply().last)] == [one.plan_id for one in held]
    stage.commit(f"It is meant\n\nDomops-Approve: {by_name[False].plan_id}\n")
    assert [one.plan_id for one in _held(stage.apply().last)] == [by_name[True].plan_id]
    assert _binned(stage) == set(TEN[:-1])
    stage.commit(f"That one, too\n\nDomops-Approve: {by_name[True].plan_id}\n")
    assert not _held(stage.apply().last)
    assert _binned(stage) == set(TEN)


def test_a_path_without_a_repository_id_is_no_commit_at_all(stage: Stage) -> None:
    _ten(stage)
    stage.path = "guests"
    before = stage.writes()
    result = stage.apply().last
    assert (result.world, result.plan) == (None, None)
    assert any("domops.yaml" in problem for problem in result.problems)
    assert stage.writes() == before
    assert _running(stage) == set(TEN)


def test_three_deletions_among_ten_guests_are_held_and_the_rest_is_healed(stage: Stage) -> None:
    """The one that crashes is started, and one that changes is changed, while the hold stands."""
    _ten(stage)
    stage.commit("Away with three", guests_g0=None, guests_g1=None, guests_g2=None)
    host = stage.hosts["a"]
    host.memory.stage_stop(host.guests()["g5"].uuid, StateReason.CRASHED)
    more = guest_yaml("g6", memory="512MiB")
    stage.commit("More memory", guests_g6=more)
    (held,) = _held(stage.apply().last)
    assert [str(act) for act in held.acts] == ["delete g0", "delete g1", "delete g2"]
    assert held.message == "budget: 1 deletion in 24 h, 3 asked"
    assert _running(stage) == set(TEN)
    live = host.guests()["g6"].live
    assert live is not None
    assert live.memory.size_kib == 512 * 1024
    stage.commit(f"Yes\n\nDomops-Approve: {held.plan_id}\n")
    assert not _held(stage.apply().last)
    assert _binned(stage) == {"g0", "g1", "g2"}


def test_protection_lifted_and_guest_deleted_in_one_commit_does_not_delete(stage: Stage) -> None:
    """The class says what protects: to change it and delete the guest is one commit."""
    stage.begin("a")
    kind = "apiVersion: domops/v1\nkind: GuestClass\nmetadata: {name: precious}\n"
    guest = guest_yaml("web") + "  class: precious\n"
    stage.commit("A guest", classes=kind + "spec: {protect: true}\n", guests_web=guest)
    stage.apply()
    stage.commit("Oops", classes=kind + "spec: {protect: false}\n", guests_web=None)
    (held,) = _held(stage.apply().last)
    assert held.protected
    beside = {"classes": kind + "spec: {}\n"}
    stage.commit(f"With another change\n\nDomops-Approve: {held.plan_id}\n", **beside)
    assert _held(stage.apply().last) == (held,)
    assert _running(stage) == {"web"}
    stage.commit(f"It may go\n\nDomops-Approve: {held.plan_id}\n")
    assert not _held(stage.apply().last)
    assert _binned(stage) == {"web"}


def test_a_folder_that_is_renamed_below_the_path_changes_nothing(stage: Stage) -> None:
    _ten(stage)
    before = stage.writes()
    (stage.repository / "machines").mkdir()
    stage.git("mv", "guests", "machines/mail")
    stage.commit("Tidy up")
    result = stage.apply().last
    assert result.plan is not None
    assert not result.plan.steps
    assert not any(status.changes for status in result.plan.statuses.values())
    assert not result.plan.held
    assert stage.writes() == before
