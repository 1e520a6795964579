"""The clock of a controller: it follows the machine's, and never back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.bootstrap import Clock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


class Machine:
    """A machine whose clock can be set; time passes by ``pass_by`` alone."""

    def __init__(self) -> None:
        self.now = NOON
        self.ticks = 5.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds

    def clock(self) -> Clock:
        """A controller's clock on this machine."""
        return Clock(machine=lambda: self.now, tick=lambda: self.ticks)


def test_it_says_what_the_machine_says_and_no_instant_twice() -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock() == NOON
    assert clock() > NOON
    machine.pass_by(60)
    assert clock() == machine.now
    assert clock.ahead() < timedelta(milliseconds=1)


def test_it_follows_a_jump_ahead() -> None:
    machine = Machine()
    clock = machine.clock()
    clock()
    machine.now += YEAR
    assert clock() == machine.now


def test_set_back_it_goes_on_and_waits_that_it_measures_end() -> None:
    """A deadline of a minute comes in not much more than a minute."""
    machine = Machine()
    clock = machine.clock()
    latest = clock()
    machine.now -= YEAR
    assert clock() > latest
    machine.pass_by(60)
    assert timedelta(seconds=50) < clock() - latest < timedelta(seconds=60)
    assert clock.ahead() > YEAR - timedelta(seconds=60)


def test_what_it_is_ahead_is_made_up_for() -> None:
    machine = Machine()
    clock = machine.clock()
    clock()
    machine.now -= timedelta(minutes=1)
    for _ in range(700):
        machine.pass_by(1)
        clock()
    assert clock.ahead() < timedelta(milliseconds=1)
    assert clock() - machine.now < timedelta(milliseconds=1)
