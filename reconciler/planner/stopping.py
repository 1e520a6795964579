"""Stop a guest: because its manifest says so, for a restart, or on its way into the trash."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from reconciler.model.mark import Mark, MarkedOperation, OperationKind, ThenWhat
from reconciler.model.steps import (
    DestroyGuest,
    SetMark,
    ShutDownGuest,
)
from reconciler.planner.case import Move, On

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.names import HostName
    from reconciler.model.observed import ObservedGuest
    from reconciler.model.plan import (
        Change,
    )


def stop(
    guest: ObservedGuest,
    mark: Mark,
    host: HostName,
    now: datetime,
    changes: tuple[Change, ...],
    *,
    kind: OperationKind = OperationKind.STOP,
) -> Move:
    """The next step towards off: say so in the mark, ask, and when it may be, insist."""
    on = On(host=host, guest=mark.guest, uuid=guest.uuid)
    if mark.operation is None or mark.operation.kind is not kind:
        marked = replace(mark, operation=operation_mark(mark, kind, now))
        return Move(step=SetMark(**on, mark=marked), changes=changes)
    deadline = mark.operation.since + timedelta(seconds=mark.shutdown.timeout_s)
    if now >= deadline and mark.shutdown.then is ThenWhat.DESTROY:
        return Move(step=DestroyGuest(**on), changes=changes, disruptive=True)
    left = max(int((deadline - now).total_seconds()), 1)
    timeout = left if now < deadline else mark.shutdown.timeout_s
    return Move(step=ShutDownGuest(**on, timeout_s=timeout), changes=changes, disruptive=True)


def operation_mark(mark: Mark, kind: OperationKind, now: datetime) -> MarkedOperation:
    """An operation to write into ``mark``; its id is derived, since nothing here is random."""
    text = f"{mark.uuid} {kind} {now.isoformat()}"
    return MarkedOperation(
        kind=kind, id=blake2b(text.encode(), digest_size=6).hexdigest(), since=now
    )
