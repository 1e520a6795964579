"""Domains as people and other tools have made them, to be taken over: one file a mix of devices.

They are ordinary XML, written by hand for these tests; `tests/golden` has what domops itself
writes. Each can be defined on a QEMU host whose directory pool ``guests`` has its volumes.
"""

from __future__ import annotations

import re
from pathlib import Path

IMAGES = "/var/lib/libvirt/images"
"""Where the volumes of the pool ``guests`` lie."""

MIXES = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.xml"))}
"""The text of each domain, by its name."""

_FILE = re.compile(rf"{IMAGES}/([\w.-]+)")
_VOLUME = re.compile(r'pool="guests" volume="([\w.-]+)"')


def volumes_of(text: str) -> tuple[str, ...]:
    """The volumes of the pool ``guests`` that a domain uses."""
    return tuple(sorted({*_FILE.findall(text), *_VOLUME.findall(text)}))
