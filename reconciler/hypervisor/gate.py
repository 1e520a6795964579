"""The gate that every writing call to libvirt passes: it counts, and translates what comes back.

There is no other way to write. The count is what tests look at when they say that nothing was
written, so a call counts when it is made, whatever comes of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import libvirt

from reconciler.hypervisor.errors_table import translated

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Gate:
    """Counts the writing calls to one host."""

    def __init__(self) -> None:
        """Start at none."""
        self._lock = threading.Lock()
        self._writes = 0

    @property
    def writes(self) -> int:
        """How many writing calls were made."""
        return self._writes

    def write(self, doing: str, call: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Make one writing call.

        Raises:
            UnknownOutcomeError: the connection broke under the call.
            DomopsError: the call failed, and was sorted by the table.

        """
        with self._lock:
            self._writes += 1
        try:
            return call(*args, **kwargs)
        except libvirt.libvirtError as error:
            raise translated(error, doing, writing=True) from error
