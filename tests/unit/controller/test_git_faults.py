"""Faults of git: whatever happens to the repository, what is in force stays, and is healed."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from reconciler import bootstrap
from reconciler.controller.following import release_of
from reconciler.journal.records import EventKind
from reconciler.model.names import Sha
from reconciler.model.observed import RunState, StateReason
from tests.unit.controller.stage import guest_yaml
from tests.unit.source.workshop import eventually, git, git_daemon

if TYPE_CHECKING:
    from reconciler.bootstrap import Opened
    from reconciler.controller.results import PassResult
    from tests.unit.controller.stage import Stage


def _in_force_with_web(stage: Stage) -> str:
    """The stage reached by a URL, with web in force."""
    stage.begin("a")
    stage.address = stage.repository.as_uri()
    sha = stage.commit("Add web", guests_web=guest_yaml("web"))
    assert stage.apply().complete
    return sha


def _crash(stage: Stage) -> None:
    host = stage.hosts["a"]
    host.memory.stage_stop(host.guests()["web"].uuid, StateReason.CRASHED)


def _is_healed(stage: Stage, opened: Opened) -> bool:
    opened.controller._rooms.observer.note(["a"])

    def runs() -> bool:
        opened.controller._rooms.observer.note(opened.wakeups.take(0.01))
        opened.controller.pass_once(kept=True)
        return stage.hosts["a"].guests()["web"].state is RunState.RUNNING

    return eventually(runs)


def _in_force(result: PassResult) -> str | None:
    return result.world.commit.sha if result.world else None


def test_a_remote_that_is_away_is_told_once_and_heard_when_it_is_back(stage: Stage) -> None:
    good = _in_force_with_web(stage)
    stage.fetch_s = 5
    away = stage.root / "away"
    with stage.open() as opened:
        told = len(opened.journal.events(limit=1000))
        passes = [opened.controller.pass_once(kept=True)]

        def look() -> PassResult:
            passes.append(opened.controller.pass_once(kept=True))
            return passes[-1]

        stage.repository.rename(away)
        assert eventually(lambda: any("was not fetched" in one for one in look().problems))
        _crash(stage)
        assert _is_healed(stage, opened)
        known = [one.standing.read_at for one in passes if one.standing]
        assert None not in known
        assert len(set(known)) == 1  # the age of what is known grows
        away.rename(stage.repository)
        new = stage.commit("Add mail", guests_mail=guest_yaml("mail"))
        assert eventually(lambda: _in_force(look()) == new)
        assert {_in_force(one) for one in passes} == {good, new}
        assert look().problems == ()
        events = opened.journal.events(limit=1000)[told:]
    assert [one.kind for one in events].count(EventKind.SOURCE_FAILED) == 1


def test_a_remote_that_says_nothing_delays_no_guest(stage: Stage) -> None:
    """It takes the connection and keeps it: git waits, and nobody else does."""
    stage.begin("a")
    stage.patience_s = 0.5
    good = stage.commit("Add web", guests_web=guest_yaml("web"))
    with git_daemon(stage.root) as url:
        stage.address = f"{url}/repository/.git"
        assert stage.apply().complete
    port = int(url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)) as silent, stage.open() as opened:
        silent.settimeout(20)
        first = opened.controller.pass_once(kept=True)
        assert _in_force(first) == good
        with silent.accept()[0] as caught:
            _crash(stage)
            assert _is_healed(stage, opened)
            assert caught.fileno() >= 0  # git still waits for us


def test_a_branch_that_is_deleted_at_the_remote_changes_nothing(stage: Stage) -> None:
    good = _in_force_with_web(stage)
    stage.git("branch", "--move", "main", "trunk")
    before = stage.writes()
    ended = stage.apply()
    assert _in_force(ended.last) == good
    assert any("has no ref refs/heads/main" in one for one in ended.last.problems)
    assert stage.writes() == before


def test_a_push_by_force_to_the_remote_is_held(stage: Stage) -> None:
    """The old commit is kept in our copy, so that a restart finds it, until it is let go."""
    good = _in_force_with_web(stage)
    stage.git("reset", "--quiet", "--hard", "HEAD~1")
    forced = stage.commit("Another past", guests_mail=guest_yaml("mail"))
    stage.git("reflog", "expire", "--expire=now", "--all")
    stage.git("gc", "--quiet", "--prune=now")
    for _ in range(2):
        assert _in_force(stage.apply().last) == good
    assert stage.where("mail") == []
    bootstrap.approve(stage.settings(), release_of(Sha(good), Sha(forced)), who="root")
    ended = stage.apply()
    assert _in_force(ended.last) == forced
    assert stage.where("mail") == ["a"]


def test_a_copy_of_the_remote_that_is_damaged_is_made_anew(stage: Stage) -> None:
    good = _in_force_with_web(stage)
    (mirror,) = (stage.state / "repositories").iterdir()
    for part in ("objects", "refs"):
        shutil.rmtree(mirror / part)
    before = stage.writes()
    damaged = stage.apply()
    assert damaged.last.world is None
    assert damaged.last.problems
    assert stage.writes() == before
    ended = stage.apply()
    assert _in_force(ended.last) == good
    assert ended.last.problems == ()
    assert stage.writes() == before


def test_a_shallow_clone_that_moves_on_is_held_for_a_person(stage: Stage) -> None:
    """Whether its commit was built on the one in force cannot be told."""
    stage.begin("a")
    origin = stage.root / "origin"
    stage.repository.rename(origin)
    git(stage.root, "clone", "--quiet", "--depth=1", origin.as_uri(), str(stage.repository))
    good = git(stage.repository, "rev-parse", "HEAD")
    assert stage.apply().complete
    for number in range(3):
        git(origin, "commit", "--quiet", "--allow-empty", f"--message={number}")
    stage.git("fetch", "--quiet", "--depth=1", "origin", "main")
    stage.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    ended = stage.apply()
    assert _in_force(ended.last) == good
    assert any("shallow clone" in one for one in ended.last.problems)
