"""Render the lists of ``domops get``: guests, hosts and pools, a line each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.cli import words
from reconciler.cli.page import columns
from reconciler.cli.render_plan import CLASSES, waits_for_restart
from reconciler.model.observed import ObservedHost, SilentHost
from reconciler.model.plan import Fate, Health, Label, Sync
from reconciler.model.windows import Act
from reconciler.planner.windows import opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from reconciler.cli.page import Page
    from reconciler.cli.picture import Picture
    from reconciler.model.desired import DesiredHost, DesiredPool
    from reconciler.model.observed import ObservedGuest
    from reconciler.model.plan import GuestStatus, Held

NOTHING = "\N{EN DASH}"
SHORT_SHA = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A list before it is laid out: a row a thing, the first cell its name.

    A cell is its words and their style. ``empty`` is what is said where there is no row.
    ``restless`` are columns that move by themselves: it is news only if their style changes.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[tuple[str, str]]]
    empty: str
    restless: frozenset[str] = frozenset()

    def lines(self, page: Page) -> list[Text]:
        """A head line and the rows."""
        if not self.rows:
            return [page.text(self.empty)]
        return columns(
            [
                [page.text(word, "bold") for word in self.head],
                *([page.text(word or NOTHING, style) for word, style in row] for row in self.rows),
            ],
            replace(page, width=None),  # a row of a table is one line, as in every such list
        )


def render_guests(picture: Picture, page: Page, *, wide: bool) -> list[Text]:
    """Every guest of the desired world, and every one of ours that the hosts still have."""
    return table_of_guests(picture, page, wide=wide).lines(page)


def render_hosts(picture: Picture, page: Page, *, wide: bool) -> list[Text]:
    """Every host of the desired world, with its answer."""
    return table_of_hosts(picture, page, wide=wide).lines(page)


def render_pools(picture: Picture, page: Page, *, wide: bool) -> list[Text]:
    """Every pool, with its mode, how much of it answered, and what it holds back."""
    return table_of_pools(picture, page, wide=wide).lines(page)


def table_of_guests(picture: Picture, page: Page, *, wide: bool) -> Table:
    """A row a guest."""
    head = ["NAME", "HOST", "TYPE", "STATE", "SYNCED", "HEALTHY", "OPERATION"]
    if wide:
        head[3:3] = ["CPUS", "MEMORY", "PHASE", "COMMIT", "SNAPSHOTS"]
        head.append("MANIFEST")
    rows = []
    for name in sorted(picture.plan.statuses):
        status = picture.plan.statuses[name]
        row = [
            (f"{name} (domain {status.domain})" if status.domain else name, "bold"),
            (_home(status, picture), ""),
            (status.type, ""),
            (_state(status), ""),
            _synced(status, picture, page),
            _healthy(status),
            _operation(status, page),
        ]
        if wide:
            row[3:3] = _measures(status, picture, page)
            guest = picture.world.guests.get(name)
            row.append((str(guest.origin) if guest else "", ""))
        rows.append(row)
    nothing = "No guests: the commit asks for none, and none of ours is on the hosts."
    return Table(head=head, rows=rows, empty=nothing)


def _operation(status: GuestStatus, page: Page) -> tuple[str, str]:
    """What is under way; else, that nothing will be."""
    if status.operation or not status.suspended:
        return words.operation(status.operation or ""), ""
    ends = [one.until for one in status.suspended if one.until is not None]
    if len(ends) < len(status.suspended):
        return "suspended", "yellow"
    return f"suspended until {words.clock(max(ends), page)}", "yellow"


def _home(status: GuestStatus, picture: Picture) -> str:
    """The guest's host; in parentheses if that does not answer."""
    if status.host is None:
        return ""
    silent = isinstance(picture.observed.hosts.get(status.host), SilentHost)
    return f"({status.host})" if silent else status.host


def _state(status: GuestStatus) -> str:
    """The state, and the phase where it is not the ordinary one."""
    if status.phase in (None, "ready", status.state):
        return status.state
    return f"{status.state} ({status.phase})"


def _measures(status: GuestStatus, picture: Picture, page: Page) -> list[tuple[str, str]]:
    """CPUs, memory, phase, commit and snapshots as they are on the host."""
    found = picture.seen(status.guest)
    if found is None:
        return [("", ""), ("", ""), (status.phase or "", ""), ("", ""), ("", "")]
    _, guest = found
    definition = guest.live or guest.stored
    return [
        (str(definition.vcpus.count) if definition else "", ""),
        (words.size(definition.memory.size_kib * words.KIB) if definition else "", ""),
        (status.phase or "", ""),
        (guest.mark.commit[:SHORT_SHA] if guest.mark else "", ""),
        (", ".join(_snapshots(guest, picture, page)), ""),
    ]


def _snapshots(guest: ObservedGuest, picture: Picture, page: Page) -> Iterator[str]:
    """Each snapshot with its worth and its age: ``before-upgrade (quiesced, 3 days)``."""
    for one in guest.snapshots:
        signature = one.signature
        ours = signature is not None and signature.owner == picture.world.repository
        worth = signature.consistency.value if signature and ours else "not ours"
        age = words.duration((page.now - one.taken).total_seconds())
        yield f"{one.name} ({worth}, {age})"


def _synced(status: GuestStatus, picture: Picture, page: Page) -> tuple[str, str]:
    """Whether both definitions are as wanted; if not, which fields, and what stands in the way."""
    host = picture.observed.hosts.get(status.host) if status.host else None
    if isinstance(host, SilentHost):
        return f"host silent{words.since(host.since, page)}", "yellow"
    if Sync.UNKNOWN in (status.stored, status.live):
        return ("off", "") if status.off else ("unknown", "yellow")
    if not status.changes:
        if Sync.NO in (status.stored, status.live):
            return "no", "yellow"
        return "yes", "green"
    parts = []
    # What waits and has no effect on the guest (a seed that was not read yet) is no matter of sync.
    changes = [
        change
        for change in status.changes
        if not (change.fate is Fate.WAITING and change.label is Label.NONE)
        or Sync.NO in (status.stored, status.live)
    ]
    restart = [change for change in changes if waits_for_restart(change)]
    if restart:
        parts.append("restart pending")
    rest = [change for change in changes if change not in restart]
    kinds = {
        Fate.NOW: "drift" if _as_marked(status, picture) else "pending",
        Fate.RUNNING: "pending",
        Fate.WAITING: "waiting",
        Fate.HELD: "held",
        Fate.REFUSED: "refused",
    }
    for fate, kind in kinds.items():
        fields = [
            words.field(change.field) or change.label.value
            for change in rest
            if change.fate is fate and change.label is not Label.STATE
        ]
        if fields:
            parts.append(f"{kind}: {', '.join(dict.fromkeys(fields))}")
    if not parts:
        return "yes", "green"
    return "; ".join(dict.fromkeys(parts)), "yellow"


def _as_marked(status: GuestStatus, picture: Picture) -> bool:
    """Whether the guest's last applied intent is the present one, so that a difference is drift."""
    wanted, found = picture.world.guests.get(status.guest), picture.seen(status.guest)
    if wanted is None or found is None or found[1].mark is None:
        return False
    return found[1].mark.intent == wanted.intent


def _healthy(status: GuestStatus) -> tuple[str, str]:
    """Is it up, if it shall be."""
    match status.healthy:
        case Health.YES:
            return "yes", "green"
        case Health.NO:
            return "NO", "bold red"
        case Health.UNKNOWN:
            return "", ""


def table_of_hosts(picture: Picture, page: Page, *, wide: bool) -> Table:
    """A row a host."""
    head = ["NAME", "POOL", "STATE", "ANSWERED", "GUESTS", "CPUS", "MEMORY", "FREE"]
    if wide:
        head += ["TYPE", "UUID", "URI", "MANIFEST"]
    rows = [
        _host_row(picture.world.hosts[name], picture, page, wide=wide)
        for name in sorted(picture.world.hosts)
    ]
    nothing = "No hosts: the commit has no manifest of kind Host."
    return Table(head=head, rows=rows, empty=nothing, restless=frozenset({"ANSWERED", "FREE"}))


def _host_row(
    host: DesiredHost, picture: Picture, page: Page, *, wide: bool
) -> list[tuple[str, str]]:
    """One host: what it has if it answered, why nothing is known if it did not."""
    start = [(host.name, "bold"), (host.pool, ""), (host.state.value, "")]
    found = picture.observed.hosts.get(host.name)
    if isinstance(found, ObservedHost):
        ours = sum(
            guest.mark is not None and guest.mark.owner == picture.world.repository
            for guest in found.guests.values()
        )
        others = len(found.guests) - ours
        row = [
            *start,
            (words.ago(found.answered_at, page), "green"),
            (f"{ours} (+{others} not ours)" if others else str(ours), ""),
            (str(found.cpus), ""),
            (words.size(found.memory_kib * words.KIB), ""),
            (words.size(found.free_memory_kib * words.KIB), ""),
        ]
        if wide:
            row += [(found.domain_type.value, ""), (str(found.uuid), "")]
    else:
        why = f"no: {found.why}" if isinstance(found, SilentHost) else "not asked"
        row = [*start, (why, "bold yellow"), *[("", "")] * 4]
        if wide:
            row += [("", ""), (str(host.uuid or ""), "")]
    if wide:
        row += [(host.uri, ""), (str(host.origin), "")]
    return row


def _held(held: Held) -> str:
    """``621a-63dc-077e: 2 deletions (dns and web)``."""
    word = held.counted if len(held.acts) == 1 else CLASSES[held.counted]
    return f"{held.plan_id}: {len(held.acts)} {word} ({words.listed(held.guests, most=3)})"


def table_of_pools(picture: Picture, page: Page, *, wide: bool) -> Table:
    """A row a pool."""
    head = ["NAME", "MODE", "HOSTS", "GUESTS", "DELETIONS A DAY", "RESTARTS A DAY", "TRASH KEPT"]
    head.append("HELD")
    if wide:
        head += ["WINDOWS", "MANIFEST"]
    rows = []
    for name, answered, hosts in picture.pools():
        pool = picture.world.pools[name]
        held = [held for held in picture.plan.held if held.pool == name]
        row = [
            (name, "bold"),
            (pool.mode.value, ""),
            (f"{answered} of {hosts} answered", "green" if answered == hosts else "yellow"),
            (str(sum(guest.pool == name for guest in picture.world.guests.values())), ""),
            (f"{pool.budget.deletions} or {pool.budget.percent} %", ""),
            (f"{pool.budget.restarts} or {pool.budget.percent} %", ""),
            (words.duration(pool.trash_keep_s), ""),
            ("; ".join(map(_held, held)), ""),
        ]
        if wide:
            row += [("; ".join(_windows(pool, page)), ""), (str(pool.origin), "")]
        rows.append(row)
    nothing = "No pools: the commit has no manifest of kind Pool."
    return Table(head=head, rows=rows, empty=nothing)


def _windows(pool: DesiredPool, page: Page) -> Iterator[str]:
    """Each act that has windows, and when it may begin: ``restart from 02:00``."""
    for act in Act:
        if not any(act in one.acts for one in pool.windows):
            continue
        found = opening(pool.windows, act, page.now)
        if found.now:
            yield f"{act} now"
        else:
            yield f"{act} from {words.clock(found.at, page)}" if found.at else f"no {act}"
