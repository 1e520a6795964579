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
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from reconciler.model.observed import ObservedHost

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedWorld
    from reconciler.model.operation import Operation
    from reconciler.model.plan import Plan

STATUS_FILE = "status.json"


def write_status(
    path: Path,
    *,
    now: datetime,
    world: DesiredWorld | None,
    observed: ObservedWorld | None,
    plan: Plan | None,
    operations: tuple[Operation, ...],
    problems: tuple[str, ...],
) -> None:
    """Replace the file with what one pass found.

    Raises:
        OSError: it could not be written; the old one stands.

    """
    text = json.dumps(
        {
            "written_at": now.isoformat(),
            "process": os.getpid(),
            "commit": plain(world.commit) if world else None,
            "problems": list(problems),
            "hosts": _hosts(observed),
            "guests": plain(plan.statuses) if plan else {},
            "held": plain(plan.held) if plan else [],
            "foreign": plain(plan.foreign) if plan else [],
            "operations": [_operation(one) for one in operations],
            "wake_at": plain(plan.wake_at) if plan else None,
        },
        indent=1,
    )
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
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
    }
