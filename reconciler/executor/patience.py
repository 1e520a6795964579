"""How long each kind of step may take, and why: one table.

Two waits are kept apart. The *call* must return: one that does not is given up, and its guest stays
unknown (promise 1). After it has returned, the guest or host may need time to *follow*: whether it
did is seen by observing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from reconciler.model import steps

if TYPE_CHECKING:
    from reconciler.model.steps import Step

_TEXT_S = 60
"""A definition or a mark is written in milliseconds; only a busy lock makes it wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """``follow_s`` is None where the call's own success is the end of it."""

    call_s: float
    follow_s: float | None = None


def patience_for(step: Step) -> Patience:  # noqa: C901, PLR0911 - one row a kind
    """How long ``step`` may take."""
    match step:
        case (
            steps.DefineGuest()
            | steps.SetMark()
            | steps.SetAutostart()
            | steps.UndefineGuest()
            | steps.PinVcpus()
            | steps.SetShares()
        ):
            # Said to the host alone: the guest has no part in it.
            return Patience(call_s=_TEXT_S)
        case steps.CreateVolume():
            # A large image over a slow network takes hours; half a day is a fault.
            return Patience(call_s=6 * 3600)
        case (
            steps.DiscardVolume()
            | steps.CreateSeed()
            | steps.RemoveSeed()
            | steps.DeleteVolume()
            | steps.DeleteSnapshot()
            | steps.GrowVolume()
        ):
            # Removing or growing a large file walks its extents, as does a snapshot inside one; a
            # seed waits for a busy pool.
            return Patience(call_s=600)
        case steps.StartGuest():
            # An HVM guest under emulation took 53 s; block scripts of Xen may hang for 40 s each.
            return Patience(call_s=300)
        case steps.ShutDownGuest():
            # The request is quick, but libvirt waits a minute for an agent that never answers; how
            # long the guest may take is the manifest's word.
            return Patience(call_s=2 * _TEXT_S, follow_s=step.timeout_s)
        case steps.DestroyGuest():
            # A guest stuck in host I/O is gone only when that I/O has ended.
            return Patience(call_s=120, follow_s=30)
        case steps.SetMemory():
            # The guest gives pages back as fast as it can free them.
            return Patience(call_s=_TEXT_S, follow_s=120)
        case steps.GrowDisk() | steps.SetVcpus() | steps.SetDiskLimits():
            return Patience(call_s=_TEXT_S, follow_s=30)
        case (
            steps.AttachDisk()
            | steps.DetachDisk()
            | steps.ChangeMedium()
            | steps.AttachNic()
            | steps.DetachNic()
            | steps.ChangeNic()
        ):
            # The guest has to let go, or take note; one that is still booting does neither.
            return Patience(call_s=_TEXT_S, follow_s=60)
        case steps.CreateSnapshot():
            # The memory is written into a disk's image: a large guest on slow storage takes long.
            return Patience(call_s=2 * 3600)
        case steps.ResumeGuest():
            # Each question to an agent that is silent takes five seconds.
            return Patience(call_s=_TEXT_S)
        case _:
            assert_never(step)
