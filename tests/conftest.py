"""What every test may rely on: no settings of the person who runs them, and a named profile.

A test that passes only with somebody's ``~/.gitconfig`` proves nothing about the next machine, so
git is cut off from it before the first test is collected.
"""

import os

import hypothesis
import pytest

os.environ["GIT_CONFIG_GLOBAL"] = "/dev/null"
os.environ["GIT_CONFIG_NOSYSTEM"] = "1"
os.environ["GIT_TERMINAL_PROMPT"] = "0"
os.environ["GIT_AUTHOR_NAME"] = os.environ["GIT_COMMITTER_NAME"] = "A Tester"
os.environ["GIT_AUTHOR_EMAIL"] = os.environ["GIT_COMMITTER_EMAIL"] = "tester@example.org"
os.environ["TERM"] = "xterm"  # what a terminal can is staged by a test, not taken from the caller's
for inherited in (
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_CONFIG_COUNT",
):
    os.environ.pop(inherited, None)

# A test is judged by what it finds, never by how long the machine of the day took: no deadline, and
# no complaint about slow examples. `thorough` is what `make test` proves; `quick` is for the
# minutes between two edits. A merge is judged by the same examples each time it is tried; what is
# run by hand draws new ones, and what they find becomes a test.
for profile, examples in (("thorough", 2000), ("quick", 100)):
    hypothesis.settings.register_profile(
        profile,
        deadline=None,
        max_examples=examples,
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let golden files be written anew; read what changed in them before it is committed."""
    parser.addoption(
        "--regenerate",
        action="store_true",
        help="write golden files instead of comparing with them",
    )


@pytest.fixture
def regenerate(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are written instead of compared."""
    return bool(request.config.getoption("--regenerate"))
