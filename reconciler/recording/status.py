"""Write what the last pass found to a file that anybody may read while the controller runs.

The file is replaced whole, so a reader sees one pass or another, never half of one. Its form is for
programs: names and values of the model, instants in ISO 8601.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.model.observed import ObservedHost

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.names import GuestName
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import GuestStatus, Plan

STATUS_FILE = "status.json"


class StatusFile:
    """The file, written anew when a pass found something else, and now and then anyway.

    What is told of a guest is put into words once, for as long as its status is the same object.
    """

    def __init__(self, path: Path, *, every_s: float = 30) -> None:
        self._path = path
        self._every = timedelta(seconds=every_s)
        self._guests: dict[GuestName, tuple[GuestStatus, str]] = {}
        self._told: tuple[object, ...] | None = None
        self._written: datetime | None = None

    def write(
        self,
        *,
        now: datetime,
        world: DesiredWorld | None,
        observed: ObservedWorld | None,
        plan: Plan | None,
        operations: tuple[Operation, ...],
        problems: tuple[str, ...],
    ) -> None:
        """Replace the file with what one pass found, if that is news or the file is getting old.

        Raises:
            OSError: it could not be written; the old one stands.

        """
        silent = {
            name: host
            for name, host in (observed.hosts if observed else {}).items()
            if not isinstance(host, ObservedHost)
        }
        told = (world.commit if world else None, silent, plan, operations, problems)
        fresh = self._written is not None and now - self._written < self._every
        if fresh and told == self._told:
            self._told = told  # the newest objects are the ones that the next pass may share
            return
        parts = {
            "written_at": now.isoformat(),
            "process": os.getpid(),
            "commit": plain(world.commit) if world else None,
            "problems": list(problems),
            "hosts": _hosts(observed),
            "held": plain(plan.held) if plan else [],
            "foreign": plain(plan.foreign) if plan else [],
            "operations": [_operation(one) for one in operations],
            "wake_at": plain(plan.wake_at) if plan else None,
        }
        lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in parts.items()]
        guests = ",\n  ".join(self._told_of(plan.statuses if plan else {}))
        lines.append(f'"guests": {{\n  {guests}\n }}' if guests else '"guests": {}')
        _replace(self._path, "{\n " + ",\n ".join(lines) + "\n}\n")
        self._told, self._written = told, now

    def _told_of(self, statuses: Mapping[GuestName, GuestStatus]) -> list[str]:
        before, self._guests = self._guests, {}
        for name, status in statuses.items():
            known = before.get(name)
            if known is None or known[0] is not status:
                known = (status, f"{json.dumps(name)}: {json.dumps(plain(status))}")
            self._guests[name] = known
        return [text for _, text in self._guests.values()]


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_status(path: Path) -> Mapping[str, object] | None:
    """What the controller last wrote, or None where it wrote nothing that can be read."""
    try:
        status = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def plain(noun: object) -> object:  # noqa: PLR0911 - one row a kind of value
    """Turn a noun of the model into what JSON knows."""
    match noun:
        case enum.Enum():
            return noun.value
        case None | bool() | int() | float() | str():
            return noun
        case datetime():
            return noun.isoformat()
        case Mapping():
            return {str(key): plain(value) for key, value in noun.items()}
        case tuple() | list():
            return [plain(item) for item in noun]
        case frozenset() | set():
            return sorted(str(plain(item)) for item in noun)
        case UUID():
            return str(noun)
        case _ if dataclasses.is_dataclass(noun) and not isinstance(noun, type):
            return {
                field.name: plain(getattr(noun, field.name)) for field in dataclasses.fields(noun)
            }
        case _:
            raise TypeError(f"{type(noun).__name__} is no noun of the model")


def _hosts(observed: ObservedWorld | None) -> dict[str, object]:
    hosts = observed.hosts if observed else {}
    return {
        name: {"answered_at": host.answered_at.isoformat(), "uuid": str(host.uuid)}
        if isinstance(host, ObservedHost)
        else {"silent": host.why, "since": plain(host.since)}
        for name, host in sorted(hosts.items())
    }


def _operation(one: Operation) -> dict[str, object]:
    return {
        "guest": one.guest,
        "host": one.host,
        "step": type(one.step).__name__,
        "began": one.began.isoformat(),
        "deadline": one.deadline.isoformat(),
        "condemned": one.condemned,
        "progress": plain(one.progress),
    }
