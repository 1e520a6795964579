"""How the demo speaks: one numbered line a step, what a guest itself says below it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.qemu import Says

_MIB_KB = 1024
_MIB_BYTES = 1024 * 1024


class StoryBroken(AssertionError):  # noqa: N818 - it is the name of what happened
    """The world is not as the story promises."""


@dataclass(slots=True)
class Teller:
    """Writes the story and keeps count of what was asserted."""

    clock: Callable[[], float]
    began: float
    checks: int = 0
    _step: int = field(default=0)

    def step(self, text: str) -> None:
        """Open the next step of the story."""
        self._step += 1
        self._write(f"\n{self._step:>2}. {text}   [{self.clock() - self.began:.0f} s]")

    def note(self, text: str) -> None:
        """Tell a detail."""
        for line in text.rstrip().splitlines():
            self._write(f"      {line}")

    def guest(self, name: str, said: Says) -> None:
        """Repeat what a guest said on its console."""
        disks = ", ".join(f"{disk} {size // _MIB_BYTES} MiB" for disk, size in said.disks.items())
        data = "; ".join(f"{disk} holds {text!r}" for disk, text in said.data.items())
        self._write(
            f"      {name} says: boot {said.boot[:8]}, {said.cpus} CPU, "
            f"{said.mem_kb // _MIB_KB} MiB, {disks}{'; ' + data if data else ''}"
        )

    def check(self, true: bool, what: str) -> None:  # noqa: FBT001 - it reads as a sentence
        """Assert a promise of the story.

        Raises:
            StoryBroken: it does not hold.

        """
        if not true:
            raise StoryBroken(what)
        self.checks += 1

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
