"""The commands that look and change nothing: plan, get, describe, diff, events, why, history."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from reconciler.cli import documents, words
from reconciler.cli.documents import Document
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse
from reconciler.cli.options import Form, FromFolder, ListForm, PlanForm, TextForm
from reconciler.cli.page import Page, tame
from reconciler.cli.picture import Picture
from reconciler.cli.render_events import render_events
from reconciler.cli.render_guest import render_description, render_diff, render_suggestions
from reconciler.cli.render_history import render_history, render_why
from reconciler.cli.render_lists import table_of_guests, table_of_hosts, table_of_pools
from reconciler.cli.render_plan import render_plan
from reconciler.cli.render_xml import render_xml, xml_differences
from reconciler.cli.session import Asked, Doors, Session
from reconciler.cli.stopping import stopping_on
from reconciler.cli.terminal import terminal
from reconciler.cli.watching import Listing, watch
from reconciler.model.names import GuestName


class What(StrEnum):
    """What ``get`` lists."""

    GUESTS = "guests"
    HOSTS = "hosts"
    POOLS = "pools"


class Describable(StrEnum):
    """What ``describe`` describes."""

    GUEST = "guest"


Revision = Annotated[
    str | None,
    typer.Option(
        "--rev",
        metavar="REV",
        help="Take the manifests of this commit, branch or tag instead of the one in force.",
    ),
]


@contextmanager
def opened(
    doors: Doors,
    *,
    writing: bool = False,
    from_folder: Path | None = None,
    revision: str | None = None,
) -> Iterator[Session]:
    """A session that is closed whatever happens."""
    session = doors.opener(doors.where, writing=writing, from_folder=from_folder, revision=revision)
    try:
        yield session
    finally:
        session.close()


def show(
    form: TextForm | ListForm,
    document: Callable[[], Document],
    lines: Callable[[Page], Sequence[Text]],
) -> None:
    """Put one thing onto standard output in the form asked for; only that form is made."""
    screen = terminal()
    match form.value:
        case "json":
            screen.write(documents.as_json(document()))
        case "yaml":
            screen.write(documents.as_yaml(document()))
        case _:
            screen.show(lines(screen.page()))


def outcome(picture: Picture) -> ExitCode:
    """Whether anything is left between what is wanted and what is."""
    return ExitCode.OK if picture.settled else ExitCode.DIFFERENCES


def plan(
    doors: Doors,
    from_folder: FromFolder = None,
    revision: Revision = None,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Show what a commit would change, now and later, and why the rest waits.

    Asks the hosts and changes nothing. Exits 0 if nothing is to be done, 1 if something is.
    """
    if from_folder is not None and revision is not None:
        refuse("--from and --rev exclude each other: a folder has no revisions.")
    with opened(doors, from_folder=from_folder, revision=revision) as session:
        picture = session.look()
    show(form, lambda: documents.of_plan(picture), lambda page: render_plan(picture, page))
    leave(outcome(picture))


def get(
    doors: Doors,
    what: Annotated[What, typer.Argument(help="What to list.")],
    form: Form = ListForm.TABLE,
    watched: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Go on, and show every change until Ctrl-C; on a terminal in place.",
        ),
    ] = False,
) -> None:
    """List guests, hosts or pools as they are now, or as they change.

    With --watch, hosts are asked when they tell of a change, and otherwise as often as a controller
    would. It ends with Ctrl-C, and exits 130.
    """
    listing = _listing(what, wide=form is ListForm.WIDE)
    with opened(doors) as session:
        picture = session.look(ahead=False)
        if watched:
            with stopping_on(signal.SIGINT, signal.SIGTERM) as stop:
                watch(listing, chain([picture], session.watch(stop)), form)
    if watched:
        leave(ExitCode.INTERRUPTED)
    show(
        form,
        lambda: listing.document(picture),
        lambda page: listing.table(picture, page).lines(page),
    )


def _listing(what: What, *, wide: bool) -> Listing:
    match what:
        case What.GUESTS:
            return Listing(
                document=lambda picture: documents.of_guests(
                    sorted(picture.plan.statuses), picture
                ),
                table=partial(table_of_guests, wide=wide),
            )
        case What.HOSTS:
            return Listing(document=documents.of_hosts, table=partial(table_of_hosts, wide=wide))
        case What.POOLS:
            return Listing(
                document=documents.of_pools,
                table=partial(table_of_pools, wide=wide),
            )


def describe(
    doors: Doors,
    kind: Annotated[Describable, typer.Argument(help="The kind of thing.")],
    name: Annotated[str, typer.Argument(help="Its name.")],
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Show everything that is known about one guest, and where each field is written."""
    del kind  # there is one; the word keeps room for hosts and pools
    with opened(doors) as session:
        picture = session.look(ahead=False)
    guest = known(name, picture)
    show(
        form,
        lambda: documents.of_guests([guest], picture),
        lambda page: render_description(guest, picture, page),
    )


def diff(
    doors: Doors,
    guest: Annotated[str | None, typer.Argument(help="Only this guest.")] = None,
    from_folder: FromFolder = None,
    xml: Annotated[
        bool,
        typer.Option(
            "--xml", help="Show the domain XML that would be written instead, without secrets."
        ),
    ] = False,
    suggest: Annotated[
        bool,
        typer.Option(
            "--suggest-ignore",
            help="Show the lines for the manifests by which the drift would be ignored.",
        ),
    ] = False,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Compare guests with their manifests, field by field.

    Exits 0 if nothing differs, 1 if something does.
    """
    if xml and suggest:
        refuse("--xml and --suggest-ignore exclude each other.")
    if xml:
        leave(_diff_xml(doors, guest, from_folder, form))
    with opened(doors, from_folder=from_folder) as session:
        picture = session.look(ahead=False)
    names = [known(guest, picture)] if guest is not None else sorted(picture.plan.statuses)
    show(
        form,
        lambda: documents.of_diff(names, picture),
        lambda page: (render_suggestions if suggest else render_diff)(names, picture, page),
    )
    differs = any(picture.plan.statuses[name].changes for name in names)
    leave(ExitCode.DIFFERENCES if differs else ExitCode.OK)


def _diff_xml(
    doors: Doors, guest: str | None, from_folder: Path | None, form: TextForm
) -> ExitCode:
    """What ``apply`` would write into definitions now: the stored text, and what it would be."""
    with opened(doors, from_folder=from_folder) as session:
        drafts = session.drafts()
    names = [known(guest, drafts.picture)] if guest is not None else sorted(drafts.texts)
    show(
        form,
        lambda: documents.of_drafts(names, drafts),
        lambda page: render_xml(names, drafts, page),
    )
    differs = any(xml_differences(name, drafts) for name in names)
    return ExitCode.DIFFERENCES if differs else ExitCode.OK


def events(
    doors: Doors,
    guest: Annotated[str | None, typer.Argument(help="Only events of this guest.")] = None,
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, max=100_000, help="How many at most.")
    ] = 30,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Go on, and show what happens until Ctrl-C."),
    ] = False,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Show what happened, oldest first, with the commit and line that asked for it.

    Asks no host: events come from the journal in the state directory. With --follow it ends with
    Ctrl-C, and exits 130.
    """
    with opened(doors) as session:
        if follow:
            with stopping_on(signal.SIGINT, signal.SIGTERM) as stop:
                _follow(session, GuestName(guest) if guest else None, number, form, stop)
            leave(ExitCode.INTERRUPTED)
        found = session.events(limit=number, guest=GuestName(guest) if guest else None)
    show(form, lambda: documents.of_events(found), lambda page: render_events(found, page))


def _follow(
    session: Session, guest: GuestName | None, number: int, form: TextForm, stop: threading.Event
) -> None:
    """Show events as they come; as JSON a list on each line, as YAML a document each."""
    for found in session.follow(stop, limit=number, guest=guest):
        match form:
            case TextForm.JSON:
                terminal().write(documents.as_json_line(documents.of_events(found)))
            case TextForm.YAML:
                terminal().write(f"---\n{documents.as_yaml(documents.of_events(found))}")
            case TextForm.TEXT:
                screen = terminal()
                if found:
                    screen.show(render_events(found, screen.page()))


def known(name: str, picture: Picture) -> GuestName:
    """``name`` as a guest's that has a status; otherwise the command ends, with a suggestion."""
    guest = GuestName(name)
    if guest in picture.plan.statuses:
        return guest
    near = get_close_matches(name, list(picture.plan.statuses), n=1)
    hint = f' Did you mean "{near[0]}"?' if near else " domops get guests lists all there are."
    return refuse(
        f'no guest "{tame(name)}" is wanted by the commit or marked as ours on a host.{hint}'
    )


Number = Annotated[
    int, typer.Option("-n", "--number", min=1, max=100_000, help="How many at most.")
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only what began after this: 30min, 2h, 7d, or an instant as 2026-11-24T18:30.",
    ),
]
OfCommit = Annotated[
    str | None,
    typer.Option("--commit", metavar="SHA", help="Only what was done under this commit."),
]


def why(
    doors: Doors,
    guest: Annotated[str, typer.Argument(help="The guest.")],
    since: Since = None,
    number: Number = 30,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Show why a guest was changed: commit, file and line, field, step and outcome, newest first.

    Asks no host: the steps come from the journal in the state directory.
    """
    asked = Asked(limit=number, guest=GuestName(guest), since=_instant(since))
    with opened(doors) as session:
        found = session.history(asked)
    show(form, lambda: documents.of_history(found), lambda page: render_why(found, page))


def history(
    doors: Doors,
    guest: Annotated[str | None, typer.Argument(help="Only this guest.")] = None,
    since: Since = None,
    commit: OfCommit = None,
    number: Number = 30,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Show what was done and what happened, to guests, hosts and commits, oldest first.

    Asks no host: it comes from the journal in the state directory.
    """
    asked = Asked(
        limit=number,
        guest=GuestName(guest) if guest else None,
        since=_instant(since),
        commit=commit.lower() if commit else None,
    )
    with opened(doors) as session:
        found = session.history(asked)
    show(form, lambda: documents.of_history(found), lambda page: render_history(found, page))


def _instant(since: str | None) -> datetime | None:
    if since is None:
        return None
    page = terminal().page()
    try:
        return words.instant(since, page)
    except ValueError:
        refuse(f"--since {since}: write 30min, 2h or 7d, or an instant as 2026-11-24T18:30.")
