"""The house itself: what its tools cannot say about it."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "reconciler"


def _imported_by(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield node.module or ""


def _lowest_room() -> list[Path]:
    return [PACKAGE / "errors.py", *sorted((PACKAGE / "model").rglob("*.py"))]


@pytest.mark.parametrize("module", _lowest_room(), ids=lambda path: path.stem)
def test_the_lowest_room_knows_nothing_but_the_standard_library(module: Path) -> None:
    """import-linter can forbid the libraries it is told of; this forbids those of tomorrow."""
    for name in _imported_by(module):
        top = name.partition(".")[0]
        if top == "reconciler":
            assert name.startswith(("reconciler.model", "reconciler.errors")), name
        else:
            assert top in sys.stdlib_module_names, name


def test_every_library_of_the_package_is_forbidden_in_the_lowest_room() -> None:
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    named = {
        re.split(r"[\s<>=!~\[;]", line, maxsplit=1)[0].lower()
        for line in settings["project"]["dependencies"]
    }
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("The model imports only")
    )
    providers = importlib.metadata.packages_distributions()
    forbidden = {
        distribution.lower().replace("_", "-")
        for module in contract["forbidden_modules"]
        for distribution in providers[module]
    }
    assert named <= forbidden


def test_every_room_says_what_it_is() -> None:
    """A room without a docstring has no law, and so no borders."""
    rooms = [path for path in PACKAGE.rglob("*.py") if path.name == "__init__.py"]
    assert rooms
    for room in rooms:
        assert ast.get_docstring(ast.parse(room.read_text())), room


def test_make_help_tells_of_every_target() -> None:
    text = (CHECKOUT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE)) - {"debian"}
    told = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split()[0] for line in told.splitlines()} == targets
