"""The journal: intents before effects, outcomes after them, and what outlives the process.

Every method that writes has written, on disk, when it returns, or raises and has written nothing.
Nothing here decides: what an absent history means is the planner's to judge, and it judges the
worst. Instants are written in UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Self
from uuid import UUID

from reconciler.errors import WaitingError
from reconciler.journal.codec import encode
from reconciler.journal.database import Database
from reconciler.journal.records import Approval, Event, EventKind, Intent, KnownHost, Outcome
from reconciler.journal.rows import (
    DEED_COLUMNS,
    EVENT_COLUMNS,
    PRUNE_EVERY,
    STONE_COLUMNS,
    bury,
    deed_from,
    event_from,
    event_of,
    get_meta,
    grouped,
    insert_event,
    is_birth,
    key_of,
    planned_of,
    prune,
    put_meta,
    rename,
    step_of,
    stone_from,
    where_of,
    written,
)
from reconciler.journal.words import act_in_words, step_in_words
from reconciler.model.desired import HostState
from reconciler.model.keeping import Kept
from reconciler.model.memory import GuestHistory
from reconciler.model.names import (
    GuestName,
    HostName,
    LibvirtPool,
    PlanId,
    PoolName,
    Sha,
    VolumeName,
)
from reconciler.model.steps import UndefineGuest
from reconciler.model.suspension import Covered, Scope, Suspension, Suspensions
from reconciler.source.address import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.journal.records import Deed
    from reconciler.model.keeping import Tombstone
    from reconciler.model.plan import PlannedStep

Filled = tuple[HostName, LibvirtPool, VolumeName]


class Journal:
    """The history of one repository on one state directory."""

    def __init__(self, database: Database, *, original: Path | None = None) -> None:
        """``original`` is the file that ``database`` is a copy of, if it is one."""
        self._database = database
        self._suspensions_read: str | None = None
        self._original = original
        self._copied = _stamp(original) if original is not None else 0

    @classmethod
    def in_memory(cls) -> Self:
        """A journal that knows nothing and is lost with the process."""
        return cls(Database.in_memory())

    @classmethod
    def open(cls, path: Path, *, now: datetime) -> Self:
        """Open the journal for the one writing controller; a lost one becomes an event.

        Raises:
            TransientError: it can be neither opened nor made.
            StalledError: a newer domops wrote it.

        """
        database, lost = Database.open(path, aside=now.strftime("%Y%m%dT%H%M%S.%f"))
        journal = cls(database)
        if lost:
            journal.note(Event(at=now, kind=EventKind.JOURNAL_LOST, text=lost))
        return journal

    @classmethod
    def beside(cls, path: Path) -> Self:
        """Open the journal to add a row to it, while a controller may be using it.

        Raises:
            TransientError: it can be neither opened nor made, or not be read.
            StalledError: a newer domops wrote it.

        """
        database, _ = Database.open(path, aside=None)
        return cls(database)

    @classmethod
    def for_reading(cls, path: Path) -> Self:
        """A copy of the journal as it is now; an empty one where there is none to read."""
        journal = cls(Database.in_memory(), original=path)
        journal._take_copy(path)
        return journal

    def catch_up(self) -> bool:
        """Copy the original anew if it has moved since it was copied; say whether it had.

        Only a journal that was opened for reading has an original. What was written to the copy
        is gone with it.
        """
        if self._original is None or self._copied == _stamp(self._original):
            return False
        self._take_copy(self._original)
        return True

    def _take_copy(self, path: Path) -> None:
        """Keep what is there already if the original cannot be read now."""
        self._copied = _stamp(path)  # before it is copied: what comes meanwhile is seen again
        copy = Database.snapshot(path)
        if copy is not None:
            self._database.close()
            self._database = copy

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # ------------------------------------------------------------------- intents and outcomes

    def begin(self, planned: PlannedStep, at: datetime) -> int:
        """Write down that a step is about to begin; only then may it.

        Raises:
            WaitingError: guests were suspended since ``suspensions`` was last asked, so what was
                planned may not begin.
            TransientError: it could not be written, so the step must not begin.
            StalledError: the journal is damaged, so the step must not begin.

        """
        step = planned.step
        with self._database.writing() as connection:
            read = self._suspensions_read
            if read is not None and (get_meta(connection, _SUSPENDED_LAST) or "") != read:
                raise WaitingError("guests were suspended just now; it is looked anew", until=at)
            cursor = connection.execute(
                "INSERT INTO intents (guest, host, uuid, kind, began, planned, commit_sha)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    step.guest,
                    step.host,
                    str(step.uuid),
                    type(step).__name__,
                    written(at),
                    encode(planned),
                    planned.commit,
                ),
            )
            connection.execute(
                "INSERT OR IGNORE INTO guest_hosts (guest, host) VALUES (?, ?)",
                (step.guest, step.host),
            )
            event = event_of(planned, EventKind.STEP_BEGUN, act_in_words(planned), at)
            insert_event(connection, event)
            if isinstance(step, UndefineGuest):
                # Before the effect: a guest that is not there any more must never lack its stone.
                bury(connection, step, at)
            return int(cursor.lastrowid or 0)

    def end(self, intent: int, outcome: Outcome, message: str, at: datetime) -> None:
        """Write down how a step ended; ending one that has ended changes nothing."""
        with self._database.writing() as connection:
            row = connection.execute(
                "SELECT guest, host, kind, planned, began FROM intents"
                " WHERE id = ? AND ended IS NULL",
                (intent,),
            ).fetchone()
            if row is None:
                return
            connection.execute(
                "UPDATE intents SET ended = ?, outcome = ?, message = ? WHERE id = ?",
                (written(at), outcome, without_credentials(message), intent),
            )
            planned = planned_of(row[3])
            act = step_in_words(planned.step) if planned else row[2]
            text = f"{act}: {outcome}" + (f": {message}" if message else "")
            event = Event(
                at=at,
                kind=EventKind.STEP_ENDED,
                text=text,
                guest=GuestName(row[0]),
                host=HostName(row[1]),
                commit=planned.commit if planned else None,
                where=where_of(planned) if planned else None,
                step=row[2],
                outcome=outcome,
                took_s=(at - datetime.fromisoformat(row[4])).total_seconds(),
            )
            insert_event(connection, event)
            if planned is not None and outcome is Outcome.DONE and is_birth(planned.step):
                connection.execute("DELETE FROM tombstones WHERE guest = ?", (row[0],))
            if intent % PRUNE_EVERY == 0:
                prune(connection, intent)

    def open_intents(self) -> tuple[Intent, ...]:
        """The steps that were begun and are not known to have ended, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, guest, host, uuid, kind, began, planned FROM intents"
                " WHERE ended IS NULL ORDER BY id"
            ).fetchall()
        return tuple(
            Intent(
                id=row[0],
                guest=GuestName(row[1]),
                host=HostName(row[2]),
                uuid=UUID(row[3]),
                kind=row[4],
                began=datetime.fromisoformat(row[5]),
                step=step_of(row[6]),
            )
            for row in rows
        )

    def deeds(
        self,
        *,
        limit: int,
        guest: GuestName | None = None,
        since: datetime | None = None,
        commit: str | None = None,
    ) -> tuple[Deed, ...]:
        """The newest ``limit`` steps, oldest first; ``commit`` may be the beginning of a name."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {DEED_COLUMNS} FROM intents"  # noqa: S608 - names of columns, ours
                f" WHERE {_OF_GUEST} AND (?2 IS NULL OR began >= ?2)"
                " AND (?3 IS NULL OR substr(commit_sha, 1, length(?3)) = ?3)"
                " ORDER BY id DESC LIMIT ?4",
                (guest, since and written(since), commit, limit),
            ).fetchall()
        return tuple(map(deed_from, reversed(rows)))

    # ------------------------------------------------------------------------------- events

    def note(self, event: Event) -> None:
        """Add an event to the history."""
        with self._database.writing() as connection:
            insert_event(connection, event)

    def events(
        self, *, limit: int = 50, guest: GuestName | None = None, after: int = 0
    ) -> tuple[Event, ...]:
        """The newest ``limit`` events, oldest first; ``after`` leaves out what was seen before."""
        return tuple(event for _, event in self.numbered_events(limit, guest=guest, after=after))

    def other_events(
        self,
        *,
        limit: int,
        guest: GuestName | None = None,
        since: datetime | None = None,
        commit: str | None = None,
    ) -> tuple[Event, ...]:
        """As ``deeds``, for what is not the beginning or the end of a step."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {EVENT_COLUMNS} FROM events"  # noqa: S608 - names of columns, ours
                " WHERE kind NOT IN (?5, ?6)"
                f" AND {_OF_GUEST} AND (?2 IS NULL OR at >= ?2)"
                " AND (?3 IS NULL OR substr(commit_sha, 1, length(?3)) = ?3)"
                " ORDER BY id DESC LIMIT ?4",
                (
                    guest,
                    since and written(since),
                    commit,
                    limit,
                    EventKind.STEP_BEGUN,
                    EventKind.STEP_ENDED,
                ),
            ).fetchall()
        return tuple(map(event_from, reversed(rows)))

    def numbered_events(
        self, limit: int, *, guest: GuestName | None = None, after: int = 0
    ) -> tuple[tuple[int, Event], ...]:
        """As ``events``, each with its number: the last one is the next call's ``after``."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT id, {EVENT_COLUMNS} FROM events"  # noqa: S608 - names of columns, ours
                f" WHERE {_OF_GUEST} AND id > ?2 ORDER BY id DESC LIMIT ?3",
                (guest, after, limit),
            ).fetchall()
        return tuple((row[0], event_from(row[1:])) for row in reversed(rows))

    # --------------------------------------------------------------------- the world in force

    def repository(self) -> UUID | None:
        """The repository whose history this is, or None in a fresh journal."""
        value = self._meta("repository")
        return UUID(value) if value else None

    def last_good(self) -> Sha | None:
        """The commit that was last in force."""
        value = self._meta("last_good")
        return Sha(value) if value else None

    def take_into_force(
        self,
        sha: Sha,
        *,
        repository: UUID,
        guests: Mapping[GuestName, PoolName],
        newborn: frozenset[GuestName],
        renamed: Mapping[GuestName, GuestName],
        at: datetime,
    ) -> None:
        """Make ``sha`` the last good commit and remember its guests.

        ``newborn`` are those whose first commit this is known to be: only they get an instant
        before which they were nowhere. A guest that was known before keeps what it had, and one
        that is ``renamed`` has what it had under its former name.
        """
        with self._database.writing() as connection:
            put_meta(connection, "repository", str(repository))
            put_meta(connection, "last_good", sha)
            for name, former in renamed.items():
                rename(connection, name, former)
            connection.executemany(
                "INSERT OR IGNORE INTO guests (name, first_seen) VALUES (?, ?)",
                [(name, written(at) if name in newborn else None) for name in guests],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO guest_pools (guest, pool) VALUES (?, ?)", guests.items()
            )

    def known_guests(self) -> frozenset[GuestName]:
        """Every guest that was in a good commit or was seen with our mark on a host."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name FROM guests").fetchall()
        return frozenset(GuestName(row[0]) for row in rows)

    def saw_guests(self, names: Iterable[GuestName]) -> None:
        """Remember guests that were seen on a host: a later commit of theirs is not their first."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO guests (name, first_seen) VALUES (?, NULL)",
                [(name,) for name in names],
            )

    def histories(self) -> Mapping[GuestName, GuestHistory]:
        """Where each guest may have been whose first commit is known."""
        with self._database.reading() as connection:
            born = connection.execute(
                "SELECT name, first_seen FROM guests WHERE first_seen IS NOT NULL"
            ).fetchall()
            pools = grouped(connection.execute("SELECT guest, pool FROM guest_pools"))
            hosts = grouped(connection.execute("SELECT guest, host FROM guest_hosts"))
        return {
            GuestName(name): GuestHistory(
                first_seen=datetime.fromisoformat(first_seen),
                pools=frozenset(PoolName(pool) for pool in pools.get(name, ())),
                touched=frozenset(HostName(host) for host in hosts.get(name, ())),
            )
            for name, first_seen in born
        }

    # -------------------------------------------------------------------------------- hosts

    def hosts(self) -> Mapping[HostName, KnownHost]:
        """Every host that was ever known, as its manifest last was."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, pool, state, present, uuid, uri FROM hosts"
            ).fetchall()
        return {
            HostName(row[0]): KnownHost(
                name=HostName(row[0]),
                pool=PoolName(row[1]) if row[1] else None,
                state=HostState(row[2]),
                present=bool(row[3]),
                uuid=UUID(row[4]) if row[4] else None,
                uri=row[5],
            )
            for row in rows
        }

    def know_hosts(self, hosts: Iterable[KnownHost]) -> None:
        """Remember hosts; a known machine or address stays where none is told, an answer always."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT INTO hosts (name, pool, state, present, uuid, uri)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET pool = excluded.pool, state = excluded.state,"
                " present = excluded.present, uuid = coalesce(excluded.uuid, hosts.uuid),"
                " uri = coalesce(excluded.uri, hosts.uri)",
                [
                    (
                        host.name,
                        host.pool,
                        host.state,
                        int(host.present),
                        host.uuid and str(host.uuid),
                        host.uri,
                    )
                    for host in hosts
                ],
            )

    def answered(self, hosts: Mapping[HostName, datetime]) -> None:
        """Remember when each host last answered in full; never moves an answer into the past."""
        with self._database.writing() as connection:
            connection.executemany(
                "UPDATE hosts SET last_complete = ?1"
                " WHERE name = ?2 AND (last_complete IS NULL OR last_complete < ?1)",
                [(written(at), name) for name, at in hosts.items()],
            )

    def last_complete(self) -> Mapping[HostName, datetime]:
        """When each host is known to have last answered in full."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT name, last_complete FROM hosts WHERE last_complete IS NOT NULL"
            ).fetchall()
        return {HostName(row[0]): datetime.fromisoformat(row[1]) for row in rows}

    def departed_scanned(self) -> Sha | None:
        """Up to which commit git's past was searched for hosts that left."""
        value = self._meta("departed_scanned")
        return Sha(value) if value else None

    def set_departed_scanned(self, sha: Sha) -> None:
        """Remember that the past up to ``sha`` needs no second search."""
        with self._database.writing() as connection:
            put_meta(connection, "departed_scanned", sha)

    def verified(self) -> Sha | None:
        """The commit in force whose signature was last found to count."""
        value = self._meta("verified")
        return Sha(value) if value else None

    def set_verified(self, sha: Sha) -> None:
        """Remember that the signature of ``sha`` counts, and comes into force."""
        with self._database.writing() as connection:
            put_meta(connection, "verified", sha)

    # -------------------------------------------------------------------------------- volumes

    def filled(self) -> frozenset[Filled]:
        """The volumes whose creation was seen to end well, while their marks say otherwise."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT host, pool, volume FROM filled").fetchall()
        return frozenset(
            (HostName(host), LibvirtPool(pool), VolumeName(volume)) for host, pool, volume in rows
        )

    def set_filled(self, volume: Filled, *, filled: bool) -> None:
        """Remember, or forget, that a volume's content is complete."""
        with self._database.writing() as connection:
            if filled:
                connection.execute("INSERT OR IGNORE INTO filled VALUES (?, ?, ?)", volume)
            else:
                connection.execute(
                    "DELETE FROM filled WHERE host = ? AND pool = ? AND volume = ?", volume
                )

    # ------------------------------------------------------------------------------ the trash

    def saw_waiting(self, things: Iterable[Kept], day: date) -> None:
        """Remember that each thing was seen waiting for its removal on that day; once a day."""
        with self._database.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO waiting_days (uuid, what, since, day) VALUES (?, ?, ?, ?)",
                [(*key_of(thing), day.isoformat()) for thing in things],
            )

    def forget_waiting(self, things: Iterable[Kept]) -> None:
        """Forget things that wait no more: they came back, or they were removed."""
        with self._database.writing() as connection:
            connection.executemany(
                "DELETE FROM waiting_days WHERE uuid = ? AND what = ? AND since = ?",
                [key_of(thing) for thing in things],
            )

    def waiting(self) -> Mapping[Kept, frozenset[date]]:
        """The days on which each thing was seen waiting for its removal."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT uuid, what, since, day FROM waiting_days").fetchall()
        days: dict[Kept, set[date]] = {}
        for uuid, what, since, day in rows:
            thing = Kept(uuid=UUID(uuid), what=what, since=datetime.fromisoformat(since))
            days.setdefault(thing, set()).add(date.fromisoformat(day))
        return {thing: frozenset(seen) for thing, seen in days.items()}

    def tombstones(self) -> Mapping[GuestName, Tombstone]:
        """The guests that were removed for good, and did not come anew since."""
        with self._database.reading() as connection:
            rows = connection.execute(
                f"SELECT {STONE_COLUMNS} FROM tombstones"  # noqa: S608 - names of columns, ours
            ).fetchall()
        return {stone.guest: stone for stone in map(stone_from, rows)}

    # ------------------------------------------------------------------------------ approvals

    def approve(self, approval: Approval) -> None:
        """Let the held acts with this plan id through, and keep who did."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO approvals (plan_id, who, at) VALUES (?, ?, ?)",
                (approval.plan_id, approval.who, written(approval.at)),
            )
            text = f"plan {approval.plan_id} approved by {approval.who}"
            insert_event(connection, Event(at=approval.at, kind=EventKind.APPROVED, text=text))

    def approvals(self) -> tuple[Approval, ...]:
        """Every approval given by command, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT plan_id, who, at FROM approvals ORDER BY at"
            ).fetchall()
        return tuple(
            Approval(plan_id=PlanId(row[0]), who=row[1], at=datetime.fromisoformat(row[2]))
            for row in rows
        )

    # --------------------------------------------------------------------------- suspensions

    def suspend(self, suspension: Suspension, at: datetime) -> None:
        """Let no further step begin for what is covered, in the place of what was said before.

        When this returns, no step begins that was planned without knowing of it.
        """
        covered, until = suspension.covered, suspension.until
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO suspensions (scope, name, who, why, since, until)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    covered.scope,
                    covered.name,
                    suspension.who,
                    suspension.why,
                    written(suspension.since or at),
                    until and written(until),
                ),
            )
            put_meta(connection, _SUSPENDED_LAST, f"{covered}, {written(at)}")
            ends = f", until {written(until)}" if until else ""
            text = f"{_whom(covered)} suspended by {suspension}{ends}"
            insert_event(connection, _about(covered, EventKind.SUSPENDED, text, at))

    def resume(self, covered: Covered, *, who: str, at: datetime) -> bool:
        """Lift what was suspended by that name, and say whether anything is known to have been.

        It is kept that it was lifted, for marks that still carry it.
        """
        with self._database.writing() as connection:
            key = (covered.scope, covered.name)
            known = connection.execute(
                "SELECT 1 FROM suspensions WHERE scope = ? AND name = ? AND lifted IS NULL", key
            ).fetchone()
            connection.execute(
                "INSERT INTO suspensions (scope, name, who, why, since, lifted)"
                " VALUES (?1, ?2, ?3, '', ?4, ?4)"
                " ON CONFLICT (scope, name) DO UPDATE SET lifted = ?4",
                (*key, who, written(at)),
            )
            text = f"{_whom(covered)} resumed by {who}"
            insert_event(connection, _about(covered, EventKind.RESUMED, text, at))
        return known is not None

    def suspensions(self) -> Suspensions:
        """What was suspended by command and not lifted, and when others were lifted."""
        with self._database.reading() as connection:
            # The number first: what comes between the two is then taken for unread.
            self._suspensions_read = get_meta(connection, _SUSPENDED_LAST) or ""
            rows = connection.execute(
                "SELECT scope, name, who, why, since, until, lifted FROM suspensions"
                " ORDER BY scope, name"
            ).fetchall()
        standing: list[Suspension] = []
        lifted: dict[Covered, datetime] = {}
        for scope, name, who, why, since, until, lifted_at in rows:
            covered = Covered(scope=Scope(scope), name=name)
            if lifted_at is not None:
                lifted[covered] = datetime.fromisoformat(lifted_at)
                continue
            standing.append(
                Suspension(
                    covered=covered,
                    who=who,
                    why=why,
                    since=datetime.fromisoformat(since),
                    until=datetime.fromisoformat(until) if until else None,
                )
            )
        return Suspensions(standing=tuple(standing), lifted=lifted)

    def still_moving(self) -> frozenset[Covered]:
        """What is suspended and was not seen without a step under way since."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT scope, name FROM suspensions WHERE lifted IS NULL AND NOT quiet"
            ).fetchall()
        return frozenset(Covered(scope=Scope(scope), name=name) for scope, name in rows)

    def quieten(self, suspension: Suspension) -> None:
        """Remember that nothing is under way any more, and nothing will be, for what it covers."""
        if suspension.since is None:
            return
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE suspensions SET quiet = 1 WHERE scope = ? AND name = ? AND since = ?",
                (suspension.covered.scope, suspension.covered.name, written(suspension.since)),
            )

    def moved(self) -> int:
        """A number that changes when another process has written to the journal."""
        if self._original is not None:
            return _stamp(self._original)
        with self._database.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _meta(self, key: str) -> str | None:
        with self._database.reading() as connection:
            return get_meta(connection, key)


_OF_GUEST = (
    "(?1 IS NULL OR guest = ?1 OR guest IN (SELECT former FROM renames WHERE renames.guest = ?1))"
)
"""What happened to a guest, under whatever name."""

_SUSPENDED_LAST = "suspended_last"
"""Which of the journal's single values changes with each suspension."""


def _whom(covered: Covered) -> str:
    match covered.scope:
        case Scope.GUEST:
            return covered.name
        case Scope.POOL:
            return f"pool {covered.name}"
        case Scope.ALL:
            return "all guests"


def _about(covered: Covered, kind: EventKind, text: str, at: datetime) -> Event:
    guest = GuestName(covered.name) if covered.is_one_guest else None
    return Event(at=at, kind=kind, text=text, guest=guest)


def _stamp(path: Path) -> int:
    """A number that changes when the file or its write-ahead log is written to."""
    seen = []
    for one in (path, path.with_name(f"{path.name}-wal")):
        try:
            found = one.stat()
        except OSError:
            continue
        seen.append((one.name, found.st_ino, found.st_mtime_ns, found.st_size))
    return hash(tuple(seen))
