"""The JSON and YAML forms of everything that a command shows.

Programs are built on them, so they only ever grow: a key keeps its name and its meaning.
``docs/reference/output.md`` describes them. Sizes are bytes, instants RFC 3339 in UTC, what is not
known is null.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from reconciler.cli.conditions import conditions
from reconciler.cli.render_xml import xml_differences
from reconciler.journal.words import step_in_words
from reconciler.model.observed import ObservedHost
from reconciler.model.windows import Act

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from reconciler.cli.picture import Picture
    from reconciler.cli.session import Drafts, History
    from reconciler.cli.trashed import Trashed
    from reconciler.journal.causes import Account
    from reconciler.journal.records import Event
    from reconciler.model.checkup import Finding
    from reconciler.model.desired import DesiredGuest, DesiredHost, DesiredPool, GuestWarning
    from reconciler.model.mark import Mark
    from reconciler.model.names import GuestName
    from reconciler.model.observed import ObservedSnapshot
    from reconciler.model.plan import Change
    from reconciler.model.suspension import Suspension

API_VERSION = "domops/v1"

Document = None | bool | int | float | str | list["Document"] | dict[str, "Document"]
"""What JSON can say."""


def as_json(document: Document) -> str:
    """``document`` as indented JSON that ends in a newline."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_json_line(document: Document) -> str:
    """``document`` as JSON on one line, for a stream of them."""
    return json.dumps(document, ensure_ascii=False) + "\n"


def as_yaml(document: Document) -> str:
    """``document`` as YAML, keys in the order of the reference.

    By way of JSON, so that both forms say the same, and an enum is the word that it stands for.
    """
    said: Document = json.loads(json.dumps(document))
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=100)


def _instant(when: datetime | None) -> str | None:
    """An instant as every language reads it."""
    if when is None:
        return None
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def of_plan(picture: Picture) -> Document:
    """What ``domops plan`` shows."""
    return {
        **_head("Plan", picture),
        "steps": len(picture.plan.steps),
        "changes": [{"guest": change.guest, **_change(change)} for change in picture.changes()],
        "held": [
            {
                "planId": held.plan_id,
                "pool": held.pool,
                "class": held.counted.value,
                "acts": [str(act) for act in held.acts],
                "guests": list(held.guests),
                "message": held.message,
                "byCommitOnly": held.protected,
                "until": _instant(held.until),
            }
            for held in picture.plan.held
        ],
        "suspended": [
            {"guest": name, **_suspension(one)}
            for name, status in sorted(picture.plan.statuses.items())
            for one in status.suspended
        ],
        "warnings": [
            {"guest": name, **_warning(one, wanted)}
            for name in sorted({change.guest for change in picture.changes()})
            if (wanted := picture.world.guests.get(name)) is not None
            for one in wanted.warnings
        ],
        "foreign": [
            {"host": found.host, "name": found.name, "message": found.message}
            for found in picture.plan.foreign
        ],
        "hosts": [_answer(name, picture) for name in sorted(picture.world.hosts)],
        "wakeAt": _instant(picture.plan.wake_at),
    }


def of_trash(found: Iterable[Trashed], picture: Picture) -> Document:
    """What ``domops trash list`` shows."""
    return {
        **_head("Trash", picture),
        "items": [
            {
                "kind": one.sort.value,
                "guest": one.guest,
                "name": one.name,
                "host": one.host,
                "since": _instant(one.since),
                "until": _instant(one.until),
                "daysSeen": one.seen,
                "daysNeeded": one.needed,
                "removing": one.removing,
                "sizeBytes": one.size_bytes,
                "commit": one.commit,
                "back": one.back,
            }
            for one in found
        ],
    }


def of_diff(names: Iterable[GuestName], picture: Picture) -> Document:
    """What ``domops diff`` shows: only guests that differ."""
    return {
        **_head("Diff", picture),
        "guests": [
            {
                "name": name,
                "host": picture.plan.statuses[name].host,
                "changes": [_change(change) for change in picture.plan.statuses[name].changes],
                "ignored": [_change(change) for change in picture.plan.statuses[name].ignored],
            }
            for name in names
            if picture.plan.statuses[name].changes or picture.plan.statuses[name].ignored
        ],
    }


def of_drafts(names: Iterable[GuestName], drafts: Drafts) -> Document:
    """What ``domops diff --xml`` shows: only definitions that would be written otherwise."""
    return {
        **_head("XmlDiff", drafts.picture),
        "guests": [
            {
                "name": name,
                "host": drafts.picture.plan.statuses[name].host,
                "diff": list(lines),
            }
            for name in names
            if (lines := xml_differences(name, drafts))
        ],
    }


def of_guests(names: Iterable[GuestName], picture: Picture) -> Document:
    """What ``domops get guests`` and ``describe guest`` show."""
    return {
        **_head("GuestList", picture),
        "items": [_guest(name, picture) for name in names],
    }


def of_hosts(picture: Picture) -> Document:
    """What ``domops get hosts`` shows."""
    return {
        **_head("HostList", picture),
        "items": [
            {**_host(picture.world.hosts[name]), **_answer(name, picture)}
            for name in sorted(picture.world.hosts)
        ],
    }


def of_pools(picture: Picture) -> Document:
    """What ``domops get pools`` shows."""
    return {
        **_head("PoolList", picture),
        "items": [
            {
                **_pool(picture.world.pools[name]),
                "hosts": hosts,
                "hostsAnswered": answered,
                "guests": sum(guest.pool == name for guest in picture.world.guests.values()),
                "held": [held.plan_id for held in picture.plan.held if held.pool == name],
            }
            for name, answered, hosts in picture.pools()
        ],
    }


def of_events(events: Sequence[Event]) -> Document:
    """What ``domops events`` shows, oldest first."""
    return {
        "apiVersion": API_VERSION,
        "kind": "EventList",
        "items": [_event(event) for event in sorted(events, key=lambda event: event.at)],
    }


def _event(event: Event) -> dict[str, Document]:
    """One event; ``step``, ``outcome`` and ``tookSeconds`` are of those that are about a step."""
    return {
        "at": _instant(event.at),
        "kind": event.kind.value,
        "guest": event.guest,
        "host": event.host,
        "text": event.text,
        "commit": event.commit,
        "where": event.where,
        "step": event.step,
        "outcome": event.outcome.value if event.outcome else None,
        "tookSeconds": event.took_s,
    }


def of_history(history: History) -> Document:
    """What ``domops history`` and ``domops why`` show, oldest first."""
    return {
        "apiVersion": API_VERSION,
        "kind": "History",
        "steps": [_deed(account) for account in history.accounts],
        "events": [_event(event) for event in history.events],
        "commits": [
            {
                "sha": sha,
                "author": info.author_name,
                "committedAt": _instant(info.committed_at),
                "subject": info.subject,
            }
            for sha, info in sorted(history.commits.items())
        ],
    }


def of_findings(findings: Sequence[Finding]) -> Document:
    """What ``domops doctor`` shows, whatever is in order included."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Examination",
        "items": [
            {
                "check": one.check.value,
                "host": one.host,
                "judgement": one.judgement.value,
                "message": one.message,
                "advice": one.advice or None,
            }
            for one in findings
        ],
    }


def _deed(account: Account) -> dict[str, Document]:
    """One step, from its reason to its end."""
    deed = account.deed
    return {
        "guest": deed.guest,
        "host": deed.host,
        "step": deed.kind,
        "act": step_in_words(deed.planned.step) if deed.planned else None,
        "cause": account.cause.value,
        "commit": deed.commit,
        "began": _instant(deed.began),
        "ended": _instant(deed.ended),
        "tookSeconds": deed.took_s,
        "outcome": deed.outcome.value if deed.outcome else None,
        "message": deed.message,
        "changes": [
            {
                "field": change.field,
                "before": change.before,
                "after": change.after,
                "where": str(change.origin) if change.origin else None,
            }
            for change in (deed.planned.changes if deed.planned else ())
        ],
        "file": account.path,
    }


def _head(kind: str, picture: Picture) -> dict[str, Document]:
    """What every document about a picture opens with."""
    commit = picture.world.commit
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "source": picture.source,
        "commit": {
            "sha": commit.sha,
            "author": commit.author,
            "committedAt": _instant(commit.committed_at),
            "subject": commit.subject,
        },
        "problems": list(picture.problems),
    }


def _change(change: Change) -> dict[str, Document]:
    """One change; ``field`` is the manifest's own name for it."""
    return {
        "field": change.field,
        "before": change.before,
        "after": change.after,
        "label": change.label.value,
        "fate": change.fate.value,
        "reason": change.reason.value if change.reason else None,
        "message": change.message,
        "until": _instant(change.until),
        "planId": change.plan_id,
        "where": str(change.origin) if change.origin else None,
    }


def _warning(warning: GuestWarning, guest: DesiredGuest) -> dict[str, Document]:
    """What something that a manifest says costs."""
    return {
        "field": warning.field,
        "message": warning.message,
        "where": str(guest.where(f"spec.{warning.field}")),
    }


def _guest(name: GuestName, picture: Picture) -> Document:
    """One guest: wanted, seen, and the conditions between the two."""
    status = picture.plan.statuses[name]
    wanted, found = picture.world.guests.get(name), picture.seen(name)
    seen_at = found[0].answered_at if found else None
    return {
        "name": name,
        "host": status.host,
        "domain": status.domain or name,
        "pool": wanted.pool if wanted else None,
        "type": status.type,
        "state": status.state,
        "synced": {"stored": status.stored.value, "live": status.live.value},
        "healthy": status.healthy.value,
        "operation": status.operation,
        "suspended": [_suspension(one) for one in status.suspended],
        "off": status.off,
        "phase": status.phase,
        "where": str(wanted.origin) if wanted else None,
        "labels": dict(wanted.labels) if wanted else {},
        "warnings": [_warning(one, wanted) for one in wanted.warnings] if wanted else [],
        "seen": _seen(name, picture),
        "changes": [_change(change) for change in status.changes],
        "conditions": [
            {
                "type": one.type.value,
                "status": one.status.value,
                "reason": one.reason.value,
                "message": one.message,
                "at": _instant(one.since),
            }
            for one in conditions(status, seen_at=seen_at)
        ],
    }


def _suspension(one: Suspension) -> dict[str, Document]:
    """Who keeps every step of a guest from beginning; ``since`` is null for what git says."""
    return {
        "scope": one.covered.scope.value,
        "name": one.covered.name or None,
        "who": one.who,
        "why": one.why,
        "since": _instant(one.since),
        "until": _instant(one.until),
    }


def _seen(name: GuestName, picture: Picture) -> Document:
    """The guest as its host told of it, or null."""
    found = picture.seen(name)
    if found is None:
        return None
    host, guest = found
    definition = guest.live or guest.stored
    mark = guest.mark
    return {
        "at": _instant(host.answered_at),
        "uuid": str(guest.uuid),
        "state": guest.state.value,
        "reason": guest.reason.value,
        "since": _instant(guest.state_since),
        "cpus": definition.vcpus.count if definition else None,
        "memoryBytes": definition.memory.size_kib * 1024 if definition else None,
        "diskBytes": dict(sorted(guest.disk_sizes.items())),
        "autostart": guest.autostart,
        "snapshots": [_snapshot(one, mark, picture.world.repository) for one in guest.snapshots],
        "mark": {
            "phase": mark.phase.value,
            "generation": mark.generation,
            "commit": mark.commit,
            "protected": mark.protected,
            "trashUntil": _instant(mark.trash.until) if mark.trash else None,
        }
        if mark
        else None,
    }


def _snapshot(snapshot: ObservedSnapshot, mark: Mark | None, repository: UUID) -> Document:
    """One snapshot; of somebody else's, what it is worth is not known."""
    signature = snapshot.signature
    ours = signature is not None and signature.owner == repository
    marked = mark.snapshot(snapshot.name) if mark is not None and ours else None
    return {
        "name": snapshot.name,
        "taken": _instant(snapshot.taken),
        "ours": ours,
        "consistency": signature.consistency.value if signature and ours else None,
        "memory": snapshot.memory,
        "disks": list(snapshot.disks),
        "removed": _instant(marked.removed) if marked else None,
    }


def _host(host: DesiredHost) -> dict[str, Document]:
    """One host as its manifest has it."""
    return {
        "name": host.name,
        "uri": host.uri,
        "pool": host.pool,
        "role": host.role.value,
        "state": host.state.value,
        "where": str(host.origin),
    }


def _answer(name: str, picture: Picture) -> dict[str, Document]:
    """What came back from a host, or why nothing did."""
    for host in picture.observed.hosts.values():
        if host.name != name:
            continue
        if isinstance(host, ObservedHost):
            return {
                "name": name,
                "answered": True,
                "at": _instant(host.answered_at),
                "why": None,
                "uuid": str(host.uuid),
                "type": host.domain_type.value,
                "cpus": host.cpus,
                "memoryBytes": host.memory_kib * 1024,
                "freeMemoryBytes": host.free_memory_kib * 1024,
                "guests": len(host.guests),
            }
        return {"name": name, "answered": False, "at": _instant(host.since), "why": host.why}
    return {"name": name, "answered": False, "at": None, "why": "not asked"}


def _pool(pool: DesiredPool) -> dict[str, Document]:
    """One pool as its manifest has it."""
    return {
        "name": pool.name,
        "mode": pool.mode.value,
        "budget": {
            "deletions": pool.budget.deletions,
            "restarts": pool.budget.restarts,
            "percent": pool.budget.percent,
        },
        "trashKeepSeconds": pool.trash_keep_s,
        "windows": [
            {
                "allows": one.allows,
                "cron": one.cron,
                "forSeconds": one.open_s,
                "zone": one.zone.key,
                "acts": [act.value for act in Act if act in one.acts],
            }
            for one in pool.windows
        ],
        "where": str(pool.origin),
    }
