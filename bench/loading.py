"""A cold load of the repository, and a commit that changes one manifest of it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import yaml

from bench.figures import Figure, best, milliseconds
from reconciler.manifests.parse import parse_file
from reconciler.manifests.resolve import is_manifest, resolve
from reconciler.model.desired import Commit
from reconciler.model.names import Sha

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_COLD_LOAD = 1.3


def cold_load(files: Mapping[str, str], guests: int, now: datetime) -> Figure:
    """Parse and resolve every file, against PyYAML's C loader over the same bytes."""
    contents = {path: text.encode() for path, text in files.items()}
    told = Commit(sha=Sha("0" * 40), author="bench", committed_at=now, subject="Load")
    times = 3 if guests > 1000 else 7  # noqa: PLR2004 - the largest takes seconds

    def floor() -> object:
        loaded = [
            document
            for content in contents.values()
            for document in yaml.load_all(content, Loader=yaml.CSafeLoader)
        ]
        return len(loaded)

    def ours() -> object:
        parsed = {
            path: parse_file(content) for path, content in contents.items() if is_manifest(path)
        }
        resolved = resolve(parsed, commit=told, included={})
        assert resolved.world is not None
        return resolved

    gc.collect()
    floor_s = best(floor, times)
    gc.collect()
    ours_s = best(ours, times)
    return Figure(
        work="cold load of the repository",
        guests=guests,
        floor=f"CSafeLoader {milliseconds(floor_s)}",
        ours=milliseconds(ours_s),
        value=ours_s / floor_s,
        unit="×",
        bound=_COLD_LOAD,
        target="≤ 1.3 ×",
    )
