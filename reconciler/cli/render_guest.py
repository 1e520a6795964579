"""Render one guest: everything that is known of it, and how it differs from its manifest."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from reconciler.cli import words
from reconciler.cli.conditions import conditions
from reconciler.cli.page import columns
from reconciler.cli.picture import UPKEEP, Picture
from reconciler.cli.render_plan import (
    SHORT_SHA,
    release,
    remark,
    render_changes,
    told_suspension,
    verdict,
    waits_for_restart,
)
from reconciler.model.definition import FirmwareBoot, KernelBoot, LoaderBoot
from reconciler.model.desired import CdromDisk, GivenDisk, VolumeDisk
from reconciler.model.ignoring import IGNORABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.cli.page import Page
    from reconciler.model.definition import Boot, GuestDefinition
    from reconciler.model.desired import DesiredDisk, DesiredGuest, DesiredNic
    from reconciler.model.names import GuestName
    from reconciler.model.observed import ObservedGuest, ObservedHost
    from reconciler.model.plan import Change, GuestStatus

NOTHING = "\N{EN DASH}"


def render_description(name: GuestName, picture: Picture, page: Page) -> list[Text]:
    """Everything about the guest ``name``, which has a status in the plan."""
    status = picture.plan.statuses[name]
    wanted, found = picture.world.guests.get(name), picture.seen(name)
    lines = columns(
        ((page.text(key), page.text(value)) for key, value in _facts(status, wanted, found, page)),
        page,
    )
    if wanted is not None:
        lines += _section("Fields", _fields(wanted, found, page), page)
        lines += _section("Disks", _disks(wanted, found, page), page)
        lines += _section("Networks", _networks(wanted, found), page)
        lines += _section("Warnings", [[one.field, one.message] for one in wanted.warnings], page)
    lines += _section("Detached disks, kept", _detached(found, page), page)
    lines += _section("Snapshots", _snapshots(wanted, found, picture, page), page)
    if status.changes:
        lines += [Text(), page.text("Changes", "bold"), *render_changes(status.changes, page)]
    lines += [page.text(release(held, page)) for held in picture.plan.held if name in held.guests]
    causes = [change for change in status.changes if waits_for_restart(change)]
    lines += _section(
        "Causes of the pending restart",
        [
            [words.field(cause.field), f"{cause.before} → {cause.after}", str(cause.origin or "")]
            for cause in causes
        ],
        page,
    )
    seen_at = found[0].answered_at if found else None
    told = [
        [one.type.value, one.status.value, one.reason.value, one.message]
        for one in conditions(status, seen_at=seen_at)
    ]
    return lines + _section("Conditions", [["TYPE", "STATUS", "REASON", "MESSAGE"], *told], page)


def _section(title: str, rows: list[list[str]], page: Page) -> list[Text]:
    """A titled table, or nothing where there are no rows."""
    if not rows:
        return []
    cells = ([page.text(cell or NOTHING) for cell in row] for row in rows)
    return [Text(), page.text(title, "bold"), *columns(cells, page, indent=2)]


def _facts(
    status: GuestStatus,
    wanted: DesiredGuest | None,
    found: tuple[ObservedHost, ObservedGuest] | None,
    page: Page,
) -> Iterator[tuple[str, str]]:
    """The head of a description: what, where, how it is, and what its mark says."""
    yield "Guest", status.guest
    if status.domain:
        yield "Domain", f"{status.domain}, as its host calls it"
    yield "Manifest", str(wanted.origin) if wanted else "none: no commit in force asks for it"
    pool = f" (pool {wanted.pool})" if wanted else ""
    yield "Host", f"{status.host or 'none yet'}{pool}"
    yield "Type", status.type
    yield "State", _state(status, found, page)
    yield "Synced", f"stored {status.stored.value}, live {status.live.value}"
    yield "Healthy", status.healthy.value
    yield "Operation", words.operation(status.operation or "none")
    yield from _left_alone(status, page)
    if found is None:
        return
    host, guest = found
    yield "Seen", f"{words.ago(host.answered_at, page)} on {host.name}"
    yield "UUID", str(guest.uuid)
    yield "Autostart", "on" if guest.autostart else "off"
    if guest.managed_save:
        yield "Saved state", "yes: the next start resumes it"
    if guest.job:
        yield "Job", guest.job
    if guest.snapshots:
        pins = words.counted(len(guest.snapshots), "snapshot")
        yield "Pinned", f"by {pins}: its disks keep their size and place"
    if guest.mark_problem:
        yield "Mark", f"unreadable: {guest.mark_problem}"
    mark = guest.mark
    if mark is None:
        return
    yield (
        "Mark",
        (
            f"phase {mark.phase.value}, generation {mark.generation}, "
            f"{'protected' if mark.protected else 'not protected'}"
        ),
    )
    yield "", f"commit {mark.commit[:SHORT_SHA]}, intent {mark.intent}, renderer {mark.renderer}"
    yield "", f"owner {mark.owner}"
    if mark.trash is not None:
        yield (
            "Trash",
            (
                f"since {words.clock(mark.trash.since, page)}, kept until "
                f"{words.clock(mark.trash.until, page)}, by commit {mark.trash.commit[:SHORT_SHA]}"
            ),
        )
    if mark.operation is not None:
        yield (
            "Marked as",
            f"{mark.operation.kind.value}, since {words.clock(mark.operation.since, page)}",
        )


def _left_alone(status: GuestStatus, page: Page) -> Iterator[tuple[str, str]]:
    """Why nothing is done to it, whatever is to be done."""
    if status.off:
        yield "Off", "its pool has mode off: nothing is compared and nothing is done"
    for one in status.suspended:
        yield "Suspended", f"{told_suspension(one, page)}; {one.release}"


def _state(
    status: GuestStatus, found: tuple[ObservedHost, ObservedGuest] | None, page: Page
) -> str:
    """The state with its reason and its age, as far as they are known."""
    if found is None:
        return status.state
    guest = found[1]
    since = f", since {words.clock(guest.state_since, page)}" if guest.state_since else ""
    return f"{guest.state.value} ({guest.reason.value}{since})"


def _fields(
    wanted: DesiredGuest, found: tuple[ObservedHost, ObservedGuest] | None, page: Page
) -> list[list[str]]:
    """The plain fields: wanted, stored, live, and where the wish is written."""
    stored = found[1].stored if found else None
    live = found[1].live if found else None
    rows = [["FIELD", "WANTED", "STORED", "LIVE", "WRITTEN AT"]]
    wishes, of_stored, of_live = _wished(wanted), _measured(stored), _measured(live)
    only_there = [name for name in (*of_stored, *of_live) if name not in wishes]
    for field, value in (*wishes.items(), *((name, "") for name in dict.fromkeys(only_there))):
        rows.append(
            [
                field,
                page.letters(value),
                of_stored.get(field, ""),
                of_live.get(field, ""),
                str(wanted.where(f"spec.{field}")) if f"spec.{field}" in wanted.lines else "",
            ]
        )
    return rows


def _wished(wanted: DesiredGuest) -> dict[str, str]:
    """Each plain field of a manifest, defaults filled in."""
    return {
        "state": wanted.state.value,
        "type": wanted.type.value if wanted.type else "auto",
        "arch": wanted.arch.value,
        "cpus": _of_maximum(str(wanted.cpus.count), str(wanted.cpus.maximum)),
        "memory": _of_maximum(_memory(wanted.memory.size_kib), _memory(wanted.memory.maximum_kib)),
        **boot(wanted.boot),
        "console": _yes(wanted.console),
        "agent": _yes(wanted.agent),
        "protect": _yes(wanted.protect),
        "autostart": wanted.autostart.value,
        "shutdown": (
            f"{words.duration(wanted.shutdown.timeout_s)}, then {wanted.shutdown.then.value}"
        ),
        "heal": f"after {words.duration(wanted.heal_after_s)}",
        "update": f"restart {wanted.restart.value}",
    }


def _measured(definition: GuestDefinition | None) -> dict[str, str]:
    """The same fields as a definition has them; what it does not have is left out."""
    if definition is None:
        return {}
    return {
        "type": definition.type.value,
        "arch": definition.arch.value,
        "cpus": _of_maximum(str(definition.vcpus.count), str(definition.vcpus.maximum)),
        "memory": _of_maximum(
            _memory(definition.memory.size_kib), _memory(definition.memory.maximum_kib)
        ),
        **boot(definition.boot),
        "console": _yes(definition.console),
        "agent": _yes(definition.agent),
    }


def _of_maximum(value: str, maximum: str) -> str:
    """A value and the most that it can become without a restart, if that is more."""
    return value if value == maximum else f"{value} (max {maximum})"


def _memory(size_kib: int) -> str:
    """KiB as people say them."""
    return words.size(size_kib * words.KIB)


def _yes(value: bool) -> str:
    """The word for a truth."""
    return "yes" if value else "no"


def boot(how: Boot) -> dict[str, str]:
    """How a guest boots, by the manifest's fields."""
    match how:
        case KernelBoot():
            parts = {"kernel": how.kernel, "initrd": how.initrd, "cmdline": how.cmdline}
            return {f"boot.{name}": value for name, value in parts.items() if value}
        case FirmwareBoot():
            order = ", ".join(device.value for device in how.order)
            return {"boot.firmware": how.firmware.value, "boot.order": order}
        case LoaderBoot():
            return {"boot.loader": how.loader.value}


def _disks(
    wanted: DesiredGuest, found: tuple[ObservedHost, ObservedGuest] | None, page: Page
) -> list[list[str]]:
    """Each disk of the manifest, and what became of it."""
    if not wanted.disks:
        return []
    rows = [["NAME", "TARGET", "WANTED", "OFFERED", "STORAGE", "VOLUME", "WRITTEN AT"]]
    for disk in wanted.disks:
        marked = found[1].mark.disk(disk.name) if found and found[1].mark else None
        target = marked.target if marked else disk.target
        offered = found[1].disk_sizes.get(target) if found and target else None
        given = isinstance(disk, GivenDisk)
        volume = disk.source.address if isinstance(disk, GivenDisk) else disk.volume
        volume = marked.volume if marked and not given else volume
        if marked and not marked.filled:
            volume_says = f"{volume} (being made)"
        else:
            volume_says = volume or "empty"
        rows.append(
            [
                disk.name,
                target or "not given yet",
                _disk_size(disk),
                words.size(offered) if offered is not None else "",
                "" if isinstance(disk, GivenDisk) else disk.storage or "",
                page.letters(volume_says),
                str(wanted.where(f"spec.disks[{disk.name}].{_WRITTEN[type(disk)]}")),
            ]
        )
    return rows


_WRITTEN: Mapping[type[DesiredDisk], str] = {
    VolumeDisk: "size",
    CdromDisk: "cdrom",
    GivenDisk: "name",
}
"""The field by which a person finds a disk in its manifest."""


def _disk_size(disk: DesiredDisk) -> str:
    """The size that a disk shall have, or what else it is."""
    match disk:
        case VolumeDisk():
            return words.size(disk.size_bytes)
        case CdromDisk():
            return "cdrom"
        case GivenDisk():
            return "as it is"


def _networks(
    wanted: DesiredGuest, found: tuple[ObservedHost, ObservedGuest] | None
) -> list[list[str]]:
    """Each network card of the manifest, and whether the guest has it."""
    if not wanted.nics:
        return []
    rows = [["NAME", "NETWORK", "MAC", "MODEL", "STORED", "LIVE", "WRITTEN AT"]]
    rows += [
        [
            nic.name,
            nic.network,
            nic.mac,
            nic.model,
            _there(nic, found[1].stored if found else None),
            _there(nic, found[1].live if found else None),
            str(wanted.where(f"spec.networks[{nic.name}]")),
        ]
        for nic in wanted.nics
    ]
    return rows


def _there(nic: DesiredNic, definition: GuestDefinition | None) -> str:
    """Whether a definition has the card."""
    return "" if definition is None else _yes(definition.nic(nic.mac) is not None)


def _detached(found: tuple[ObservedHost, ObservedGuest] | None, page: Page) -> list[list[str]]:
    """Disks that the manifest let go of; their volumes are still there."""
    if found is None or found[1].mark is None:
        return []
    return [
        [disk.name, f"{disk.pool}/{disk.volume}", f"since {words.clock(disk.detached, page)}"]
        for disk in found[1].mark.disks
        if disk.detached is not None
    ]


def _snapshots(
    wanted: DesiredGuest | None,
    found: tuple[ObservedHost, ObservedGuest] | None,
    picture: Picture,
    page: Page,
) -> list[list[str]]:
    """Every snapshot inside the guest's disks, whoever made it, and what became of its name."""
    if found is None or not found[1].snapshots:
        return []
    rows = [["NAME", "TAKEN", "WORTH", "DISKS", "STANDING"]]
    for snapshot in found[1].snapshots:
        signature = snapshot.signature
        ours = signature is not None and signature.owner == picture.world.repository
        marked = found[1].mark.snapshot(snapshot.name) if found[1].mark else None
        if signature is None or not ours:
            standing = "not ours, left alone"
        elif marked is not None and marked.removed is not None:
            standing = f"not named since {words.clock(marked.removed, page)}, kept"
            pool = picture.world.pools.get(wanted.pool) if wanted else None
            if pool is not None:
                until = marked.removed + timedelta(seconds=pool.trash_keep_s)
                standing += f" until {words.clock(until, page)} at least"
        elif wanted is None:
            standing = "kept with its guest"
        else:
            standing = "named"
        rows.append(
            [
                snapshot.name,
                f"{words.clock(snapshot.taken, page)} ({words.ago(snapshot.taken, page)})",
                signature.consistency.value if signature and ours else "",
                ", ".join(snapshot.disks),
                standing,
            ]
        )
    return rows


def render_diff(names: Iterable[GuestName], picture: Picture, page: Page) -> list[Text]:
    """Field by field, what is (``-``) and what shall be (``+``), for each guest that differs."""
    lines: list[Text] = []
    for name in names:
        status = picture.plan.statuses[name]
        if not (status.changes or status.ignored):
            continue
        wanted = picture.world.guests.get(name)
        lines.append(page.text(f"--- {name} on {status.host or 'no host yet'}", "bold"))
        lines.append(page.text(f"+++ {wanted.origin if wanted else 'no manifest'}", "bold"))
        for change in (*status.changes, *status.ignored):
            lines += _hunk(change, page)
    return lines


def render_suggestions(names: Iterable[GuestName], picture: Picture, page: Page) -> list[Text]:
    """For each guest that differs, the lines for its manifest by which that would be ignored.

    What cannot be ignored stands beside them as a comment.
    """
    lines: list[Text] = []
    for name in names:
        status, wanted = picture.plan.statuses[name], picture.world.guests.get(name)
        if wanted is None:
            continue
        differing = {change.field for change in status.changes} - {"", UPKEEP, "state"}
        fields = differing & set(IGNORABLE)
        others = sorted(differing - fields)
        if not differing:
            continue
        lines.append(page.text(f"# {wanted.origin}, below spec: of {name}", "bold"))
        if fields:
            listed = ", ".join(sorted(fields | set(wanted.ignore_drift)))
            lines.append(page.text(f"  ignoreDrift: [{listed}]"))
        lines += [page.text(f"  # {field} cannot be ignored") for field in others]
    return lines


def _hunk(change: Change, page: Page) -> list[Text]:
    """One field: its place and its verdict, what it is, what it shall be."""
    what = words.field(change.field) or change.label.value
    head = page.text(f"@@ {what}", "cyan")
    if change.origin is not None:
        head.append(page.letters(f" {change.origin}"))
    head.append(" @@ ")
    head.append_text(verdict(change, page))
    said = remark(change, page)
    if said:
        head.append(page.letters(f" {said}"))
    lines = [head]
    if change.before:
        lines.append(page.text(f"-{change.before}", "red"))
    if change.after:
        lines.append(page.text(f"+{change.after}", "green"))
    return lines
