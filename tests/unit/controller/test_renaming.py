"""A guest that is renamed while it runs: the same domain, and its past under both names."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from reconciler.model.names import GuestName
from reconciler.model.observed import RunState
from tests.unit.controller.stage import guest_yaml

if TYPE_CHECKING:
    from tests.unit.controller.stage import Stage

FORMER = "metadata: {name: site, formerName: web}"


def _renamed() -> str:
    return guest_yaml("web").replace("metadata: {name: web}", FORMER)


def test_a_renamed_guest_goes_on_and_keeps_its_past(stage: Stage) -> None:
    stage.begin("a", "b")
    stage.apply()  # from now on a new guest's first commit is known
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    [home] = stage.where("web")
    before = stage.hosts[home].guests()["web"]
    writes = stage.writes()
    stage.commit("Call it site", guests_web=_renamed())
    stage.apply()
    after = stage.hosts[home].guests()["web"]
    assert stage.writes() == writes + 1
    assert after.state is RunState.RUNNING
    assert (after.uuid, after.disk_sizes) == (before.uuid, before.disk_sizes)
    assert after.mark is not None
    assert after.mark.guest == "site"
    with stage.open() as opened:
        journal, site = opened.journal, GuestName("site")
        kinds = [deed.kind for deed in journal.deeds(limit=100, guest=site)]
        assert kinds[0] == "DefineGuest", "it was made under its former name"
        assert kinds[-1] == "SetMark"
        assert {event.guest for event in journal.events(limit=100, guest=site)} == {"web", "site"}
        histories = journal.histories()
        assert histories[site].pools == histories[GuestName("web")].pools
        assert histories[site].touched == {home}
        assert histories[site].first_seen == histories[GuestName("web")].first_seen
    stage.commit("Its former name is history", guests_web=guest_yaml("site"))
    stage.apply()
    assert stage.hosts[home].guests()["web"].state is RunState.RUNNING
    assert not stage.where("site")


def test_the_domain_of_the_new_name_needs_no_state(stage: Stage) -> None:
    """Renamed while the controller had lost everything it knew."""
    stage.begin("a")
    stage.commit("Add web", guests_web=guest_yaml("web"))
    stage.apply()
    uuid = stage.hosts["a"].guests()["web"].uuid
    shutil.rmtree(stage.state)
    stage.commit("Call it site", guests_web=_renamed())
    stage.apply()
    [guest] = stage.hosts["a"].guests().values()
    assert guest.uuid == uuid
    assert guest.mark is not None
    assert guest.mark.guest == "site"
