"""``kill -9`` around any call: the next start understands the world and finishes (promise 7)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.journal.records import EventKind
from reconciler.model.observed import RunState
from tests.unit.controller.stage import guest_yaml
from tests.unit.controller.victim import WORLD, raised

if TYPE_CHECKING:
    from tests.unit.controller.stage import Stage

CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize("lost", [False, True], ids=["with-state", "state-lost"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_killed_controller_is_understood_by_the_next(
    stage: Stage, number: int, when: str, *, lost: bool
) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    kill_at(stage, number, when)
    if lost:
        shutil.rmtree(stage.state)
    stage.hosts["a"] = raised(stage.root / WORLD)
    with stage.open() as opened:
        ended = stage.converge(opened)
        assert opened.journal.open_intents() == ()
        endings = [
            event.text
            for event in opened.journal.events(limit=1000)
            if event.kind is EventKind.STEP_ENDED
        ]
    assert ended.complete
    assert any("interrupted" in text for text in endings) is not lost
    host = stage.hosts["a"]
    assert list(host.guests()) == ["web"]
    assert host.guests()["web"].state is RunState.RUNNING
    [volumes] = [pool.volumes for pool in host.memory._host.pools.values()]
    assert list(volumes) == ["web-root.raw"]
    before = stage.writes()
    stage.apply()
    assert stage.writes() == before


def kill_at(stage: Stage, number: int, when: str) -> None:
    command = [sys.executable, "-m", "tests.unit.controller.victim"]
    with subprocess.Popen(
        [*command, str(stage.root), str(number), when],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as victim:
        assert victim.stdout is not None
        said = victim.stdout.readline().strip()
        victim.kill()
    assert said == "HERE"
