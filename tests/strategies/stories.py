"""Strategies of stories: what commits, machines and people do to a small world, in any order.

An ``Event`` is a function of a ``Story``; a list of them, played one after another, reaches worlds
that no one would think of and none that could not be. What people do by hand is theirs to answer
for, so no event starts a guest in a second place: if one ever runs twice, domops did it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid5

from hypothesis import strategies as st

from reconciler.errors import DomopsError
from reconciler.model.definition import Bus, Memory, Vcpus
from reconciler.model.desired import (
    Autostart,
    Budget,
    DesiredGuest,
    DesiredSnapshot,
    DesiredWorld,
    GuestState,
    HostState,
    RestartWhen,
    StartAfter,
)
from reconciler.model.mark import MarkedOperation, OperationKind, ShutdownPolicy, ThenWhat
from reconciler.model.memory import DepartedHost
from reconciler.model.memory import Memory as Remembered
from reconciler.model.names import FieldName, GuestName, HostName, SnapshotName
from reconciler.model.observed import (
    ObservedGuest,
    ObservedHost,
    ObservedSnapshot,
    RunState,
    StateReason,
)
from reconciler.model.operation import Operation
from reconciler.model.options import Cache, DiskOptions, IoLimits, Options, Pin
from reconciler.planner.effects import digest_of, remembered, with_disk, with_nic
from tests.strategies.marks import ELEMENTS
from tests.strategies.worlds import (
    ABLE,
    CLOSED_PORT,
    HOSTS,
    MAIN,
    MIB,
    NAMES,
    OPEN_PORT,
    REPOSITORY,
    SIDE,
    UNABLE,
    Story,
    adopting,
    desired,
    drive,
    foreigner,
    given_disk,
    guest,
    host,
    nic,
    pool,
    their_disk,
    their_nic,
    told,
    volume_disk,
)

PIN, RNG = FieldName("cpus.pin"), FieldName("rng")

Event = Callable[[Story], None]

LAYOUTS = (
    {HOSTS[0]: MAIN, HOSTS[1]: MAIN},
    {HOSTS[0]: MAIN, HOSTS[1]: SIDE},
    {HOSTS[0]: MAIN, HOSTS[1]: MAIN, HOSTS[2]: SIDE},
)


# A wish is drawn in three parts, not in fifteen: drawing is what these tests spend their time on.
_MACHINES = tuple(
    {
        "cpus": Vcpus(count=count, maximum=maximum),
        "memory": Memory(size_kib=size * MIB, maximum_kib=most * MIB),
        "console": console,
    }
    for count, maximum, size, most, console in product(
        (1, 2), (2, 4), (256, 512), (512, 1024), (True, False)
    )
)
_CONDUCTS = tuple(
    {
        "state": state,
        "restart": restart,
        "autostart": autostart,
        "shutdown": ShutdownPolicy(timeout_s=60, then=then),
        "protect": protect,
        "host": pinned,
        "pool": of,
    }
    for protect, pinned, of, state, restart, autostart, then in product(
        (False, False, False, True),
        (None, None, None, HOSTS[0]),
        (MAIN, MAIN, MAIN, SIDE),
        (GuestState.RUNNING, GuestState.RUNNING, GuestState.STOPPED),
        RestartWhen,
        Autostart,
        ThenWhat,
    )
)
_ADOPTIONS = (
    (),
    (),
    (adopting(),),
    (adopting(autostart=Autostart.AUTO),),
    (adopting("c", uuid=foreigner().uuid, state=GuestState.STOPPED),),
    (adopting(host=HOSTS[0], memory=Memory(size_kib=128 * MIB, maximum_kib=512 * MIB)),),
    (adopting(cpus=Vcpus(count=2, maximum=2), restart=RestartWhen.NOW),),
    (adopting(disks=(volume_disk(),)),),
)
_HELD = replace(
    volume_disk("data", 1),
    mentioned=(FieldName("bus"), FieldName("cache"), FieldName("limits")),
    bus=Bus.SCSI,
    options=DiskOptions(cache=Cache.NONE, limits=IoLimits(total_iops=100)),
)
_GIVEN = given_disk("spare", "/dev/disk/by-id/spare")
_DISKS = tuple(
    (volume_disk(size_gib=size, image=image, qcow2=qcow2), *more, *drives)
    for qcow2, size, image, more, drives in product(
        (False, True),
        (2, 3),
        (False, True),
        (
            (),
            (volume_disk("data", 1, qcow2=True),),
            (volume_disk("data", 2, qcow2=True),),
            (_HELD,),
            (_GIVEN,),
        ),
        ((), (drive(),), (drive("one.iso"),), (drive("two.iso"),)),
    )
)

# Whom a guest waits for: none, or one whose name comes before its own, so that there is no circle.
_ORDERS: tuple[dict[str, Any] | None, ...] = (
    None,
    None,
    {},
    {"agent": True, "timeout_s": 60},
    {"port": OPEN_PORT},
    {"port": CLOSED_PORT, "timeout_s": 30},
)

_OPTIONS = st.sampled_from(
    (
        {},
        {},
        {"mentioned": (RNG,), "options": Options(rng=True)},
        {"mentioned": (RNG,), "options": Options()},
        {"mentioned": (PIN, RNG), "options": Options(pin=(Pin(vcpu=0, cpus="1"),), rng=True)},
        {"mentioned": (PIN,), "options": Options(pin=(Pin(vcpu=0, cpus="0-9"),))},
        {"overlay": ELEMENTS[:1]},
        {"ignore_drift": ("cpus", "memory", "rng")},
        {"overlay": ELEMENTS[1:3]},
    )
)
_SNAPSHOTS: st.SearchStrategy[dict[str, object]] = st.sampled_from(
    (
        {},
        {},
        {"snapshots": (DesiredSnapshot(name=SnapshotName("one")),)},
        {
            "agent": True,
            "snapshots": (
                DesiredSnapshot(name=SnapshotName("one")),
                DesiredSnapshot(name=SnapshotName("two"), quiesced=True),
            ),
        },
    )
)
_SEEDS = st.sampled_from(
    (
        {},
        {},
        {},
        {"cloud_init": told()},
        {"cloud_init": told("two")},
        {"cloud_init": told(keep=True)},
        {"cloud_init": told(rerun="again")},
        {"cloud_init": told("two", rerun="once-more")},
    )
)
_MACHINE = st.integers(0, len(_MACHINES) - 1)
_CONDUCT = st.integers(0, len(_CONDUCTS) - 1)
_DISK = st.integers(0, len(_DISKS) - 1)
_CARDS = st.sampled_from(((), ("lan",), ("dmz",)))


@st.composite
def guests(draw: st.DrawFn, name: GuestName) -> DesiredGuest:
    """A wish for the guest ``name``."""
    fields: dict[str, object] = {
        **_MACHINES[draw(_MACHINE)],
        **_CONDUCTS[draw(_CONDUCT)],
        **draw(_OPTIONS),
        **draw(_SNAPSHOTS),
        **draw(_SEEDS),
    }
    cards = draw(_CARDS)
    earlier = [other for other in NAMES if other < name]
    ready = draw(st.sampled_from(_ORDERS)) if earlier else None
    return guest(
        name,
        **fields,
        disks=_DISKS[draw(_DISK)],
        nics=tuple(nic(name, network=card) for card in cards),
        start_after=()
        if ready is None
        else (StartAfter(guest=draw(st.sampled_from(earlier)), **ready),),
    )


@st.composite
def wishes(draw: st.DrawFn, layout: dict[HostName, str] | None = None) -> DesiredWorld:
    """A desired world of up to three guests, and perhaps a foreigner that shall be adopted."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    where = layout or draw(st.sampled_from(LAYOUTS))
    budget = Budget(deletions=draw(st.sampled_from((0, 1, 2))))
    asked = {name: draw(guests(name)) for name in sorted(names)}
    asked |= {one.name: one for one in draw(st.sampled_from(_ADOPTIONS))}
    return desired(
        *asked.values(),
        hosts=where,  # type: ignore[arg-type]
        pools=(pool(budget=budget), pool(SIDE, budget=budget)),
        sha=draw(st.sampled_from(("c1", "c2", "c3"))),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """The beginning of a story: hosts as somebody left them, and a first commit."""
    layout = draw(st.sampled_from(LAYOUTS))
    xen = draw(st.sampled_from((False, False, True)))
    seen = [
        host(
            name,
            *draw(st.sampled_from(((), (foreigner(),), (foreigner(running=False),)))),
            xen=xen,
            capabilities=draw(st.sampled_from((ABLE, ABLE, UNABLE))),
        )
        for name in HOSTS
    ]
    return Story.of(draw(wishes(layout)), *seen)  # type: ignore[arg-type]


def passing(rounds: int) -> Event:
    """The controller makes some passes, and time goes on."""

    def event(story: Story) -> None:
        for _ in range(rounds):
            story.carry_out(story.plan())
            story.now += timedelta(seconds=2)

    return event


def waiting(seconds: int) -> Event:
    """Time goes by."""

    def event(story: Story) -> None:
        story.now += timedelta(seconds=seconds)

    return event


def silence(name: HostName) -> Event:
    """A host stops answering, or answers again."""

    def event(story: Story) -> None:
        story.silent ^= {name}

    return event


def departure(name: HostName) -> Event:
    """A host's manifest goes without having been retired."""

    def event(story: Story) -> None:
        gone = story.desired.hosts.get(name)
        if gone is None:
            return
        left = {key: one for key, one in story.desired.hosts.items() if key != name}
        story.desired = replace(story.desired, hosts=left)
        if story.memory.departed is not None:
            departed = (*story.memory.departed, DepartedHost(name=name, pool=gone.pool))
            story.memory = replace(story.memory, departed=departed)

    return event


def fencing(name: HostName) -> Event:
    """A host is cut off and declared fenced, or declared to be as it was, and back.

    What was begun on it dies with it, and so does what runs there.
    """

    def event(story: Story) -> None:
        there = story.desired.hosts.get(name)
        if there is None:
            return
        if there.state is HostState.FENCED:
            state = HostState.ACTIVE
            story.silent -= {name}
        else:
            state = HostState.FENCED
            story.silent |= {name}
            story.fenced[name] = story.now
            for found in story.hosts[name].observe().guests.values():
                if found.active:
                    story.hosts[name].stage_stop(found.uuid, StateReason.UNKNOWN)
        hosts = {**story.desired.hosts, name: replace(there, state=state)}
        story.desired = replace(story.desired, hosts=hosts)

    return event


def commit(wish: DesiredWorld) -> Event:
    """A commit with other guests arrives; hosts come and go only by ``departure``."""

    def event(story: Story) -> None:
        story.arrive(replace(wish, hosts=story.desired.hosts))

    return event


def forgetting(story: Story) -> None:
    """The local state is lost, and with it which hosts have left."""
    story.memory = Remembered()
    story.waited = {}


def condemned(story: Story) -> None:
    """The first step of a pass is given up without an answer; it may yet take effect."""
    outcome = story.plan()
    if not outcome.steps:
        return
    step = outcome.steps[0].step
    if any(one.guest == step.guest for one in story.operations):
        return
    operation = Operation(
        guest=step.guest,
        host=step.host,
        step=step,
        began=story.now,
        deadline=story.now,
        condemned=True,
    )
    story.operations = (*story.operations, operation)
    story.touch(step)


def returning(story: Story) -> None:
    """A call that had been given up has its effect after all, and returns; or its host is dead."""
    for operation in story.operations[:1]:
        story.operations = story.operations[1:]
        cut_off = story.fenced.get(operation.host)
        if cut_off is not None and operation.began <= cut_off:
            continue
        try:
            story.hosts[operation.host].carry_out(operation.step)
        except DomopsError:
            continue
        story.memory = remembered(operation.step, story.memory)


def cut_short(story: Story) -> None:
    """The controller is killed during a pass: the steps took effect, nobody remembers."""
    known = story.memory
    story.carry_out(story.plan())
    story.memory = replace(story.memory, filled=known.filled)


def on_guest(name: GuestName, happen: Callable[[Story, ObservedGuest], None]) -> Event:
    """Something happens to a guest of ours, wherever it is, if there is one."""

    def event(story: Story) -> None:
        for one in story.hosts.values():
            for found in one.observe().guests.values():
                if found.mark is not None and found.name == name and found.mark.uuid == found.uuid:
                    happen(story, found)
                    return

    return event


def stopping(reason: StateReason) -> Callable[[Story, ObservedGuest], None]:
    """It stops, for that reason."""

    def happen(story: Story, found: ObservedGuest) -> None:
        if found.active:
            story.host_of(found.name).stage_stop(found.uuid, reason)

    return happen


def ballooned(story: Story, found: ObservedGuest) -> None:
    """Somebody changes its memory by hand."""
    if found.live is not None:
        live = replace(found.live, memory=replace(found.live.memory, size_kib=300 * MIB))
        story.stage(found.name, live=live)


def given_devices(story: Story, found: ObservedGuest) -> None:
    """Somebody gives it a disk and a card that no manifest names."""
    if found.stored is None:
        return
    stored = replace(
        found.stored,
        disks=with_disk(found.stored.disks, their_disk()),
        nics=with_nic(found.stored.nics, their_nic()),
    )
    live = found.live and replace(
        found.live,
        disks=with_disk(found.live.disks, their_disk()),
        nics=with_nic(found.live.nics, their_nic()),
    )
    story.stage(found.name, stored=stored, live=live, stored_digest=digest_of(stored))


def given_options(story: Story, found: ObservedGuest) -> None:
    """Somebody gives it a device that its manifest may mention or not, or takes it away."""
    if found.stored is None:
        return
    options = found.stored.options
    pin = () if options.pin else (Pin(vcpu=1, cpus="2"),)
    stored = replace(found.stored, options=Options(rng=not options.rng, pin=pin, weight=300))
    story.stage(found.name, stored=stored, stored_digest=digest_of(stored))


def given_elements(story: Story, found: ObservedGuest) -> None:
    """Somebody gives it elements at places that are open to overlays, or takes them away."""
    elements = () if found.elements else (ELEMENTS[1], ELEMENTS[3])
    story.stage(found.name, elements=elements)


def paused(story: Story, found: ObservedGuest) -> None:
    """Somebody pauses it, or resumes it."""
    if found.state is RunState.RUNNING:
        story.stage(found.name, state=RunState.PAUSED, reason=StateReason.USER)
    elif found.state is RunState.PAUSED:
        story.stage(found.name, state=RunState.RUNNING, reason=StateReason.BOOTED)


def snapshotted(story: Story, found: ObservedGuest) -> None:
    """Somebody takes a snapshot by hand, under a name that a manifest may use too, or deletes it.

    What domops took is left: a person who deletes that would have it taken anew, for ever.
    """
    others = tuple(one for one in found.snapshots if one.name != "one")
    there = [one for one in found.snapshots if one.name == "one"]
    definition = found.live or found.stored
    if there or definition is None:
        if not any(one.signature for one in there):
            story.stage(found.name, snapshots=others)
        return
    targets = tuple(disk.target for disk in definition.disks if not disk.read_only)
    theirs = ObservedSnapshot(
        name=SnapshotName("one"), taken=story.now, disks=targets, memory=found.active
    )
    story.stage(found.name, snapshots=(theirs, *others))


def held_still(story: Story, found: ObservedGuest) -> None:
    """A snapshot of it is interrupted: its mark says so, and it stands still."""
    if found.stored is None or found.live is None or found.mark is None:
        return
    operation = MarkedOperation(kind=OperationKind.SNAPSHOT, id="killed", since=story.now)
    mark = replace(found.mark, operation=operation)
    stored, live = replace(found.stored, mark=mark), replace(found.live, mark=mark)
    story.stage(
        found.name,
        mark=mark,
        stored=stored,
        live=live,
        stored_digest=digest_of(stored),
        state=RunState.PAUSED,
        reason=StateReason.BUSY,
    )


def deafened(story: Story, found: ObservedGuest) -> None:
    """It ignores requests to shut down from now on."""
    story.host_of(found.name).stage_deaf(found.uuid)


def copied(story: Story, found: ObservedGuest) -> None:
    """Somebody copies its definition, mark and all, under another name and UUID."""
    stored = found.stored
    if stored is None:
        return
    uuid = uuid5(REPOSITORY, f"copy of {found.name}")
    copy = replace(stored, uuid=uuid, name=GuestName(f"{found.name}-copy"))

    def change(seen: ObservedHost) -> ObservedHost:
        twin = replace(
            found,
            uuid=uuid,
            name=copy.name,
            stored=copy,
            live=None,
            state=RunState.SHUT_OFF,
            reason=StateReason.UNKNOWN,
            stored_digest=digest_of(copy),
        )
        return replace(seen, guests={**seen.guests, uuid: twin})

    story.host_of(found.name).stage(change)


HAPPENINGS = (
    *(
        stopping(reason)
        for reason in (
            StateReason.CRASHED,
            StateReason.SHUT_DOWN,
            StateReason.DESTROYED,
            StateReason.FAILED,
            StateReason.UNKNOWN,
        )
    ),
    ballooned,
    given_devices,
    given_elements,
    given_options,
    paused,
    snapshotted,
    held_still,
    deafened,
    copied,
)


def events(*, doubts: bool = True) -> st.SearchStrategy[Event]:
    """Any event; without ``doubts``, none that leaves domops in doubt of where a guest is."""
    plain: list[st.SearchStrategy[Event]] = [
        st.integers(1, 6).map(passing),
        st.integers(1, 6).map(passing),
        st.sampled_from((1, 30, 120, 86400)).map(waiting),
        wishes().map(commit),
        st.builds(on_guest, st.sampled_from(NAMES), st.sampled_from(HAPPENINGS)),
        st.just(cut_short),
    ]
    if doubts:
        plain += [
            st.sampled_from(HOSTS).map(silence),
            st.sampled_from(HOSTS).map(silence),
            st.sampled_from(HOSTS).map(departure),
            st.sampled_from(HOSTS).map(fencing),
            st.sampled_from((forgetting, condemned, returning)),
        ]
    return st.one_of(plain)
