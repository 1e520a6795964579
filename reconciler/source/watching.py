"""See at once that something changed on this machine's disk.

A watch says *that*, never *what*: whoever is told looks for himself. It can miss things (a network
file system, a folder that was replaced as a whole), so it shortens a wait and never replaces it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from reconciler.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from watchdog.observers.api import BaseObserver

# watchdog warns when it comes upon a new folder twice, in a listing and in an event. That is a race
# of its own with whoever makes folders, as git does for branches, and harms nothing.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning, r"watchdog\.")

# Reading opens and closes files too: were those told, every look would cause the next.
_NEWS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder to watch.

    With ``names`` only those entries of it count; without, all do, and ``deep`` those below too.
    """

    folder: Path
    deep: bool = False
    names: frozenset[str] = frozenset()


class NoWatch:
    """Nothing is watched, because nothing here could be seen."""

    def close(self) -> None:
        """Do nothing: there is nothing to stop."""


class FolderWatch:
    """Folders that are watched until ``close``."""

    def __init__(self, places: Iterable[Place], notify: Callable[[], None]) -> None:
        self._observer: BaseObserver = Observer()
        self._observer.daemon = True
        try:
            for place in places:
                self._observer.schedule(
                    _Listener(place, notify),
                    str(place.folder),
                    recursive=place.deep,
                    event_filter=_NEWS,
                )
            self._observer.start()
        except OSError as error:
            self._observer.unschedule_all()
            raise TransientError(
                f"changes cannot be watched ({error.strerror or error}): raise"
                " fs.inotify.max_user_watches and max_user_instances; until then they are polled"
            ) from error

    def close(self) -> None:
        """Stop watching; ``notify`` is not called once this has returned."""
        self._observer.stop()
        self._observer.join()


class _Listener(FileSystemEventHandler):
    """Tell of what happens at one place, but for git's locks: they come before the news."""

    def __init__(self, place: Place, notify: Callable[[], None]) -> None:
        self._place = place
        self._notify = notify

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = [raw.decode() if isinstance(raw, bytes) else raw for raw in _both(event)]
        if any(self._counts(path) for path in paths if path):
            self._notify()

    def _counts(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        if name.endswith(".lock") or "/.git/" in path.removeprefix(str(self._place.folder)):
            return False
        return not self._place.names or name in self._place.names


def _both(event: FileSystemEvent) -> tuple[bytes | str, bytes | str]:
    return event.src_path, event.dest_path
