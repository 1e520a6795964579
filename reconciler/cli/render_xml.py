"""Show what would be written into definitions, as unified differences of their XML."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.text import Text

    from reconciler.cli.page import Page
    from reconciler.cli.session import Drafts
    from reconciler.model.names import GuestName

_STYLES = {"-": "red", "+": "green", "@": "cyan"}


def xml_differences(name: GuestName, drafts: Drafts) -> tuple[str, ...]:
    """The lines of a unified difference of one guest's definition; none if nothing would move."""
    draft = drafts.texts.get(name)
    if draft is None or draft.stored == draft.defined:
        return ()
    status = drafts.picture.plan.statuses[name]
    commit = drafts.picture.world.commit.sha[:10]
    lines = unified_diff(
        draft.stored.splitlines(),
        draft.defined.splitlines(),
        fromfile=f"{name} on {status.host}, as stored" if draft.stored else "/dev/null",
        tofile=f"{name} on {status.host}, as {commit} wants it",
        lineterm="",
    )
    return tuple(lines)


def render_xml(names: Iterable[GuestName], drafts: Drafts, page: Page) -> list[Text]:
    """The differences of all that would be written, one guest after the other."""
    return list(_lines(names, drafts, page))


def _lines(names: Iterable[GuestName], drafts: Drafts, page: Page) -> Iterator[Text]:
    for name in names:
        for number, line in enumerate(xml_differences(name, drafts)):
            style = "bold" if number < 2 else _STYLES.get(line[:1], "")  # noqa: PLR2004 - the heads
            yield page.text(line, style)
