"""The options of a guest: one reader and one writer each, composed in a list.

An option whose value is as wanted is not touched, whatever else its element says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domxml import rng
from reconciler.model.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element as Element

    from reconciler.domxml.kind import Kind

    Writer = Callable[[Element, Options, Kind], bool]

_WRITERS: tuple[Writer, ...] = (lambda domain, wanted, kind: rng.write(domain, wanted.rng, kind),)
"""One writer for each option; each says whether it had to change anything."""


def read(domain: Element) -> Options:
    """Return the options that a text gives its guest."""
    return Options(rng=rng.read(domain))


def write(domain: Element, wanted: Options, kind: Kind) -> bool:
    """Make them as wanted; say whether anything had to be changed."""
    changes = [writer(domain, wanted, kind) for writer in _WRITERS]
    return any(changes)
