"""Read the files that manifests take in, out of the same commit as the manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import StalledError
from reconciler.manifests.resolve import included_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.parse import ParsedFile
    from reconciler.source.port import Blob, Source, Tree


def read_included(
    source: Source,
    tree: Tree,
    parsed: Mapping[str, ParsedFile],
    known: Mapping[Blob, bytes | None],
) -> dict[str, bytes | None]:
    """The contents by path; None for one that the source holds too large to be read.

    What is ``known`` is not read again, nor what was read as a manifest, as all that ends in
    ``.yaml`` is.
    """
    blobs = {path: tree.files[path] for path in included_paths(parsed) if path in tree.files}
    contents: dict[Blob, bytes | None] = {
        blob: parsed[path].content if path in parsed else known[blob]
        for path, blob in blobs.items()
        if path in parsed or blob in known
    }
    contents.update(_read(source, {blob for blob in blobs.values() if blob not in contents}))
    return {path: contents[blob] for path, blob in blobs.items()}


def _read(source: Source, blobs: set[Blob]) -> Mapping[Blob, bytes | None]:
    if not blobs:
        return {}
    try:
        return source.read(blobs)
    except StalledError:  # one of them is too large: which?
        if len(blobs) == 1:
            return dict.fromkeys(blobs)
        return {blob: content for one in blobs for blob, content in _read(source, {one}).items()}
