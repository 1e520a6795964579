"""Let go of a connection while calls are out on it; to come to the end is all that it must.

``python -m tests.system.drop_victim URI PID ROUNDS``: PID is that of the daemon behind URI, which
is stopped while the calls are made and the connection is let go of, and continued after that.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import libvirt

from reconciler.errors import DomopsError
from reconciler.hypervisor.link import Link

CALLS = 4
"""A daemon takes five requests of one client at a time."""


def main(uri: str, daemon: int, rounds: int) -> None:
    """Make the rounds, and say how the calls ended."""
    link = Link(uri, open_connection=libvirt.open)
    ended: Counter[str] = Counter()
    for _ in range(rounds):
        together = threading.Barrier(CALLS + 1)
        askers = [
            threading.Thread(target=_ask, args=(link, together.wait, ended)) for _ in range(CALLS)
        ]
        for asker in askers:
            asker.start()
        together.wait()  # all have the connection
        os.kill(daemon, signal.SIGSTOP)
        try:
            together.wait()  # all make their call
            while not any(_waits_for_an_answer(asker) for asker in askers):
                pass
            link.close()
        finally:
            os.kill(daemon, signal.SIGCONT)
        for asker in askers:
            asker.join()
    print(dict(ended))


def _ask(link: Link, wait: Callable[[], object], ended: Counter[str]) -> None:
    try:
        with link.connection("asking") as connection:
            wait()
            wait()
            connection.listAllStoragePools()
            ended["answered"] += 1
    except DomopsError as error:
        ended[str(error)] += 1


def _waits_for_an_answer(thread: threading.Thread) -> bool:
    """Whether the thread is inside a call: of those on one connection, one listens for all."""
    return "poll" in Path(f"/proc/self/task/{thread.native_id}/wchan").read_text()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
