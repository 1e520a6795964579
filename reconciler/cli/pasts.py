"""The manifest of a guest as it last was, from the repository's past."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.manifests.parse import parse_file
from reconciler.manifests.resolve import is_manifest

if TYPE_CHECKING:
    from reconciler.model.names import GuestName, Sha
    from reconciler.source.port import Source

_BETWEEN = re.compile(r"(?m)^---[^\n]*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class PastManifest:
    """The text of one guest, the file that it was in, and the commit that took it away."""

    path: str
    text: str
    commit: Sha


def last_manifest(source: Source, guest: GuestName, until: Sha) -> PastManifest | None:
    """What the newest commit took away that deleted the guest's manifest, if one did.

    Raises:
        StalledError: the repository does not hold its whole past.
        TransientError: it cannot be read now.

    """
    named = re.compile(rb"name:\s*[\"']?" + re.escape(guest).encode() + rb"\b")
    for change in source.commits_touching(named, until=until):
        if not is_manifest(change.path):
            continue
        blobs = [blob for blob in (change.before, change.after) if blob is not None]
        contents = source.read(blobs)
        text = _text_of(guest, contents[change.before])
        left = _text_of(guest, contents[change.after]) if change.after is not None else None
        if text is not None and left is None:
            return PastManifest(path=change.path, text=text, commit=change.commit.sha)
    return None


def _text_of(guest: GuestName, content: bytes) -> str | None:
    """The one document of the file that is this guest's."""
    for piece in _BETWEEN.split(content.decode(errors="replace")):
        documents = parse_file(piece.encode()).documents
        if any((one.kind, one.name) == ("Guest", guest) for one in documents):
            return piece
    return None
