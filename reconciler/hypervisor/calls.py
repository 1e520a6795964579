"""Calls that may hang, each on a thread of its own; who asked waits until a deadline at most.

A call that is late is left to itself: libvirt knows no way to take one back. There are never more
than a few of them, since each holds a thread, and the connection that it was made on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

AT_ONCE = 8
"""A host on which so many calls hang answers nothing that is worth another thread."""


class TooLateError(TransientError):
    """The call has not come back in time; it may still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Raised:
    """What came instead of a result."""

    error: BaseException


class Calls:
    """The calls to one host."""

    def __init__(self, name: str) -> None:
        """``name`` is what the threads are called."""
        self._name = name
        self._lock = threading.Lock()
        self._out = 0

    @property
    def out(self) -> int:
        """How many calls have not come back."""
        return self._out

    def call(self, what: Callable[[], _T], *, within_s: float) -> _T:
        """What ``what`` returns, or raises.

        Raises:
            TooLateError: it did not come back in time.
            TransientError: so many have not come back that this one was not made.

        """
        with self._lock:
            if self._out >= AT_ONCE:
                raise TransientError(f"{self._out} calls have not come back")
            self._out += 1
        came: SimpleQueue[_T | _Raised] = SimpleQueue()
        threading.Thread(target=self._make, args=(what, came), name=self._name, daemon=True).start()
        try:
            result = came.get(timeout=within_s)
        except Empty:
            raise TooLateError(f"no answer within {within_s:g} s") from None
        if isinstance(result, _Raised):
            raise result.error
        return result

    def _make(self, what: Callable[[], _T], came: SimpleQueue[_T | _Raised]) -> None:
        try:
            came.put(what())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
            came.put(_Raised(error=error))
        finally:
            with self._lock:
                self._out -= 1
