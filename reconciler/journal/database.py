"""Open the journal's file, whatever state it is in, and translate what SQLite says.

A file that is damaged or is none of ours is moved aside with a sentence and a new one is begun:
losing the journal costs history and speed, and only ever makes domops more careful. A file that
cannot be *written* is another matter: then no step may begin, and every write says so.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Self

from reconciler.errors import StalledError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 6

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    guest TEXT NOT NULL,
    host TEXT NOT NULL,
    uuid TEXT NOT NULL,
    kind TEXT NOT NULL,
    began TEXT NOT NULL,
    planned TEXT NOT NULL,
    commit_sha TEXT,
    ended TEXT,
    outcome TEXT,
    message TEXT
);
CREATE INDEX intents_open ON intents (id) WHERE ended IS NULL;
CREATE INDEX intents_guest ON intents (guest, id);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    guest TEXT,
    host TEXT,
    commit_sha TEXT,
    place TEXT,
    text TEXT NOT NULL,
    step TEXT,
    outcome TEXT,
    took_s REAL
);
CREATE INDEX events_guest ON events (guest, id);
CREATE TABLE guests (name TEXT PRIMARY KEY, first_seen TEXT) WITHOUT ROWID;
CREATE TABLE guest_pools (
    guest TEXT NOT NULL, pool TEXT NOT NULL, PRIMARY KEY (guest, pool)
) WITHOUT ROWID;
CREATE TABLE guest_hosts (
    guest TEXT NOT NULL, host TEXT NOT NULL, PRIMARY KEY (guest, host)
) WITHOUT ROWID;
CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    pool TEXT,
    state TEXT NOT NULL,
    present INTEGER NOT NULL,
    uuid TEXT,
    last_complete TEXT,
    uri TEXT
) WITHOUT ROWID;
CREATE TABLE filled (
    host TEXT NOT NULL, pool TEXT NOT NULL, volume TEXT NOT NULL,
    PRIMARY KEY (host, pool, volume)
) WITHOUT ROWID;
CREATE TABLE approvals (
    plan_id TEXT PRIMARY KEY, who TEXT NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
"""

_SUSPENSIONS = """
CREATE TABLE suspensions (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT,
    quiet INTEGER NOT NULL DEFAULT 0,
    lifted TEXT,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
"""

_TRASH = """
CREATE TABLE waiting_days (
    uuid TEXT NOT NULL, what TEXT NOT NULL, since TEXT NOT NULL, day TEXT NOT NULL,
    PRIMARY KEY (uuid, what, since, day)
) WITHOUT ROWID;
CREATE TABLE tombstones (
    guest TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    uuid TEXT NOT NULL,
    trashed TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    intent TEXT NOT NULL,
    began TEXT NOT NULL,
    emptied TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    lost TEXT NOT NULL
) WITHOUT ROWID;
"""

_RENAMES = """
CREATE TABLE renames (
    guest TEXT NOT NULL, former TEXT NOT NULL, PRIMARY KEY (guest, former)
) WITHOUT ROWID;
"""
_SCHEMA += _SUSPENSIONS + _TRASH + _RENAMES

_UPGRADES = {
    1: """
ALTER TABLE events ADD COLUMN step TEXT;
ALTER TABLE events ADD COLUMN outcome TEXT;
ALTER TABLE events ADD COLUMN took_s REAL;
""",
    2: "ALTER TABLE hosts ADD COLUMN uri TEXT;",
    3: _SUSPENSIONS,
    4: _TRASH,
    5: _RENAMES,
}
"""What turns the form of that number into the next one; the history is kept."""

_BUSY_S = 5.0
"""How long a write waits for a command beside the controller to finish its one row."""


class Database:
    """One connection, used by one thread at a time; writes are transactions that hold on disk."""

    def __init__(self, connection: sqlite3.Connection, *, shown: str) -> None:
        self._connection = connection
        self._shown = shown
        self._lock = threading.RLock()

    @classmethod
    def in_memory(cls) -> Self:
        """An empty journal that lives as long as this object."""
        connection = _connect(":memory:")
        _lay_out(connection)
        return cls(connection, shown="memory")

    @classmethod
    def open(cls, path: Path, *, aside: str | None) -> tuple[Self, str | None]:
        """Open or make the file for writing; also return a sentence if an older one was lost.

        ``aside`` ends the name under which an unreadable file is kept; without it, an unreadable
        file is an error, because a controller may be using it.

        Raises:
            TransientError: the file can be neither opened nor made.
            StalledError: a newer domops wrote it.

        """
        lost = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                connection = _open_sound(path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                if aside is None:
                    raise
                kept = _move_aside(path, aside)
                lost = (
                    f"the journal {path} could not be read ({error}) and was kept as {kept.name}; "
                    "a new one was begun, so guests are judged by what the hosts say alone"
                )
                connection = _open_sound(path)
        except (OSError, sqlite3.Error) as error:
            raise TransientError(
                f"the journal {path} cannot be opened: {error}; no step begins without it"
            ) from error
        return cls(connection, shown=str(path)), lost

    @classmethod
    def snapshot(cls, path: Path) -> Self | None:
        """Copy the file into memory, or return None where there is none that can be read.

        What is written to the copy is gone with it: a command that only reads may use the journal
        as the controller does and still leave no trace.
        """
        copy = _connect(":memory:")
        try:
            if not path.exists():
                return None
            # The write-ahead log of a controller that runs needs its shared index, which a plain
            # read-only open finds; without a log beside it, the file alone is the whole journal.
            mode = "ro" if path.with_name(path.name + "-wal").exists() else "ro&immutable=1"
            with contextlib.closing(_connect(f"file:{_quoted(path)}?mode={mode}", uri=True)) as own:
                if not 0 < _version(own) <= SCHEMA_VERSION:
                    return None
                own.backup(copy)
            _upgrade(copy)
        except (OSError, sqlite3.Error):
            return None
        return cls(copy, shown=str(path))

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a transaction that is on disk when the block has ended.

        Raises:
            TransientError: nothing was written, because the file cannot be written now.
            StalledError: nothing was written, because the file is damaged.

        """
        with self._lock, self._errors_as_ours():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for reading.

        Raises:
            TransientError: the file cannot be read now.
            StalledError: the file is damaged.

        """
        with self._lock, self._errors_as_ours():
            yield self._connection

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"the journal {self._shown} cannot be used: {error}; no step begins until it can"
            ) from error
        except sqlite3.DatabaseError as error:
            raise StalledError(
                f"the journal {self._shown} is damaged: {error}; no step begins. "
                "Restart domops: it keeps the file aside and begins a new one"
            ) from error


def _connect(name: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        name, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=uri
    )


def _quoted(path: Path) -> str:
    """A path as SQLite's URI takes it."""
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _open_sound(path: Path) -> sqlite3.Connection:
    """Open, check and lay out the file.

    Raises:
        sqlite3.DatabaseError: the file is damaged, or no journal at all.
        StalledError: a newer domops wrote it.

    """
    connection = _connect(str(path))
    try:
        version = _version(connection)
        _refuse_unsound(connection, path, version)
        connection.execute("PRAGMA journal_mode = WAL")
        # An intent must outlive a power failure, not only a kill: every commit reaches the disk.
        connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            _lay_out(connection)
        _upgrade(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_unsound(connection: sqlite3.Connection, path: Path, version: int) -> None:
    if version > SCHEMA_VERSION:
        raise StalledError(
            f"the journal {path} was written by a newer domops (form {version}, this one "
            f"knows {SCHEMA_VERSION}); run that one, or move the file away"
        )
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict is None or verdict[0] != "ok":
        raise sqlite3.DatabaseError(str(verdict[0] if verdict else "no verdict"))
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise sqlite3.DatabaseError("it is a database, but no journal")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _lay_out(connection: sqlite3.Connection) -> None:
    connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring the form of an older domops up to ours, one form after the other."""
    for version in range(_version(connection), SCHEMA_VERSION):
        connection.executescript(
            f"BEGIN; {_UPGRADES[version]} PRAGMA user_version = {version + 1}; COMMIT;"
        )


def _move_aside(path: Path, aside: str) -> Path:
    """Rename the file and what SQLite keeps beside it, so that nothing of it is read again."""
    kept = path.with_name(f"{path.name}.unreadable-{aside}")
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        beside = path.with_name(path.name + ending)
        if beside.exists():
            beside.rename(kept.with_name(kept.name + ending))
    return kept
