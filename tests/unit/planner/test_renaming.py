"""Renamed guests, disks and cards stay what they are: real manifests, hosts moved by effects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.model.memory import GuestHistory
from reconciler.model.memory import Memory as Remembered
from reconciler.model.names import Digest, GuestName, HostName, PoolName
from reconciler.model.observed import ObservedHost, ObservedWorld
from reconciler.model.operation import Operation
from reconciler.model.plan import Plan, Reason
from reconciler.model.policy import Policy
from reconciler.model.steps import SetMark, ShutDownGuest
from reconciler.model.suspension import Covered, Scope, Suspension, Suspensions
from reconciler.planner import plan, preview
from tests.unit.cli.worlds import NOW, made, silent, wish

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedGuest
    from reconciler.planner import Preview

REMEMBERED = Remembered(departed=())


def _guest(
    name: str, *, root: str = "root", card: str = "eth0", former: str = ""
) -> tuple[str, str]:
    said = f", formerName: {former}" if former else ""
    return f"guests/{name}.yaml", (
        "apiVersion: domops/v1\nkind: Guest\n"
        f"metadata: {{name: {name}{said}}}\n"
        "spec:\n  host: dom0-a\n  cpus: 1\n  memory: 1GiB\n  boot: {firmware: bios}\n"
        f"  disks: [{{name: {root}, size: 4GiB, storage: guests}}]\n"
        f"  networks: [{{name: {card}, network: servers}}]\n"
    )


BEFORE = wish(_guest("old"))
AFTER = wish(_guest("new", former="old"))


def _preview(world: DesiredWorld, seen: ObservedWorld, memory: Remembered = REMEMBERED) -> Preview:
    return preview(world, seen, operations=(), memory=memory, policy=Policy(enforce=True), now=NOW)


def _plan(
    world: DesiredWorld,
    seen: ObservedWorld,
    memory: Remembered = REMEMBERED,
    operations: tuple[Operation, ...] = (),
) -> Plan:
    return plan(
        world, seen, operations=operations, memory=memory, policy=Policy(enforce=True), now=NOW
    )


def _only(seen: ObservedWorld) -> ObservedGuest:
    [guest] = [one for host in seen.answered() for one in host.guests.values()]
    return guest


def _but_its_text(guest: ObservedGuest) -> ObservedGuest:
    return replace(guest, mark=None, stored=None, live=None, stored_digest=Digest(""))


def _steps(shown: Preview) -> list[str]:
    assert shown.converged
    return [type(planned.step).__name__ for _, planned in shown.steps]


RENAMED = {
    "the guest": _guest("new", former="old"),
    "its disk": _guest("old", root="{DATA}"),
    "its card": _guest("old", card="{LAN}"),
    "all of them": _guest("new", former="old", root="{DATA}", card="{LAN}"),
}


@pytest.mark.parametrize("what", RENAMED)
def test_renaming_writes_the_mark_and_nothing_else_and_the_former_name_may_go(what: str) -> None:
    """Same domain, UUID, disks, targets and addresses; then without formerName: nothing at all."""
    path, text = RENAMED[what]
    kept = text.replace("{DATA}, size", "data, formerName: root, size").replace(
        "{LAN}, network", "lan, formerName: eth0, network"
    )
    dropped = (
        text.replace("{DATA}", "data").replace("{LAN}", "lan").replace(", formerName: old", "")
    )
    seen = made(BEFORE)
    before = _only(seen)
    renamed = wish((path, kept))
    shown = _preview(renamed, seen)
    assert _steps(shown) == ["SetMark"]
    after = _only(shown.world)
    assert after.mark is not None
    assert after.mark.guest == next(iter(renamed.guests))
    assert _but_its_text(after) == _but_its_text(before)
    assert after.stored is not None
    assert before.stored is not None
    assert replace(after.stored, mark=None) == replace(before.stored, mark=None)
    assert not _steps(_preview(renamed, shown.world))
    without = _preview(wish((path, dropped)), shown.world)
    assert _steps(without) in ([], ["SetMark"])
    last = _only(without.world)
    assert last.stored is not None
    assert replace(last.stored, mark=None) == replace(before.stored, mark=None)


def test_the_plan_says_what_the_guest_was_called_and_what_its_host_calls_it() -> None:
    outcome = _plan(AFTER, made(BEFORE))
    status = outcome.statuses[GuestName("new")]
    assert status.domain == "old"
    assert [(one.field, one.before, one.after) for one in status.changes] == [
        ("name", "old", "new")
    ]
    assert GuestName("old") not in outcome.statuses


def test_a_new_guest_is_not_made_with_what_is_derived_for_a_renamed_one() -> None:
    """The manifest of the renamed one says nothing of its former name any more."""
    seen = _preview(AFTER, made(BEFORE)).world
    both = wish(_guest("new"), _guest("old"))
    status = _plan(both, seen).statuses[GuestName("old")]
    [change] = status.changes
    assert change.reason is Reason.CONFLICT
    assert "was called so before; write another" in change.message
    assert {one.step.guest for one in _plan(both, seen).steps} == {"new"}


def test_a_renamed_guest_whose_host_is_silent_is_unknown_and_not_made_elsewhere() -> None:
    """It may be wherever it may have been under its former name."""
    anywhere = _guest("new", former="old")
    world = wish((anywhere[0], anywhere[1].replace("host: dom0-a", "pool: main")))
    seen = silent(made(BEFORE), "dom0-a", "no route")
    answered = {HostName("dom0-a"): NOW - timedelta(days=1)}
    history = GuestHistory(first_seen=NOW - timedelta(days=2), pools=frozenset({PoolName("main")}))
    for guests in ({}, {GuestName("new"): history}):
        memory = replace(REMEMBERED, guests=guests, last_complete=answered)
        outcome = _plan(world, seen, memory)
        assert not outcome.steps
        assert outcome.statuses[GuestName("new")].changes[0].reason is Reason.HOST_UNKNOWN


def test_what_is_under_way_under_the_former_name_is_waited_for() -> None:
    seen = made(BEFORE)
    found = _only(seen)
    step = ShutDownGuest(
        host=HostName("dom0-a"), guest=GuestName("old"), uuid=found.uuid, timeout_s=60
    )
    operation = Operation(
        guest=step.guest, host=step.host, step=step, began=NOW, deadline=NOW + timedelta(minutes=1)
    )
    outcome = _plan(AFTER, seen, operations=(operation,))
    assert not outcome.steps
    assert outcome.statuses[GuestName("new")].operation == "ShutDownGuest"
    given_up = replace(operation, condemned=True)
    outcome = _plan(AFTER, silent(seen, "dom0-a", "no route"), operations=(given_up,))
    assert outcome.statuses[GuestName("new")].changes[0].reason is Reason.GUEST_UNKNOWN


def test_a_suspension_under_the_former_name_counts() -> None:
    said = Suspension(
        covered=Covered(scope=Scope.GUEST, name="old"), who="anna", why="a look", since=NOW
    )
    memory = replace(REMEMBERED, suspensions=Suspensions(standing=(said,)))
    outcome = _plan(AFTER, made(BEFORE), memory)
    assert outcome.statuses[GuestName("new")].suspended == (said,)
    [planned] = outcome.steps
    assert isinstance(planned.step, SetMark)
    assert planned.step.mark.guest == "old", "only the note is written"


def test_a_guest_in_the_trash_comes_back_under_its_new_name() -> None:
    gone = _preview(wish(), made(BEFORE)).world
    shown = _preview(AFTER, gone)
    after = _only(shown.world)
    assert after.active
    assert after.mark is not None
    assert (after.mark.guest, after.mark.trash) == ("new", None)


def test_two_disks_that_would_become_one_stall_the_guest() -> None:
    path, text = _guest("old", root="root")
    second = text.replace("disks: [", "disks: [{name: data, size: 1GiB, storage: guests}, ")
    seen = _preview(wish((path, text)), _preview(wish((path, second)), made(BEFORE)).world).world
    path, text = _guest("old", root="data, formerName: root")
    outcome = _plan(wish((path, text)), seen)
    assert not outcome.steps
    reasons = {one.reason for one in outcome.statuses[GuestName("old")].changes}
    assert Reason.CONFLICT in reasons


def test_a_copy_under_each_name_is_one_guest_twice() -> None:
    seen = made(BEFORE)
    renamed = _only(_preview(AFTER, seen).world)
    other = seen.hosts[HostName("dom0-b")]
    assert isinstance(other, ObservedHost)
    both = replace(
        seen,
        hosts={**seen.hosts, other.name: replace(other, guests={renamed.uuid: renamed})},
    )
    outcome = _plan(AFTER, both)
    assert not outcome.steps
    change = outcome.statuses[GuestName("new")].changes[0]
    assert change.reason is Reason.CONFLICT
    assert "it runs on dom0-a and dom0-b" in change.message
