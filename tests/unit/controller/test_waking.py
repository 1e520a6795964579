"""A guest that was held still when its controller died goes on before git is read (promise 7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from reconciler.bootstrap import JOURNAL_FILE
from reconciler.errors import DomopsError
from reconciler.journal.journal import Journal
from reconciler.journal.records import EventKind
from reconciler.model.mark import MarkedOperation, OperationKind
from reconciler.model.names import SnapshotName
from reconciler.model.observed import ObservedHost, RunState, StateReason
from reconciler.model.plan import PlannedStep
from reconciler.model.steps import CreateSnapshot
from tests.unit.controller.stage import guest_yaml

if TYPE_CHECKING:
    from reconciler.model.mark import Mark
    from reconciler.model.observed import ObservedGuest
    from tests.unit.controller.stage import Stage

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def _held(stage: Stage) -> None:
    """A guest runs; its controller has begun to take a snapshot of it, and was killed."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    guest = _guest(stage)
    assert guest.mark is not None
    operation = MarkedOperation(kind=OperationKind.SNAPSHOT, id="killed", since=NOW)
    mark = replace(guest.mark, operation=operation)
    step = CreateSnapshot(
        host=stage.hosts["a"].name,
        guest=guest.name,
        uuid=guest.uuid,
        name=SnapshotName("one"),
        quiesced=False,
        mark=mark,
    )
    journal = Journal.open(stage.state / JOURNAL_FILE, now=NOW)
    journal.begin(
        PlannedStep(step=step, pool=None, changes=(), disruptive=True, commit=mark.commit), NOW
    )
    journal.close()
    _mark(stage, mark)


def _guest(stage: Stage) -> ObservedGuest:
    return stage.hosts["a"].guests()["web"]


def _mark(stage: Stage, mark: Mark) -> None:
    """Write a mark that says that it is held, and pause the guest, as an interruption does."""

    def change(seen: ObservedHost) -> ObservedHost:
        [(uuid, guest)] = seen.guests.items()
        assert guest.stored is not None
        assert guest.live is not None
        held = replace(
            guest,
            mark=mark,
            stored=replace(guest.stored, mark=mark),
            live=replace(guest.live, mark=mark),
            state=RunState.PAUSED,
            reason=StateReason.BUSY,
        )
        return replace(seen, guests={uuid: held})

    stage.hosts["a"].memory.stage(change)


def _start_without_git(stage: Stage) -> None:
    """A start that gets no further than its first act: there is nothing where git should be."""
    stage.repository.rename(stage.root / "hidden")
    with pytest.raises(DomopsError), stage.open():
        pass
    (stage.root / "hidden").rename(stage.repository)


def _is_held(stage: Stage) -> bool:
    guest = _guest(stage)
    assert guest.mark is not None
    return guest.mark.operation is not None


def test_what_was_held_goes_on_without_git_and_the_history_says_so(stage: Stage) -> None:
    _held(stage)
    _start_without_git(stage)
    assert not _is_held(stage)
    assert _guest(stage).state is RunState.RUNNING
    with stage.open() as opened:
        assert stage.converge(opened).complete
        assert opened.journal.open_intents() == ()
        ended = [
            event.text
            for event in opened.journal.events(limit=1000)
            if event.kind is EventKind.STEP_ENDED
        ]
    assert any("let go on what a snapshot held still: done" in text for text in ended)


def test_another_machine_at_the_address_is_left_alone(stage: Stage) -> None:
    """A host is the machine that was first seen at it."""
    _held(stage)
    stage.hosts["a"].memory.stage(lambda seen: replace(seen, uuid=UUID(int=5)))
    writes = stage.writes()
    _start_without_git(stage)
    assert stage.writes() == writes


def test_another_repositorys_guest_is_left_alone(stage: Stage) -> None:
    _held(stage)
    mark = _guest(stage).mark
    assert mark is not None
    _mark(stage, replace(mark, owner=UUID(int=5)))
    writes = stage.writes()
    _start_without_git(stage)
    assert stage.writes() == writes


def test_a_guest_that_has_gone_on_already_is_not_touched(stage: Stage) -> None:
    _held(stage)
    mark = _guest(stage).mark
    assert mark is not None
    _mark(stage, replace(mark, operation=None))
    writes = stage.writes()
    _start_without_git(stage)
    assert stage.writes() == writes


def test_a_host_that_hangs_does_not_keep_the_controller_from_starting(stage: Stage) -> None:
    _held(stage)
    stage.patience_s = 0.2
    stage.hosts["a"].observing.clear()
    with stage.open() as opened:
        assert opened.journal.open_intents()
        stage.hosts["a"].observing.set()
        assert stage.converge(opened).complete
    assert not _is_held(stage)


def test_a_step_that_fails_is_the_planners_to_do_again(stage: Stage) -> None:
    _held(stage)
    stage.hosts["a"].fails = DomopsError("the agent is silent")
    _start_without_git(stage)
    assert _is_held(stage)
    stage.hosts["a"].fails = None
    stage.apply()
    assert not _is_held(stage)
