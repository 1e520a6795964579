"""Every crossing of the code is known to the matrix."""

from typing import get_args

from reconciler.model.steps import Step
from tests.matrix.points import crossings, everywhere
from tests.matrix.scenes import EXCUSED, SCENES

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
    assert set(EXCUSED) <= everywhere() | set(crossings())
