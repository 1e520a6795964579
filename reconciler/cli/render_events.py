"""Render what happened, oldest first, a line each: the newest stands next to the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.page import columns
from reconciler.cli.render_plan import SHORT_SHA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from reconciler.cli.page import Page
    from reconciler.journal.records import Event


def render_events(events: Sequence[Event], page: Page) -> list[Text]:
    """``events`` with local time, guest, text, and the commit and line that asked for them."""
    if not events:
        return [page.text("No events: the journal of this state directory has none yet.")]
    ordered = sorted(events, key=lambda event: event.at)
    today = page.now.astimezone(page.zone).date()
    whole = any(event.at.astimezone(page.zone).date() != today for event in ordered)
    form = "%Y-%m-%d %H:%M:%S" if whole else "%H:%M:%S"
    return columns(
        [
            [
                page.text(event.at.astimezone(page.zone).strftime(form)),
                page.text(event.guest or event.host or "", "bold"),
                page.text(event.kind.value),
                page.text(_told(event)),
            ]
            for event in ordered
        ],
        page,
    )


def _told(event: Event) -> str:
    """The text, then the reason as far as the event has one: commit and line."""
    reason = " ".join(
        part for part in ((event.commit or "")[:SHORT_SHA], event.where or "") if part
    )
    return f"{event.text}  ({reason})" if reason else event.text
