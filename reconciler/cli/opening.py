"""Open the real thing: settings, repository, hosts and state directory, as bootstrap builds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import StalledError

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.cli.options import Where
    from reconciler.cli.session import Session


def open_session(
    where: Where,
    *,
    writing: bool = False,
    from_folder: Path | None = None,
    revision: str | None = None,
) -> Session:
    """Refuse: there is no bootstrap yet that could put the parts together."""
    del where, writing, from_folder, revision
    raise StalledError("this build has no controller yet; validate, init and schema work.")
