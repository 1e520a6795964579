"""The commands that take guests out of domops' hands for a while, and give them back."""

import getpass
import re
import threading
import time
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Annotated

import typer

from reconciler.cli import words
from reconciler.cli.commands_seeing import opened
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse, sentence
from reconciler.cli.page import Page
from reconciler.cli.session import Doors, Session
from reconciler.cli.terminal import terminal
from reconciler.manifests.fields import ONE_LINE
from reconciler.manifests.quantities import QuantityError, parse_duration
from reconciler.model.suspension import Covered, Scope

_LOOK_EVERY_S = 0.2
_LONGEST_REASON = 200

Guests = Annotated[
    list[str] | None, typer.Argument(metavar="GUEST...", help="These guests.", show_default=False)
]
Pool = Annotated[
    str | None, typer.Option("--pool", metavar="POOL", help="All guests of this pool.")
]
All = Annotated[bool, typer.Option("--all", help="All guests of the repository.")]


def suspend(
    doors: Doors,
    guests: Guests = None,
    *,
    pool: Pool = None,
    everything: All = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; everybody who looks sees it.")
    ] = "",
    span: Annotated[
        str | None,
        typer.Option("--for", metavar="SPAN", help="For so long, as in 2h; else until resumed."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Until then, as in 2026-11-25T06:00."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when nothing is under way for them any more.")
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="SPAN", help="Wait no longer than this.")
    ] = "1h",
) -> None:
    """Begin no step for some guests, not even one that heals, until they are resumed.

    What is under way goes on to its end; with --wait that is waited for. Exit code 1 means that
    it had not ended in time: the guests stay suspended. A second suspension of the same takes the
    place of the first.
    """
    page = terminal().page()
    if not reason.strip() or len(reason) > _LONGEST_REASON or not re.fullmatch(ONE_LINE, reason):
        refuse(f"give a --reason, in one line of at most {_LONGEST_REASON} characters.")
    end = _end(span, until, page)
    patience = _span(timeout, "--timeout")
    with opened(doors) as session:
        wishes = _wishes(session, guests or [], pool, everything=everything)
        session.suspend(wishes, why=reason.strip(), until=end)
        lasts = f"until {words.clock(end, page)}" if end else "until they are resumed"
        terminal().write(
            f"{getpass.getuser()} suspended {_listed(wishes)} {lasts}: {reason.strip()}\n"
        )
        if wait:
            _wait(session, wishes, patience)


def resume(
    doors: Doors, guests: Guests = None, *, pool: Pool = None, everything: All = False
) -> None:
    """Give suspended guests back to domops, by the names under which they were suspended.

    What a manifest suspends, a commit resumes.
    """
    with opened(doors) as session:
        wishes = _wishes(session, guests or [], pool, everything=everything)
        known = session.resume(wishes)
    for one in wishes:
        if one not in known:
            sentence(f"{_named(one)}: nothing of the kind was known to be suspended.")
    terminal().write(f"{getpass.getuser()} resumed {_listed(wishes)}.\n")


def _wait(session: Session, wishes: tuple[Covered, ...], patience: timedelta) -> None:
    """Come back when nothing is under way, or say what is when patience ends."""
    end = time.monotonic() + patience.total_seconds()
    pause = threading.Event()
    while moving := session.still_moving(wishes):
        if time.monotonic() >= end:
            listed = _listed(tuple(one for one in wishes if one in moving))
            sentence(f"suspended, but something is still under way for {listed}.")
            leave(ExitCode.DIFFERENCES)
        pause.wait(_LOOK_EVERY_S)


def _wishes(
    session: Session, guests: list[str], pool: str | None, *, everything: bool
) -> tuple[Covered, ...]:
    """What is named on the command line: guests, or one pool, or all."""
    if (bool(guests) + (pool is not None) + everything) != 1:
        refuse("name guests, or a pool with --pool, or --all: exactly one of these.")
    if everything:
        return (Covered(scope=Scope.ALL),)
    names = session.names()
    if pool is not None:
        _must_be_known(pool, names.pools, "pool")
        return (Covered(scope=Scope.POOL, name=pool),)
    for guest in guests:
        _must_be_known(guest, names.guests, "guest")
    return tuple(Covered(scope=Scope.GUEST, name=one) for one in dict.fromkeys(guests))


def _must_be_known(name: str, names: frozenset[str], noun: str) -> None:
    if name not in names:
        near = get_close_matches(name, sorted(names), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        refuse(f"there is no {noun} {name}{hint}")


def _end(span: str | None, until: str | None, page: Page) -> datetime | None:
    """When the suspension ends by itself, if it does."""
    if span is not None and until is not None:
        refuse("give --for or --until, not both.")
    if span is not None:
        return page.now + _span(span, "--for")
    if until is None:
        return None
    try:
        end = datetime.fromisoformat(until)
    except ValueError:
        refuse(f'--until "{until}" is no instant; write it as in 2026-11-25T06:00.')
    end = end if end.tzinfo is not None else end.replace(tzinfo=page.zone)
    if end <= page.now:
        refuse(f"--until {until} is over already.")
    return end


def _span(text: str, option: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except QuantityError as error:
        refuse(f"{option}: {error}; {error.hint}.")


def _listed(wishes: tuple[Covered, ...]) -> str:
    return words.listed([_named(one) for one in wishes], most=10)


def _named(one: Covered) -> str:
    match one.scope:
        case Scope.GUEST:
            return one.name
        case Scope.POOL:
            return f"pool {one.name}"
        case Scope.ALL:
            return "all guests"
