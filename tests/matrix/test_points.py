"""Every crossing of the code is known to the matrix, to the stand-in and to the page."""

import re
from typing import get_args

from reconciler.model.steps import Step
from tests.matrix.page import PAGE
from tests.matrix.points import crossings, everywhere
from tests.matrix.scenes import EXCUSED, EXCUSED_ON_QEMU, SCENES, excuse

ROUND = 3
"""Each scene has come round after so many turns."""


def test_every_step_has_crossings() -> None:
    assert set(crossings()) == {step.__name__ for step in get_args(Step)}


def test_every_step_is_brought_by_a_scene_or_excused() -> None:
    """A step that is added without a scene is one that no death was ever tried at."""
    brought = {step for scene in SCENES for number in range(ROUND) for step in scene(number).brings}
    unmet = {step for step in crossings() if step not in brought and step not in EXCUSED}
    assert unmet == set()


def test_only_what_is_there_is_excused() -> None:
    assert set(EXCUSED | EXCUSED_ON_QEMU) <= everywhere() | set(crossings())


def test_the_page_lists_every_crossing_and_no_other() -> None:
    """If this fails, ``make matrix`` has to be run: there are deaths that were never tried."""
    rows = re.findall(r"^\| `(\w+: [^`]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    verdicts = {name: cells for name, cells in rows if cells.count("|") == 2}
    assert set(verdicts) == everywhere()
    for name, cells in verdicts.items():
        for number, cell in enumerate(cells.split(" | ")):
            excused = excuse(name, on_qemu=number == 2)
            assert cell == excused if excused else cell.startswith("well"), f"{name}: {cell}"
