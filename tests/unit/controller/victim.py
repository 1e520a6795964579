"""A controller in a process of its own that stops at a chosen instant, to be killed there.

``python -m tests.unit.controller.victim ROOT NUMBER before|after``: it applies the stage's
commit to a host whose world is kept in a file, says ``HERE`` around the call of the given number,
and waits.
"""

from __future__ import annotations

import pickle
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.unit.controller.stage import GatedHost, Stage, in_memory

if TYPE_CHECKING:
    from reconciler.hypervisor.inmemory import InMemoryHost
    from reconciler.model.steps import Step

WORLD = "world.pickle"


class LastingHost(GatedHost):
    """A host whose world survives the process, and which stops it at one call."""

    def __init__(self, host: InMemoryHost, world: Path, number: int, when: str) -> None:
        super().__init__(host)
        self._world = world
        self._number = number
        self._when = when

    def carry_out(self, step: Step) -> None:
        """Stop before or after the call whose turn it is."""
        self._number -= 1
        if self._number == 0 and self._when == "before":
            self._wait_for_the_end()
        super().carry_out(step)
        self._world.write_bytes(pickle.dumps(self.memory._host))
        if self._number == 0:
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        print("HERE", flush=True)
        threading.Event().wait()


def raised(world: Path) -> GatedHost:
    """The host as the dead controller left it."""
    host = in_memory("a")
    if world.exists():
        # Written by the victim of this very test, in a directory of its own.
        left = pickle.loads(world.read_bytes())  # noqa: S301
        host.memory.stage(lambda _: left)
    return host


if __name__ == "__main__":
    root = Path(sys.argv[1])
    lasting = LastingHost(raised(root / WORLD).memory, root / WORLD, int(sys.argv[2]), sys.argv[3])
    Stage(root=root, hosts={"a": lasting}).apply()
    print("DONE", flush=True)
