"""What the documentation tells a reader to type or write works."""

import re
import shlex
import tomllib
from pathlib import Path
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from reconciler.cli.app import app
from reconciler.cli.starter import starter_files
from reconciler.cli.validating import problems_of_folder
from reconciler.model.plan import Fate
from reconciler.settings import load_settings
from tests.unit.cli.worlds import REPOSITORY

CHECKOUT = Path(__file__).resolve().parents[3]
PAGES = [
    CHECKOUT / "README.md",
    *(CHECKOUT / "docs" / "tutorial").glob("*.md"),
    *(CHECKOUT / "docs" / "how-to").glob("*.md"),
    *(CHECKOUT / "docs" / "explanation").glob("*.md"),
]
COMMAND = re.compile(r"^(?:\$ )?(?:\S*/)?(domops (?!run$).*?)(?:\s+#.*|\s*[|>].*)?$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every domops command in a shell block of the pages."""
    return sorted(
        {line for page in PAGES for block in blocks(page, "sh") for line in COMMAND.findall(block)}
    )


def test_the_pages_have_commands_to_test() -> None:
    """Otherwise the next test could not fail."""
    assert len(commands()) > 10


@pytest.mark.parametrize("line", commands())
def test_a_command_that_a_page_tells_to_type_is_understood(line: str) -> None:
    """Its options are read and checked, and then help is shown instead of the thing done."""
    words = shlex.split(line.split("||", maxsplit=1)[0])[1:]
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0, result.output
    group = typer.main.get_command(app)
    context = group.make_context("domops", list(words), resilient_parsing=True)
    assert context is not None


def test_the_manifests_of_the_tutorial_validate(tmp_path: Path) -> None:
    page = CHECKOUT / "docs" / "tutorial" / "first-guest.md"
    manifests = blocks(page, "yaml")
    assert len(manifests) == 2
    (tmp_path / "domops.yaml").write_text(REPOSITORY)
    files = starter_files(UUID(int=1), name="tutorial")
    (tmp_path / "pool.yaml").write_text(files["pools/main.yaml"])
    for number, text in enumerate(manifests):
        (tmp_path / f"{number}.yaml").write_text(text)
    assert problems_of_folder(tmp_path).problems == ()


def test_the_settings_of_the_service_can_be_loaded(tmp_path: Path) -> None:
    (text,) = blocks(CHECKOUT / "docs" / "how-to" / "run-as-a-service.md", "toml")
    assert tomllib.loads(text)
    path = tmp_path / "domops.toml"
    path.write_text(text)
    assert load_settings(config=path, environment={}).kernel_prefixes == ("/boot/guest",)


def test_the_table_on_reading_a_plan_names_the_verdicts_that_there_are() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for fate in (Fate.HELD, Fate.REFUSED):
        assert f"`{fate.value.upper()}`" in text
