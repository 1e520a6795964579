"""A part of the kill matrix in memory; ``make matrix`` plays the whole."""

from pathlib import Path

from reconciler.model.crossing import INTENT, OUTCOME
from tests.matrix.points import crossings, everywhere
from tests.matrix.scenes import AFTERMATH, excuse
from tests.matrix.standin import begin, play

BETWEEN_CALLS = frozenset(
    str(one)
    for points in crossings().values()
    for one in points
    if one.act not in {INTENT, OUTCOME} and len({each.act for each in points}) > 3
)
"""The crossings inside the steps that take more than one call."""


def test_a_death_between_calls_is_understood_and_mended(tmp_path: Path) -> None:
    """Once each, with the state directory and without by turns; some deaths do leave something.

    On the way the stand-in crosses what the door's code has, and all of that but for excuses.
    """
    left = {name for name in BETWEEN_CALLS if excuse(name) is None}
    crossed: set[str] = set()

    def wanted(name: str) -> bool:
        crossed.add(name)
        if name not in left:
            return False
        left.remove(name)
        return True

    stand = begin(tmp_path, wanted, by_turns=True)
    play(stand)
    assert left == set()
    assert [one for one in stand.verdicts if one.wrong is not None] == []
    assert {one.kept for one in stand.verdicts} == {True, False}
    assert {
        "CreateVolume: amid createXMLFrom",
        "CreateSeed: amid upload",
        "CreateSnapshot: after fsFreeze",
        "CreateSnapshot: amid snapshotCreateXML",
    } <= {one.crossing for one in stand.verdicts if one.left is not None}
    assert crossed <= everywhere()
    missed = {one for one in everywhere() - crossed if excuse(one) is None}
    assert {one.split(":")[0] for one in missed} <= set(AFTERMATH)
