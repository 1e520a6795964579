"""Carry out the steps on snapshots: take one, and let go on what taking one held still.

# Note [Letting go]
libvirt quiesces only for snapshots that lie in files of their own, so here the guest's file systems
are frozen through its agent by hand. A guest that is held still is let go on again whatever became
of the snapshot; if that cannot be done from here any more, the operation in its mark says so to
whoever looks next. That mark is inside the snapshot too: a guest that somebody brings back to it
comes back frozen, and says that it is.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import read_snapshot, render_snapshot
from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    TransientError,
    UnknownOutcomeError,
)
from reconciler.hypervisor.definitions import set_mark
from reconciler.hypervisor.states import read_state
from reconciler.model.mark import Consistency
from reconciler.model.observed import RunState, Signature, StateReason
from reconciler.model.steps import SetMark

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.mark import Mark
    from reconciler.model.names import SnapshotName
    from reconciler.model.steps import CreateSnapshot, ResumeGuest

_NEVER_SENT = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED)
"""No agent answered, or none can: libvirt asks it for a sign of life before each command."""

_DISABLED = "has been disabled"
"""What an agent says that may not freeze, or that somebody else has freeze already: not ours."""

_OURS_TO_RESUME = (StateReason.BUSY, StateReason.UNKNOWN)
"""Reasons of a pause that nobody meant to last: a job's, or one that a restarted daemon forgot."""


def create(door: Door, step: CreateSnapshot) -> None:
    """Take the snapshot, unless it is there; see Note [Letting go]."""
    door.require("snapshots")
    domain = door.domain(step.uuid, step.guest)
    if _is_there(door, domain, step):
        return
    if not domain.isActive():
        consistency = _worth_of_stopped(domain)
        if step.quiesced and consistency is not Consistency.OFFLINE:
            raise StalledError(
                f"{door.doing}: it was not shut down in good order, and only a quiesced snapshot "
                "is wanted: start it, or shut it down from inside"
            )
        _take(door, domain, step, consistency)
        return
    if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        raise TransientError(f"{door.doing}: it is paused")
    _write_mark(door, step, step.mark)
    ice = _Ice.PERHAPS  # until the call that freezes has come back
    try:
        ice = _freeze(door, domain)
        _take(door, domain, step, _worth_of_running(door, step, ice))
    except Exception:  # raised again below
        # Whatever is wrong, the guest must not stay frozen, and the error goes on to who sorts it.
        # If letting go fails as well, the mark still says so, and a later pass does it.
        with contextlib.suppress(DomopsError, libvirt.libvirtError):
            _let_go(door, domain, step, ice)
        raise
    _let_go(door, domain, step, ice)


def resume(door: Door, step: ResumeGuest) -> None:
    """Undo what an interrupted snapshot left: a pause, frozen file systems, the mark of it."""
    domain = door.domain(step.uuid, step.guest)
    if domain.isActive():
        _end_pause(door, domain)
        with contextlib.suppress(RefusedError):  # it never had an agent
            door.write(domain.fsThaw)
    _write_mark(door, step, step.mark)


class _Ice(Enum):
    """How frozen the file systems are: not at all, for sure, or perhaps."""

    NONE = auto()
    SOLID = auto()
    PERHAPS = auto()


def _freeze(door: Door, domain: libvirt.virDomain) -> _Ice:
    """Freeze what the agent can freeze; a guest without one, or with a silent one, goes without."""
    try:
        return _Ice.SOLID if door.write(domain.fsFreeze) else _Ice.NONE
    except UnknownOutcomeError:
        raise
    except DomopsError as error:
        cause = error.__cause__
        if isinstance(cause, libvirt.libvirtError) and (
            cause.get_error_code() in _NEVER_SENT or _DISABLED in str(cause)
        ):
            return _Ice.NONE
        return _Ice.PERHAPS


def _let_go(door: Door, domain: libvirt.virDomain, step: CreateSnapshot, ice: _Ice) -> None:
    """Let the guest go on, then say in its mark that it does."""
    _end_pause(door, domain)
    if ice is not _Ice.NONE:
        door.write(domain.fsThaw)
    _write_mark(door, step, replace(step.mark, operation=None))


def _end_pause(door: Door, domain: libvirt.virDomain) -> None:
    state, reason = read_state(*domain.state())
    if state is not RunState.PAUSED:
        return
    if reason not in _OURS_TO_RESUME:
        raise TransientError(f"{door.doing}: it is {reason}, which is not ours to end")
    door.write(domain.resume)


def _take(
    door: Door, domain: libvirt.virDomain, step: CreateSnapshot, consistency: Consistency
) -> None:
    signature = Signature(owner=step.mark.owner, consistency=consistency)
    door.write(domain.snapshotCreateXML, render_snapshot(step.name, signature), 0)


def _worth_of_running(door: Door, step: CreateSnapshot, ice: _Ice) -> Consistency:
    if ice is _Ice.SOLID:
        return Consistency.QUIESCED
    if step.quiesced:
        raise TransientError(f"{door.doing}: its agent did not freeze its file systems")
    return Consistency.WITH_MEMORY


def _worth_of_stopped(domain: libvirt.virDomain) -> Consistency:
    _, reason = read_state(*domain.state())
    in_order = reason is StateReason.SHUT_DOWN
    return Consistency.OFFLINE if in_order else Consistency.CRASH_CONSISTENT


def _is_there(door: Door, domain: libvirt.virDomain, step: CreateSnapshot) -> bool:
    """Whether the snapshot is there already.

    Raises:
        StalledError: one of that name is, and is not signed for this repository.

    """
    text = _text_of(domain, step.name)
    if text is None:
        return False
    signature = read_snapshot(text).signature
    if signature is None or signature.owner != step.mark.owner:
        raise StalledError(f"{door.doing}: a snapshot of that name is there and is not ours")
    return True


def _text_of(domain: libvirt.virDomain, name: SnapshotName) -> str | None:
    try:
        return str(domain.snapshotLookupByName(name).getXMLDesc())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
            return None
        raise


def _write_mark(door: Door, step: CreateSnapshot | ResumeGuest, mark: Mark) -> None:
    set_mark(door, SetMark(host=step.host, guest=step.guest, uuid=step.uuid, mark=mark))
