"""Calls that hang cost their caller a deadline, and never more than a few threads."""

from __future__ import annotations

import threading

import pytest

from reconciler.errors import TransientError
from reconciler.hypervisor.calls import AT_ONCE, Calls, TooLateError


def test_a_call_gives_what_it_returns_or_raises() -> None:
    def fails() -> None:
        raise KeyError("gone")

    calls = Calls("test")
    assert calls.call(lambda: 7, within_s=60) == 7
    with pytest.raises(KeyError, match="gone"):
        calls.call(fails, within_s=60)
    assert calls.out == 0


def test_calls_that_hang_are_given_up_and_are_few() -> None:
    """When they come back there is room again."""
    calls, gate = Calls("test"), threading.Event()
    for out in range(AT_ONCE):
        with pytest.raises(TooLateError, match="no answer within"):
            calls.call(gate.wait, within_s=0.001)
        assert calls.out == out + 1
    with pytest.raises(TransientError, match=f"{AT_ONCE} calls have not come back"):
        calls.call(gate.wait, within_s=60)
    waiting = [one for one in threading.enumerate() if one.name == "test"]
    gate.set()
    for one in waiting:
        one.join()
    assert calls.call(lambda: "back", within_s=60) == "back"
