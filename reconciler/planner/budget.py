"""The budget: counted acts are let through as far as it goes, and held together beyond it.

Note [Counted acts]: the stages that find out what a guest needs do nothing that is counted until
this stage has let it through: they say what they *ask* for, and are asked again with the rulings.
All that is asked in one pool and class is judged together. An act that must wait for something
else is asked for all the same, so that what is in doubt or busy for a while neither frees the way
for others nor undoes an approval.

What has begun in the last 24 hours is counted from the marks, and from the steps that are writing
one just now, so that a lost journal frees nothing. A guest that was removed from the trash has no
mark any more, and is counted from its tombstone in the journal. What a later commit took back
counts no more: budgets are about what is left undone. While a host of the pool is silent, what was
begun there cannot be counted, and nothing of the pool is let through but by a person.

The plan id is the digest of what would be done and of nothing else, so that an approval in a later
commit meets it; acts that have begun carry the id that let them through in their marks, so that
finishing some does not undo the approval of the rest. An approval lets each act through once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, assert_never

from reconciler.model.counted import Act, Asked, Begun, Counted, Verb
from reconciler.model.desired import HostState
from reconciler.model.mark import MarkedRestart, OperationKind, Phase
from reconciler.model.names import PlanId
from reconciler.model.observed import ObservedHost
from reconciler.model.plan import Fate, Held, Reason
from reconciler.model.steps import DefineGuest, SetMark
from reconciler.planner.case import Block
from reconciler.planner.windows import never_restarts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.desired import Budget, DesiredGuest, DesiredWorld
    from reconciler.model.keeping import Tombstone
    from reconciler.model.mark import Mark, MarkedDisk
    from reconciler.model.names import (
        Digest,
        GuestName,
        HostName,
        PoolName,
        SnapshotName,
    )
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.policy import Policy
    from reconciler.model.steps import Step
    from reconciler.planner.case import Case, Ground
    from reconciler.planner.match import Index

_DAY = timedelta(hours=24)
_PERCENT_FROM = 10
"""Below so many guests a percentage means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The act may begin; ``approval`` has to be written into the mark with it."""

    approval: PlanId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The act may not begin, why, and what would let it through."""

    block: Block
    plan_id: PlanId | None = None


Ruling = Passed | Kept

NOT_RULED = Kept(
    block=Block(
        reason=Reason.BUDGET, message="the budget is asked once the guest is ours", fate=Fate.HELD
    )
)
"""What counts of an act that was not judged yet: it may not begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulings:
    """What becomes of each act that was asked for, and the acts that are held together."""

    acts: Mapping[Act, Ruling] = field(default_factory=dict)
    held: tuple[Held, ...] = ()

    def of(self, act: Act) -> Ruling:
        """The ruling on ``act``; nothing that was not judged may begin."""
        return self.acts.get(act, NOT_RULED)


NO_RULINGS = Rulings()


def recorded(mark: Mark, guest: DesiredGuest | None) -> Iterator[Begun]:
    """The acts that a mark tells of, but for those that ``guest``, its manifest, takes back."""
    if guest is None and mark.phase is Phase.TRASH and mark.trash is not None:
        trash = mark.trash
        yield Begun(act=deletion(mark), since=trash.since, approval=trash.approval)
    if mark.trash is not None and mark.trash.emptying is not None:
        yield Begun(act=emptying(mark), since=mark.trash.emptying)
    for disk in mark.disks:
        if disk.expired is not None:
            yield Begun(act=expiry(mark.guest, disk), since=disk.expired)
    disks = {disk.name for disk in guest.disks} if guest is not None else set()
    for disk in mark.disks:
        if disk.detached is not None and disk.name not in disks and is_kept(disk):
            act = detachment(mark.guest, disk)
            yield Begun(act=act, since=disk.detached, approval=disk.approval)
    named = {snapshot.name for snapshot in guest.snapshots} if guest is not None else set()
    for snapshot in mark.snapshots:
        if snapshot.removed is not None and snapshot.name not in named:
            act = letting_go(mark.guest, snapshot.name)
            yield Begun(act=act, since=snapshot.removed, approval=snapshot.approval)
    for one in mark.restarts:
        act = restart(mark.guest, one.intent)
        yield Begun(act=act, since=one.since, approval=one.approval)


def deletion(mark: Mark) -> Act:
    """The act of deleting the guest that has this mark."""
    return Act(guest=mark.guest, verb=Verb.DELETE, before=mark.intent)


def emptying(mark: Mark) -> Act:
    """The act of removing for good the guest in the trash that has this mark."""
    return Act(guest=mark.guest, verb=Verb.EMPTY, before=mark.intent)


def expiry(guest: GuestName, disk: MarkedDisk) -> Act:
    """The act of removing for good the volume of a disk that was let go."""
    place = f"{disk.pool}/{disk.volume}"
    return Act(guest=guest, verb=Verb.EMPTY, part=f"disks[{disk.name}]", before=place)


def detachment(guest: GuestName, disk: MarkedDisk) -> Act:
    """The act of unplugging a disk; what it holds is told by where that lies."""
    place = disk.source or (f"{disk.pool}/{disk.volume}" if disk.volume else disk.target)
    return Act(guest=guest, verb=Verb.DETACH, part=f"disks[{disk.name}]", before=place)


def is_kept(disk: MarkedDisk) -> bool:
    """Whether a disk holds what could be missed: a drive does not, nor what was never filled."""
    return disk.filled and (disk.volume is not None or disk.source is not None)


def letting_go(guest: GuestName, snapshot: SnapshotName) -> Act:
    """The act of naming a snapshot no more."""
    return Act(guest=guest, verb=Verb.LET_GO, part=f"snapshots[{snapshot}]")


def restart(guest: GuestName, intent: Digest) -> Act:
    """The act of restarting a guest to put an intent into effect."""
    return Act(guest=guest, verb=Verb.RESTART, after=intent)


def needs_ruling(case: Case) -> bool:
    """Whether a change that needs a restart would begin one: it may, and none is under way.

    One that waits for a window is judged before it opens, while there is somebody to approve it.
    """
    restarting = case.operation is OperationKind.RESTART
    pool = case.world.pools.get(case.desired.pool)
    may = never_restarts(case.desired, pool) is None
    return case.wants_running and may and not restarting


def restart_of(case: Case) -> Act:
    """The act of restarting the guest for what its manifest wants now."""
    return restart(case.desired.name, case.desired.intent)


def with_restart(case: Case, ruling: Passed) -> Mark:
    """The mark of a guest whose restart begins; what is older than a day counts no more."""
    recent = tuple(one for one in case.mark.restarts if case.now - one.since < _DAY)
    this = MarkedRestart(since=case.now, intent=case.desired.intent, approval=ruling.approval)
    return replace(case.mark, restarts=(*recent, this))


def beginning(step: Step, seen: Mark | None, world: DesiredWorld) -> frozenset[Begun]:
    """The acts that a step writes down as begun, beyond those that the mark seen tells of."""
    mark = None
    if isinstance(step, SetMark):
        mark = step.mark
    elif isinstance(step, DefineGuest):
        mark = step.definition.mark
    if mark is None:
        return frozenset()
    guest = world.guests.get(step.guest)
    told = recorded(seen, guest) if seen is not None else ()
    return frozenset(recorded(mark, guest)) - frozenset(told)


def begun_acts(
    index: Index,
    world: DesiredWorld,
    operations: Iterable[Operation],
    stones: Iterable[Tombstone] = (),
) -> dict[PoolName | None, set[Begun]]:
    """All acts that have begun, by the pool on whose hosts they did."""
    begun: dict[PoolName | None, set[Begun]] = defaultdict(set)
    for copy in index.telling:
        guest = world.guests.get(copy.mark.guest)
        begun[pool_of(copy.host.name, world)].update(recorded(copy.mark, guest))
    for operation in operations:
        acts = beginning(operation.step, None, world)
        begun[pool_of(operation.host, world)].update(acts)
    for stone in stones:
        act = Act(guest=stone.guest, verb=Verb.EMPTY, before=stone.intent)
        begun[pool_of(stone.host, world)].add(Begun(act=act, since=stone.began))
    return begun


def pool_of(host: HostName, world: DesiredWorld) -> PoolName | None:
    """The pool in which what is done on a host counts; None where no manifest names it."""
    manifest = world.hosts.get(host)
    return manifest.pool if manifest else None


def rule(
    asked: Iterable[Asked],
    index: Index,
    ground: Ground,
    *,
    operations: Iterable[Operation],
    policy: Policy,
) -> Rulings:
    """Judge everything that is asked for, each pool and class by itself."""
    groups: dict[tuple[PoolName | None, Counted, bool], list[Asked]] = defaultdict(list)
    for one in asked:
        groups[one.pool, one.act.counted, bool(one.protected)].append(one)
    if not groups:
        return NO_RULINGS
    world = ground.world
    begun = begun_acts(index, world, operations, ground.memory.tombstones.values())
    acts: dict[Act, Ruling] = {}
    held: list[Held] = []
    for key in sorted(groups, key=lambda key: (key[0] or "", *key[1:])):
        pool, counted, protected = key
        account = _Account(
            pool=pool,
            counted=counted,
            asked=tuple(sorted(groups[key], key=lambda one: _line(one.act))),
            begun=tuple(one for one in begun[pool] if one.act.counted is counted),
            silent=tuple(_silent(pool, world, ground.observed)),
            world=world,
            now=ground.now,
        )
        approvals = world.lifted if protected else policy.approvals | world.approvals
        outcome = _protect(account, approvals) if protected else _judge(account, approvals)
        acts.update(outcome.acts)
        held.extend(outcome.held)
    return Rulings(acts=acts, held=tuple(held))


def allowance(budget: Budget, counted: Counted, guests: int) -> int:
    """How many acts of a class a pool of ``guests`` guests may begin in 24 hours."""
    match counted:
        case Counted.DELETION | Counted.EMPTYING:
            number = budget.deletions
        case Counted.RESTART:
            number = budget.restarts
        case Counted.MIGRATION:
            number = 0  # nothing moves a guest yet
        case _:
            assert_never(counted)
    return number if guests < _PERCENT_FROM else min(number, guests * budget.percent // 100)


def plan_id(acts: Iterable[Act]) -> PlanId:
    """The digest of the sorted acts: no commit, no host and no time is in it."""
    lines = sorted({_line(act) for act in acts})
    text = blake2b("\n".join(lines).encode(), digest_size=6).hexdigest()
    return PlanId("-".join(text[at : at + 4] for at in range(0, 12, 4)))


def _line(act: Act) -> str:
    verb = f"{act.verb} {act.part}" if act.part else act.verb
    return f"{act.guest}\0{verb}\0{act.before}\0{act.after}"


def _silent(
    pool: PoolName | None, world: DesiredWorld, observed: ObservedWorld
) -> Iterator[HostName]:
    """The hosts of the pool of which nobody knows what was begun there."""
    for name, host in sorted(world.hosts.items()):
        there = isinstance(observed.hosts.get(name), ObservedHost)
        if host.pool == pool and host.state is not HostState.RETIRED and not there:
            yield name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """All of one class in one pool: what is asked for, and what has begun, whenever that was."""

    pool: PoolName | None
    counted: Counted
    asked: tuple[Asked, ...]
    begun: tuple[Begun, ...]
    silent: tuple[HostName, ...]
    world: DesiredWorld
    now: datetime

    @property
    def recent(self) -> list[datetime]:
        """When the acts began that still count, the oldest first."""
        return sorted(one.since for one in self.begun if self.now - one.since < _DAY)

    @property
    def allowed(self) -> int:
        """How many acts may begin in 24 hours."""
        manifest = self.world.pools.get(self.pool) if self.pool is not None else None
        if manifest is None:
            return 0
        guests = {guest.name for guest in self.world.guests.values() if guest.pool == self.pool}
        guests |= {one.act.guest for one in self.asked}
        guests |= {one.act.guest for one in self.begun if self.now - one.since < _DAY}
        return allowance(manifest.budget, self.counted, len(guests))


def _judge(account: _Account, approvals: frozenset[PlanId]) -> Rulings:
    """Let all through that is within the budget or approved; hold the rest together."""
    passed = _approved(account, approvals)
    left = [one.act for one in account.asked if one.act not in passed]
    recent, allowed = account.recent, account.allowed
    if not account.silent and len(recent) + len(left) <= allowed:
        return Rulings(acts={**passed, **{act: Passed() for act in left}})
    if account.counted is Counted.EMPTYING:
        return Rulings(acts={**passed, **_pace(account, left)})
    until = None
    if not account.silent and 0 < len(left) <= allowed:
        until = recent[len(recent) + len(left) - allowed - 1] + _DAY
    return _hold(account, passed, left, _sentence(account, len(left)), Reason.BUDGET, until)


def _protect(account: _Account, approvals: frozenset[PlanId]) -> Rulings:
    """Hold what is protected, whatever the budget says, unless a commit of its own lifts that."""
    passed = _approved(account, approvals)
    left = [one.act for one in account.asked if one.act not in passed]
    why = "; ".join(dict.fromkeys(one.protected for one in account.asked if one.act in left))
    return _hold(account, passed, left, why, Reason.PROTECTED, None)


def _approved(account: _Account, approvals: frozenset[PlanId]) -> dict[Act, Ruling]:
    """The acts that an approval names, which names exactly these and those it let through before.

    What it let through already and is asked for once more is no part of it.
    """
    asked = [one.act for one in account.asked]
    for approval in sorted(approvals):
        done = {one.act for one in account.begun if one.approval == approval}
        if plan_id({*asked, *done}) == approval:
            return {act: Passed(approval=approval) for act in asked if act not in done}
    return {}


def _hold(
    account: _Account,
    passed: Mapping[Act, Ruling],
    left: list[Act],
    message: str,
    reason: Reason,
    until: datetime | None,
) -> Rulings:
    if not left:
        return Rulings(acts=passed)
    id_ = plan_id(left)
    sentences = {one.act: one.protected or message for one in account.asked}
    acts = {
        act: Kept(
            block=Block(reason=reason, message=sentences[act], fate=Fate.HELD, until=until),
            plan_id=id_,
        )
        for act in left
    }
    held = Held(
        plan_id=id_,
        pool=account.pool,
        counted=account.counted,
        acts=tuple(left),
        guests=tuple(sorted({act.guest for act in left})),
        message=message,
        protected=reason is Reason.PROTECTED,
        until=until,
    )
    return Rulings(acts={**passed, **acts}, held=(held,))


def _pace(account: _Account, left: list[Act]) -> dict[Act, Ruling]:
    """Let through as many as there is room for; the others wait until there is."""
    if account.silent:
        block = Block(reason=Reason.BUDGET, message=_sentence(account, len(left)))
        return {act: Kept(block=block) for act in left}
    recent, allowed = account.recent, account.allowed
    room = max(allowed - len(recent), 0)
    until = (recent[0] if recent else account.now) + _DAY if allowed else None
    block = Block(reason=Reason.BUDGET, message=_sentence(account, len(left)), until=until)
    return {act: Passed() if at < room else Kept(block=block) for at, act in enumerate(left)}


def _sentence(account: _Account, asked: int) -> str:
    if account.pool is None:
        return "its host is in no manifest, so no budget covers it"
    if account.silent:
        silent = ", ".join(account.silent)
        return f"budget: what was begun on {silent} cannot be counted, it is silent"
    begun, allowed = len(account.recent), account.allowed
    done = f", {begun} done" if begun else ""
    noun = account.counted if allowed == 1 else f"{account.counted}s"
    return f"budget: {allowed} {noun} in 24 h, {asked} asked{done}"
