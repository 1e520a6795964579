"""Commands as a person or a script calls them: what they print, and how they end."""

import json
import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from reconciler.cli.app import app, main
from reconciler.cli.examples import EXAMPLES
from reconciler.cli.exits import MEANINGS, ExitCode
from reconciler.cli.failing import guarded
from reconciler.cli.pasts import PastManifest
from reconciler.cli.session import Doors
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.journal.records import Event, EventKind
from reconciler.model.names import GuestName, HostName, Sha
from reconciler.model.steps import ShutDownGuest, StartGuest
from reconciler.model.suspension import Covered, Scope
from reconciler.planner.budget import emptying, plan_id
from tests.mixes.papers import XL_FILES, PaperHost
from tests.strategies.worlds import foreigner, host
from tests.unit.cli.standing import Standing
from tests.unit.cli.worlds import HOSTS, NOW, REPOSITORY, bare, guest, made, silent, wish

DOM0_A = """\
apiVersion: domops/v1
kind: Host
metadata: {name: dom0-a}
spec: {uri: "qemu+tls://dom0-a.example.org/system", pool: main}
"""
ONE = wish(guest("lists"))
LESS = wish(guest("lists", memory="{size: 1GiB, max: 2GiB}"))


def call(standing: Standing, line: str, *, answer: str | None = None) -> Result:
    """Run one command line, without the leading ``domops``."""
    doors = Doors(opener=standing.opener, surveyor=on_paper)
    return CliRunner().invoke(app, shlex.split(line), obj=doors, input=answer)


def on_paper(name: HostName, uri: str) -> PaperHost:
    """A host with two guests that nobody manages, without disks and cards."""
    theirs = [
        replace(one, stored=replace(one.stored, disks=(), nics=()))
        for one in (foreigner("lists", running=False), foreigner("web", running=False))
        if one.stored is not None
    ]
    return PaperHost(host(name, *theirs, xen=uri.startswith("xen:///")))


def test_plan_ends_with_0_when_nothing_is_to_be_done() -> None:
    result = call(Standing(world=ONE, observed=made(ONE)), "plan")
    assert result.exit_code == ExitCode.OK, result.output
    assert "Nothing to do" in result.output


def test_plan_ends_with_1_when_something_is() -> None:
    standing = Standing(world=ONE, observed=bare())
    result = call(standing, "plan")
    assert result.exit_code == ExitCode.DIFFERENCES, result.output
    assert not standing.done
    assert standing.closed == 1
    assert [writing for _, writing, _, _ in standing.opened] == [False]


def test_plan_does_not_end_with_0_when_a_host_is_silent() -> None:
    """No known change is not the same as no change."""
    observed = silent(made(ONE), "dom0-b", "connection refused")
    result = call(Standing(world=ONE, observed=observed), "plan")
    assert result.exit_code == ExitCode.DIFFERENCES, result.output


def test_plan_from_a_folder_and_a_revision_at_once_is_refused() -> None:
    result = call(Standing(world=ONE, observed=bare()), "plan --from . --rev main")
    assert result.exit_code == ExitCode.ERROR
    assert "exclude each other" in result.stderr


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_plan_for_programs_says_what_a_plan_for_people_says(form: str) -> None:
    standing = Standing(world=ONE, observed=bare())
    result = call(standing, f"plan -o {form}")
    document = yaml.safe_load(result.stdout) if form == "yaml" else json.loads(result.stdout)
    assert document["kind"] == "Plan"
    assert document["commit"]["sha"] == ONE.commit.sha
    assert {change["guest"] for change in document["changes"]} == {"lists"}
    assert all(change["fate"] == "now" for change in document["changes"])
    assert [host["answered"] for host in document["hosts"]] == [True, True]


def test_where_to_look_can_be_said_before_or_after_the_command() -> None:
    """What is said after the command wins over what is said before it."""
    standing = Standing(world=ONE, observed=made(ONE))
    call(standing, "--repo /srv/one --ref stable plan --repo /srv/two --state-dir /srv/state")
    where = standing.opened[0][0]
    assert where.repo == "/srv/two"
    assert where.ref == "stable"
    assert where.overrides() == {
        "repository": "/srv/two",
        "ref": "stable",
        "state_dir": "/srv/state",
    }


@pytest.mark.parametrize("what", ["guests", "hosts", "pools"])
def test_lists_come_as_table_json_and_yaml(what: str) -> None:
    standing = Standing(world=ONE, observed=made(ONE))
    table = call(standing, f"get {what}")
    assert table.exit_code == ExitCode.OK
    assert table.stdout.startswith("NAME")
    as_json = json.loads(call(standing, f"get {what} -o json").stdout)
    as_yaml = yaml.safe_load(call(standing, f"get {what} -o yaml").stdout)
    assert as_json["items"]
    assert as_json == as_yaml


def test_every_condition_of_a_guest_has_its_five_parts() -> None:
    standing = Standing(world=LESS, observed=made(ONE))
    document = json.loads(call(standing, "describe guest lists -o json").stdout)
    conditions = document["items"][0]["conditions"]
    assert [one["type"] for one in conditions] == [
        "StoredInSync",
        "LiveInSync",
        "Healthy",
        "Operating",
    ]
    assert all(set(one) == {"type", "status", "reason", "message", "at"} for one in conditions)
    live = conditions[1]
    assert (live["status"], live["reason"]) == ("False", "NeedsRestart")


def test_a_guest_that_is_not_there_is_an_error_with_a_suggestion() -> None:
    result = call(Standing(world=ONE, observed=bare()), "describe guest list")
    assert result.exit_code == ExitCode.ERROR
    assert 'Did you mean "lists"?' in result.stderr


def test_diff_of_one_guest_says_nothing_of_the_others() -> None:
    two = wish(guest("lists"), guest("web"))
    standing = Standing(world=two, observed=made(ONE))
    assert call(standing, "diff lists").exit_code == ExitCode.OK
    result = call(standing, "diff web")
    assert result.exit_code == ExitCode.DIFFERENCES
    assert "lists" not in result.stdout


def test_diff_of_xml_shows_what_would_be_written() -> None:
    """Unified, for one guest or all; nothing, and exit code 0, where nothing would move."""
    standing = Standing(world=wish(guest("lists", memory="2GiB"), guest("web")), observed=made(ONE))
    result = call(standing, "diff --xml")
    assert result.exit_code == ExitCode.DIFFERENCES
    assert "--- lists on dom0-a, as stored\n+++ lists on dom0-a, as 8c2f1e4ad0 wants it\n" in (
        result.stdout
    )
    assert '-  <memory unit="KiB">4194304</memory>' in result.stdout
    assert '+  <memory unit="KiB">2097152</memory>' in result.stdout
    assert "--- /dev/null\n+++ web on dom0-a" in result.stdout
    assert call(standing, "diff lists --xml").stdout in result.stdout
    as_wanted = Standing(world=ONE, observed=made(ONE))
    nothing = call(as_wanted, "diff --xml")
    assert (nothing.exit_code, nothing.stdout) == (ExitCode.OK, "")
    document = json.loads(call(standing, "diff lists --xml -o json").stdout)
    assert document["guests"][0]["diff"][0].startswith("--- lists")
    assert standing.done == []


def test_diff_suggests_the_lines_by_which_drift_would_be_ignored() -> None:
    """Ready to be pasted: with them the guest has no difference, and the drift is told apart."""
    disk = "8GiB"
    drifted = Standing(world=wish(guest("lists", memory="2GiB", disk=disk)), observed=made(ONE))
    result = call(drifted, "diff --suggest-ignore")
    assert result.exit_code == ExitCode.DIFFERENCES
    assert result.stdout == (
        "# guests/lists.yaml:1, below spec: of lists\n"
        "  ignoreDrift: [memory, memory.max]\n"
        "  # disks[root].size cannot be ignored\n"
    )
    line = "  ignoreDrift: [memory, memory.max]\n"
    ignoring = Standing(world=wish(guest("lists", memory="2GiB", more=line)), observed=made(ONE))
    assert "ignoreDrift leaves it as it is" in call(ignoring, "diff").stdout
    [told] = json.loads(call(ignoring, "diff -o json").stdout)["guests"]
    assert [one["field"] for one in told["ignored"]] == ["memory", "memory.max"]
    assert [one["field"] for one in told["changes"]] == ["mark"]  # the commit is to be noted
    suggested = call(ignoring, "diff --suggest-ignore").stdout
    assert "ignoreDrift" not in suggested


def test_events_can_be_asked_for_by_guest_and_number() -> None:
    noted = [
        Event(at=NOW, kind=EventKind.STEP_ENDED, text=f"number {n}", guest=GuestName(name))
        for n, name in enumerate(("lists", "web", "lists"))
    ]
    standing = Standing(world=ONE, observed=bare(), noted=noted)
    result = call(standing, "events lists -n 1 -o json")
    assert [one["text"] for one in json.loads(result.stdout)["items"]] == ["number 2"]


def test_apply_does_nothing_when_nobody_is_there_to_be_asked() -> None:
    """A runner's standard input is no terminal: without --yes that is an error, not a yes."""
    standing = Standing(world=ONE, observed=bare())
    result = call(standing, "apply", answer="y\n")
    assert result.exit_code == ExitCode.ERROR
    assert not standing.done
    assert "--yes" in result.stderr


def test_apply_carries_the_plan_out_and_ends_with_0() -> None:
    standing = Standing(world=ONE, observed=bare())
    result = call(standing, "apply --yes")
    assert result.exit_code == ExitCode.OK, result.output
    assert any(isinstance(step, StartGuest) for step in standing.done)
    assert "StartGuest done" in result.stdout
    assert "Nothing to do" in result.stdout.splitlines()[-1]
    assert [writing for _, writing, _, _ in standing.opened] == [True]


def test_a_second_apply_plans_nothing_and_does_nothing() -> None:
    standing = Standing(world=ONE, observed=bare())
    call(standing, "apply --yes")
    before = list(standing.done)
    result = call(standing, "apply")
    assert result.exit_code == ExitCode.OK
    assert standing.done == before


def test_apply_does_in_a_pool_of_mode_warn_what_run_only_shows() -> None:
    warned = wish(guest("lists"), mode="warn")
    standing = Standing(world=warned, observed=bare())
    assert "domops apply" in call(standing, "plan").stdout
    assert call(standing, "apply --yes").exit_code == ExitCode.OK
    assert standing.done


def test_apply_begins_no_disruptive_step_that_its_preview_did_not_show() -> None:
    """A commit that arrives between the question and the answer may not stop a guest."""
    stopping = wish(guest("lists", more="  state: stopped\n"), guest("web"))
    two = wish(guest("lists"), guest("web"))
    standing = Standing(world=two, observed=made(ONE), surprise=stopping)
    result = call(standing, "apply --yes")
    assert not any(isinstance(step, ShutDownGuest) for step in standing.done)
    assert any(step.guest == "web" for step in standing.done)
    assert result.exit_code == ExitCode.DIFFERENCES


def test_an_apply_that_is_stopped_says_what_was_begun() -> None:
    standing = Standing(world=ONE, observed=bare(), stops_after=1)
    result = call(standing, "apply --yes")
    assert result.exit_code == ExitCode.INTERRUPTED
    assert "still under way: lists" in result.stderr


def test_run_ends_with_0_when_told_to_stop() -> None:
    standing = Standing(world=ONE, observed=bare())
    result = call(standing, "run")
    assert result.exit_code == ExitCode.OK
    assert standing.ran
    assert standing.closed == 1


def held() -> Standing:
    """Two deletions, of which the budget allows one a day."""
    two = wish(guest("lists"), guest("web"))
    return Standing(world=wish(), observed=made(two))


def binned() -> Standing:
    """A guest that was deleted, and is in the trash."""
    standing = Standing(world=wish(), observed=made(wish(), made(ONE)))
    name, text = guest("lists")
    standing.past[GuestName("lists")] = PastManifest(path=name, text=text, commit=Sha("8c2f1e4a07"))
    return standing


def test_the_trash_is_listed_with_what_is_missing_until_it_is_emptied() -> None:
    result = call(binned(), "trash list -o wide")
    assert result.exit_code == ExitCode.OK, result.output
    head, row = result.stdout.splitlines()
    assert head.split()[:4] == ["KIND", "GUEST", "NAME", "HOST"]
    assert row.split()[:2] == ["guest", "lists"]
    assert "0 of 30" in row
    assert "domops trash restore lists" in row
    (item,) = json.loads(call(binned(), "trash list -o json").stdout)["items"]
    assert (item["kind"], item["guest"], item["daysSeen"]) == ("guest", "lists", 0)
    assert item["sizeBytes"] > 0
    empty = call(Standing(world=ONE, observed=made(ONE)), "trash list")
    assert empty.stdout == "The trash is empty.\n"


def test_a_guest_is_restored_through_git_and_nothing_is_written_over(tmp_path: Path) -> None:
    result = call(binned(), "trash restore lists")
    assert result.exit_code == ExitCode.OK, result.output
    assert "name: lists" in result.stdout
    assert "deleted by 8c2f1e4a07" in result.stderr
    for code in (ExitCode.OK, ExitCode.ERROR):
        result = call(binned(), f"trash restore lists --into {tmp_path}")
        assert result.exit_code == code
    assert "not written over" in result.stderr
    written = next(path for path in tmp_path.rglob("*.yaml"))
    assert written.read_text() == guest("lists")[1]
    assert call(binned(), "trash restore never").exit_code == ExitCode.ERROR


def test_emptying_is_asked_for_let_through_and_refused_of_what_is_not_in_the_trash() -> None:
    standing = binned()
    result = call(standing, "trash empty lists --yes")
    assert result.exit_code == ExitCode.OK, result.output
    seen = standing.look().seen(GuestName("lists"))
    assert seen is not None
    assert seen[1].mark is not None
    assert standing.approved == [plan_id([emptying(seen[1].mark)])]
    assert call(binned(), "trash empty lists").exit_code == ExitCode.ERROR
    alive = Standing(world=ONE, observed=made(ONE))
    result = call(alive, "trash empty lists --yes")
    assert result.exit_code == ExitCode.ERROR
    assert "not in the trash" in result.stderr
    assert not alive.approved


def test_approve_takes_the_id_that_the_plan_names() -> None:
    standing = held()
    told = re.search(r"domops approve (\S+),", call(standing, "plan").stdout)
    assert told is not None
    result = call(standing, f"approve {told[1]}")
    assert result.exit_code == ExitCode.OK, result.output
    assert standing.approved == [told[1]]
    assert "lists and web" in result.stdout


def test_what_is_protected_is_let_through_by_a_commit_and_not_by_the_command() -> None:
    """The plan says so beside the id, and so does the command."""
    standing = Standing(world=wish(), observed=made(wish(guest("lists", more="  protect: true\n"))))
    shown = call(standing, "plan").stdout
    told = re.search(r"a commit of its own with\s+\"Domops-Approve: (\S+)\"", shown)
    assert told is not None
    result = call(standing, f"approve {told[1]}")
    assert result.exit_code == ExitCode.ERROR
    assert "git commit --allow-empty" in " ".join(result.stderr.split())
    assert not standing.approved
    described = call(standing, "describe guest lists").stdout
    assert told[1] in described
    [held] = json.loads(call(standing, "plan -o json").stdout)["held"]
    assert (held["class"], held["acts"], held["byCommitOnly"], held["until"]) == (
        "deletion",
        ["delete lists"],
        True,
        None,
    )


def test_approving_what_is_not_held_is_an_error_that_names_what_is() -> None:
    standing = held()
    result = call(standing, "approve 0000-0000-0000")
    assert result.exit_code == ExitCode.ERROR
    assert re.search(r"held now: [0-9a-f]{4}-", result.stderr)
    assert not standing.approved


# ------------------------------------------------------------------------------------- files


def test_what_init_writes_validates_and_is_never_overwritten(tmp_path: Path) -> None:
    standing = Standing(world=ONE, observed=bare())
    folder = tmp_path / "Virtual Machines"
    result = call(standing, f"init '{folder}'")
    assert result.exit_code == ExitCode.OK, result.output
    document = yaml.safe_load((folder / "domops.yaml").read_text())
    assert UUID(document["spec"]["id"]).version == 4
    assert "mode: enforce" in (folder / "pools" / "main.yaml").read_text()
    checked = call(standing, f"validate '{folder}'")
    assert checked.exit_code == ExitCode.OK, checked.output
    before = (folder / "domops.yaml").read_text()
    again = call(standing, f"init '{folder}'")
    assert again.exit_code == ExitCode.ERROR
    assert (folder / "domops.yaml").read_text() == before
    assert not standing.opened


def test_the_first_manifests_that_init_proposes_validate(tmp_path: Path) -> None:
    """They are what a beginner copies; a mistake in them would be the first thing seen."""
    standing = Standing(world=ONE, observed=bare())
    call(standing, f"init {tmp_path}")
    for page in ("hosts", "guests"):
        text = (tmp_path / page / "README.md").read_text()
        found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
        assert found is not None
        (tmp_path / page / "first.yaml").write_text(found[1])
    checked = call(standing, f"validate {tmp_path}")
    assert checked.exit_code == ExitCode.OK, checked.output


@pytest.mark.parametrize("form", ["text", "json", "github", "gitlab"])
def test_validate_ends_with_1_and_names_the_place_of_a_mistake(tmp_path: Path, form: str) -> None:
    standing = Standing(world=ONE, observed=bare())
    call(standing, f"init {tmp_path}")
    pool = tmp_path / "pools" / "main.yaml"
    pool.write_text(pool.read_text().replace("budget:", "budgets:"))
    result = call(standing, f"validate {tmp_path} -o {form}")
    assert result.exit_code == ExitCode.DIFFERENCES
    assert "pools/main.yaml" in result.stdout
    assert "budgets" in result.stdout


@pytest.mark.parametrize("form", ["text", "json", "github", "gitlab"])
def test_validate_tells_a_warning_and_ends_with_0(tmp_path: Path, form: str) -> None:
    (tmp_path / "guests").mkdir()
    emulated = guest("lists", more="    - {name: eth1, network: servers, model: e1000}\n")
    texts = {"domops.yaml": REPOSITORY, "hosts.yaml": HOSTS.replace("MODE", "enforce")}
    for path, text in (*texts.items(), emulated):
        (tmp_path / path).write_text(text)
    result = call(Standing(world=ONE, observed=bare()), f"validate {tmp_path} -o {form}")
    assert result.exit_code == ExitCode.OK, result.output
    assert "guests/lists.yaml" in result.stdout
    assert "e1000 is emulated" in result.stdout


def test_validating_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    code = guarded(lambda: app(["validate", str(tmp_path / "nowhere")], prog_name="domops"))
    assert code == ExitCode.ERROR


def test_the_schemas_that_are_written_are_the_schemas_that_are_shown(tmp_path: Path) -> None:
    standing = Standing(world=ONE, observed=bare())
    shown = json.loads(call(standing, "schema").stdout)
    assert call(standing, f"schema {tmp_path}").exit_code == ExitCode.OK
    assert json.loads((tmp_path / "domops.schema.json").read_text()) == shown


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("kind", [TransientError, StalledError, RefusedError])
def test_an_error_of_ours_is_one_sentence_and_exit_code_2(
    kind: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    standing = Standing(world=ONE, observed=bare(), error=kind("the repository is gone."))
    doors = Doors(opener=standing.opener)
    code = guarded(lambda: app(["plan"], obj=doors, prog_name="domops"))
    told = capfd.readouterr()
    assert code == ExitCode.ERROR
    assert told.err == "domops: the repository is gone.\n"
    assert told.out == ""


def test_a_fault_of_ours_is_one_sentence_that_says_where_the_traceback_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    standing = Standing(world=ONE, observed=bare(), error=ZeroDivisionError("by zero"))
    doors = Doors(opener=standing.opener)
    code = guarded(lambda: app(["plan"], obj=doors, prog_name="domops"))
    told = capfd.readouterr().err
    assert code == ExitCode.ERROR
    assert "Traceback" not in told
    found = re.search(r"the traceback is in (\S+)\.\n", told)
    assert found is not None
    kept = Path(found[1])
    assert "ZeroDivisionError" in kept.read_text()
    kept.unlink()


def test_a_traceback_is_shown_to_whoever_asks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMOPS_DEBUG", "1")
    standing = Standing(world=ONE, observed=bare(), error=ZeroDivisionError("by zero"))
    doors = Doors(opener=standing.opener)
    guarded(lambda: app(["plan"], obj=doors, prog_name="domops"))
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("line", ["plan --nonsense", "get nothing", "describe guest", "nonsense"])
def test_a_wrong_argument_ends_with_2(line: str) -> None:
    assert call(Standing(world=ONE, observed=bare()), line).exit_code == ExitCode.ERROR


def test_the_version_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert re.fullmatch(r"domops \S+\n", capfd.readouterr().out)


# ------------------------------------------------------------------------------------ itself


def commands() -> set[str]:
    """The names of all commands."""
    group = typer.main.get_command(app)
    return set(getattr(group, "commands", {}))


def test_every_command_has_an_example() -> None:
    assert commands() == set(EXAMPLES)


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_the_help_of_every_command_shows_its_examples(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    shown = " ".join(result.output.split())
    for example in EXAMPLES[command]:
        assert example.line in shown


@pytest.mark.parametrize("line", [one.line for examples in EXAMPLES.values() for one in examples])
def test_every_example_works(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, on a small world; what an example needs is put there first."""
    monkeypatch.chdir(tmp_path)
    standing = held() if "approve" in line else Standing(world=ONE, observed=made(ONE))
    words = shlex.split(line)[1:]
    if words[0] == "rollback":
        standing.noted += [in_force("41d07b9a3c" * 4), in_force("8c1f0de2a4" * 4)]
    if words[0] == "trash":
        standing = binned()
    if words[0] == "validate":
        assert call(standing, "init .").exit_code == ExitCode.OK
        commit_all(tmp_path)
    if words[0] == "import":
        assert call(standing, "init .").exit_code == ExitCode.OK
        (tmp_path / "hosts/dom0-a.yaml").write_text(DOM0_A)
        (tmp_path / "lists.cfg").write_text(XL_FILES["lists-pv"].read_text())
    if words[0] == "approve":
        words[1] = standing.look().plan.held[0].plan_id
    result = call(standing, shlex.join(words))
    endless = {"--watch", "--follow"} & set(words)
    assert result.exit_code == (ExitCode.INTERRUPTED if endless else ExitCode.OK), result.output


def in_force(sha: str) -> Event:
    """A commit came into force."""
    return Event(at=NOW, kind=EventKind.COMMIT_APPLIED, text="is in force", commit=Sha(sha))


def test_rollback_names_what_there_is_to_go_back_to() -> None:
    standing = Standing(world=ONE, observed=made(ONE))
    assert "has not run here yet" in call(standing, "rollback").output
    first, second, third = (in_force(letter * 40) for letter in "abc")
    standing.noted += [first, second, third, second]
    assert f"--source={'c' * 40} --staged" in call(standing, "rollback").output
    assert f"--source={'a' * 40} --staged" in call(standing, "rollback aaaa").output
    refused = call(standing, "rollback bbbb")
    assert refused.exit_code == ExitCode.ERROR
    assert "There were: cccccccccc; aaaaaaaaaa." in " ".join(refused.output.split())


def commit_all(folder: Path) -> None:
    """Make a repository of ``folder`` with one commit on main."""
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)


def test_a_guest_a_pool_and_all_are_suspended_with_who_why_and_until() -> None:
    for words, covered in (
        ("lists", Covered(scope=Scope.GUEST, name="lists")),
        ("--pool main", Covered(scope=Scope.POOL, name="main")),
        ("--all", Covered(scope=Scope.ALL)),
    ):
        standing = Standing(world=ONE, observed=made(ONE), moves=2)
        result = call(standing, f"suspend {words} --reason 'a backup' --for 2h --wait")
        assert result.exit_code == ExitCode.OK, result.output
        assert ": a backup" in result.output
        [one] = standing.suspended
        assert (one.covered, one.why) == (covered, "a backup")
        assert one.until is not None
        assert standing.moves < 0, "it was not waited for"
        result = call(standing, f"resume {words}")
        assert result.exit_code == ExitCode.OK, result.output
        assert not standing.suspended


def test_waiting_ends_at_its_timeout_and_the_guest_stays_suspended() -> None:
    standing = Standing(world=ONE, observed=made(ONE), moves=1000)
    result = call(standing, "suspend lists --reason x --wait --timeout 1s")
    assert result.exit_code == ExitCode.DIFFERENCES
    assert "still under way for lists" in result.output
    assert standing.suspended


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("suspend lists", "--reason"),
        ("suspend lists --reason 'a\nb'", "--reason"),
        ("suspend --reason x", "exactly one of these"),
        ("suspend lists --all --reason x", "exactly one of these"),
        ("suspend list --reason x", "there is no guest list; did you mean lists?"),
        ("suspend --pool mian --reason x", "there is no pool mian; did you mean main?"),
        ("suspend lists --reason x --for 2", "has no unit"),
        ("suspend lists --reason x --for 2h --until 2099-01-01", "not both"),
        ("suspend lists --reason x --until tomorrow", "is no instant"),
        ("suspend lists --reason x --until 2001-01-01", "is over already"),
        ("resume", "exactly one of these"),
        ("resume wbe", "there is no guest wbe"),
    ],
)
def test_what_cannot_be_suspended_or_resumed_is_refused(line: str, says: str) -> None:
    standing = Standing(world=ONE, observed=made(ONE))
    result = call(standing, line)
    assert result.exit_code == ExitCode.ERROR
    assert says in " ".join(result.output.split())
    assert not standing.suspended


@pytest.mark.parametrize("line", ["plan", "get guests", "describe guest lists", "plan -o json"])
def test_who_suspends_a_guest_and_what_lifts_it_is_shown(line: str) -> None:
    wanted = wish(guest("lists", more="  suspend: {reason: a move by hand}\n"))
    result = call(Standing(world=wanted, observed=made(ONE)), line)
    told = " ".join(result.output.split())
    if line == "get guests":
        assert "suspended" in told
        return
    assert "a move by hand" in told
    assert "guests/lists.yaml" in told


def test_resuming_what_nobody_suspended_says_so() -> None:
    result = call(Standing(world=ONE, observed=made(ONE)), "resume lists")
    assert result.exit_code == ExitCode.OK
    assert "nothing of the kind" in result.output


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_validate_knows_what_the_controller_allows_only_by_its_settings(tmp_path: Path) -> None:
    """Without them it says that this was not checked; the forms for programs say nothing of it."""
    folder = tmp_path / "vms"
    standing = Standing(world=ONE, observed=bare())
    assert call(standing, f"init {folder}").exit_code == ExitCode.OK
    kernel = guest("lists")[1].replace("{firmware: bios, order: [disk]}", "{kernel: /boot/vmlinuz}")
    (folder / "all.yaml").write_text(HOSTS.partition("---\n")[2] + "---\n" + kernel)
    unknown = call(standing, f"validate {folder}")
    assert unknown.exit_code == ExitCode.OK, unknown.output
    assert "not checked: " in unknown.stderr
    assert "not checked" not in call(standing, f"validate {folder} -o json").output
    settings = tmp_path / "domops.toml"
    settings.write_text('kernel_prefixes = ["/srv"]\n')
    refused = call(standing, f"validate {folder} --config {settings}")
    assert refused.exit_code == ExitCode.DIFFERENCES
    assert '"/boot/vmlinuz" is not below a path that the controller allows' in refused.stdout
    assert refused.stderr == ""
    settings.write_text('kernel_prefixes = ["/boot"]\n')
    assert call(standing, f"validate {folder} --config {settings}").exit_code == ExitCode.OK
