"""Through the whole house: a file in git becomes a seed, a kill leaves none half, none is told."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from reconciler.model.observed import RunState
from tests.unit.controller.stage import guest_yaml
from tests.unit.controller.test_kill import kill_at
from tests.unit.controller.victim import WORLD, raised

if TYPE_CHECKING:
    from tests.unit.controller.stage import Stage

SECRET = "correct-horse-battery-staple"  # noqa: S105 - what must be found nowhere
USER_DATA = f"#cloud-config\npassword: {SECRET}\n"
TOLD = guest_yaml("web") + "  cloudInit: {userData: {file: web/user-data.yaml}}\n"


def _seeds(stage: Stage) -> list[str]:
    [pool] = stage.hosts["a"].memory._host.pools.values()
    return [name for name in pool.volumes if name.endswith(".iso")]


@pytest.mark.parametrize("lost", [False, True], ids=["with-state", "state-lost"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [3, 4], ids=["create-seed", "define-ready"])
def test_a_killed_controller_leaves_no_seed_half(
    stage: Stage, number: int, when: str, *, lost: bool
) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=TOLD, **{"web_user-data": USER_DATA})
    kill_at(stage, number, when)
    if lost:
        shutil.rmtree(stage.state)
    stage.hosts["a"] = raised(stage.root / WORLD)
    stage.apply()
    [web] = stage.hosts["a"].guests().values()
    assert web.state is RunState.RUNNING
    assert web.mark is not None
    assert web.mark.seed is not None
    assert web.mark.seed.filled
    assert web.live is not None
    assert web.live.disk(web.mark.seed.target) is not None
    assert _seeds(stage) == ["web-cidata.iso"]
    before = stage.writes()
    stage.apply()
    assert stage.writes() == before


def test_what_a_guest_is_told_is_written_down_nowhere(stage: Stage) -> None:
    """Neither in the journal, nor in the status, nor in an event, nor in a mark."""
    stage.begin("a")
    stage.commit("Add web", guests_web=TOLD, **{"web_user-data": USER_DATA})
    stage.apply()
    assert _seeds(stage) == ["web-cidata.iso"]
    files = [path for path in stage.state.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    texts = [event.text for event in stage.events]
    assert any("write seed guests/web-cidata.iso" in text for text in texts)
    assert not any(SECRET in text for text in texts)
    [web] = stage.hosts["a"].guests().values()
    assert SECRET not in repr(web)


def test_a_changed_file_is_a_changed_wish(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=TOLD, **{"web_user-data": USER_DATA})
    stage.apply()
    stage.commit("Say more", **{"web_user-data": USER_DATA + "more: true\n"})
    ended = stage.apply()
    assert ended.last.plan is not None
    [change] = [
        one
        for status in ended.last.plan.statuses.values()
        for one in status.changes
        if one.label.value == "refused"
    ]
    assert change.field == "cloudInit"
    assert SECRET not in f"{change}"


def test_a_commit_whose_file_is_missing_or_huge_leaves_the_last_good_one(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=TOLD, **{"web_user-data": USER_DATA})
    stage.apply()
    stage.commit("Lose it", **{"web_user-data": None})
    assert any('no file "web/user-data.yaml"' in one for one in stage.apply().last.problems)
    stage.commit("Point elsewhere", guests_web=TOLD.replace("user-data.yaml", "user-data"))
    huge = stage.repository / "web" / "user-data"
    huge.write_bytes(b"a" * (5 << 20))
    stage.commit("Say too much")
    assert any("is too large to be read" in one for one in stage.apply().last.problems)
    assert "web" in stage.hosts["a"].guests()
