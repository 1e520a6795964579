"""Render a plan: what happens now, what waits until when, what is held or refused, and what to do.

The text is the same for ``plan`` and ``apply``, and reads without colours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from reconciler.cli import words
from reconciler.cli.page import columns, paragraph
from reconciler.cli.picture import RANK
from reconciler.model.counted import Counted
from reconciler.model.desired import PoolMode
from reconciler.model.mark import Phase
from reconciler.model.plan import Fate, Label, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.page import Page
    from reconciler.cli.picture import Picture
    from reconciler.model.names import GuestName
    from reconciler.model.plan import Change, Held
    from reconciler.model.suspension import Suspension

SHORT_SHA = 7
UNKNOWN = "unknown"
"""The state of a guest of which nothing is known, as the planner says it."""

LONGEST_VALUE = 32
"""On a page with an edge a longer value is cut; ``describe`` and ``-o json`` have it whole."""

_LABEL_STYLE = {
    Label.LIVE: "green",
    Label.RESTART: "yellow",
    Label.OFFLINE: "green",
    Label.ADOPT: "green",
    Label.CREATE: "green",
    Label.DELETE: "red",
    Label.HEAL: "cyan",
    Label.STATE: "yellow",
    Label.REFUSED: "bold red",
    Label.NONE: "",
}


def render_plan(picture: Picture, page: Page) -> list[Text]:
    """The whole preview, as ``domops plan`` shows it."""
    changes = folded(picture.changes())
    lines = [*render_header(picture, page), Text()]
    if changes:
        known = tuple(change for change in changes if not _is_unknown(change))
        lines += render_changes(known, page, unknown=_unknown_rows(picture, changes, page))
        lines.append(Text())
    lines += _warnings(picture, changes, page)
    lines += _suspended(picture, page)
    lines += _foreign(picture, page)
    lines += paragraph(page.text(summary(picture, page)), page)
    if not picture.converges:
        lines += paragraph(page.text(_ENDLESS, "bold yellow"), page)
    for sentence in next_acts(picture, page):
        lines += paragraph(page.text(sentence), page)
    return lines


_ENDLESS = (
    "Looking ahead found no end to these changes: they would undo one another. This is a fault of "
    "domops; please report it with the output of -o json."
)


def render_header(picture: Picture, page: Page) -> list[Text]:
    """Which commit is planned, and who answered; then each thing that makes the plan less sure."""
    commit = picture.world.commit
    title = Text()
    title.append(page.letters(picture.source), style="bold")
    if commit.sha.startswith("folder:"):
        title.append(page.letters(" (a folder, not committed)"))
    else:
        title.append(f" @ {commit.sha[:SHORT_SHA]}", style="yellow")
        subject, author = commit.subject, commit.author
        title.append(
            page.letters(f' "{subject}" ({author}, {words.ago(commit.committed_at, page)})')
        )
    answers = [page.text(_answered(*pool)) for pool in picture.pools()]
    lines = [title]
    if len(answers) == 1 and _fits(title, answers[0], page):
        lines = [Text.assemble(title, "   ", answers[0])]
    else:
        lines += [Text.assemble("  ", answer) for answer in answers]
    for host in picture.silent():
        lines += paragraph(
            Text.assemble(
                page.text(f"{host.name} silent{words.since(host.since, page)}", "bold yellow"),
                page.text(f": {host.why}"),
            ),
            page,
            indent=2,
        )
    if picture.silent():
        there = "these" if len(picture.silent()) > 1 else "it"
        lines += paragraph(
            page.text(f"Nothing on {there} is known, so nothing there is touched."), page, indent=2
        )
    for problem in picture.problems:
        lines += paragraph(
            Text.assemble(page.text("not in force", "bold red"), page.text(f": {problem}")),
            page,
            indent=2,
        )
    return lines


def _answered(pool: str, answered: int, hosts: int) -> str:
    """How much of a pool was heard."""
    heard = words.counted(hosts, "host") if answered == hosts else f"{answered} of {hosts} hosts"
    return f"pool {pool}: {heard} answered"


def _fits(left: Text, right: Text, page: Page) -> bool:
    """Whether both stand on one line."""
    return page.width is None or left.cell_len + 3 + right.cell_len <= page.width


def render_changes(
    changes: Sequence[Change], page: Page, *, unknown: Sequence[Sequence[Text]] = ()
) -> list[Text]:
    """One line a change: guest, field from → to, what it costs, what becomes of it.

    ``unknown`` are rows about guests of which nothing is known; they stand at the end.
    """
    groups: dict[GuestName, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.guest, []).append(change)
    rows: list[Sequence[Text]] = []
    for _, group in sorted(groups.items(), key=lambda item: (_rank(item[1]), item[0])):
        rows += _rows_of_guest(sorted(group, key=lambda change: RANK[change.fate]), page)
    return columns([*rows, *unknown], page, indent=2)


def _unknown_rows(picture: Picture, changes: Sequence[Change], page: Page) -> list[list[Text]]:
    """A row for each cause of not knowing, however many guests it keeps in the dark.

    Why a host is silent stands in the header, once.
    """
    causes: dict[str, list[str]] = {}
    for change in changes:
        if _is_unknown(change):
            why = remark(change, page)
            for host in picture.silent():
                why = why.replace(f" ({host.why})", "")
            causes.setdefault(why, []).append(change.guest)
    return [
        [
            page.text(guests[0] if len(guests) == 1 else f"{len(guests)} guests", "bold"),
            page.text("left alone"),
            page.text("UNKNOWN", "bold yellow"),
            page.text(why if len(guests) == 1 else f"{why}. These are {words.listed(guests)}"),
        ]
        for why, guests in causes.items()
    ]


def folded(changes: Sequence[Change]) -> tuple[Change, ...]:
    """``changes`` with the making of a guest told once, not again for each disk and its start.

    What its disks are is in the manifest; what is held or refused about them keeps its own line.
    """
    made = {one.guest for one in changes if not one.field and one.label is Label.CREATE}
    parts: dict[GuestName, list[str]] = {}
    told = []
    for change in changes:
        part = _PARTS.get(change.label) if change.field else None
        part = "seed" if part == "disk" and change.field == "cloudInit" else part
        if change.guest in made and part and change.fate is Fate.NOW:
            parts.setdefault(change.guest, []).append(part)
        else:
            told.append(change)
    return tuple(_with_parts(change, parts.get(change.guest, [])) for change in told)


_PARTS = {Label.CREATE: "disk", Label.STATE: "start", Label.NONE: "upkeep"}
"""What belongs to the making of a guest, by its label."""


def _with_parts(change: Change, parts: Sequence[str]) -> Change:
    """The making of a guest, and in its message what that takes."""
    if change.field or change.label is not Label.CREATE or not parts or change.message:
        return change
    disks = parts.count("disk")
    said = [f"with {words.counted(disks, 'disk')}"] if disks else []
    said += ["told by cloud-init"] if "seed" in parts else []
    said += ["then started"] if "start" in parts else []
    return replace(change, message=", ".join(said))


def _rank(group: Sequence[Change]) -> int:
    """A guest stands where the first of its changes stands."""
    return min(RANK[change.fate] for change in group)


def _rows_of_guest(group: Sequence[Change], page: Page) -> list[list[Text]]:
    """The rows of one guest: its name once, its fields under one another."""
    names = [words.field(change.field) for change in group]
    longest = max(len(name) for name in names)
    rows = []
    above = ""
    for place, (change, name) in enumerate(zip(group, names, strict=True)):
        said = remark(change, page)
        likewise = bool(above) and said == above
        above = said
        what = page.text(name)
        if name:
            what.append(" " * (longest - len(name) + 1))
        what.append_text(page.text(values(change, page)))
        rows.append(
            [
                page.text(change.guest if place == 0 else "", "bold"),
                what,
                verdict(change, page),
                page.text("likewise" if likewise else said),
            ]
        )
    return rows


def values(change: Change, page: Page) -> str:
    """From → to; of a change of the whole guest only what is done."""
    if _is_unknown(change):
        return "left alone"
    before, after = (_short(value, page) for value in (change.before, change.after))
    if before and after:
        return f"{before} → {after}"
    if not change.field:
        left_alone = "left alone" if change.label is Label.STATE else change.label.value
        return after or before or left_alone
    return f"{before} → none" if before else after


def _short(value: str, page: Page) -> str:
    """``value``, cut where it would push everything else off the page."""
    if page.width is None or len(value) <= LONGEST_VALUE:
        return value
    return f"{value[: LONGEST_VALUE - 1]}…"


def verdict(change: Change, page: Page) -> Text:
    """What the change costs, or in capitals that a person is needed."""
    if change.fate is Fate.HELD:
        return page.text("HELD", "bold magenta")
    if change.fate is Fate.REFUSED:
        return page.text("REFUSED", "bold red")
    if _is_unknown(change):
        return page.text("UNKNOWN", "bold yellow")
    return page.text(change.label.value, _LABEL_STYLE[change.label])


def _is_unknown(change: Change) -> bool:
    """Whether the line only says that nothing is known of the guest."""
    return not change.field and not change.after and change.before == UNKNOWN


def remark(change: Change, page: Page) -> str:
    """What becomes of the change and why, in a few words."""
    said = change.message
    match change.fate:
        case Fate.NOW:
            return f"({said})" if said else ""
        case Fate.RUNNING:
            return f"under way: {said}" if said else "under way"
        case Fate.WAITING:
            waits = f"waits until {words.clock(change.until, page)}" if change.until else "waits"
            return f"{waits}: {said}" if said else waits
        case Fate.HELD | Fate.REFUSED:
            return said or (change.reason.value if change.reason else "")


def summary(picture: Picture, page: Page) -> str:
    """How many changes happen now, later, and not at all."""
    changes = folded(picture.changes())
    told = [status for status in picture.plan.statuses.values() if not status.off]
    unknown = sum(status.state == UNKNOWN for status in told)
    if not changes:
        if not picture.plan.statuses:
            return "Nothing to do: the commit asks for no guests, and none of ours is on the hosts."
        trash = sum(status.phase == Phase.TRASH for status in told)
        off = len(picture.plan.statuses) - len(told)
        number = len(told) - unknown - trash
        guests = f"{words.counted(number, 'guest')} as the commit wants {_it(number)}"
        parts = [guests] if number or not (trash or off) else []
        parts += [f"{words.counted(trash, 'guest')} in the trash"] if trash else []
        parts += [f"{words.counted(off, 'guest')} in pools that are off"] if off else []
        parts += [f"{words.counted(unknown, 'guest')} unknown"] if unknown else []
        return f"Nothing to do: {', '.join(parts)}."
    parts = []
    now = [change for change in changes if change.fate is Fate.NOW]
    parts.append(f"{words.counted(len(now), 'change')} now" if now else "nothing now")
    running = sum(change.fate is Fate.RUNNING for change in changes)
    if running:
        parts.append(f"{running} under way")
    waiting = [
        change for change in changes if change.fate is Fate.WAITING and not _is_unknown(change)
    ]
    instants = sorted({change.until for change in waiting if change.until})
    for instant in instants:
        number = sum(change.until == instant for change in waiting)
        parts.append(f"{number} at {words.clock(instant, page)}")
    endless = sum(change.until is None for change in waiting)
    if endless:
        parts.append(f"{endless} waiting")
    for fate, word in ((Fate.HELD, "held"), (Fate.REFUSED, "refused")):
        number = sum(change.fate is fate for change in changes)
        if number:
            parts.append(f"{number} {word}")
    if unknown:
        parts.append(f"{words.counted(unknown, 'guest')} unknown")
    sentence = ", ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def waits_for_restart(change: Change) -> bool:
    """Whether the change is stored, and comes true at a restart that is not made yet."""
    restart = change.label is Label.RESTART and change.fate is Fate.WAITING
    return restart and change.reason in (Reason.NEEDS_RESTART, Reason.WINDOW)


def _it(number: int) -> str:
    """The pronoun of one guest or of several."""
    return "it" if number == 1 else "them"


CLASSES = {
    Counted.DELETION: "deletions",
    Counted.EMPTYING: "emptyings of the trash",
    Counted.RESTART: "restarts",
    Counted.MIGRATION: "moves",
}
"""What the acts of a class are called."""


def release(held: Held, page: Page) -> str:
    """What lets acts through that are held together."""
    pool = f" of pool {held.pool}" if held.pool is not None else ""
    which = f"To let the held {CLASSES[held.counted]}{pool} through"
    trailer = f'"Domops-Approve: {held.plan_id}"'
    if held.protected:
        return f"{which} although they are protected: a commit of its own with {trailer}."
    by_itself = f" At {words.clock(held.until, page)} the budget covers them." if held.until else ""
    return f"{which}: domops approve {held.plan_id}, or commit with {trailer}.{by_itself}"


def next_acts(picture: Picture, page: Page) -> list[str]:
    """What a person can do about what is held, and what becomes of what is deleted."""
    changes = picture.changes()
    sentences = [release(held, page) for held in picture.plan.held]
    warned = {change.guest for change in changes if change.reason is Reason.WARN_MODE}
    pools = [name for name, pool in picture.world.pools.items() if pool.mode is PoolMode.WARN]
    if warned:
        which = f"pool {pools[0]} is" if len(pools) == 1 else f"pools {words.listed(pools)} are"
        sentences.append(
            f"{which[0].upper()}{which[1:]} in mode warn: domops run only shows changes there; "
            "domops apply asks and makes them."
        )
    deleted = [one for one in changes if one.label is Label.DELETE and not one.field]
    if any(change.fate is not Fate.REFUSED for change in deleted):
        keeps = {pool.trash_keep_s for pool in picture.world.pools.values()}
        kept = f" for {words.duration(min(keeps))}" if len(keeps) == 1 else ""
        sentences.append(
            f"Deleted guests stay in the trash{kept} with all their disks; "
            "git revert brings them back."
        )
    return sentences


def _warnings(picture: Picture, changes: Sequence[Change], page: Page) -> list[Text]:
    """What the manifests of the guests that change say at a cost."""
    guests = sorted({change.guest for change in changes})
    wanted = (picture.world.guests.get(name) for name in guests)
    rows = [
        [page.text(guest.name, "bold"), page.text(words.field(one.field)), page.text(one.message)]
        for guest in wanted
        if guest is not None
        for one in guest.warnings
    ]
    if not rows:
        return []
    return [page.text("Warnings:", "yellow"), *columns(rows, page, indent=2), Text()]


def _suspended(picture: Picture, page: Page) -> list[Text]:
    """Who has taken which guests out of our hands, and what gives them back."""
    guests: dict[Suspension, list[GuestName]] = {}
    for name, status in picture.plan.statuses.items():
        for one in status.suspended:
            guests.setdefault(one, []).append(name)
    if not guests:
        return []
    rows = [
        [
            page.text(words.listed(names, most=3), "bold"),
            page.text(told_suspension(one, page)),
            page.text(one.release),
        ]
        for one, names in guests.items()
    ]
    return [page.text("Suspended:", "yellow"), *columns(rows, page, indent=2), Text()]


def told_suspension(one: Suspension, page: Page) -> str:
    """``by anna for 2 h, until 18:00: nightly backup``."""
    since = f"{words.since(one.since, page)}" if one.since else ""
    until = f", until {words.clock(one.until, page)}" if one.until else ""
    return f"by {one.who}{since}{until}: {one.why}"


def _foreign(picture: Picture, page: Page) -> list[Text]:
    """Domains that look like ours and are not."""
    if not picture.plan.foreign:
        return []
    rows = [
        [page.text(found.host), page.text(found.name, "bold"), page.text(found.message)]
        for found in picture.plan.foreign
    ]
    return [page.text("Not ours, and left alone:"), *columns(rows, page, indent=2), Text()]
