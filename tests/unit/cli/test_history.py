"""Promise 9: every act has its reason, and one command reads it afterwards.

The real control loop over a real git repository tells a story on hosts in memory; then the chain of
every step that was made is read: commit, file and line, field, step, outcome.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from reconciler.cli.app import app
from reconciler.cli.exits import ExitCode
from reconciler.cli.words import instant
from reconciler.model.names import Digest
from reconciler.model.observed import RunState, StateReason
from tests.unit.cli.worlds import NOW, WIDE
from tests.unit.controller.stage import AROUND_YAML, Stage, guest_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.observed import ObservedGuest

NEVER_RESTARTED = "  update: {restart: never}\n  heal: {after: 0s}\n"


def ask(stage: Stage, *arguments: str) -> str:
    """What a command about the stage prints; it asks no host."""
    where = ["--repo", str(stage.repository), "--state-dir", str(stage.state)]
    done = CliRunner().invoke(app, [*arguments, *where])
    assert done.exit_code == ExitCode.OK, done.output
    return done.stdout


def steps(stage: Stage, *arguments: str) -> list[dict[str, Any]]:
    """The steps that a command tells of to a program."""
    found = json.loads(ask(stage, *arguments, "-n", "1000", "-o", "json"))["steps"]
    assert isinstance(found, list)
    return found


def by_hand(stage: Stage, change: Callable[[ObservedGuest], ObservedGuest]) -> None:
    """Let somebody change web behind domops' back."""
    [home] = stage.where("web")
    web = stage.hosts[home].guests()["web"]
    stage.hosts[home].memory.stage(
        lambda host: replace(host, guests={**host.guests, web.uuid: change(web)})
    )


def _less_live(guest: ObservedGuest) -> ObservedGuest:
    assert guest.live is not None
    return replace(guest, live=_with_less_memory(guest.live))


def _less_stored(guest: ObservedGuest) -> ObservedGuest:
    assert guest.stored is not None
    return replace(
        guest, stored=_with_less_memory(guest.stored), stored_digest=Digest("written by hand")
    )


def _with_less_memory(definition: GuestDefinition) -> GuestDefinition:
    return replace(definition, memory=replace(definition.memory, size_kib=300 * 1024))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Web was made, changed in every way that the stage knows, and at last deleted; only read."""
    stage = Stage(root=tmp_path_factory.mktemp("stage"))
    stage.begin("a")
    web = guest_yaml("web") + NEVER_RESTARTED
    stage.commit("Add web", guests_web=web)
    stage.apply()
    stage.commit("More memory", guests_web=web.replace("512MiB", "1GiB"))
    stage.apply()
    by_hand(stage, _less_live)
    stage.apply()
    by_hand(stage, _less_stored)
    stage.apply()
    two = web.replace("512MiB", "1GiB").replace("cpus: 1", "cpus: 2")
    stage.commit("More processors", guests_web=two)
    stage.apply()
    [home] = stage.where("web")
    uuid = stage.hosts[home].guests()["web"].uuid
    stage.hosts[home].memory.stage_stop(uuid, StateReason.DESTROYED)
    stage.apply()
    assert stage.hosts[home].guests()["web"].state is RunState.RUNNING
    stage.commit(
        "Two at once", guests_web=two.replace("size: 1GiB, storage", "size: 2GiB, storage")
    )
    stage.apply()
    stage.commit("It is not needed any more", guests_web=None)
    stage.apply()
    assert stage.hosts[home].guests()["web"].state is RunState.SHUT_OFF
    return stage


def test_the_chain_of_every_step_can_be_read(stage: Stage) -> None:
    """None is missing, and each names a commit, a line that says so, a field, and its end."""
    told = steps(stage, "why", "web")
    carried_out = [type(step).__name__ for host in stage.hosts.values() for step in host.done]
    assert [step["step"] for step in told] == carried_out
    for step in told:
        assert step["outcome"] == "done"
        assert step["tookSeconds"] >= 0
        assert step["changes"]
        tree = stage.git("ls-tree", "-r", "--name-only", step["commit"]).splitlines()
        for change in step["changes"]:
            if change["where"] is None:
                assert step["file"] == "guests/web.yaml"
                assert step["file"] not in tree
                continue
            path, _, line = change["where"].rpartition(":")
            assert path in tree
            text = stage.git("show", f"{step['commit']}:{path}").splitlines()[int(line) - 1]
            word = change["field"].partition("[")[0].partition(".")[0]
            if word not in ("", "mark", "state", "autostart"):  # these may stand on no line
                assert word in text


def test_each_step_has_its_cause(stage: Stage) -> None:
    """What git asked for, what was put right, and what was healed are told apart."""
    told = [
        (step["cause"], step["step"], step["changes"][0]["field"])
        for step in steps(stage, "why", "web")
        if step["cause"] != "upkeep"
    ]
    made = [one for one in told if one[1] == "CreateVolume"]
    assert made == [("commit", "CreateVolume", "disks[root]")]
    assert ("commit", "DefineGuest", "memory") in told
    assert ("commit", "SetMemory", "memory") in told
    at = told.index(("drift", "SetMemory", "memory"))
    assert told[at + 1] == ("drift", "DefineGuest", "memory")
    # A change that waits for a restart is named where its stored half is written.
    assert ("commit", "DefineGuest", "cpus") in told
    assert ("healing", "StartGuest", "state") in told
    assert ("commit", "GrowDisk", "disks[root].size") in told
    assert ("commit", "ShutDownGuest", "") in told
    assert {cause for cause, _, _ in told} == {"commit", "drift", "healing"}


def test_a_person_reads_it_newest_first(stage: Stage) -> None:
    lines = ask(stage, "why", "web").splitlines()
    assert "shut off -> in the trash" in lines[0]
    assert lines[0].endswith("A Tester  no longer in guests/web.yaml")
    [drift] = [line for line in lines if "drift put right" in line and "set memory" in line]
    head = stage.git("log", "--format=%h", "--abbrev=7", "-1", "--grep", "More memory")
    assert "memory 300 MiB -> 1 GiB" in drift
    assert "set memory to 1 GiB: done in " in drift
    assert f"set by hand on a;  {head} A Tester  guests/web.yaml:8" in drift
    [healed] = [line for line in lines if "healed" in line]
    assert "start: done" in healed


def test_the_past_can_be_asked_by_guest_commit_and_time(stage: Stage) -> None:
    sha = stage.git("log", "--format=%H", "-1", "--grep", "More processors")
    found = json.loads(ask(stage, "history", "--commit", sha[:9], "-o", "json"))
    assert {step["commit"] for step in found["steps"]} == {sha}
    assert {event["kind"] for event in found["events"]} == {"commit-applied"}
    assert [(one["sha"], one["author"]) for one in found["commits"]] == [(sha, "A Tester")]
    assert steps(stage, "history", "other") == []
    assert steps(stage, "history", "--since", "1h") == steps(stage, "history")
    assert steps(stage, "history", "--since", "2999-01-01") == []
    text = ask(stage, "history", "-n", "3")
    assert "commit applied" in text
    assert len(json.loads(ask(stage, "why", "web", "-n", "2", "-o", "json"))["steps"]) == 2


def test_what_was_never_done_is_said(tmp_path: Path) -> None:
    stage = Stage(root=tmp_path)
    stage.begin("a")
    assert "No step for this guest" in ask(stage, "why", "web")
    assert "Nothing of that" in ask(stage, "history")


def test_a_failed_step_says_why_it_failed(tmp_path: Path) -> None:
    """And one that is under way is said to be so."""
    stage = Stage(root=tmp_path)
    stage.begin("a")
    stage.commit("Add web", around=AROUND_YAML, guests_web=guest_yaml("web"))
    stage.hosts["a"].fails = OSError("the disk is full")
    with stage.open() as opened:
        opened.controller.pass_once()
        assert opened.controller._rooms.executor.drain(60)
        opened.controller.pass_once()
        stage.hosts["a"].operating.clear()
        text = ask(stage, "why", "web")
        assert "define (creating): outcome unknown in " in text
        assert "the disk is full" in text
        stage.hosts["a"].operating.set()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5min", 300), ("2h", 7200), ("7d", 604800)]
)
def test_a_span_is_so_long_before_now(text: str, seconds: int) -> None:
    assert (NOW - instant(text, WIDE)).total_seconds() == seconds


def test_an_instant_without_a_zone_is_local() -> None:
    assert instant("2026-03-04T17:30", WIDE) == NOW
    assert instant("2026-03-04T18:30+01:00", WIDE) == NOW
    with pytest.raises(ValueError, match="yesterday"):
        instant("yesterday", WIDE)


def test_a_time_that_cannot_be_read_is_refused() -> None:
    done = CliRunner().invoke(app, ["history", "--since", "yesterday"])
    assert done.exit_code == ExitCode.ERROR
    assert "write 30min, 2h or 7d" in done.stderr
