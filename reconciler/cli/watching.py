"""Show a list again whenever it changes: in place on a terminal, a line a change anywhere else.

Both a picture and its predecessor are laid out on one page, so an age that grew is no change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live

from reconciler.cli import documents
from reconciler.cli.options import ListForm
from reconciler.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.cli.documents import Document
    from reconciler.cli.page import Page
    from reconciler.cli.picture import Picture
    from reconciler.cli.render_lists import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list that can be shown: as a document for programs, as a table for people."""

    document: Callable[[Picture], Document]
    table: Callable[[Picture, Page], Table]


def watch(listing: Listing, pictures: Iterable[Picture], form: ListForm) -> None:
    """Show every picture until there are no more; the last one stays."""
    match form:
        case ListForm.JSON:
            for document in _moved(listing, pictures):
                terminal().write(documents.as_json_line(document))
        case ListForm.YAML:
            for document in _moved(listing, pictures):
                terminal().write(f"---\n{documents.as_yaml(document)}")
        case ListForm.TABLE | ListForm.WIDE:
            (_in_place if terminal().interactive else _line_by_line)(listing, pictures)


def _in_place(listing: Listing, pictures: Iterable[Picture]) -> None:
    """Draw over what was drawn before; a line that is too long for the terminal is cut."""
    screen = terminal()
    console = Console(
        file=screen.stream, force_terminal=True, no_color=not screen.colours, highlight=False
    )
    # One line stays free: a picture as high as the terminal would scroll with every drawing.
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for picture in pictures:
            page = terminal().page()
            lines = [
                page.text(f"{_clock(page)}  every change is shown; Ctrl-C ends", "dim"),
                *listing.table(picture, page).lines(page),
            ]
            for line in lines:
                line.no_wrap, line.overflow = True, "ellipsis"
            live.update(Group(*lines), refresh=True)


def _line_by_line(listing: Listing, pictures: Iterable[Picture]) -> None:
    """First the list, then a line for each thing that changed: when, what, how."""
    before: Picture | None = None
    for picture in pictures:
        screen = terminal()
        page = screen.page()
        now = listing.table(picture, page)
        if before is None:
            screen.show(now.lines(page))
        else:
            news = changes(listing.table(before, page), now)
            screen.show(page.text(f"{_clock(page)}  {name}  {what}") for name, what in news)
        before = picture


def changes(before: Table, now: Table) -> Iterator[tuple[str, str]]:
    """The name of each thing that is new, gone or different, and what of it."""
    old = {row[0][0]: row for row in before.rows}
    new = {row[0][0]: row for row in now.rows}
    for name in sorted({*old, *new}):
        if name not in new:
            yield name, "gone"
        elif name not in old:
            told = zip(now.head[1:], new[name][1:], strict=True)
            said = _listed(f"{head.lower()} {cell}" for head, (cell, _) in told if cell)
            yield name, f"new: {said}"
        else:
            cells = zip(now.head, old[name], new[name], strict=True)
            moved = [
                f"{head.lower()} {was or NOTHING} → {is_ or NOTHING}"
                for head, (was, style), (is_, other) in cells
                if was != is_ and (head not in now.restless or style != other)
            ]
            if moved:
                yield name, _listed(moved)


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


NOTHING: Final = "\N{EN DASH}"


def _clock(page: Page) -> str:
    return page.now.astimezone(page.zone).strftime("%H:%M:%S")


RESTLESS: Final = frozenset({"at", "freeMemoryBytes"})
"""Keys of a document that move by themselves."""


def _moved(listing: Listing, pictures: Iterable[Picture]) -> Iterator[dict[str, Document]]:
    """The whole list, then for each picture that differs only the items that do.

    Items that are there no more are named in ``gone``.
    """
    old: dict[str, Document] | None = None
    for picture in pictures:
        document = listing.document(picture)
        if not isinstance(document, dict) or not isinstance(document["items"], list):
            raise TypeError("a list is a document with items")
        new: dict[str, Document] = {
            str(item["name"]): item for item in document["items"] if isinstance(item, dict)
        }
        if old is None:
            yield {**document, "gone": []}
        else:
            known = {name: _at_rest(item) for name, item in old.items()}
            items: list[Document] = [
                one for name, one in new.items() if known.get(name) != _at_rest(one)
            ]
            gone: list[Document] = [name for name in sorted(old) if name not in new]
            if items or gone:
                yield {**document, "items": items, "gone": gone}
        old = new


def _at_rest(document: Document) -> Document:
    """``document`` without what moves by itself."""
    match document:
        case dict():
            return {key: _at_rest(one) for key, one in document.items() if key not in RESTLESS}
        case list():
            return [_at_rest(one) for one in document]
        case _:
            return document
