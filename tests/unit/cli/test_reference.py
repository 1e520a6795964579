"""The generated pages: nothing that a user meets is left out, and what is committed is current."""

import inspect
import re
from pathlib import Path

import pytest

from reconciler.cli import conditions
from reconciler.cli.app import COMMANDS
from reconciler.cli.exits import ExitCode
from reconciler.cli.options import ListForm, ProblemForm, TextForm
from reconciler.cli.reasons import MEANINGS
from reconciler.cli.reference import pages
from reconciler.journal.records import EventKind
from reconciler.model.plan import Reason
from reconciler.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[3]
REFERENCE = CHECKOUT / "docs" / "reference"


def test_every_reason_is_documented() -> None:
    assert set(MEANINGS) == set(Reason)
    for reason in Reason:
        assert f"### {reason.value}\n" in pages()["reasons.md"]


def test_every_reason_of_a_condition_is_documented() -> None:
    assert set(conditions.MEANINGS) == set(conditions.ConditionReason)
    for reason in conditions.ConditionReason:
        assert f"`{reason.value}`" in pages()["reasons.md"]


def test_every_exit_code_is_documented() -> None:
    for code in ExitCode:
        assert f"| {int(code)} | `{code.name}` |" in pages()["exit-codes.md"]


def test_every_kind_of_event_is_documented() -> None:
    for kind in EventKind:
        assert f"`{kind.value}`" in pages()["events.md"]


def test_every_setting_is_documented_with_a_reason() -> None:
    for name, field in Settings.model_fields.items():
        assert f"## {name}\n" in pages()["settings.md"]
        assert field.description


def test_every_parameter_of_every_command_is_documented() -> None:
    text = pages()["commands.md"]
    sections = dict(
        re.findall(r"^## domops (\S+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    )
    assert set(sections) == {command.__name__ for command in COMMANDS}
    for command in COMMANDS:
        parameters = list(inspect.signature(command, eval_str=True).parameters)[1:]
        rows = re.findall(r"^\| `", sections[command.__name__], re.MULTILINE)
        assert len(rows) == len(parameters), command.__name__


@pytest.mark.parametrize("form", [*ListForm, *TextForm, *ProblemForm])
def test_every_form_of_output_is_documented(form: ListForm | TextForm | ProblemForm) -> None:
    text = (REFERENCE / "output.md").read_text(encoding="utf-8")
    assert f"`{form.value}`" in text


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_committed_page_is_what_the_code_says_now(name: str) -> None:
    """``make docs`` writes them; whoever changed an option and forgot is told here."""
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written.endswith(f"\n\n{pages()[name]}")


@pytest.mark.parametrize(
    "page",
    sorted(
        str(path.relative_to(CHECKOUT))
        for path in [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]
    ),
)
def test_a_link_between_pages_leads_somewhere(page: str) -> None:
    path = CHECKOUT / page
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}"
