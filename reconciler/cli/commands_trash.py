"""The command for the trash: what is in it, how to have it back, and how to be rid of it."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, assert_never

import typer

from reconciler.cli import documents, words
from reconciler.cli.commands_seeing import opened, show
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse, sentence
from reconciler.cli.options import Form, ListForm
from reconciler.cli.picture import Picture
from reconciler.cli.render_trash import render_trash
from reconciler.cli.session import Doors
from reconciler.cli.terminal import terminal
from reconciler.cli.trashed import Sort, Trashed, trashed
from reconciler.model.names import GuestName, PlanId
from reconciler.planner.budget import emptying, plan_id


class Act(StrEnum):
    """What is done with the trash."""

    LIST = "list"
    RESTORE = "restore"
    EMPTY = "empty"


def trash(
    doors: Doors,
    act: Annotated[Act, typer.Argument(help="What to do.")],
    guests: Annotated[
        list[str] | None,
        typer.Argument(metavar="GUEST...", help="These guests.", show_default=False),
    ] = None,
    form: Form = ListForm.TABLE,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into", metavar="FOLDER", help="Restore: write the manifest into this folder."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Empty: do not ask.")] = False,
) -> None:
    """List what is in the trash, bring a guest back through git, or have one removed for good.

    `restore` shows the manifest as it was before the guest was deleted, for a commit; it touches no
    host. `empty` lets guests be removed before their time, as `domops approve` does: within 24
    hours, by the controller or by `domops apply`. There is no way back from that.
    """
    names = [GuestName(name) for name in guests or ()]
    match act:
        case Act.LIST:
            _list(doors, form)
        case Act.RESTORE:
            _restore(doors, names, into)
        case Act.EMPTY:
            _empty(doors, names, ask=not yes)
        case _:
            assert_never(act)


def _list(doors: Doors, form: ListForm) -> None:
    with opened(doors) as session:
        picture = session.look(ahead=False)
    found = trashed(picture)
    wide = form is ListForm.WIDE
    show(
        form,
        lambda: documents.of_trash(found, picture),
        lambda page: render_trash(found, page, wide=wide),
    )


def _restore(doors: Doors, names: list[GuestName], into: Path | None) -> None:
    if len(names) != 1:
        refuse("name one guest to restore; domops trash list shows those that can be.")
    with opened(doors) as session:
        past = session.last_manifest(names[0])
    if past is None:
        refuse(f"no commit of this repository has deleted the manifest of {names[0]}.")
    hint = f"Commit it as {past.path}; it was deleted by {past.commit[:10]}."
    if into is None:
        terminal().write(past.text)
        sentence(hint)
        return
    file = into / past.path
    if file.exists():
        refuse(f"{file} is there already; it is not written over. Without --into it is only shown.")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(past.text)
    sentence(f"{file} is written. {hint}")


def _empty(doors: Doors, names: list[GuestName], *, ask: bool) -> None:
    if not names:
        refuse("name the guests to remove; domops trash list shows those that can be.")
    with opened(doors) as session:
        picture = session.look(ahead=False)
        chosen = [_chosen(name, picture) for name in dict.fromkeys(names)]
        for one, _ in chosen:
            size = words.size(one.size_bytes or 0)
            sentence(f"{one.guest} on {one.host} goes for good, with {size} of disks.")
        if ask:
            _ask()
        for _, id_ in chosen:
            session.approve(id_)
    who = words.listed(one.guest for one, _ in chosen)
    terminal().write(f"{who}: removed by the controller, or by domops apply, within 24 hours.\n")


def _chosen(name: GuestName, picture: Picture) -> tuple[Trashed, PlanId]:
    """The guest in the trash, and what lets it be removed; refuses what is none or protected."""
    there = [one for one in trashed(picture) if one.sort is Sort.GUEST and one.guest == name]
    seen = picture.seen(name)
    if not there or seen is None or seen[1].mark is None:
        refuse(f"{name} is not in the trash.")
    mark = seen[1].mark
    if mark.protected or any(disk.protected for disk in mark.disks):
        refuse(f"{name} is protected, and stays in the trash.")
    return there[0], plan_id([emptying(mark)])


def _ask() -> None:
    """Go on only if a person says yes."""
    if not sys.stdin.isatty():
        refuse("empty asks before it lets anything be removed, and nobody is there; --yes answers.")
    if not typer.confirm("There is no way back. Remove them?"):
        sentence("nothing was changed.")
        leave(ExitCode.DIFFERENCES)
