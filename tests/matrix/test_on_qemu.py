"""A part of the kill matrix on a real host; ``make matrix`` plays the whole."""

from pathlib import Path

import pytest

from tests.lab.qemu import QemuLab
from tests.matrix.onqemu import on_qemu

TELLING = frozenset(
    {
        "DefineGuest: after defineXMLFlags",
        "CreateVolume: amid createXMLFrom",
        "CreateSeed: amid upload",
        "CreateSnapshot: after fsFreeze",
        "StartGuest: before createWithFlags",
        "ShutDownGuest: after outcome",
    }
)


@pytest.mark.system
@pytest.mark.slow
def test_the_most_telling_deaths_are_understood_and_mended(tmp_path: Path) -> None:
    """Half made, half copied, half told, frozen, between ready and start, between stop and next."""
    with QemuLab() as lab:
        matrix = on_qemu(tmp_path, lab.host)
        matrix.play(TELLING)
    assert {one.crossing: one.wrong for one in matrix.verdicts} == dict.fromkeys(TELLING)
