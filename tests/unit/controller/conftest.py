"""The stage, empty."""

from pathlib import Path

import pytest

from tests.unit.controller.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage with nothing on it."""
    return Stage(root=tmp_path)
