"""The trash under a controller: days are counted in the journal, and what is gone is remembered."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.journal.journal import Journal
from reconciler.journal.records import EventKind
from reconciler.model.mark import Phase
from reconciler.model.plan import Reason
from tests.unit.controller.stage import AROUND_YAML, GUEST, guest_yaml

if TYPE_CHECKING:
    from reconciler.model.plan import Change
    from tests.unit.controller.stage import Stage

_TWO_DAYS = AROUND_YAML.replace("mode: enforce", "mode: enforce, trash: {keep: 2d}")


def _bin(stage: Stage) -> None:
    """Make a guest and delete it."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"), around=_TWO_DAYS)
    stage.apply()
    stage.commit("Retire web", guests_web=None)
    stage.apply()
    mark = stage.hosts["a"].guests()["web"].mark
    assert mark is not None
    assert mark.phase is Phase.TRASH


def _why(stage: Stage) -> Change:
    """The one thing that is to be said of the guest."""
    last = stage.apply().last
    assert last.plan is not None
    (change,) = last.plan.statuses[GUEST].changes
    return change


def test_a_guest_is_removed_when_its_date_has_come_and_it_was_seen_on_as_many_days(
    stage: Stage,
) -> None:
    """Each day with a controller of its own. A revert that comes too late is held."""
    _bin(stage)
    for day in (1, 2):
        assert "web" in stage.hosts["a"].guests()
        stage.ahead = timedelta(days=day, hours=day)
        stage.apply()
    assert stage.hosts["a"].guests() == {}
    volumes = stage.hosts["a"].memory.observe().pools
    assert all(not pool.volumes for pool in volumes.values())
    told = [event.text for event in stage.events if event.kind is EventKind.STEP_BEGUN]
    assert "delete volume guests/web-root.raw with 1 GiB, out of the trash" in told
    stage.git("revert", "--no-edit", "HEAD")
    change = _why(stage)
    assert change.reason is Reason.EMPTIED
    assert "disk root (1 GiB)" in change.message
    assert stage.hosts["a"].guests() == {}
    stage.commit("Begin anew", guests_web=guest_yaml("web") + "  trash: discard\n")
    stage.apply()
    assert "web" in stage.hosts["a"].guests()
    journal = Journal.for_reading(stage.state / "journal.sqlite")
    assert not journal.tombstones()


def test_a_clock_that_jumps_a_year_and_a_journal_that_is_lost_remove_nothing(stage: Stage) -> None:
    _bin(stage)
    stage.ahead = timedelta(days=365)
    stage.apply()
    shutil.rmtree(stage.state)
    stage.ahead = timedelta(days=366)
    stage.apply()
    stage.ahead = timedelta(days=0)
    stage.apply()
    assert "web" in stage.hosts["a"].guests()


def test_what_comes_back_is_forgotten_and_waits_anew(stage: Stage) -> None:
    _bin(stage)
    stage.ahead = timedelta(days=1, hours=1)
    stage.apply()
    stage.git("revert", "--no-edit", "HEAD")
    stage.apply()
    journal = Journal.for_reading(stage.state / "journal.sqlite")
    assert not journal.waiting()
    stage.commit("Retire web again", guests_web=None)
    stage.apply()
    stage.ahead = timedelta(days=3, hours=2)
    stage.apply()
    assert "web" in stage.hosts["a"].guests()
