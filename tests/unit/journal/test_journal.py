"""The journal: what is written is on disk, and what is lost or damaged never stops a start."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from reconciler.errors import StalledError, TransientError, WaitingError
from reconciler.journal import database
from reconciler.journal.codec import UnreadableError, decode, encode
from reconciler.journal.journal import Journal
from reconciler.journal.records import Approval, Event, EventKind, KnownHost, Outcome
from reconciler.model.definition import DiskFormat, VolumeSource
from reconciler.model.desired import HostState, Origin
from reconciler.model.names import (
    GuestName,
    HostName,
    LibvirtPool,
    PlanId,
    PoolName,
    Sha,
    VolumeName,
)
from reconciler.model.plan import Change, Fate, Label, PlannedStep
from reconciler.model.steps import CreateVolume
from reconciler.model.suspension import Covered, Scope, Suspension, Suspensions

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEB = GuestName("web")
A = HostName("a")
REPOSITORY = UUID(int=7)

PLANNED = PlannedStep(
    step=CreateVolume(
        host=A,
        guest=WEB,
        uuid=UUID(int=1),
        pool=LibvirtPool("guests"),
        volume=VolumeName("web-root.raw"),
        capacity_bytes=1 << 30,
        format=DiskFormat.RAW,
        image=VolumeSource(pool=LibvirtPool("images"), volume=VolumeName("debian.raw")),
    ),
    pool=PoolName("main"),
    changes=(
        Change(
            guest=WEB,
            field="disks[root].size",
            before="none",
            after="1 GiB",
            label=Label.CREATE,
            fate=Fate.NOW,
            until=NOON,
            origin=Origin(path="guests/web.yaml", line=9),
        ),
    ),
    disruptive=False,
    commit=Sha("c0ffee"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.sqlite"


def test_what_is_encoded_is_decoded_to_the_same() -> None:
    assert decode(encode(PLANNED)) == PLANNED


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"noun": "Path", "fields": {}}', '{"what": 1}', '{"enum": "Fate", "value": "x"}'],
)
def test_what_no_version_of_ours_wrote_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableError):
        decode(text)


def test_an_intent_is_open_until_it_is_ended_also_for_the_next_process(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    first = journal.begin(PLANNED, NOON)
    second = journal.begin(PLANNED, NOON)
    journal.end(first, Outcome.DONE, "", NOON + timedelta(seconds=1))
    again = Journal.open(path, now=NOON)
    [intent] = again.open_intents()
    assert intent.id == second
    assert intent.step == PLANNED.step
    assert intent.began == NOON


def test_ending_twice_tells_it_once(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    number = journal.begin(PLANNED, NOON)
    journal.end(number, Outcome.FAILED, "the disk is full", NOON)
    journal.end(number, Outcome.DONE, "", NOON)
    texts = [event.text for event in journal.events(guest=WEB)]
    assert len(texts) == 2
    assert texts[1].endswith("failed: the disk is full")


def test_an_event_of_a_step_says_what_for_where_and_by_which_commit(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.begin(PLANNED, NOON)
    [event] = journal.events()
    assert event.text == (
        "create volume guests/web-root.raw with 1 GiB from images/debian.raw; "
        "disks[root].size none → 1 GiB"
    )
    assert (event.commit, event.where) == ("c0ffee", "guests/web.yaml:9")


def test_events_are_the_newest_and_oldest_first(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    for minute in range(5):
        at = NOON + timedelta(minutes=minute)
        journal.note(Event(at=at, kind=EventKind.HOST_BACK, text=str(minute), host=A))
    assert [event.text for event in journal.events(limit=2)] == ["3", "4"]
    [(number, _)] = journal.numbered_events(1)
    assert journal.events(after=number) == ()


def test_only_the_newborn_get_a_first_sight_and_keep_it(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    old, new = GuestName("old"), GuestName("new")
    main, other = PoolName("main"), PoolName("other")
    journal.take_into_force(
        Sha("1"),
        repository=REPOSITORY,
        guests={old: main},
        newborn=frozenset(),
        renamed={},
        at=NOON,
    )
    journal.take_into_force(
        Sha("2"),
        repository=REPOSITORY,
        guests={old: main, new: main},
        newborn=frozenset({new}),
        renamed={},
        at=NOON,
    )
    journal.take_into_force(
        Sha("3"),
        repository=REPOSITORY,
        guests={old: main, new: other},
        newborn=frozenset({old, new}),
        renamed={},
        at=NOON + timedelta(days=1),
    )
    assert set(journal.histories()) == {new}
    assert journal.histories()[new].first_seen == NOON
    assert journal.histories()[new].pools == {main, other}
    assert (journal.last_good(), journal.repository()) == ("3", REPOSITORY)


def test_a_guest_seen_on_a_host_is_never_newborn(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.saw_guests([WEB])
    journal.take_into_force(
        Sha("1"),
        repository=REPOSITORY,
        guests={WEB: PoolName("main")},
        newborn=frozenset({WEB}),
        renamed={},
        at=NOON,
    )
    assert journal.histories() == {}


def test_a_begun_step_is_a_touch_of_its_host(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.take_into_force(
        Sha("1"),
        repository=REPOSITORY,
        guests={WEB: PoolName("main")},
        newborn=frozenset({WEB}),
        renamed={},
        at=NOON,
    )
    journal.begin(PLANNED, NOON)
    assert Journal.open(path, now=NOON).histories()[WEB].touched == {A}


def test_hosts_keep_machine_address_and_last_answer(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    machine = UUID(int=9)
    known = KnownHost(
        name=A,
        pool=PoolName("main"),
        state=HostState.ACTIVE,
        present=True,
        uuid=machine,
        uri="qemu:///system",
    )
    journal.know_hosts([known])
    journal.answered({A: NOON})
    journal.answered({A: NOON - timedelta(hours=1)})
    journal.know_hosts([KnownHost(name=A, pool=None, state=HostState.RETIRED, present=False)])
    [host] = journal.hosts().values()
    assert (host.uuid, host.state, host.present) == (machine, HostState.RETIRED, False)
    assert host.uri == "qemu:///system"
    assert journal.last_complete() == {A: NOON}


def test_approvals_are_kept_with_who_gave_them(path: Path) -> None:
    journal = Journal.beside(path)
    approval = Approval(plan_id=PlanId("5d1c-90ab"), who="a tester", at=NOON)
    journal.approve(approval)
    assert Journal.open(path, now=NOON).approvals() == (approval,)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00garbage"])
def test_an_unreadable_file_is_kept_aside_and_a_new_one_begun(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    journal = Journal.open(path, now=NOON)
    [event] = journal.events()
    assert event.kind is EventKind.JOURNAL_LOST
    [kept] = path.parent.glob("*.unreadable-*")
    assert kept.read_bytes() == content
    assert kept.name in event.text


def test_a_journal_torn_in_the_middle_is_kept_aside(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    for _ in range(200):
        journal.begin(PLANNED, NOON)
    journal.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    assert Journal.open(path, now=NOON).open_intents() == ()


def test_somebody_elses_database_is_not_written_into(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    Journal.open(path, now=NOON).close()
    [kept] = path.parent.glob("*.unreadable-*")
    with sqlite3.connect(kept) as other:
        assert other.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    other.close()


def test_a_newer_form_is_an_error_and_is_left_alone(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.close()
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    newer.close()
    with pytest.raises(StalledError, match="newer domops"):
        Journal.open(path, now=NOON)
    assert path.exists()


def test_a_password_in_a_url_is_never_kept(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    said = "fetch https://me:s3cret@git.example.org/vms.git: refused"
    journal.note(Event(at=NOON, kind=EventKind.TROUBLE, text=said))
    journal.end(journal.begin(PLANNED, NOON), Outcome.FAILED, said, NOON)
    journal.close()
    assert b"s3cret" not in path.read_bytes()


def test_an_older_form_is_brought_up_to_ours_and_keeps_its_history(path: Path) -> None:
    """What was added: 2 how a step ended, 3 where a host is, 4 suspensions, 5 trash, 6 renames."""
    Journal.open(path, now=NOON).close()
    with sqlite3.connect(path) as older:
        for column in ("step", "outcome", "took_s"):
            older.execute(f"ALTER TABLE events DROP COLUMN {column}")
        older.execute("ALTER TABLE hosts DROP COLUMN uri")
        for table in ("suspensions", "waiting_days", "tombstones", "renames"):
            older.execute(f"DROP TABLE {table}")
        older.execute(
            "INSERT INTO events (at, kind, text) VALUES (?, 'trouble', 'long ago')",
            (NOON.isoformat(),),
        )
        older.execute("PRAGMA user_version = 1")
    older.close()
    seen = Journal.for_reading(path)
    assert [event.text for event in seen.events()] == ["long ago"]
    seen.close()
    journal = Journal.open(path, now=NOON)
    journal.end(journal.begin(PLANNED, NOON), Outcome.DONE, "", NOON + timedelta(seconds=2))
    first, begun, ended = journal.events()
    assert (first.text, first.step) == ("long ago", None)
    assert (begun.step, begun.outcome, begun.took_s) == ("CreateVolume", None, None)
    assert (ended.step, ended.outcome, ended.took_s) == ("CreateVolume", Outcome.DONE, 2)
    journal.close()


def test_beside_a_controller_a_damaged_file_is_not_moved(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(TransientError):
        Journal.beside(path)
    assert path.exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(TransientError, match="cannot be opened"):
        Journal.open(blocked / "journal.sqlite", now=NOON)


def test_a_full_disk_lets_no_intent_be_begun(path: Path) -> None:
    """SQLite's own bound on pages stands for the disk's: the same error comes back."""
    journal = Journal.open(path, now=NOON)
    connection = journal._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    numbers: list[int] = []
    with pytest.raises(TransientError, match="no step begins"):
        numbers.extend(journal.begin(PLANNED, NOON) for _ in range(10_000))
    connection.execute("PRAGMA max_page_count = 1000000")
    assert [one.id for one in journal.open_intents()] == numbers
    assert journal.begin(PLANNED, NOON)


def test_a_reader_sees_a_copy_and_leaves_no_trace(path: Path) -> None:
    """Also while a controller has the file open."""
    journal = Journal.open(path, now=NOON)
    journal.begin(PLANNED, NOON)
    copy = Journal.for_reading(path)
    assert len(copy.open_intents()) == 1
    copy.begin(PLANNED, NOON)
    assert len(copy.open_intents()) == 2
    assert len(journal.open_intents()) == 1


def test_a_reader_of_nothing_knows_nothing(path: Path) -> None:
    assert Journal.for_reading(path).known_guests() == frozenset()
    assert not path.exists()


def test_a_write_by_another_process_is_noticed(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    before = journal.moved()
    journal.note(Event(at=NOON, kind=EventKind.TROUBLE, text="own"))
    assert journal.moved() == before
    beside = Journal.beside(path)
    beside.approve(Approval(plan_id=PlanId("x"), who="y", at=NOON))
    assert journal.moved() != before


COVERED_WEB = Covered(scope=Scope.GUEST, name="web")
NIGHT = Suspension(covered=COVERED_WEB, who="anna", why="backup", since=NOON)


def test_a_suspension_stands_until_it_is_lifted_and_that_is_kept(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.suspend(NIGHT, NOON)
    journal.close()
    journal = Journal.open(path, now=NOON)
    assert journal.suspensions() == Suspensions(standing=(NIGHT,))
    assert journal.suspensions().still(NIGHT)
    later = NOON + timedelta(hours=1)
    assert journal.resume(COVERED_WEB, who="anna", at=later)
    assert not journal.resume(COVERED_WEB, who="anna", at=later)
    assert journal.suspensions() == Suspensions(lifted={COVERED_WEB: later})
    assert not journal.suspensions().still(NIGHT)
    again = replace(NIGHT, since=later + timedelta(hours=1))
    assert journal.suspensions().still(again), "it was said after the other was lifted"
    kinds = [event.kind for event in journal.events(guest=GuestName("web"))]
    assert kinds == [EventKind.SUSPENDED, EventKind.RESUMED, EventKind.RESUMED]
    journal.close()


def test_a_new_suspension_of_the_same_takes_the_place_of_the_old_one(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    journal.suspend(NIGHT, NOON)
    journal.quieten(NIGHT)
    longer = replace(NIGHT, since=NOON + timedelta(hours=1), why="still at it")
    journal.suspend(longer, NOON)
    assert journal.suspensions().standing == (longer,)
    assert not journal.suspensions().still(NIGHT)
    assert journal.still_moving() == {COVERED_WEB}
    journal.quieten(NIGHT)
    assert journal.still_moving() == {COVERED_WEB}, "that was the old one"
    journal.quieten(longer)
    assert not journal.still_moving()
    journal.close()


def test_a_step_planned_before_a_suspension_does_not_begin_after_it(path: Path) -> None:
    """Whoever has suspended a guest and finds nothing under way knows that nothing will be."""
    journal = Journal.open(path, now=NOON)
    journal.suspensions()
    beside = Journal.beside(path)
    beside.suspend(NIGHT, NOON)
    beside.close()
    with pytest.raises(WaitingError, match="suspended just now"):
        journal.begin(PLANNED, NOON)
    assert not journal.open_intents()
    journal.suspensions()
    journal.begin(PLANNED, NOON)  # the planner knows by now, and asks for this one all the same
    journal.close()


def test_a_renamed_guest_has_what_it_had_under_all_its_names(path: Path) -> None:
    journal = Journal.open(path, now=NOON)
    first, second, third = GuestName("one"), GuestName("two"), GuestName("three")
    main, other = PoolName("main"), PoolName("other")

    def take(sha: str, name: GuestName, pool: PoolName, **renamed: GuestName) -> None:
        newborn = frozenset() if renamed else frozenset({name})
        journal.take_into_force(
            Sha(sha),
            repository=REPOSITORY,
            guests={name: pool},
            newborn=newborn,
            renamed={GuestName(key): former for key, former in renamed.items()},
            at=NOON,
        )

    take("1", first, main)
    journal.note(Event(at=NOON, kind=EventKind.TROUBLE, text="long ago", guest=first))
    take("2", second, other, two=first)
    take("3", third, other, three=second)
    take("4", third, other, three=second)
    assert journal.histories()[third].pools == {main, other}
    assert journal.histories()[third].first_seen == NOON
    assert [event.text for event in journal.events(guest=third)] == ["long ago"]
    journal.saw_guests([GuestName("seen")])
    take("5", third, other, three=GuestName("seen"))
    assert third not in journal.histories(), "nobody knows where it was under that name"
    journal.close()
