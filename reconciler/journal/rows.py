"""What the journal's rows hold: between SQLite's text and numbers and our nouns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import UUID

from reconciler.journal.codec import UnreadableError, decode
from reconciler.journal.records import Deed, Event, EventKind, Outcome
from reconciler.model.keeping import Tombstone
from reconciler.model.names import Digest, GuestName, HostName, Sha
from reconciler.model.plan import PlannedStep
from reconciler.model.steps import DefineGuest, DeleteVolume
from reconciler.source.address import without_credentials

if TYPE_CHECKING:
    import sqlite3

    from reconciler.model.keeping import Kept
    from reconciler.model.steps import Step, UndefineGuest

KEPT_EVENTS = 100_000
"""How many events and ended intents are kept; older ones go, a thousand at a time."""

PRUNE_EVERY = 1000


def written(at: datetime) -> str:
    """Render an instant so that the order of the texts is the order of the instants."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def put_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Set one of the journal's single values."""
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def get_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """One of the journal's single values, if it was ever set."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else None


def rename(connection: sqlite3.Connection, name: str, former: str) -> None:
    """Give a guest what it had under its former name; done twice, it changes nothing.

    If either was there before anybody looked, so was the guest.
    """
    if connection.execute(
        "SELECT 1 FROM renames WHERE guest = ? AND former = ?", (name, former)
    ).fetchone():
        return
    names = {"name": name, "former": former}
    connection.execute(
        "INSERT INTO guests (name, first_seen)"
        " SELECT :name, first_seen FROM guests WHERE name = :former"
        # The smaller of two instants; nothing, if one of them is.
        " ON CONFLICT (name) DO UPDATE SET first_seen = min(first_seen, excluded.first_seen)",
        names,
    )
    for table, column in (("guest_pools", "pool"), ("guest_hosts", "host")):
        connection.execute(
            f"INSERT OR IGNORE INTO {table} (guest, {column})"  # noqa: S608 - names of ours
            f" SELECT :name, {column} FROM {table} WHERE guest = :former",
            names,
        )
    connection.execute(
        "INSERT OR IGNORE INTO renames (guest, former)"
        " SELECT :name, former FROM renames WHERE guest = :former",
        names,
    )
    connection.execute("INSERT INTO renames (guest, former) VALUES (:name, :former)", names)


def grouped(rows: sqlite3.Cursor) -> dict[str, list[str]]:
    """Gather pairs by their first half."""
    groups: dict[str, list[str]] = {}
    for key, value in rows:
        groups.setdefault(key, []).append(value)
    return groups


def planned_of(text: str) -> PlannedStep | None:
    """The step as it was planned, or None in the words of another version."""
    try:
        noun = decode(text)
    except UnreadableError:
        return None
    return noun if isinstance(noun, PlannedStep) else None


def step_of(text: str) -> Step | None:
    """The step alone, or None in the words of another version."""
    planned = planned_of(text)
    return planned.step if planned else None


def where_of(planned: PlannedStep) -> str | None:
    """``path:line`` of the first change that the step serves."""
    origins = [change.origin for change in planned.changes if change.origin is not None]
    return str(origins[0]) if origins else None


def event_of(planned: PlannedStep, kind: EventKind, text: str, at: datetime) -> Event:
    """Tell of a planned step."""
    return Event(
        at=at,
        kind=kind,
        text=text,
        guest=planned.step.guest,
        host=planned.step.host,
        commit=planned.commit,
        where=where_of(planned),
        step=type(planned.step).__name__,
    )


def insert_event(connection: sqlite3.Connection, event: Event) -> None:
    """Add an event, and let go of those that are too old.

    Whatever went wrong says so in words of its own; should a URL with a password be among them, it
    is not kept, and so neither shown nor logged.
    """
    cursor = connection.execute(
        "INSERT INTO events"
        " (at, kind, guest, host, commit_sha, place, text, step, outcome, took_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            written(event.at),
            event.kind,
            event.guest,
            event.host,
            event.commit,
            event.where,
            without_credentials(event.text),
            event.step,
            event.outcome,
            event.took_s,
        ),
    )
    number = int(cursor.lastrowid or 0)
    if number % PRUNE_EVERY == 0:
        connection.execute("DELETE FROM events WHERE id <= ?", (number - KEPT_EVENTS,))


def key_of(thing: Kept) -> tuple[str, str, str]:
    """What a thing that waits is known by."""
    return str(thing.uuid), thing.what, written(thing.since)


def bury(connection: sqlite3.Connection, step: UndefineGuest, at: datetime) -> None:
    """Remember a guest whose domain is about to go, with the size of what was deleted of it."""
    rows = connection.execute(
        "SELECT planned FROM intents WHERE uuid = ? AND kind = ? AND outcome = ?",
        (str(step.uuid), DeleteVolume.__name__, Outcome.DONE),
    )
    deleted = [step_of(row[0]) for row in rows]
    size = sum(one.capacity_bytes for one in deleted if isinstance(one, DeleteVolume))
    stone = Tombstone.of(step, at=at, size_bytes=size)
    connection.execute(
        f"INSERT OR REPLACE INTO tombstones ({STONE_COLUMNS})"  # noqa: S608 - names of columns, ours
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            stone.guest,
            stone.host,
            str(stone.uuid),
            written(stone.trashed),
            stone.commit,
            stone.intent,
            written(stone.began),
            written(stone.emptied),
            stone.size_bytes,
            json.dumps(stone.lost),
        ),
    )


STONE_COLUMNS = "guest, host, uuid, trashed, commit_sha, intent, began, emptied, size_bytes, lost"


def stone_from(row: tuple[object, ...]) -> Tombstone:
    """Parse a row of ``STONE_COLUMNS``."""
    guest, host, uuid, trashed, commit, intent, began, emptied, size, lost = cast(
        "tuple[str, str, str, str, str, str, str, str, int, str]", row
    )
    return Tombstone(
        guest=GuestName(guest),
        host=HostName(host),
        uuid=UUID(uuid),
        trashed=datetime.fromisoformat(trashed),
        commit=Sha(commit),
        intent=Digest(intent),
        began=datetime.fromisoformat(began),
        emptied=datetime.fromisoformat(emptied),
        size_bytes=size,
        lost=tuple(json.loads(lost)),
    )


def is_birth(step: Step) -> bool:
    """Whether the step makes a guest that was not there."""
    return isinstance(step, DefineGuest) and step.replaces is None


def prune(connection: sqlite3.Connection, newest: int) -> None:
    """Let go of ended intents that are too old; an open one is never let go of."""
    connection.execute(
        "DELETE FROM intents WHERE id <= ? AND ended IS NOT NULL", (newest - KEPT_EVENTS,)
    )


EVENT_COLUMNS = "at, kind, text, guest, host, commit_sha, place, step, outcome, took_s"


def event_from(row: tuple[object, ...]) -> Event:
    """Parse a row of ``EVENT_COLUMNS``."""
    at, kind, text, guest, host, commit, where, step, outcome, took_s = cast(
        "tuple[str, str, str, str | None, str | None, str | None, str | None, str | None,"
        " str | None, float | None]",
        row,
    )
    return Event(
        at=datetime.fromisoformat(at),
        kind=EventKind(kind),
        text=text,
        guest=GuestName(guest) if guest else None,
        host=HostName(host) if host else None,
        commit=Sha(commit) if commit else None,
        where=where,
        step=step,
        outcome=Outcome(outcome) if outcome else None,
        took_s=took_s,
    )


DEED_COLUMNS = "id, guest, host, kind, began, commit_sha, planned, ended, outcome, message"


def deed_from(row: tuple[object, ...]) -> Deed:
    """Parse a row of ``DEED_COLUMNS``."""
    number, guest, host, kind, began, commit, planned, ended, outcome, message = cast(
        "tuple[int, str, str, str, str, str | None, str, str | None, str | None, str | None]", row
    )
    return Deed(
        id=number,
        guest=GuestName(guest),
        host=HostName(host),
        kind=kind,
        began=datetime.fromisoformat(began),
        commit=Sha(commit) if commit else None,
        planned=planned_of(planned),
        ended=datetime.fromisoformat(ended) if ended else None,
        outcome=Outcome(outcome) if outcome else None,
        message=message or "",
    )
