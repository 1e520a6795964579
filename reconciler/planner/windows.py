"""Windows: whether an act of a class may begin now, and if not, when.

Note [Hours that are not there]: a window names times on a wall. One in the hour that is skipped in
spring opens when that hour would have been over; one in the hour that comes twice in autumn opens
the first time only, unless its line goes by every hour. Its length is real time on every day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, assert_never

from cronsim import CronSim

from reconciler.model.desired import RestartWhen
from reconciler.model.plan import Reason
from reconciler.model.windows import Act
from reconciler.planner.case import Block

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model.desired import DesiredGuest, DesiredPool
    from reconciler.model.windows import Window

_FOLD = timedelta(hours=3)
"""More than any clock on a wall was ever put back by."""

_TURNS = 1000
"""How often freezes and windows are gone through in turn; more than that is never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When acts may begin: now, or at ``at``, or never by the clock alone.

    ``window`` is the one that opens then, or the freeze that ends then.
    """

    now: bool
    at: datetime | None = None
    window: Window | None = None


OPEN = Opening(now=True)


@lru_cache(maxsize=1024)
def opening(windows: tuple[Window, ...], act: Act, now: datetime) -> Opening:
    """Whether ``act`` may begin at ``now`` under these windows, and if not, when it may."""
    about = [one for one in windows if act in one.acts]
    allowing = [one for one in about if one.allows]
    freezes = [one for one in about if not one.allows]
    at, reason = now, None
    for _ in range(_TURNS):
        frozen = {one: end for one in freezes if (end := _open_until(one, at)) is not None}
        if frozen:
            reason = max(frozen, key=lambda one: frozen[one])
            at = frozen[reason]
            continue
        if not allowing or any(_open_until(one, at) is not None for one in allowing):
            return OPEN if at == now else Opening(now=False, at=at, window=reason)
        instant, window = min(((_next(one, at), one) for one in allowing), key=lambda pair: pair[0])
        at, reason = instant, window
    return Opening(now=False)


def _open_until(window: Window, now: datetime) -> datetime | None:
    """When the window that is open at ``now`` closes; None if it is not open."""
    length = timedelta(seconds=window.open_s)
    # Back from behind any hour that comes twice, see Note [Hours that are not there].
    for opened in CronSim(window.cron, (now + _FOLD).astimezone(window.zone), reverse=True):
        instant = opened.astimezone(UTC)
        if instant <= now:
            return instant + length if now < instant + length else None
    return None


def _next(window: Window, now: datetime) -> datetime:
    """When the window opens next."""
    return next(
        instant
        for opened in CronSim(window.cron, (now - _FOLD).astimezone(window.zone))
        if (instant := opened.astimezone(UTC)) > now
    )


def told(act: Act, found: Opening) -> str:
    """What an act that may not begin now waits for, in words."""
    if found.at is None or found.window is None:
        return f"no window for a {act} will open"
    zone = found.window.zone
    local = f"{found.at.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}"
    if found.window.allows:
        return f"the window for a {act} opens {local}"
    return f"frozen: no {act} before {local}"


def never_restarts(guest: DesiredGuest, pool: DesiredPool | None) -> Block | None:
    """Why no change ever restarts the guest, at whatever time."""
    windows = pool.windows if pool is not None else ()
    match guest.restart:
        case RestartWhen.NEVER:
            why = "update.restart is never"
        case RestartWhen.WINDOW if not any(
            one.allows and Act.RESTART in one.acts for one in windows
        ):
            why = "its pool has no window"
        case RestartWhen.WINDOW | RestartWhen.NOW:
            return None
        case _:
            assert_never(guest.restart)
    message = f"{why}; it takes effect when the guest is restarted"
    return Block(reason=Reason.NEEDS_RESTART, message=message)


def restarts_later(guest: DesiredGuest, pool: DesiredPool | None, now: datetime) -> Block | None:
    """What a restart waits for that may be made: a window, or with ``now`` only a freeze's end."""
    windows = pool.windows if pool is not None else ()
    if guest.restart is RestartWhen.NOW:
        windows = tuple(one for one in windows if not one.allows)
    found = opening(windows, Act.RESTART, now)
    return None if found.now else waiting(Act.RESTART, found)


def waiting(act: Act, found: Opening) -> Block:
    """Why an act does not begin now."""
    return Block(reason=Reason.WINDOW, message=told(act, found), until=found.at)
