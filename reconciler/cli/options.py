"""The options that several commands share, and where a command is to look.

Where to look may be said before the command's name or after it; what stands nearer to the end wins,
then the environment, then the configuration file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

PANEL = "Where to look"


class ListForm(StrEnum):
    """The forms of a list."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


class TextForm(StrEnum):
    """The forms of a text that has no wider one."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class ProblemForm(StrEnum):
    """The forms of a list of problems; the last two are shown by forges at the line."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    GITLAB = "gitlab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which configuration, state and repository a command is about; None: not said here.

    ``more`` are settings of its own that a command was given, by their names.
    """

    config: Path | None = None
    state_dir: Path | None = None
    repo: str | None = None
    ref: str | None = None
    path: str | None = None
    more: Mapping[str, str | None] = field(default_factory=dict)

    def over(self, other: Where) -> Where:
        """This, and what it does not say as ``other`` says it."""
        return Where(
            config=self.config or other.config,
            state_dir=self.state_dir or other.state_dir,
            repo=self.repo or other.repo,
            ref=self.ref or other.ref,
            path=self.path if self.path is not None else other.path,
            more={**other.more, **self.more},
        )

    def overrides(self) -> dict[str, str]:
        """What was said, by the names of the settings."""
        said = {
            "state_dir": str(self.state_dir) if self.state_dir else None,
            "repository": self.repo,
            "ref": self.ref,
            "path": self.path,
            **self.more,
        }
        return {name: value for name, value in said.items() if value is not None}


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Read settings from this file; /etc/domops/domops.toml if there is one.",
        rich_help_panel=PANEL,
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Keep journal, lock and the copy of the repository here.",
        rich_help_panel=PANEL,
    ),
]
Repo = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="PATH|URL",
        help="The git repository of manifests.",
        rich_help_panel=PANEL,
    ),
]
Ref = Annotated[
    str | None,
    typer.Option(
        "--ref",
        metavar="REF",
        help="The branch that is in force; main unless set.",
        rich_help_panel=PANEL,
    ),
]
InRepo = Annotated[
    str | None,
    typer.Option(
        "--path",
        metavar="FOLDER",
        help="The folder of the manifests inside the repository; its root unless set.",
        rich_help_panel=PANEL,
    ),
]
Form = Annotated[ListForm, typer.Option("-o", "--output", help="How to write the list.")]
PlanForm = Annotated[TextForm, typer.Option("-o", "--output", help="How to write it.")]
FromFolder = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FOLDER",
        help="Take the manifests of this folder, committed or not, instead of the repository's.",
    ),
]
