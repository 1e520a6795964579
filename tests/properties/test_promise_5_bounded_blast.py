"""Promise 5: the counted acts that one change causes are bounded, and held together beyond that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.counted import Act, Counted
from reconciler.model.definition import Vcpus
from reconciler.model.desired import Budget, DesiredSnapshot, DesiredWorld, RestartWhen
from reconciler.model.mark import Phase
from reconciler.model.names import GuestName, Sha, SnapshotName
from reconciler.model.observed import ObservedHost, SilentHost, StateReason
from reconciler.model.operation import Operation
from reconciler.model.plan import Fate, Plan
from reconciler.model.steps import SetMark, SetMemory
from reconciler.planner.budget import allowance
from tests.strategies.worlds import HOSTS, Story, desired, guest, host, pool, volume_disk

NINE = tuple("abcdefghi")


def _world(names: tuple[str, ...], budget: int, sha: str = "c1") -> DesiredWorld:
    return desired(
        *[guest(name, disks=(), nics=()) for name in names],
        pools=(pool(budget=Budget(deletions=budget)),),
        sha=sha,
    )


@cache
def _hosts(names: tuple[str, ...]) -> tuple[ObservedHost, ...]:
    """Two hosts on which the guests run already; values, and so made only once."""
    story = Story.of(_world(names, 0), host(HOSTS[0]), host(HOSTS[1]), steps_per_host=99)
    story.passes()
    return tuple(one.observe() for one in story.hosts.values())


def _made(names: tuple[str, ...], budget: int) -> Story:
    return Story.of(_world(names, budget), *_hosts(names), steps_per_host=99)


def _begun(outcome: Plan, now: datetime) -> list[tuple[GuestName, bool]]:
    """The deletions that a plan made at ``now`` begins, and whether each was approved."""
    return [
        (planned.step.guest, planned.step.mark.trash.approval is not None)
        for planned in outcome.steps
        if isinstance(planned.step, SetMark)
        and planned.step.mark.phase is Phase.TRASH
        and planned.step.mark.trash is not None
        and planned.step.mark.trash.since == now
    ]


subsets = st.lists(st.sampled_from(NINE[:5]), unique=True, max_size=5).map(
    lambda names: tuple(sorted(names))
)


@given(
    budget=st.integers(0, 2),
    commits=st.lists(
        st.tuples(subsets, st.sampled_from((0, 1, 3600, 43200, 90000)), st.booleans()),
        max_size=6,
    ),
)
def test_deletions_without_approval_within_a_day_never_exceed_the_allowance(
    budget: int, commits: list[tuple[tuple[str, ...], int, bool]]
) -> None:
    """Whatever is committed, however fast, and while the marks of the first are being written.

    A deletion that a revert took back counts no more: budgets are about what is left undone.
    """
    story = _made(NINE[:5], budget)
    begun: dict[GuestName, datetime] = {}
    for names, seconds, slow in commits:
        story.arrive(_world(names, budget))
        begun = {name: at for name, at in begun.items() if name not in names}
        for _ in range(3):
            outcome = story.plan()
            begun |= {
                name: story.now for name, approved in _begun(outcome, story.now) if not approved
            }
            recent = [at for at in begun.values() if story.now - at < timedelta(hours=24)]
            assert len(recent) <= budget
            if slow and not story.operations:
                story.operations = tuple(
                    Operation(
                        guest=planned.step.guest,
                        host=planned.step.host,
                        step=planned.step,
                        began=story.now,
                        deadline=story.now + timedelta(hours=1),
                    )
                    for planned in outcome.steps
                )
                continue
            for operation in story.operations:
                story.hosts[operation.host].carry_out(operation.step)
            if not story.operations:
                story.carry_out(outcome)
            story.operations = ()
            story.now += timedelta(seconds=1)
        story.now += timedelta(seconds=seconds)


@given(gone=subsets.filter(lambda names: len(names) >= 2), more=st.sampled_from(NINE[5:7]))
def test_what_is_over_budget_is_held_together_under_one_id(
    gone: tuple[str, ...], more: str
) -> None:
    """The id tells what would be done, not when, where or by which commit."""
    story = _made(NINE[:7], 1)
    kept = tuple(name for name in NINE[:7] if name not in gone)
    story.arrive(_world(kept, 1))
    first = story.plan()
    assert not first.steps
    (held,) = first.held
    assert set(held.guests) == set(gone)
    assert all(
        change.fate is Fate.HELD and change.plan_id == held.plan_id
        for name in held.guests
        for change in first.statuses[name].changes
    )
    story.desired = _world(kept, 1, sha="c9")
    story.now += timedelta(days=3)
    homes = {name: story.host_of(name).name for name in gone}
    moving = GuestName(gone[0])
    found = story.find(moving)
    source = story.hosts[homes[moving]]
    target = next(one for one in story.hosts.values() if one is not source)
    source.stage(
        lambda seen: replace(
            seen, guests={key: one for key, one in seen.guests.items() if key != found.uuid}
        )
    )
    target.stage(lambda seen: replace(seen, guests={**seen.guests, found.uuid: found}))
    assert [one.plan_id for one in story.plan().held] == [held.plan_id]
    story.arrive(_world(tuple(name for name in kept if name != more), 1))
    assert story.plan().held[0].plan_id != held.plan_id


@given(
    gone=subsets.filter(lambda names: len(names) >= 2),
    done=st.integers(0, 4),
    more=st.sampled_from(NINE[5:7]),
)
def test_an_approval_lets_exactly_those_through_also_after_some_are_done(
    gone: tuple[str, ...], done: int, more: str
) -> None:
    """And once one more is asked for, nothing is approved."""
    story = _made(NINE[:7], 1)
    story.policy = replace(story.policy, steps_per_host=1)
    kept = tuple(name for name in NINE[:7] if name not in gone)
    story.arrive(_world(kept, 1))
    approvals = frozenset(one.plan_id for one in story.plan().held)
    approved = replace(_world(kept, 1, sha="c2"), approvals=approvals)
    story.arrive(approved)
    begun: list[str] = []
    for _ in range(min(done, len(gone))):
        outcome = story.plan()
        begun += [name for name, _ in _begun(outcome, story.now)]
        assert not outcome.held
        story.carry_out(outcome)
        story.now += timedelta(seconds=1)
    left = [name for name in gone if name not in begun]
    fewer = _world(tuple(name for name in kept if name != more), 1, sha="c3")
    other = replace(story, desired=replace(fewer, approvals=approvals)).plan()
    assert not _begun(other, story.now) or (not left and not begun)
    if left or begun:
        assert {name for one in other.held for name in one.guests} == {*left, more}
    story.desired = replace(approved, commit=replace(approved.commit, sha=Sha("c4")))
    for _ in range(60):
        outcome = story.plan()
        if not outcome.steps:
            break
        begun += [name for name, _ in _begun(outcome, story.now)]
        story.carry_out(outcome)
        story.now += timedelta(seconds=1)
    assert set(begun) == set(gone)
    assert not story.plan().held


SNAPSHOT = DesiredSnapshot(name=SnapshotName("s"))
wishes = st.fixed_dictionaries(
    {name: st.none() | st.tuples(st.booleans(), st.booleans(), st.integers(4, 5)) for name in "ab"}
)
"""Of each guest that is there: whether it has a second disk, names a snapshot, and its maximum."""


def _wished(
    wish: dict[str, tuple[bool, bool, int] | None], deletions: int, restarts: int
) -> DesiredWorld:
    root, data = volume_disk(qcow2=True), volume_disk("data", qcow2=True)
    guests = [
        guest(
            name,
            nics=(),
            disks=(root, data) if parts[0] else (root,),
            snapshots=(SNAPSHOT,) if parts[1] else (),
            cpus=Vcpus(count=1, maximum=parts[2]),
            restart=RestartWhen.NOW,
        )
        for name, parts in wish.items()
        if parts is not None
    ]
    budget = Budget(deletions=deletions, restarts=restarts)
    return desired(*guests, pools=(pool(budget=budget),))


def _taken_back(act: Act, world: DesiredWorld) -> bool:
    """Whether what the act did is asked for again; a restart cannot be taken back."""
    wanted = world.guests.get(act.guest)
    if wanted is None or act.counted is Counted.RESTART:
        return False
    parts = {f"disks[{disk.name}]" for disk in wanted.disks}
    parts |= {f"snapshots[{snapshot.name}]" for snapshot in wanted.snapshots}
    return act.part in {"", *parts}


@settings(max_examples=min(400, settings().max_examples))  # each is a day of a pool
@given(
    first=wishes,
    commits=st.lists(
        st.tuples(wishes, st.sampled_from((0, 1, 3600, 43200, 90000)), st.booleans()),
        min_size=1,
        max_size=5,
    ),
    deletions=st.integers(0, 2),
    restarts=st.integers(0, 2),
)
def test_no_class_exceeds_its_number_within_a_day_and_a_lost_memory_frees_nothing(
    first: dict[str, tuple[bool, bool, int] | None],
    commits: list[tuple[dict[str, tuple[bool, bool, int] | None], int, bool]],
    deletions: int,
    restarts: int,
) -> None:
    """Guests, disks, snapshots and restarts, whatever is committed; what is left over is held.

    A step that begins a counted act says so, and what its mark says is what it said.
    """
    story = Story.of(_wished(first, deletions, restarts), host(HOSTS[0]), host(HOSTS[1]))
    story.passes(wait=False)
    allowed = {Counted.DELETION: deletions, Counted.RESTART: restarts}
    begun: list[tuple[datetime, Act]] = []
    for wish, seconds, forgets in commits:
        story.arrive(_wished(wish, deletions, restarts))
        begun = [(at, act) for at, act in begun if not _taken_back(act, story.desired)]
        for _ in range(20):
            outcome = story.plan()
            begun += [(story.now, act) for one in outcome.steps for act in one.counted]
            for counted, number in allowed.items():
                recent = [
                    act
                    for at, act in begun
                    if act.counted is counted and story.now - at < timedelta(hours=24)
                ]
                assert len(recent) <= number, recent
            if not outcome.steps:
                break
            if forgets:
                story.forget()
            story.carry_out(outcome)
            story.now += timedelta(seconds=1)
        story.now += timedelta(seconds=seconds)


def test_the_smaller_of_number_and_percentage_wins_from_ten_guests() -> None:
    budget = Budget(deletions=5, percent=30)
    assert [
        allowance(budget, Counted.DELETION, guests) for guests in (1, 9, 10, 13, 14, 17, 40)
    ] == [
        5,
        5,
        3,
        3,
        4,
        5,
        5,
    ]


def test_a_silent_host_of_the_pool_may_hide_what_was_begun_and_so_holds_deletions() -> None:
    """A budget that cannot be counted lets nothing through without a person."""
    story = _made(("a", "b", "c"), 1)
    story.arrive(_world(("b", "c"), 1))
    story.passes()
    story.silent = {story.host_of("a").name}
    there = [one.name for one in story.hosts.values() if one.name not in story.silent]
    gone = next(name for name in "bc" if story.host_of(name).name in there)
    story.arrive(_world(tuple(name for name in "bc" if name != gone), 1))
    assert any(isinstance(one, SilentHost) for one in story.look().hosts.values())
    outcome = story.plan()
    assert not _begun(outcome, story.now)
    assert outcome.held


def test_healing_goes_on_while_deletions_are_held() -> None:
    """Only the counted steps are held, not what the change does not touch."""
    story = _made(("a", "b", "c"), 1)
    story.arrive(_world(("c",), 1))
    story.host_of("c").stage_stop(story.find("c").uuid, StateReason.CRASHED)
    story.passes()
    assert story.find("c").active
    assert story.plan().held


def test_a_deletion_whose_mark_is_being_written_has_begun() -> None:
    """The budget is spent by it, though no host shows it yet."""
    story = _made(("a", "b", "c"), 1)
    story.arrive(_world(("b", "c"), 1))
    (planned,) = story.plan().steps
    story.operations = (
        Operation(
            guest=planned.step.guest,
            host=planned.step.host,
            step=planned.step,
            began=story.now,
            deadline=story.now + timedelta(hours=1),
        ),
    )
    story.arrive(_world(("c",), 1))
    outcome = story.plan()
    assert not outcome.steps
    assert [one.guests for one in outcome.held] == [("b",)]


def test_a_deletion_that_must_wait_is_asked_for_all_the_same() -> None:
    """It neither frees the way for another, nor undoes an approval while it waits."""
    story = _made(("a", "b", "c"), 1)
    story.arrive(_world(("c",), 1))
    (held,) = story.plan().held
    story.stage("a", job="backup")
    outcome = story.plan()
    assert not outcome.steps
    assert [one.plan_id for one in outcome.held] == [held.plan_id]
    story.policy = replace(story.policy, approvals=frozenset({held.plan_id}))
    story.passes()
    assert not story.find("b").active
    story.stage("a", job=None)
    story.passes()
    assert not story.find("a").active


def test_an_operation_of_another_kind_delays_a_deletion_and_does_not_hide_it() -> None:
    """A guest whose memory is being set when its manifest goes is asked for like the others."""
    story = _made(("a", "b", "c"), 1)
    found = story.find("a")
    story.arrive(_world(("c",), 1))
    story.operations = (
        Operation(
            guest=found.name,
            host=story.host_of("a").name,
            step=SetMemory(
                host=story.host_of("a").name, guest=found.name, uuid=found.uuid, size_kib=1
            ),
            began=story.now,
            deadline=story.now + timedelta(hours=1),
        ),
    )
    outcome = story.plan()
    assert not outcome.steps
    assert [one.guests for one in outcome.held] == [("a", "b")]
