"""Translate libvirt's states and their reasons into ours."""

from __future__ import annotations

import libvirt

from reconciler.model.observed import RunState, StateReason

_STATES = {
    # Xen reports no state for a guest that no CPU happens to run at the moment.
    libvirt.VIR_DOMAIN_NOSTATE: RunState.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: RunState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: RunState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: RunState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: RunState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: RunState.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: RunState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: RunState.SUSPENDED,
}

_SHUT_OFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN: StateReason.UNKNOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: StateReason.SHUT_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: StateReason.DESTROYED,
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: StateReason.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: StateReason.MIGRATED,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: StateReason.SAVED,
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: StateReason.FAILED,
    # The daemon killed a guest that it could not keep: nobody wanted that.
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: StateReason.FAILED,
}

_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_UNKNOWN: StateReason.UNKNOWN,
    libvirt.VIR_DOMAIN_PAUSED_USER: StateReason.USER,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_DUMP: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_IOERROR: StateReason.IO_ERROR,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_CRASHED: StateReason.CRASHED,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: StateReason.BUSY,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: StateReason.BUSY,
}

_RUNNING = {
    libvirt.VIR_DOMAIN_RUNNING_UNKNOWN: StateReason.UNKNOWN,
    libvirt.VIR_DOMAIN_RUNNING_BOOTED: StateReason.BOOTED,
    libvirt.VIR_DOMAIN_RUNNING_MIGRATED: StateReason.MIGRATED,
}


def read_state(state: int, reason: int) -> tuple[RunState, StateReason]:
    """What libvirt's pair of numbers means; a number from a newer libvirt is OTHER, never a guess.

    Raises:
        KeyError: the state itself is one that libvirt did not have when this was written.

    """
    run_state = _STATES[state]
    if run_state is RunState.SHUT_OFF:
        return run_state, _SHUT_OFF.get(reason, StateReason.OTHER)
    if run_state is RunState.PAUSED:
        return run_state, _PAUSED.get(reason, StateReason.OTHER)
    if run_state is RunState.CRASHED:
        return run_state, StateReason.CRASHED
    if state == libvirt.VIR_DOMAIN_RUNNING:
        return run_state, _RUNNING.get(reason, StateReason.OTHER)
    return run_state, StateReason.UNKNOWN
