"""The two halves of the whole matrix, each to be played in a process of its own."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.lab.qemu import QemuLab
from tests.matrix import standin
from tests.matrix.onqemu import on_qemu
from tests.matrix.points import everywhere
from tests.matrix.standin import Verdict

OCCURRENCES = 2
"""How often an instant is met in memory: in the first turns that come to it."""


def in_memory() -> list[Verdict]:
    """All deaths in memory."""
    times: Counter[str] = Counter()

    def wanted(name: str) -> bool:
        times[name] += 1
        return times[name] <= OCCURRENCES

    with tempfile.TemporaryDirectory() as folder:
        stand = standin.begin(Path(folder), wanted)
        standin.play(stand)
    print(f"in memory: {len(stand.verdicts)} deaths", flush=True)
    return stand.verdicts


def on_a_host() -> tuple[list[Verdict], Mapping[str, float]]:
    """All deaths on a real host."""
    with QemuLab() as lab, tempfile.TemporaryDirectory() as folder:
        real = on_qemu(Path(folder), lab.host)
        real.play(everywhere())
    return real.verdicts, real.held_s
