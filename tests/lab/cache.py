"""Where the labs keep what is dear to make and cheap to keep.

Everything in the cache may be deleted at any time: the next run makes it again. An entry is put
in place by one rename, so another run sees a whole entry or none.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def cache_directory() -> Path:
    """Return the cache's directory, made if it was not there."""
    chosen = os.environ.get("DOMOPS_LAB_CACHE")
    directory = Path(chosen).resolve() if chosen else CHECKOUT / ".cache" / "lab"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextlib.contextmanager
def only_one(name: str) -> Iterator[None]:
    """Let one process at a time through; the kernel frees the lock of one that dies."""
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def new_entry(entry: Path) -> Iterator[Path]:
    """Give an empty directory that becomes ``entry`` when the block ends well, and goes if not."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        yield workshop
        workshop.chmod(0o755)
        if entry.exists():
            shutil.rmtree(entry)
        workshop.rename(entry)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
