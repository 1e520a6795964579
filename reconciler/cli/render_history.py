"""Render the past: each step with its reason, its fields and its end, one line a field.

``why`` shows one guest, the newest first, because one asks what has just happened. ``history``
shows everything, oldest first, so that the newest stands next to the prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from rich.text import Text

from reconciler.cli import words
from reconciler.cli.page import columns, tame
from reconciler.cli.render_plan import SHORT_SHA
from reconciler.journal.causes import Cause
from reconciler.journal.records import Outcome
from reconciler.journal.words import step_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.cli.page import Page
    from reconciler.cli.session import History
    from reconciler.journal.causes import Account
    from reconciler.journal.records import Event
    from reconciler.model.plan import Change

_STYLES = {
    Outcome.DONE: "green",
    Outcome.FAILED: "red",
    Outcome.STALLED: "bold red",
    Outcome.REFUSED: "red",
    Outcome.NOT_REACHED: "red",
    Outcome.UNKNOWN: "yellow",
    Outcome.INTERRUPTED: "yellow",
}


def render_why(history: History, page: Page) -> list[Text]:
    """The steps of one guest, newest first."""
    if not history.accounts:
        return [page.text("No step for this guest is in the journal of this state directory.")]
    whole = _whole(page, [account.deed.began for account in history.accounts])
    return columns(
        [
            [page.text(_time(account.deed.began, page, whole=whole)), *row]
            for account in reversed(history.accounts)
            for row in _rows(account, history, page)
        ],
        page,
    )


def render_history(history: History, page: Page) -> list[Text]:
    """The steps of all guests, and what else happened, oldest first."""
    moments: list[tuple[datetime, int, list[Text], Iterator[list[Text]]]] = []
    for account in history.accounts:
        name = page.text(account.deed.guest, "bold")
        moments.append((account.deed.began, 1, [name], _rows(account, history, page)))
    for event in history.events:
        name = page.text(event.guest or event.host or "", "bold")
        moments.append((event.at, 0, [name], iter([_row_of(event, page)])))
    if not moments:
        return [page.text("Nothing of that is in the journal of this state directory.")]
    moments.sort(key=lambda moment: moment[:2])
    whole = _whole(page, [moment[0] for moment in moments])
    return columns(
        [
            [page.text(_time(at, page, whole=whole)), *name, *row]
            for at, _, name, rows in moments
            for row in rows
        ],
        page,
    )


def _rows(account: Account, history: History, page: Page) -> Iterator[list[Text]]:
    """A step as one row for each field that it serves: change, act and end, reason."""
    deed = account.deed
    changes: Sequence[Change | None] = deed.planned.changes if deed.planned else (None,)
    for change in changes:
        yield [
            page.text(_change_in_words(change)),
            Text.assemble(*_act(account, page)),
            page.text(_reason(account, change, history)),
        ]


def _change_in_words(change: Change | None) -> str:
    if change is None:
        return ""
    before_and_after = [part for part in (change.before, change.after) if part]
    return " ".join(
        part for part in (words.field(change.field), " → ".join(before_and_after)) if part
    )


def _act(account: Account, page: Page) -> Iterator[Text]:
    deed = account.deed
    act = step_in_words(deed.planned.step) if deed.planned else words.operation(deed.kind)
    yield page.text(f"{act}: ")
    if deed.outcome is None:
        yield page.text(f"under way{words.since(deed.began, page)}", "cyan")
        return
    yield page.text(deed.outcome.value, _STYLES[deed.outcome])
    took_s = deed.took_s
    if took_s is not None:
        yield page.text(
            f" in {took_s:.1f} s" if took_s < words.MINUTE else f" in {words.duration(took_s)}"
        )
    if deed.message:
        yield page.text(f": {deed.message}")


def _reason(account: Account, change: Change | None, history: History) -> str:
    """Why: the commit, who wrote it, file and line; or that it was put right, and where."""
    deed = account.deed
    parts = [because] if (because := _because(account)) else []
    if deed.commit is not None:
        info = history.commits.get(deed.commit)
        parts.append(
            f"{deed.commit[:SHORT_SHA]} {tame(info.author_name)}"
            if info
            else deed.commit[:SHORT_SHA]
        )
    where = where_of(account, change)
    if where:
        parts.append(where)
    return "  ".join(parts)


def where_of(account: Account, change: Change | None) -> str | None:
    """``path:line`` of the change; for what is in no file any more, the file that it was in."""
    if change is not None and change.origin is not None:
        return str(change.origin)
    return f"no longer in {account.path}" if account.path else None


def _because(account: Account) -> str:
    match account.cause:
        case Cause.COMMIT:
            return ""
        case Cause.DRIFT:
            return f"drift put right: it was set by hand on {account.deed.host};"
        case Cause.HEALING:
            return "healed: it had stopped and shall run;"
        case Cause.UPKEEP:
            return "noted in its mark;"
        case Cause.UNKNOWN:
            return "begun by another version of domops;"
        case _:
            assert_never(account.cause)


def _row_of(event: Event, page: Page) -> list[Text]:
    reason = " ".join(
        part for part in ((event.commit or "")[:SHORT_SHA], event.where or "") if part
    )
    return [page.text(words.kind(event.kind)), page.text(event.text), page.text(reason)]


def _whole(page: Page, instants: list[datetime]) -> bool:
    """Whether the times need their dates."""
    today = page.now.astimezone(page.zone).date()
    return any(at.astimezone(page.zone).date() != today for at in instants)


def _time(at: datetime, page: Page, *, whole: bool) -> str:
    return at.astimezone(page.zone).strftime("%Y-%m-%d %H:%M:%S" if whole else "%H:%M:%S")
