"""End to end over hosts in memory and a real repository: a commit becomes guests."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler import bootstrap
from reconciler.errors import RefusedError
from reconciler.journal.journal import Journal
from reconciler.journal.records import EventKind
from reconciler.model.desired import GuestState
from reconciler.model.names import HostName, PlanId
from reconciler.model.observed import RunState, StateReason
from reconciler.recording.status import STATUS_FILE, read_status
from tests.unit.controller.stage import GUEST, guest_yaml, host_yaml

if TYPE_CHECKING:
    from reconciler.model.observed import ObservedHost
    from tests.unit.controller.stage import Stage


def wait_until(condition: object, *, seconds: float = 20) -> None:
    """Ask until it is so; a test that waits in vain fails here."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        threading.Event().wait(0.01)


def test_a_commit_makes_a_guest_that_runs(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    ended = stage.apply()
    assert ended.complete
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING
    assert not ended.last.problems


def test_a_second_apply_makes_no_writing_call_even_without_the_state(stage: Stage) -> None:
    """Right after the first, after a restart, and after the state directory was deleted."""
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        stage.converge(opened)
        before = stage.writes()
        again = stage.converge(opened)
        assert again.last.plan is not None
        assert not again.last.plan.steps
    stage.apply()
    shutil.rmtree(stage.state)
    stage.apply()
    assert stage.writes() == before


def test_every_step_has_an_event_that_names_commit_and_line(stage: Stage) -> None:
    stage.begin("a")
    sha = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    begun = [event for event in stage.events if event.kind is EventKind.STEP_BEGUN]
    ended = [event for event in stage.events if event.kind is EventKind.STEP_ENDED]
    assert begun
    assert len(begun) == len(ended)
    assert {event.commit for event in begun} == {sha}
    assert all(event.where and event.where.startswith("guests/web.yaml:") for event in begun)


def test_a_bad_commit_leaves_the_last_good_one_in_force(stage: Stage) -> None:
    """Also after a restart, when the good one must be read from git again."""
    stage.begin("a")
    good = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    bad = stage.commit("Break dns", guests_dns="kind: Guest\n", guests_web=None)
    for _ in range(2):
        with stage.open() as opened:
            result = stage.converge(opened).last
            assert result.world is not None
            assert result.world.commit.sha == good
            assert any("guests/dns.yaml" in problem for problem in result.problems)
            assert any(bad[:10] in problem for problem in result.problems)
            refused = [
                one for one in opened.journal.events() if one.kind is EventKind.COMMIT_REFUSED
            ]
            assert refused[-1].commit == bad
    assert "web" in stage.hosts["a"].guests()
    stage.commit("Mend it", guests_dns=guest_yaml("dns"), guests_web=guest_yaml("web"))
    assert not stage.apply().last.problems
    assert {"web", "dns"} <= set(stage.hosts["a"].guests())


def test_a_folder_of_manifests_that_became_a_link_deletes_nothing(stage: Stage) -> None:
    """What stands behind a link is not in the commit, so the commit does not count (promise 2)."""
    stage.begin("a")
    good = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("mv", "guests", "away")
    (stage.repository / "guests").symlink_to("away")
    (stage.repository / "away" / "web.yaml").rename(stage.root / "web.yaml")
    stage.commit("Link the guests")
    result = stage.apply().last
    assert result.world is not None
    assert result.world.commit.sha == good
    assert any("guests" in problem for problem in result.problems)
    assert "web" in stage.hosts["a"].guests()


def test_a_repository_without_a_good_commit_plans_nothing(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Break it", domops="nonsense: [")
    result = stage.apply().last
    assert result.plan is None
    assert result.problems


def test_a_fetch_that_fails_leaves_the_last_good_commit_in_force(stage: Stage) -> None:
    stage.begin("a")
    stage.address = stage.repository.as_uri()
    good = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.repository.rename(stage.root / "elsewhere")
    before = stage.writes()
    result = stage.apply().last
    assert result.world is not None
    assert result.world.commit.sha == good
    assert result.problems
    assert stage.writes() == before


def test_a_ref_that_is_gone_leaves_the_last_good_commit_in_force(stage: Stage) -> None:
    stage.begin("a")
    good = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    stage.git("branch", "--move", "main", "trunk")
    result = stage.apply().last
    assert result.world is not None
    assert result.world.commit.sha == good
    assert any("main" in problem for problem in result.problems)


def test_no_step_begins_while_the_journal_cannot_be_written(stage: Stage) -> None:
    """The disk has become read-only; when it is well again, everything goes on."""
    stage.begin("a")
    with stage.open() as opened:
        stage.converge(opened)
        connection = opened.journal._database._connection
        connection.execute("PRAGMA query_only = ON")
        stage.commit("Add web", guests_web=guest_yaml("web"))
        result = stage.converge(opened).last
        assert result.plan is not None
        assert result.plan.steps
        assert any("no step begins" in problem for problem in result.problems)
        assert stage.writes() == 0
        connection.execute("PRAGMA query_only = OFF")
        assert not stage.converge(opened).last.problems
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING


def test_another_repository_id_is_refused(stage: Stage) -> None:
    """Under another id every guest would be foreign, and all would be made a second time."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    before = stage.writes()
    text = (stage.repository / "domops.yaml").read_text().replace("0d9c1f6e", "1d9c1f6e")
    stage.commit("Change the id", domops=text)
    result = stage.apply().last
    assert any("foreign" in problem for problem in result.problems)
    assert stage.writes() == before


def test_a_silent_host_keeps_its_possible_guests_from_being_made_elsewhere(stage: Stage) -> None:
    """Also when the state is lost, and when the host's manifest is deleted as well."""
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    [home] = stage.where("web")
    other = "b" if home == "a" else "a"
    stage.hosts[home].memory.stage_silence("the cable is out")
    before = stage.hosts[other].writes
    stage.apply()
    shutil.rmtree(stage.state)
    stage.apply()
    stage.commit("Drop the host", **{f"hosts_{home}": None})
    stage.apply()
    shutil.rmtree(stage.state)
    result = stage.apply().last
    assert result.look is not None
    assert result.look.memory.departed
    assert [one.name for one in result.look.memory.departed] == [home]
    assert stage.hosts[other].writes == before
    assert stage.where("web") == [home]


def test_a_guest_that_is_newer_than_the_silence_is_made_on_another_host(stage: Stage) -> None:
    """What proves that a silent host has it not: its first commit is later than its last answer."""
    stage.begin("a", "b")
    with stage.open() as opened:
        stage.converge(opened)
        stage.hosts["a"].memory.stage_silence("the cable is out")
        stage.commit("Add web", guests_web=guest_yaml("web"))
        stage.converge(opened)
    assert stage.where("web") == ["b"]
    assert stage.hosts["b"].guests()["web"].state is RunState.RUNNING


def test_a_guest_that_comes_back_from_the_past_has_no_proof(stage: Stage) -> None:
    """It ran on a host before the journal was lost; the host is silent; nothing is made."""
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    [home] = stage.where("web")
    stage.git("revert", "--no-edit", "HEAD")
    shutil.rmtree(stage.state)
    with stage.open() as opened:
        stage.converge(opened)
        stage.hosts[home].memory.stage_silence("the cable is out")
        stage.git("revert", "--no-edit", "HEAD")
        result = stage.converge(opened).last
    assert result.look is not None
    assert GUEST not in result.look.memory.guests
    assert stage.where("web") == [home]


def test_nothing_is_newborn_before_every_host_has_answered_once(stage: Stage) -> None:
    """The journal began while a host was silent: what is on it is older than the journal."""
    stage.begin("a", "b")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    [home] = stage.where("web")
    stage.git("revert", "--no-edit", "HEAD")
    stage.hosts[home].memory.stage_silence("the cable is out")
    shutil.rmtree(stage.state)
    with stage.open() as opened:
        stage.converge(opened)
        stage.git("revert", "--no-edit", "HEAD")
        result = stage.converge(opened).last
    assert result.look is not None
    assert GUEST not in result.look.memory.guests
    assert stage.where("web") == [home]


def test_an_answer_that_a_proof_could_miss_is_on_disk(stage: Stage) -> None:
    """Else, after a restart, the guest would seem younger than the host's last answer."""
    stage.begin("a", "b")
    with stage.open() as opened:
        stage.converge(opened)
        stage.commit("Add web", guests_web=guest_yaml("web"))
        stage.converge(opened)
    journal = Journal.for_reading(stage.state / bootstrap.JOURNAL_FILE)
    born = journal.histories()[GUEST].first_seen
    assert set(journal.last_complete()) == {"a", "b"}
    assert all(answered > born for answered in journal.last_complete().values())


def test_a_reader_beside_a_controller_sees_its_operations(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        stage.hosts["a"].operating.clear()
        assert opened.controller.pass_once().started
        with stage.open(writing=False) as reader:
            [operation] = reader.controller.pass_once().operations
            assert (operation.guest, operation.condemned) == (GUEST, False)
        stage.hosts["a"].operating.set()
        stage.converge(opened)
    with stage.open(writing=False) as reader:
        assert reader.controller.pass_once().operations == ()


def test_a_retired_host_has_left_for_good(stage: Stage) -> None:
    stage.begin("a", "b")
    stage.apply()
    stage.commit("Retire a", hosts_a=host_yaml("a", state="retired"))
    stage.commit("Drop a", hosts_a=None)
    for _ in range(2):
        result = stage.apply().last
        assert result.look is not None
        assert result.look.memory.departed == ()
        shutil.rmtree(stage.state)


def test_a_host_that_was_renamed_has_not_left(stage: Stage) -> None:
    """The machine answers, under its new name."""
    stage.begin("a", "b")
    stage.apply()
    old = stage.hosts.pop("a")
    old.memory._host = _renamed(old.memory._host, "c")
    old.name = old.memory._host.name
    stage.hosts["c"] = old
    stage.commit("Rename a", hosts_a=None, hosts_c=host_yaml("c"))
    result = stage.apply().last
    assert result.look is not None
    assert result.look.memory.departed == ()


def _renamed(host: ObservedHost, name: str) -> ObservedHost:
    return replace(host, name=HostName(name))


def test_another_machine_in_a_hosts_place_is_unknown(stage: Stage) -> None:
    stage.begin("a", "b")
    stage.apply()
    stage.hosts["a"].memory._host = stage.hosts["b"].memory._host
    result = stage.apply().last
    assert result.observed is not None
    assert "another machine" in getattr(result.observed.hosts[HostName("a")], "why", "")


def test_one_machine_at_two_manifests_is_unknown_at_both(stage: Stage) -> None:
    stage.begin("a", "b")
    stage.hosts["a"].memory._host = _renamed(stage.hosts["b"].memory._host, "a")
    result = stage.apply().last
    assert result.observed is not None
    whys = [getattr(host, "why", "") for host in result.observed.hosts.values()]
    assert len(whys) == 2
    assert all("more than one manifest" in why for why in whys)


def test_a_host_that_hangs_does_not_keep_the_others_waiting(stage: Stage) -> None:
    """It is silent in this pass, is not asked again, and is back when it has come back."""
    stage.begin("a", "b")
    stage.patience_s = 0.2
    with stage.open() as opened:
        stage.converge(opened)
        stage.hosts["a"].observing.clear()
        stage.commit("Add web", guests_web=guest_yaml("web"))
        stage.converge(opened)
        assert stage.where("web") == ["b"]
        stage.hosts["a"].observing.set()
        result = stage.converge(opened).last
        assert result.observed is not None
        assert len(result.observed.answered()) == 2


def test_two_controllers_cannot_share_a_state_directory(stage: Stage) -> None:
    stage.begin("a")
    with stage.open(), pytest.raises(RefusedError, match=r"process \d+"), stage.open():
        pass
    with stage.open():
        pass


def test_looking_leaves_no_trace_and_needs_no_lock(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open(writing=False) as opened:
        result = opened.controller.pass_once()
        assert result.plan is not None
        assert result.plan.steps
        assert not result.started
    assert not stage.state.exists()
    assert stage.writes() == 0
    with stage.open(), stage.open(writing=False) as opened:
        assert opened.controller.pass_once().plan is not None


def test_a_crashed_guest_comes_back_and_the_crash_is_remembered(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        stage.converge(opened)
        guest = stage.hosts["a"].guests()["web"]
        stage.hosts["a"].memory.stage_stop(guest.uuid, StateReason.CRASHED)
        result = stage.converge(opened).last
        assert result.look is not None
        assert len(result.look.memory.crashes[GUEST]) == 1
    assert stage.hosts["a"].guests()["web"].state is RunState.RUNNING


def test_run_sees_a_commit_and_drift_without_being_asked(stage: Stage) -> None:
    """A push wakes it through git's files, a change behind its back through the host's events."""
    stage.begin("a")
    stop = threading.Event()

    def work() -> None:
        with stage.open() as opened:
            opened.controller.run(stop, stage.events.append)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_until(lambda: any(e.kind is EventKind.COMMIT_APPLIED for e in stage.events))
        stage.commit("Add web", guests_web=guest_yaml("web"))
        web = stage.hosts["a"].guests
        wait_until(lambda: "web" in web() and web()["web"].state is RunState.RUNNING)
        stage.hosts["a"].memory.stage_stop(web()["web"].uuid, StateReason.CRASHED)
        wait_until(lambda: web()["web"].state is RunState.RUNNING)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_steps_that_are_not_permitted_do_not_begin(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    with stage.open() as opened:
        ended = stage.converge(opened, permits=lambda _: False)
        assert ended.complete
    assert stage.writes() == 0


def test_the_status_file_says_what_the_pass_found(stage: Stage) -> None:
    stage.begin("a")
    sha = stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    status = read_status(stage.state / STATUS_FILE)
    assert status is not None
    commit, guests = status["commit"], status["guests"]
    assert isinstance(commit, dict)
    assert isinstance(guests, dict)
    assert commit["sha"] == sha
    assert guests["web"]["healthy"] == "yes"


def test_held_deletions_pass_when_approved_by_command_or_by_a_later_commit(stage: Stage) -> None:
    stage.begin("a")
    names = ("web", "dns", "lists")
    stage.commit("Add three", **{f"guests_{name}": guest_yaml(name) for name in names})
    stage.apply()
    stage.commit("Drop two", guests_web=None, guests_dns=None)
    with stage.open() as opened:
        result = stage.converge(opened).last
        assert result.plan is not None
        [held] = result.plan.held
        bootstrap.approve(stage.settings(), PlanId(held.plan_id), who="a tester")
        result = stage.converge(opened).last
        assert result.plan is not None
        assert not result.plan.held
    states = {name: guest.state for name, guest in stage.hosts["a"].guests().items()}
    assert states["web"] is states["dns"] is RunState.SHUT_OFF
    assert states["lists"].value == GuestState.RUNNING.value


def test_the_trailer_of_a_commit_approves(stage: Stage) -> None:
    stage.begin("a")
    stage.commit("Begin", guests_web=guest_yaml("web"))
    stage.commit("Let it through\n\nDomops-Approve: 5d1c-90ab, 77aa-0001\n")
    result = stage.apply().last
    assert result.world is not None
    assert result.world.approvals == {"5d1c-90ab", "77aa-0001"}


def test_the_next_commit_is_read_by_what_it_changes_and_ends_where_a_restart_does(
    stage: Stage,
) -> None:
    """Guests changed, moved, added and taken out, a bad commit between, and a merge."""
    stage.begin("a")
    stage.commit("Add two", guests_web=guest_yaml("web"), guests_dns=guest_yaml("dns"))
    with stage.open(writing=False) as opened:
        worlds = opened.controller._rooms.worlds
        worlds.refresh()
        commits: tuple[dict[str, str | None], ...] = (
            {"guests_web": guest_yaml("web", memory="1GiB")},
            {"guests_dns": None, "moved_dns": guest_yaml("dns")},
            {"guests_bad": "kind: Guest\n", "guests_web": None},
            {"guests_bad": None, "guests_new": guest_yaml("new")},
            {"hosts_b": host_yaml("b")},
        )
        for files in commits:
            stage.commit("Change", **files)
            seen = worlds.refresh()
            with stage.open(writing=False) as other:
                fresh = other.controller._rooms.worlds.refresh()
            assert seen.problems == fresh.problems
            if not fresh.problems:
                assert seen.world == fresh.world
