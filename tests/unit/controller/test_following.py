"""A commit that nobody signed, and one that was not built on what is in force, change nothing."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler import bootstrap
from reconciler.controller.following import release_of
from reconciler.errors import RefusedError
from reconciler.journal.records import Approval, EventKind
from reconciler.model.names import PlanId, Sha
from reconciler.model.observed import RunState, StateReason
from reconciler.source.signatures import SignatureKind
from tests.unit.controller.stage import guest_yaml
from tests.unit.source.keyrings import Keyring, keyring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tests.unit.controller.stage import Stage


@pytest.fixture(scope="module", params=(SignatureKind.SSH, SignatureKind.OPENPGP))
def keys(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyring]:
    with keyring(request.param, tmp_path_factory.mktemp("keys") / "ring") as made:
        yield made


def _in_force_with_web(stage: Stage, keys: Keyring | None = None) -> str:
    stage.begin("a")
    stage.keys = keys
    sha = stage.commit("Add web", guests_web=guest_yaml("web"))
    if keys is not None:
        sha = stage.sign("good")
    assert stage.apply().complete
    assert stage.where("web") == ["a"]
    return sha


@pytest.mark.parametrize("name", ["nobody", "stranger", "expired", "revoked"])
def test_the_last_verified_commit_stays_in_force(stage: Stage, keys: Keyring, name: str) -> None:
    """And is healed all the while; a restart changes nothing of that."""
    verified = _in_force_with_web(stage, keys)
    refused = stage.commit("Away with web", guests_web=None)
    if name != "nobody":
        refused = stage.sign(name)
    for _ in range(2):
        _crash(stage)
        with stage.open() as opened:
            ended = stage.converge(opened)
            assert ended.last.world is not None
            assert ended.last.world.commit.sha == verified
            told = "\n".join(ended.last.problems)
            assert f"commit {refused[:10]} is " in told
            assert f"{verified[:10]} stays in force" in told
        assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING
    refusals = [one for one in stage.events if one.kind is EventKind.COMMIT_REFUSED]
    assert {one.commit for one in refusals} == {refused}
    assert len(refusals) == 1  # nor does a restart tell it again


def test_a_commit_that_is_signed_at_last_counts(stage: Stage, keys: Keyring) -> None:
    _in_force_with_web(stage, keys)
    stage.commit("Add mail", guests_mail=guest_yaml("mail"))
    stage.apply()
    assert stage.where("mail") == []
    stage.git("commit", "--quiet", "--allow-empty", "--message", "Sign it")
    signed = stage.sign("good")
    ended = stage.apply()
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == signed
    assert stage.where("mail") == ["a"]


def test_without_any_verified_commit_nothing_begins(stage: Stage, keys: Keyring) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.keys = keys
    ended = stage.apply()
    assert ended.last.world is None
    assert "is not signed" in "\n".join(ended.last.problems)
    assert stage.writes() == 0


def test_a_commit_from_before_signatures_were_asked_for_does_not_stand(
    stage: Stage, keys: Keyring
) -> None:
    _in_force_with_web(stage)
    stage.keys = keys
    before = stage.writes()
    ended = stage.apply()
    assert ended.last.world is None
    assert stage.writes() == before


def test_a_commit_from_before_that_somebody_signed_who_may_stands(
    stage: Stage, keys: Keyring
) -> None:
    stage.begin("a")
    stage.keys = keys
    stage.commit("Add web", guests_web=guest_yaml("web"))
    signed = stage.sign("good")
    stage.keys = None
    assert stage.apply().complete
    stage.commit("Away with web", guests_web=None)
    stage.keys = keys
    ended = stage.apply()
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == signed
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING


def test_a_commit_that_came_while_nothing_could_be_written_counts_afterwards(
    stage: Stage, keys: Keyring
) -> None:
    _in_force_with_web(stage, keys)
    with stage.open() as opened:
        stage.converge(opened)
        connection = opened.journal._database._connection
        connection.execute("PRAGMA query_only = ON")
        stage.commit("Add mail", guests_mail=guest_yaml("mail"))
        signed = stage.sign("good")
        stage.converge(opened)
        assert stage.where("mail") == []
        connection.execute("PRAGMA query_only = OFF")
        last = stage.converge(opened).last
        assert last.problems == ()
        assert last.world is not None
        assert last.world.commit.sha == signed
    assert stage.where("mail") == ["a"]


def test_with_the_state_lost_an_unsigned_commit_is_still_refused(
    stage: Stage, keys: Keyring
) -> None:
    _in_force_with_web(stage, keys)
    stage.commit("Away with web", guests_web=None)
    shutil.rmtree(stage.state)
    before = stage.writes()
    assert stage.apply().last.world is None
    assert stage.writes() == before


def test_a_folder_is_not_applied_where_signatures_are_asked_for(
    stage: Stage, keys: Keyring, tmp_path: Path
) -> None:
    stage.begin("a")
    stage.keys = keys
    with (
        pytest.raises(RefusedError, match="nobody can have signed it"),
        bootstrap.open_controller(stage.settings(), writing=True, from_folder=tmp_path),
    ):
        pass


# ---------------------------------------------------------------------------------- the past


def test_a_branch_that_was_set_back_is_not_followed_unless_approved(stage: Stage) -> None:
    stage.begin("a")
    old = stage.git("rev-parse", "HEAD")
    web = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("reset", "--quiet", "--hard", old)

    ended = stage.apply()
    release = release_of(Sha(web), Sha(old))
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == web
    assert f"domops approve {release}" in "\n".join(ended.last.problems)
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING

    bootstrap.approve(stage.settings(), release, who="root")
    ended = stage.apply()
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == old
    assert ended.last.problems == ()
    assert stage.hosts["a"].guests()["web"].state is RunState.SHUT_OFF


def test_a_rewritten_commit_cannot_approve_itself(stage: Stage) -> None:
    stage.begin("a")
    web = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("reset", "--quiet", "--hard", "HEAD~1")
    # The id holds the commit's own, so its trailer could at best name another one; try them all.
    trailer = f"Domops-Approve: {release_of(Sha(web), Sha('0' * 40))}"
    rewritten = stage.commit(f"Another past\n\n{trailer}", guests_mail=guest_yaml("mail"))
    on_top = stage.commit(f"Approve\n\nDomops-Approve: {release_of(Sha(web), Sha(rewritten))}")
    ended = stage.apply()
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == web
    assert on_top[:10] in "\n".join(ended.last.problems)
    assert stage.where("mail") == []


def test_an_approval_that_is_a_day_old_does_not_count(stage: Stage) -> None:
    stage.begin("a")
    old = stage.git("rev-parse", "HEAD")
    web = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("reset", "--quiet", "--hard", old)
    with stage.open() as opened:
        given = opened.clock() - timedelta(hours=25)
        opened.journal.approve(_approval(release_of(Sha(web), Sha(old)), given))
        ended = stage.converge(opened)
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == web


def test_a_revert_and_a_merge_are_followed(stage: Stage) -> None:
    _in_force_with_web(stage)
    stage.git("checkout", "--quiet", "-b", "side", "HEAD~1")
    stage.commit("Add mail", guests_mail=guest_yaml("mail"))
    stage.git("checkout", "--quiet", "main")
    stage.git("merge", "--quiet", "--no-ff", "--message", "Merge", "side")
    assert stage.apply().last.problems == ()
    assert stage.where("mail") == ["a"]
    stage.git("revert", "--no-edit", "--mainline", "1", "HEAD")
    assert stage.apply().last.problems == ()
    assert stage.hosts["a"].guests()["mail"].state is RunState.SHUT_OFF


def test_a_plan_for_another_revision_is_looked_at_all_the_same(stage: Stage, keys: Keyring) -> None:
    _in_force_with_web(stage, keys)
    stage.git("checkout", "--quiet", "-b", "topic", "HEAD~1")
    sha = stage.commit("Add mail", guests_mail=guest_yaml("mail"))
    with bootstrap.open_controller(
        stage.settings(), writing=False, revision="topic", host_for=stage.host_for
    ) as opened:
        looked = opened.controller.look()
    assert not looked.problems
    assert looked.world is not None
    assert looked.world.commit.sha == sha


# ----------------------------------------------------------------------- without a journal


def test_with_the_state_lost_the_guests_are_asked_what_was_in_force(stage: Stage) -> None:
    """Promise 1: a lost journal only ever makes domops more careful."""
    stage.begin("a")
    old = stage.git("rev-parse", "HEAD")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    shutil.rmtree(stage.state)
    stage.git("reset", "--quiet", "--hard", old)
    forced = stage.commit("Another past", guests_mail=guest_yaml("mail"))

    before = stage.writes()
    release = release_of(Sha("unknown"), Sha(forced))
    for _ in range(2):  # being asked twice settles nothing
        told = "\n".join(stage.apply().last.problems)
        assert f"commit {forced[:10]} was built on none of the commits" in told
        assert f"domops approve {release}" in told
        assert stage.writes() == before
    assert stage.where("mail") == []

    bootstrap.approve(stage.settings(), release, who="root")
    assert stage.apply().last.problems == ()
    assert stage.where("mail") == ["a"]
    assert stage.hosts["a"].guests()["web"].state is RunState.SHUT_OFF


def test_with_the_state_lost_a_branch_that_is_put_right_goes_through(stage: Stage) -> None:
    """The commit in doubt was never in force, so nothing has to be let go of."""
    stage.begin("a")
    old = stage.git("rev-parse", "HEAD")
    web = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    shutil.rmtree(stage.state)
    stage.git("reset", "--quiet", "--hard", old)
    with stage.open() as opened:
        for _ in range(3):
            look = stage.converge(opened).last.look
            assert look is not None
            assert not look.may_begin
            assert look.standing.refused
        refused = [one for one in stage.events if one.kind is EventKind.COMMIT_REFUSED]
        assert [one.commit for one in refused] == [old]
        stage.git("reset", "--quiet", "--hard", web)
        ended = stage.converge(opened)
    assert ended.last.problems == ()
    assert ended.last.world is not None
    assert ended.last.world.commit.sha == web


def test_with_the_state_lost_one_witness_is_enough(stage: Stage) -> None:
    """After a rewrite that was approved, guests that it left alone still name the old past."""
    stage.begin("a")
    old = stage.git("rev-parse", "HEAD")
    web = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("reset", "--quiet", "--hard", old)
    forced = stage.commit("Both", guests_web=guest_yaml("web"), guests_mail=guest_yaml("mail"))
    bootstrap.approve(stage.settings(), release_of(Sha(web), Sha(forced)), who="root")
    stage.apply()
    assert stage.where("mail") == ["a"]
    shutil.rmtree(stage.state)
    ended = stage.apply()
    assert ended.last.problems == ()
    assert ended.last.look is not None
    assert ended.last.look.may_begin


def _approval(plan_id: PlanId, at: datetime) -> Approval:
    return Approval(plan_id=plan_id, who="root", at=at)


def _crash(stage: Stage) -> None:
    host = stage.hosts["a"]
    host.memory.stage_stop(host.guests()["web"].uuid, StateReason.CRASHED)
