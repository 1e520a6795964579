"""Render what is in the trash, a line a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli import words
from reconciler.cli.render_lists import SHORT_SHA, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from reconciler.cli.page import Page
    from reconciler.cli.trashed import Trashed


def render_trash(found: Sequence[Trashed], page: Page, *, wide: bool) -> list[Text]:
    """What goes first stands first."""
    head = ["KIND", "GUEST", "NAME", "HOST", "SINCE", "UNTIL", "DAYS SEEN", "SIZE"]
    head += ["COMMIT", "TO HAVE IT BACK"] if wide else []
    rows = []
    for one in found:
        until = "being removed" if one.removing else words.clock(one.until, page)
        row = [
            (one.sort.value, ""),
            (one.guest, "bold"),
            ("" if one.name == one.guest else one.name, ""),
            (one.host, ""),
            (words.clock(one.since, page), ""),
            (until, "yellow" if one.removing else ""),
            (f"{one.seen} of {one.needed}", ""),
            ("" if one.size_bytes is None else words.size(one.size_bytes), ""),
        ]
        if wide:
            row += [((one.commit or "")[:SHORT_SHA], ""), (one.back, "")]
        rows.append(row)
    return Table(head=head, rows=rows, empty="The trash is empty.").lines(page)
