"""A problem of a manifest: where it is, what is wrong, and what to do about it.

Problems are values and come in one shape, whatever found them. They are rendered here for people,
for programs and for forges; nothing in them blames anybody, and each says what to do next. One that
is only a *warning* tells what an allowed thing costs: it keeps no commit from counting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Severity(StrEnum):
    """An error keeps its commit from counting; a warning is there to be read."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A problem inside one file's text, wherever in the tree that file lies.

    ``line`` and ``column`` count from 1. ``field`` is the dotted path, empty for the whole text.
    """

    line: int
    column: int
    field: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A fault with the path of its file; its text is one line for a person."""

    path: str
    line: int
    column: int
    field: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    @classmethod
    def of(cls, path: str, fault: Fault) -> Problem:
        """Give ``fault`` the path of the file that it was found in."""
        return cls(
            path=path,
            line=fault.line,
            column=fault.column,
            field=fault.field,
            message=fault.message,
            hint=fault.hint,
        )

    @property
    def place(self) -> str:
        """``path:line:column``, which editors and terminals turn into a link."""
        return f"{_printable(self.path)}:{self.line}:{self.column}"

    @property
    def sentence(self) -> str:
        """Field, what is wrong, and what to do."""
        field = f"{self.field}: " if self.field else ""
        hint = f"; {self.hint}" if self.hint else ""
        return _printable(f"{field}{self.message}{hint}")

    @property
    def line_of_text(self) -> str:
        """The sentence, and before it that it is a warning, if it is."""
        return f"warning: {self.sentence}" if self.severity is Severity.WARNING else self.sentence

    def __str__(self) -> str:
        """Place and sentence on one line."""
        return f"{self.place}  {self.line_of_text}"


def in_order(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Sort by place, each problem once."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda each: (each.path, each.line, each.column, each.field)))


def render_text(problems: Sequence[Problem], *, files: int) -> str:
    """Render one line a problem, the sentences below each other, and a count as the last line."""
    width = max((len(problem.place) for problem in problems), default=0)
    lines = [f"{problem.place:<{width}}  {problem.line_of_text}" for problem in problems]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    warnings = len(problems) - len(errors)
    also = f", {_counted(warnings, 'warning')}" if warnings else ""
    if errors:
        bad = len({problem.path for problem in errors})
        found = f"{_counted(len(errors), 'problem')} in {bad} of"
        lines.append(f"{found} {_counted(max(files, bad), 'file')}{also}. Nothing was changed.")
    else:
        lines.append(f"{_counted(files, 'file')}, no problem{also}.")
    return "\n".join(lines) + "\n"


def render_json(problems: Sequence[Problem], *, files: int) -> str:
    """Render one JSON object: how many files were read, and every problem with all its parts."""
    found = [
        {
            "path": problem.path,
            "line": problem.line,
            "column": problem.column,
            "field": problem.field,
            "message": problem.message,
            "hint": problem.hint,
            "severity": problem.severity.value,
        }
        for problem in problems
    ]
    return json.dumps({"files": files, "problems": found}, indent=2) + "\n"


def render_github(problems: Sequence[Problem]) -> str:
    """Render workflow commands that GitHub and Gitea show at the line of a pull request."""
    return "".join(
        f"::{problem.severity.value} file={_property(problem.path)},"
        f"line={problem.line},col={problem.column},"
        f"title={_property(problem.field or 'manifest')}::{_data(problem.sentence)}\n"
        for problem in problems
    )


def render_gitlab(problems: Sequence[Problem]) -> str:
    """Render a Code Quality report, which GitLab shows at the line of a merge request.

    The fingerprint leaves out the line, so that a problem that only moved stays the same one.
    """
    report = [
        {
            "description": problem.sentence,
            "check_name": "domops",
            "fingerprint": blake2b(
                f"{problem.path}\0{problem.field}\0{problem.message}".encode(), digest_size=16
            ).hexdigest(),
            "severity": _GITLAB_SEVERITIES[problem.severity],
            "location": {"path": problem.path, "lines": {"begin": problem.line}},
        }
        for problem in problems
    ]
    return json.dumps(report, indent=2) + "\n"


_GITLAB_SEVERITIES = {Severity.ERROR: "blocker", Severity.WARNING: "minor"}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _printable(text: str) -> str:
    """Text from a manifest may hold control characters; a terminal must not obey them."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
