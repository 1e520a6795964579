"""Plant each bug in a copy of the tree, run the tests of the planner, and say who was caught.

Ends with 1 if a bug survives, if the place of one is not found, or if the tests fail unplanted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.bugs import BUGS, Bug

_ROOT = Path(__file__).resolve().parents[2]
_UNIT = ("tests/unit/planner",)
_PROPERTIES = tuple(
    str(path.relative_to(_ROOT)) for path in sorted((_ROOT / "tests/properties").glob("*promise_*"))
)
_TESTS_FAILED = 1
"""What pytest ends with when tests ran and some failed."""


def main() -> int:
    """Plant them all."""
    lost = [bug for bug in BUGS if _text(_ROOT, bug).count(bug.old) != 1]
    for bug in lost:
        print(f"not found  {bug.file}: {bug.what}")
    if lost:
        return 1
    sound, output = _caught(None)
    if sound:
        print(f"the tests fail without any bug planted:\n{output}")
        return 1
    survived = 0
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as threads:
        for bug, (caught, output) in zip(BUGS, threads.map(_caught, BUGS), strict=True):
            print(f"{'caught' if caught else 'SURVIVED':<10} {bug.file}: {bug.what}", flush=True)
            print(f"{'':<10} {_first_failure(output)}" if caught else "", flush=True)
            survived += not caught
    print(f"{len(BUGS) - survived} of {len(BUGS)} caught")
    return 1 if survived else 0


def _text(root: Path, bug: Bug) -> str:
    return (root / "reconciler" / "planner" / bug.file).read_text()


def _caught(bug: Bug | None) -> tuple[bool, str]:
    """Whether a test fails in a copy of the tree that has the bug; quick tests are asked first."""
    with tempfile.TemporaryDirectory(prefix="domops-mutant-") as folder:
        copy = Path(folder)
        for part in ("reconciler", "tests"):
            shutil.copytree(
                _ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
        shutil.copy(_ROOT / "pyproject.toml", copy)
        if bug is not None:
            place = copy / "reconciler" / "planner" / bug.file
            place.write_text(_text(copy, bug).replace(bug.old, bug.new))
        output = ""
        for tests in (_UNIT, _PROPERTIES):
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            output = done.stdout
            if done.returncode == _TESTS_FAILED:
                return True, output
            if done.returncode != 0:
                message = f"pytest ended with {done.returncode}:\n{output}\n{done.stderr}"
                raise RuntimeError(message)
        return False, output


def _first_failure(output: str) -> str:
    failures = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failures[0].partition(" - ")[0] if failures else ""


if __name__ == "__main__":
    sys.exit(main())
