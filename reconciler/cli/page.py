"""The page that text is laid out on: its width, its letters, its clock.

Renderers are functions of their arguments, the page included: the same plan on the same page is the
same text. Off a terminal a page has no edge, no colour and no letter outside ASCII of our own
making, so that ``grep``, ``diff`` and a mail client can have it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, tzinfo

NARROWEST_REMARK = 24
"""A last column with less room than this is put on a line of its own."""

_ASCII = str.maketrans(
    {
        "→": "->",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "…": "...",
        "\N{MULTIPLICATION SIGN}": "x",
        "≥": ">=",
        "≤": "<=",
        "·": "-",
        "“": '"',
        "”": '"',
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{NO-BREAK SPACE}": " ",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a renderer needs to know of where its text will be read.

    ``width`` is None where lines have no end. ``plain`` asks for ASCII in everything that domops
    itself writes; names and subjects that users wrote keep their letters.
    """

    now: datetime
    zone: tzinfo
    width: int | None = None
    plain: bool = True

    def letters(self, text: str) -> str:
        """``text`` without control characters, and on a plain page without our own fancy ones."""
        text = tame(text)
        return text.translate(_ASCII) if self.plain else text

    def text(self, words: str, style: str = "") -> Text:
        """``words`` as text of this page."""
        return Text(self.letters(words), style=style)


def tame(text: str) -> str:
    """``text`` with every character that could move a cursor or turn a line round made visible.

    A commit subject and a guest's name are written by others; a terminal must not obey them.
    """
    if text.isprintable():
        return text
    return "".join(
        " " if letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" if _moves(letter) else letter
        for letter in text
    )


def _moves(letter: str) -> bool:
    """Whether ``letter`` is a control or formatting character (escape, right-to-left marks …)."""
    return unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def columns(
    rows: Iterable[Sequence[Text]], page: Page, *, indent: int = 0, gap: int = 2
) -> list[Text]:
    """``rows`` as lines: all columns but the last padded, the last wrapped within the page.

    Rows may have fewer cells than others. A row's cells may be empty, and trailing blanks are cut.
    """
    table = [list(row) for row in rows]
    widths: list[int] = []
    for row in table:
        for place, cell in enumerate(row[:-1]):
            if place == len(widths):
                widths.append(0)
            widths[place] = max(widths[place], cell.cell_len)
    lines: list[Text] = []
    for row in table:
        lines.extend(_row(row, widths, page, indent=indent, gap=gap))
    return lines


def _row(
    row: Sequence[Text], widths: Sequence[int], page: Page, *, indent: int, gap: int
) -> list[Text]:
    """One row as one line, or as several where its last cell does not fit."""
    line = Text(" " * indent)
    for cell, width in zip(row[:-1], widths, strict=False):
        line.append_text(cell)
        line.append(" " * (width - cell.cell_len + gap))
    last = row[-1] if row else Text()
    start = line.cell_len
    room = None if page.width is None else page.width - start
    if room is None or last.cell_len <= room:
        line.append_text(last)
        return [_stripped(line)]
    if room < NARROWEST_REMARK and page.width is not None:
        start = indent + gap
        broken = _broken(last, max(page.width - start, NARROWEST_REMARK))
        return [_stripped(line), *(_indented(part, start) for part in broken)]
    first, *others = _broken(last, room)
    line.append_text(first)
    return [_stripped(line), *(_indented(part, start) for part in others)]


def paragraph(text: Text, page: Page, *, indent: int = 0) -> list[Text]:
    """``text`` as lines that fit the page, each indented."""
    if page.width is None:
        return [_indented(text, indent)]
    return [
        _indented(part, indent)
        for part in _broken(text, max(page.width - indent, NARROWEST_REMARK))
    ]


def _broken(text: Text, width: int) -> list[Text]:
    """``text`` in pieces no wider than ``width``, broken at spaces where there are any.

    Rich's own wrapping wants a console, which wants a terminal; here is only text.
    """
    pieces: list[Text] = []
    rest = text
    while rest.cell_len > width:
        cut = rest.plain.rfind(" ", 0, width + 1)
        if cut <= 0:
            cut = width
        head, tail = rest.divide([cut])
        head.rstrip()
        pieces.append(head)
        tail = tail[len(tail.plain) - len(tail.plain.lstrip(" ")) :]
        rest = tail
    return [*pieces, rest]


def _indented(text: Text, indent: int) -> Text:
    """``text`` after ``indent`` blanks."""
    return _stripped(Text(" " * indent).append_text(text))


def _stripped(line: Text) -> Text:
    """``line`` without blanks at its end."""
    line.rstrip()
    return line


def plain(lines: Iterable[Text]) -> str:
    """``lines`` as one string that ends in a newline, without styles."""
    return "".join(f"{line.plain}\n" for line in lines)
