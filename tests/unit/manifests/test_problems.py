"""Problems read the same for a person, a program and a forge."""

from __future__ import annotations

import json

from reconciler.manifests.problems import (
    Problem,
    Severity,
    in_order,
    render_github,
    render_gitlab,
    render_json,
    render_text,
)

CPU = Problem(
    path="manifests/guests/lists.yaml",
    line=14,
    column=5,
    field="spec.cpu",
    message="unknown field",
    hint='did you mean "cpus"?',
)
SIZE = Problem(
    path="manifests/guests/web.yaml",
    line=9,
    column=12,
    field="spec.disks[root].size",
    message='"20G" has no unit domops knows',
    hint="write 20GiB or 20GB",
)
SLOW = Problem(
    path="manifests/guests/web.yaml",
    line=12,
    column=7,
    field="spec.networks[eth0].model",
    message="e1000 is emulated",
    hint="take the line out",
    severity=Severity.WARNING,
)
ODD = Problem(path="a,b:c\n.yaml", line=1, column=1, field="", message="50% \x1b[31mred\r\n")


def test_a_person_reads_one_line_a_problem_and_what_was_done() -> None:
    assert render_text([CPU, SIZE], files=41) == (
        'manifests/guests/lists.yaml:14:5  spec.cpu: unknown field; did you mean "cpus"?\n'
        'manifests/guests/web.yaml:9:12    spec.disks[root].size: "20G" has no unit domops knows;'
        " write 20GiB or 20GB\n"
        "2 problems in 2 of 41 files. Nothing was changed.\n"
    )


def test_one_is_counted_as_one() -> None:
    assert render_text([CPU], files=1).endswith("1 problem in 1 of 1 file. Nothing was changed.\n")
    assert render_text([], files=1) == "1 file, no problem.\n"
    assert render_text([], files=16) == "16 files, no problem.\n"


def test_a_warning_says_that_it_is_one_and_is_counted_apart() -> None:
    assert render_text([SLOW], files=3) == (
        "manifests/guests/web.yaml:12:7  warning: spec.networks[eth0].model: e1000 is emulated;"
        " take the line out\n"
        "3 files, no problem, 1 warning.\n"
    )
    assert render_text([CPU, SLOW, SLOW], files=3).endswith(
        "1 problem in 1 of 3 files, 2 warnings. Nothing was changed.\n"
    )
    assert str(SLOW).startswith("manifests/guests/web.yaml:12:7  warning: spec.networks")


def test_every_form_tells_a_warning_from_an_error() -> None:
    [told] = json.loads(render_json([SLOW], files=1))["problems"]
    assert told["severity"] == "warning"
    assert render_github([SLOW]).startswith("::warning file=manifests/guests/web.yaml,line=12,")
    error, warning = json.loads(render_gitlab([CPU, SLOW]))
    assert (error["severity"], warning["severity"]) == ("blocker", "minor")


def test_a_terminal_obeys_nothing_that_a_manifest_says() -> None:
    text = render_text([ODD], files=1)
    assert "\x1b" not in text
    assert text.splitlines()[0] == r"a,b:c\n.yaml:1:1  50% \x1b[31mred\r\n"


def test_a_program_reads_every_part() -> None:
    assert json.loads(render_json([SIZE], files=41)) == {
        "files": 41,
        "problems": [
            {
                "path": "manifests/guests/web.yaml",
                "line": 9,
                "column": 12,
                "field": "spec.disks[root].size",
                "message": '"20G" has no unit domops knows',
                "hint": "write 20GiB or 20GB",
                "severity": "error",
            }
        ],
    }


def test_github_shows_a_problem_at_its_line() -> None:
    assert render_github([CPU]) == (
        "::error file=manifests/guests/lists.yaml,line=14,col=5,title=spec.cpu::"
        'spec.cpu: unknown field; did you mean "cpus"?\n'
    )


def test_a_manifest_cannot_write_commands_of_its_own_to_github() -> None:
    text = render_github([ODD])
    assert text.count("\n") == 1
    assert text.startswith("::error file=a%2Cb%3Ac%0A.yaml,line=1,col=1,title=manifest::50%25 ")


def test_gitlab_knows_a_problem_again_after_it_moved() -> None:
    moved = Problem(
        path=CPU.path,
        line=20,
        column=3,
        field=CPU.field,
        message=CPU.message,
        hint=CPU.hint,
    )
    first, second, third = json.loads(render_gitlab([CPU, moved, SIZE]))
    assert first["location"] == {"path": CPU.path, "lines": {"begin": 14}}
    assert first["fingerprint"] == second["fingerprint"] != third["fingerprint"]
    assert {"description", "check_name", "fingerprint", "severity", "location"} == set(first)


def test_problems_are_sorted_by_place_and_told_once() -> None:
    assert in_order([SIZE, CPU, SIZE]) == (CPU, SIZE)
