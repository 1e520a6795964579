"""libvirt's states: every number that this libvirt has means something, and newer ones no harm."""

from __future__ import annotations

import libvirt
import pytest

from reconciler.hypervisor.states import read_state
from reconciler.model.observed import RunState, StateReason


def numbers(prefix: str) -> dict[str, int]:
    """The constants of libvirt that begin with ``prefix``, but for the count at the end."""
    return {
        name.removeprefix(prefix): value
        for name, value in vars(libvirt).items()
        if name.startswith(prefix) and not name.endswith("_LAST")
    }


WORDS = "NOSTATE RUNNING BLOCKED PAUSED SHUTDOWN SHUTOFF CRASHED PMSUSPENDED".split()  # noqa: SIM905 a list of words
STATES = {word: getattr(libvirt, f"VIR_DOMAIN_{word}") for word in WORDS}


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_read_with_any_reason(state: str) -> None:
    for reason in range(30):
        run_state, _ = read_state(STATES[state], reason)
        assert run_state in RunState


def test_a_stop_is_told_by_its_reason() -> None:
    """What is healed, and when, depends on it."""
    told = {
        name: read_state(libvirt.VIR_DOMAIN_SHUTOFF, reason)[1]
        for name, reason in numbers("VIR_DOMAIN_SHUTOFF_").items()
    }
    assert told == {
        "UNKNOWN": StateReason.UNKNOWN,
        "SHUTDOWN": StateReason.SHUT_DOWN,
        "DESTROYED": StateReason.DESTROYED,
        "CRASHED": StateReason.CRASHED,
        "MIGRATED": StateReason.MIGRATED,
        "SAVED": StateReason.SAVED,
        "FAILED": StateReason.FAILED,
        "DAEMON": StateReason.FAILED,
        "FROM_SNAPSHOT": StateReason.OTHER,
    }


def test_a_pause_by_a_person_or_a_disk_is_never_taken_for_the_hypervisors_own() -> None:
    told = {
        name: read_state(libvirt.VIR_DOMAIN_PAUSED, reason)[1]
        for name, reason in numbers("VIR_DOMAIN_PAUSED_").items()
    }
    assert told.pop("USER") is StateReason.USER
    assert told.pop("IOERROR") is StateReason.IO_ERROR
    assert StateReason.USER not in told.values()
    assert StateReason.IO_ERROR not in told.values()


def test_a_guest_that_xen_does_not_schedule_at_the_moment_runs() -> None:
    assert read_state(libvirt.VIR_DOMAIN_NOSTATE, 0)[0] is RunState.RUNNING
    assert read_state(libvirt.VIR_DOMAIN_BLOCKED, 0)[0] is RunState.RUNNING


def test_a_crash_that_is_kept_for_inspection_is_a_crash() -> None:
    assert read_state(libvirt.VIR_DOMAIN_CRASHED, 1) == (RunState.CRASHED, StateReason.CRASHED)
