"""The files of the repository that manifests take in: which they are, and what is in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.manifests.construct import Value
    from reconciler.manifests.entries import Entry
    from reconciler.manifests.parse import Document

_TEXTS: Final = ("userData", "networkConfig")
_HEADING: Final = re.compile(rb"^[\"']?apiVersion[\"']?\s*:", re.MULTILINE)
_USER_DATA: Final = b"#cloud-config"


def looks_like_a_manifest(content: bytes) -> bool:
    """Whether a file begins as every manifest does, broken or not; no user data has that."""
    return _HEADING.search(content) is not None


def is_user_data(content: bytes) -> bool:
    """Whether a file says by itself that it is user data, so that no manifest has to name it.

    It may lie there before the first guest that takes it in, and after the last.
    """
    return content.startswith(_USER_DATA) and not looks_like_a_manifest(content)


def included_by(spec: Mapping[str, Value]) -> tuple[str, ...]:
    """The paths that the ``spec`` of a Guest or GuestClass names."""
    cloud_init = spec.get("cloudInit")
    if not isinstance(cloud_init, dict):
        return ()
    sources = (cloud_init.get(name) for name in _TEXTS)
    files = (source.get("file") for source in sources if isinstance(source, dict))
    return tuple([file for file in files if isinstance(file, str)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """Contents by path, and for files that are there and cannot be had why not.

    Contents may be secret, and are in no ``repr``.
    """

    contents: Mapping[str, bytes] = field(repr=False)
    unreadable: Mapping[str, str]

    def of(self, entry: Entry, guest_class: Document | None) -> Included:
        """What of it one guest takes in, by itself or by its class."""
        paths = included_by(entry.document.spec)
        if guest_class is not None:
            paths = (*paths, *included_by(guest_class.spec))
        if not paths:
            return NOTHING_INCLUDED
        return Included(
            contents={path: self.contents[path] for path in paths if path in self.contents},
            unreadable={path: self.unreadable[path] for path in paths if path in self.unreadable},
        )


NOTHING_INCLUDED: Final = Included(contents={}, unreadable={})
