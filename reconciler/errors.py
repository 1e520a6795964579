"""The errors of domops, sorted by what the control loop does next, not by where they came from.

Every door (libvirt, git, the file system) translates what it meets into one of these, keeps the
original as the cause, and says what was being done. The loop never has to know the foreign codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class DomopsError(Exception):
    """Any error that domops raises on purpose; its text is a sentence for a person."""


class TransientError(DomopsError):
    """Trying again later may help: back off, look again, retry."""


class WaitingError(DomopsError):
    """Nothing is wrong; the thing asked for may not happen before ``until``."""

    def __init__(self, message: str, *, until: datetime) -> None:
        """Keep the instant before which a retry is pointless."""
        super().__init__(message)
        self.until = until


class StalledError(DomopsError):
    """Only a commit or a person can help: report once, retry when commit or host changed."""


class RefusedError(DomopsError):
    """A guard said no: the request itself is not allowed, now or ever, as it stands."""


class UnknownOutcomeError(DomopsError):
    """A writing call was given up and may still take effect: its guest is unknown until seen.

    The loop must not act on that guest, on any host, until the call has returned, the libvirtd
    was seen to have restarted, or the host is fenced (promise 1).
    """
