"""Windows: when they open on every day of the year, and what waits for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.definition import Vcpus
from reconciler.model.desired import DesiredWorld, PoolMode, RestartWhen
from reconciler.model.names import HostName
from reconciler.model.observed import StateReason
from reconciler.model.plan import Change, Fate, Health, Label, Plan, Reason
from reconciler.model.windows import Act, Window
from reconciler.planner import preview
from reconciler.planner.windows import opening, told
from tests.strategies.worlds import HOSTS, MAIN, SIDE, START, Story, desired, guest, host, pool

ROME = ZoneInfo("Europe/Rome")
HOUR = timedelta(hours=1)


def _window(
    cron: str = "0 2 * * *", hours: float = 2, *, allows: bool = True, acts: str = "restart"
) -> Window:
    return Window(
        allows=allows,
        cron=cron,
        open_s=int(hours * 3600),
        zone=ROME,
        acts=frozenset({Act(acts)}),
    )


NIGHTLY = _window()


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-03-02T01:59:59+01:00", "2026-03-02T02:00:00+01:00"),
        ("2026-03-02T02:00:00+01:00", None),
        ("2026-03-02T03:59:59.999999+01:00", None),
        ("2026-03-02T04:00:00+01:00", "2026-03-03T02:00:00+01:00"),
        # The hour from two to three is not there on that Sunday: it opens when it would be over.
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"),
        ("2026-03-29T03:00:00+02:00", None),
        ("2026-03-29T04:59:59+02:00", None),
        ("2026-03-29T05:00:00+02:00", "2026-03-30T02:00:00+02:00"),
        # That hour is there twice: it opens the first time, and for two real hours.
        ("2026-10-25T01:59:59+02:00", "2026-10-25T02:00:00+02:00"),
        ("2026-10-25T02:30:00+02:00", None),
        ("2026-10-25T02:30:00+01:00", None),
        ("2026-10-25T02:59:59+01:00", None),
        ("2026-10-25T03:00:00+01:00", "2026-10-26T02:00:00+01:00"),
    ],
)
def test_a_window_opens_by_the_clock_on_the_wall_and_for_real_hours(
    now: str, opens: str | None
) -> None:
    found = opening((NIGHTLY,), Act.RESTART, _at(now))
    assert found.now is (opens is None)
    assert found.at == (_at(opens) if opens else None)


def test_a_short_window_in_the_hour_that_comes_twice_opens_once() -> None:
    half = _window("30 2 * * *", 0.25)
    assert opening((half,), Act.RESTART, _at("2026-10-25T02:40:00+02:00")).now
    second = opening((half,), Act.RESTART, _at("2026-10-25T02:10:00+01:00"))
    assert second.at == _at("2026-10-26T02:30:00+01:00")
    assert not opening((half,), Act.RESTART, _at("2026-10-25T02:40:00+01:00")).now


def test_a_line_that_goes_by_every_hour_opens_in_both_of_them() -> None:
    hourly = _window("0 * * * *", 0.25)
    for now in ("2026-10-25T02:05:00+02:00", "2026-10-25T02:05:00+01:00"):
        assert opening((hourly,), Act.RESTART, _at(now)).now


def test_what_no_window_is_about_may_begin_at_any_time() -> None:
    assert opening((NIGHTLY,), Act.DELETE, START).now
    assert opening((), Act.RESTART, START).now


def test_a_freeze_is_stronger_than_a_window_and_its_end_is_waited_for() -> None:
    freeze = _window("0 0 20 12 *", 14 * 24, allows=False)
    inside = _at("2026-12-24T02:30:00+01:00")
    assert opening((NIGHTLY,), Act.RESTART, inside).now
    found = opening((NIGHTLY, freeze), Act.RESTART, inside)
    assert found.at == _at("2027-01-03T02:00:00+01:00")
    assert "the window for a restart opens 2027-01-03 02:00 Europe/Rome" in told(Act.RESTART, found)
    alone = opening((freeze,), Act.RESTART, inside)
    assert alone.at == _at("2027-01-03T00:00:00+01:00")
    assert told(Act.RESTART, alone) == "frozen: no restart before 2027-01-03 00:00 Europe/Rome"


def test_a_freeze_without_an_end_leaves_no_window() -> None:
    always = _window("* * * * *", 1, allows=False)
    found = opening((NIGHTLY, always), Act.RESTART, START)
    assert not found.now
    assert found.at is None
    assert told(Act.RESTART, found) == "no window for a restart will open"


ZONES = ("Europe/Rome", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu")
LINES = ("0 2 * * *", "30 2 * * *", "15 1,2,3 * * *", "*/20 * * * *", "0 2 * * SUN", "30 1 29 * *")


@given(
    line=st.sampled_from(LINES),
    zone=st.sampled_from(ZONES),
    minutes=st.sampled_from((1, 15, 60, 150, 3000)),
    near=st.sampled_from(
        (
            _at("2026-03-29T02:00:00+01:00"),
            _at("2026-10-25T02:00:00+01:00"),
            _at("2026-03-08T02:00:00-05:00"),
            _at("2026-11-01T01:00:00-05:00"),
            _at("2026-04-04T15:00:00+00:00"),
            _at("2026-10-03T15:30:00+00:00"),
        )
    ),
    off=st.integers(-200_000, 200_000),
    allows=st.booleans(),
)
def test_at_the_instant_that_is_waited_for_the_act_may_begin_and_not_a_moment_before(
    line: str, zone: str, minutes: int, near: datetime, off: int, *, allows: bool
) -> None:
    """In any zone, around the hours that are skipped and doubled; a freeze is the opposite."""
    window = Window(
        allows=allows,
        cron=line,
        open_s=minutes * 60,
        zone=ZoneInfo(zone),
        acts=frozenset({Act.RESTART}),
    )
    now = near + timedelta(seconds=off)
    found = opening((window,), Act.RESTART, now)
    opposite = opening((replace(window, allows=not allows),), Act.RESTART, now)
    if found.now:
        assert not opposite.now
        return
    assert opposite.now
    if found.at is None:
        assert not allows, "a window always comes again; only a freeze may have no end"
        return
    assert found.at > now
    assert opening((window,), Act.RESTART, found.at).now
    just_before = found.at - timedelta(microseconds=1)
    assert not opening((window,), Act.RESTART, just_before).now
    between = now + (found.at - now) / 2
    assert between == now or opening((window,), Act.RESTART, between).at == found.at


# ------------------------------------------------------------------------------ what waits


def _wish(*, restart: RestartWhen, cpus: int = 1, windows: tuple[Window, ...]) -> DesiredWorld:
    one = guest("a", restart=restart, cpus=Vcpus(count=cpus, maximum=cpus))
    return desired(one, hosts={HOSTS[0]: MAIN}, pools=(pool(windows=windows),))


def _pending(restart: RestartWhen, *windows: Window) -> Story:
    story = Story.of(_wish(restart=restart, windows=windows), host(HOSTS[0]))
    story.passes()
    story.arrive(_wish(restart=restart, cpus=2, windows=windows))
    return story


def _cpus(outcome: Plan) -> Change:
    changes = outcome.statuses[guest("a").name].changes
    return next(change for change in changes if change.field == "cpus")


def _steps(plans: list[Plan]) -> list[str]:
    return [type(planned.step).__name__ for outcome in plans for planned in outcome.steps]


def test_a_restart_waits_for_the_window_and_is_made_in_it() -> None:
    story = _pending(RestartWhen.WINDOW, NIGHTLY)
    story.passes(wait=False)
    outcome = story.plan()
    change = _cpus(outcome)
    opens = _at("2026-03-03T02:00:00+01:00")
    assert (change.label, change.fate, change.reason) == (
        Label.RESTART,
        Fate.WAITING,
        Reason.WINDOW,
    )
    assert change.until == outcome.wake_at == opens
    assert change.message == "the window for a restart opens 2026-03-03 02:00 Europe/Rome"
    shown = preview(
        story.desired,
        story.look(),
        operations=(),
        memory=story.memory,
        policy=story.policy,
        now=story.now,
    )
    stops = [at for at, one in shown.steps if type(one.step).__name__ == "ShutDownGuest"]
    assert stops == [opens]
    story.now = opens - timedelta(seconds=1)
    assert not story.plan().steps
    story.now = opens
    assert "ShutDownGuest" in _steps(story.passes())
    assert story.find("a").active
    assert not story.plan().statuses[guest("a").name].changes


def test_a_window_without_restarts_in_it_is_none() -> None:
    story = _pending(RestartWhen.WINDOW, _window(acts="delete"))
    story.passes(wait=False)
    assert _cpus(story.plan()).reason is Reason.NEEDS_RESTART


def test_now_needs_no_window_but_keeps_out_of_a_freeze() -> None:
    story = _pending(RestartWhen.NOW, NIGHTLY)
    assert "ShutDownGuest" in _steps(story.passes())
    frozen = _pending(RestartWhen.NOW, _window("0 0 2 3 *", 48, allows=False))
    frozen.passes(wait=False)
    change = _cpus(frozen.plan())
    assert (change.reason, change.until) == (Reason.WINDOW, _at("2026-03-04T00:00:00+01:00"))


def test_a_guest_is_healed_whatever_the_windows_say() -> None:
    story = _pending(RestartWhen.WINDOW, NIGHTLY, _window("0 0 * * *", 24, allows=False))
    story.passes(wait=False)
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.CRASHED)
    story.now += timedelta(minutes=1)
    assert "StartGuest" in _steps(story.passes())


def test_a_deletion_waits_for_its_window() -> None:
    nightly = _window(acts="delete")
    story = Story.of(_wish(restart=RestartWhen.NEVER, windows=(nightly,)), host(HOSTS[0]))
    story.passes()
    story.arrive(desired(hosts={HOSTS[0]: MAIN}, pools=(pool(windows=(nightly,)),)))
    [change] = story.plan().statuses[guest("a").name].changes
    assert (change.label, change.reason) == (Label.DELETE, Reason.WINDOW)
    story.passes()
    assert not story.find("a").active
    trash = story.find("a").mark
    assert trash is not None
    assert trash.trash is not None
    assert trash.trash.since == _at("2026-03-03T02:00:00+01:00")


# ------------------------------------------------------------------------------ mode off


def test_a_pool_that_is_off_is_looked_at_and_left_alone_whoever_asks() -> None:
    off = (pool(mode=PoolMode.OFF), pool(SIDE))
    hosts = {HOSTS[0]: MAIN, HOSTS[1]: SIDE}
    first = desired(guest("a"), guest("c"), hosts=hosts)
    story = Story.of(first, host(HOSTS[0]), host(HOSTS[1]), enforce=True)
    story.passes()
    before = story.writes
    story.host_of("a").stage_stop(story.find("a").uuid, StateReason.CRASHED)
    story.arrive(desired(guest("a", cpus=Vcpus(count=2, maximum=2)), hosts=hosts, pools=off))
    story.now += HOUR
    [outcome] = story.passes()
    assert not outcome.steps
    assert not outcome.held
    assert story.writes == before
    for name in ("a", "c"):  # one that differs and is down, one that was deleted
        status = outcome.statuses[guest(name).name]
        assert status.off
        assert not status.changes
        assert status.healthy is Health.UNKNOWN
        assert status.host == HostName(HOSTS[0])


def test_more_restarts_than_the_budget_allows_are_held_before_the_window_opens() -> None:
    """Somebody is there by day who can approve them; at night nobody is."""
    names = ("a", "b", "c", "d", "e")

    def wanted(cpus: int) -> DesiredWorld:
        guests = [
            guest(name, restart=RestartWhen.WINDOW, cpus=Vcpus(count=cpus, maximum=cpus))
            for name in names
        ]
        return desired(*guests, hosts={HOSTS[0]: MAIN}, pools=(pool(windows=(NIGHTLY,)),))

    story = Story.of(wanted(1), host(HOSTS[0]))
    story.passes()
    story.arrive(wanted(2))
    story.passes(wait=False)
    [held] = story.plan().held
    assert set(held.guests) == set(names)
    assert _cpus(story.plan()).fate is Fate.HELD
    story.policy = replace(story.policy, approvals=frozenset({held.plan_id}))
    assert _cpus(story.plan()).reason is Reason.WINDOW
    story.now = _at("2026-03-03T02:00:00+01:00")
    assert _steps(story.passes()).count("ShutDownGuest") == len(names)
