"""The terminal, or whatever stands in its place: where pages are made and lines are put.

Off a terminal, with ``NO_COLOR`` set, or on a terminal that cannot, text is plain.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TextIO

from rich.console import Console

from reconciler.cli.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.text import Text


class ReaderGoneError(Exception):
    """Whoever read what we write has gone (`domops get guests | head`).

    Not the ``BrokenPipeError`` that it comes from, which Typer would turn into exit code 1.
    """


@contextmanager
def _read_by_somebody() -> Iterator[None]:
    """Translate a broken pipe at the one place where output is written."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """One stream, and what it can show."""

    stream: TextIO
    interactive: bool
    colours: bool
    width: int | None

    def page(self) -> Page:
        """A page as of now; the clock is read here."""
        now = datetime.now(tz=UTC)
        zone = now.astimezone().tzinfo or UTC
        return Page(now=now, zone=zone, width=self.width, plain=not self._has_letters())

    def show(self, lines: Iterable[Text]) -> None:
        """Put ``lines`` onto the stream, with colours if it has any."""
        if not self.colours:
            self.write("".join(f"{line.plain}\n" for line in lines))
            return
        console = Console(
            file=self.stream,
            force_terminal=True,
            width=self.width,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        with _read_by_somebody():
            for line in lines:
                console.print(line, soft_wrap=True)

    def write(self, text: str) -> None:
        """Put ``text`` onto the stream as it is; letters that it does not have become ``?``."""
        encoding = self.stream.encoding or "utf-8"
        with _read_by_somebody():
            self.stream.write(text.encode(encoding, errors="replace").decode(encoding))
            self.stream.flush()

    def _has_letters(self) -> bool:
        """Whether a person looks at it, on something that has more letters than ASCII."""
        return self.interactive and (self.stream.encoding or "").lower().startswith("utf")


def terminal(stream: TextIO | None = None) -> Terminal:
    """Standard output, or another stream, as it is now."""
    chosen = stream if stream is not None else sys.stdout
    interactive = chosen.isatty() and os.environ.get("TERM") != "dumb"
    return Terminal(
        stream=chosen,
        interactive=interactive,
        colours=interactive and not os.environ.get("NO_COLOR"),
        width=get_terminal_size().columns if interactive else None,
    )
