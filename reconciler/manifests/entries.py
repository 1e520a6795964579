"""A document with its file, and what is wrong with it in the company of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.manifests.explain import did_you_mean
from reconciler.manifests.parse import locate_in
from reconciler.manifests.problems import Problem, Severity
from reconciler.model.desired import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.manifests.construct import Key
    from reconciler.manifests.parse import Document, ParsedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A document and where it was found."""

    path: str
    file: ParsedFile
    document: Document

    @property
    def origin(self) -> Origin:
        """Where the document begins."""
        return Origin(path=self.path, line=self.document.line)

    def problem(self, complaint: Complaint, severity: Severity = Severity.ERROR) -> Problem:
        """Turn ``complaint`` into a problem with its place."""
        line, column, field = locate_in(
            self.file.content, self.document.index, complaint.path, key=complaint.at_key
        )
        if complaint.below:
            line, column = _below(self.file.content, line, column, complaint.below)
        return Problem(
            path=self.path,
            line=line,
            column=column,
            field=complaint.field or field,
            message=complaint.message,
            hint=complaint.hint,
            severity=severity,
        )

    def place_of(self, *path: Key) -> str:
        """``path:line`` of a field, to be named in the problem of another document."""
        line, _, _ = locate_in(self.file.content, self.document.index, path)
        return f"{self.path}:{line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """Something wrong at ``path`` of one document; ``field`` names it where the path cannot.

    ``below`` is a line of the text that stands there, counted from 1, where that is known.
    """

    path: tuple[Key, ...]
    message: str
    hint: str = ""
    field: str = ""
    at_key: bool = False
    below: int = 0


def _below(content: bytes, line: int, column: int, below: int) -> tuple[int, int]:
    """The place of a line of a text; only in a literal block are its lines those of the file."""
    lines = content.decode().splitlines()
    if not lines[line - 1][column - 1 :].startswith("|") or line + below > len(lines):
        return line, column
    said = lines[line + below - 1]
    return line + below, len(said) - len(said.lstrip()) + 1


def dangling(
    path: tuple[Key, ...],
    kind: str,
    name: str,
    known: Iterable[str],
    *,
    at_key: bool = False,
) -> Complaint:
    """The complaint that no ``kind`` is called ``name``."""
    names = sorted(known)
    hint = did_you_mean(name, names)
    if not hint:
        hint = f"there are {', '.join(names[:5])}" if names else f"write a manifest of kind {kind}"
        if len(names) > 5:  # noqa: PLR2004 - as many as fit on a line
            hint += " …"
    return Complaint(path=path, message=f'no {kind} "{name}"', hint=hint, at_key=at_key)
