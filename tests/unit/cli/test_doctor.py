"""The doctor's words, forms and exit codes."""

from __future__ import annotations

import json

import yaml

from reconciler.cli.exits import ExitCode
from reconciler.cli.page import plain
from reconciler.cli.reference import pages
from reconciler.cli.render_findings import MEANINGS, render_findings
from reconciler.model.checkup import Check, Finding, Judgement
from reconciler.model.names import HostName
from tests.unit.cli.standing import Standing
from tests.unit.cli.test_commands import call
from tests.unit.cli.worlds import PLAIN, bare, guest, wish

A, B = HostName("dom0-a"), HostName("dom0-b")
FINE = Finding(check=Check.ANSWERS, host=A, judgement=Judgement.OK, message="answers")
LACKS = Finding(
    check=Check.STORAGE,
    host=B,
    judgement=Judgement.PROBLEM,
    message="has no storage pool default (Storage guests)",
    advice="virsh pool-start default",
)
UNSEEN = Finding(
    check=Check.CLOCK, host=A, judgement=Judgement.NOT_CHECKED, message="no time", advice="look"
)


def _standing(*findings: Finding) -> Standing:
    return Standing(world=wish(guest("lists")), observed=bare(), findings=findings)


def test_every_check_is_documented() -> None:
    assert set(MEANINGS) == set(Check)
    for check in Check:
        assert f"| `{check.value}` |" in pages()["checks.md"]


def test_what_is_in_order_is_counted_and_shown_when_asked_for() -> None:
    short = plain(render_findings((FINE, UNSEEN, LACKS), PLAIN, everything=False))
    assert "dom0-a (1 of 2 checks are ok)" in short
    assert "answers" not in short
    assert "not checked" in short
    assert "PROBLEM" in short
    assert "-> virsh pool-start default" in short
    assert "1 problem, 0 notices, 1 not checked, 1 ok. Nothing was changed." in short
    assert "answers" in plain(render_findings((FINE,), PLAIN, everything=True))


def test_a_problem_ends_with_1_and_none_with_0() -> None:
    assert call(_standing(FINE, UNSEEN), "doctor").exit_code == ExitCode.OK
    assert call(_standing(FINE, LACKS), "doctor").exit_code == ExitCode.DIFFERENCES


def test_only_the_hosts_that_are_named_are_told_of() -> None:
    standing = _standing(FINE, LACKS)
    result = call(standing, "doctor dom0-a --all")
    assert result.exit_code == ExitCode.OK, result.output
    assert "dom0-b" not in result.stdout
    unknown = call(standing, "doctor dom0-c")
    assert unknown.exit_code == ExitCode.ERROR
    assert 'Did you mean "dom0-' in unknown.stderr
    assert standing.closed == 2


def test_programs_are_told_everything() -> None:
    standing = _standing(FINE, LACKS)
    document = json.loads(call(standing, "doctor -o json").stdout)
    assert document["kind"] == "Examination"
    assert [one["judgement"] for one in document["items"]] == ["ok", "problem"]
    assert document["items"][0]["advice"] is None
    assert yaml.safe_load(call(standing, "doctor -o yaml").stdout) == document
