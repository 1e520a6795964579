"""Examining: a host that hangs keeps nobody waiting, and a bad commit is said first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.controller.checking import examine_state, inspect_all
from reconciler.controller.lease import Lease
from reconciler.model.checkup import Check, Inspection, Judgement
from reconciler.model.names import HostName
from tests.unit.controller.stage import guest_yaml, in_memory

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.controller.stage import Stage


def test_a_host_that_hangs_keeps_no_other_from_answering() -> None:
    sound, hung = in_memory("a"), in_memory("b")
    hung.observing.clear()
    said = inspect_all(
        {HostName("a"): sound, HostName("b"): hung},
        paths={HostName("a"): ["/guests/one"], HostName("b"): []},
        patience_s=0.2,
    )
    hung.observing.set()
    there, late = said[HostName("a")], said[HostName("b")]
    assert isinstance(there, Inspection)
    assert there.files == {"/guests/one": False}
    assert late == "no answer in 0.2 s"


def test_a_host_that_fails_says_why() -> None:
    host = in_memory("a")
    host.memory.stage_silence("connection refused")
    said = inspect_all({HostName("a"): host}, paths={HostName("a"): []}, patience_s=5)
    assert said == {"a": "connection refused"}


def test_a_whole_stage_is_examined_and_nothing_is_written(stage: Stage) -> None:
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.hosts["b"].memory.stage_silence("connection refused")
    with stage.open(writing=False) as opened:
        findings = opened.controller.examine(patience_s=5)
    assert stage.writes() == 0
    problems = {(one.host, one.check) for one in findings if one.judgement is Judgement.PROBLEM}
    assert problems == {("b", Check.ANSWERS)}


@pytest.mark.parametrize("good_before", [True, False])
def test_a_bad_commit_is_a_problem_and_what_is_in_force_is_examined(
    stage: Stage, *, good_before: bool
) -> None:
    stage.begin("a")
    if not good_before:
        stage.commit("Bad from the first", domops="nonsense: [")
    with stage.open(writing=False) as opened:
        if good_before:
            assert opened.controller.examine(patience_s=5)
            stage.commit("Bad", guests_web="kind: Nonsense\n")
        findings = opened.controller.examine(patience_s=5)
    by_check = {one.check: one for one in findings if one.host is None}
    assert by_check[Check.MANIFESTS].judgement is Judgement.PROBLEM
    assert any(one.host == "a" for one in findings) is good_before
    commit = by_check[Check.COMMIT].judgement
    assert commit is (Judgement.OK if good_before else Judgement.PROBLEM)


def test_the_state_directory_and_its_controller_are_examined(tmp_path: Path) -> None:
    def found() -> dict[Check, Judgement]:
        return {one.check: one.judgement for one in examine_state(tmp_path / "state")}

    assert found() == {Check.STATE_DIRECTORY: Judgement.OK, Check.CONTROLLER: Judgement.NOTICE}
    with Lease(tmp_path / "state"):
        assert found()[Check.CONTROLLER] is Judgement.OK
    assert found()[Check.CONTROLLER] is Judgement.NOTICE
