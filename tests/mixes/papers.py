"""A host on paper, for what is asked of a host before its guests are written down.

What libvirt's converter made of each file of xl stands beside the file, recorded on a real dom0;
`tests/system` sees that it still makes the same of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.domxml import Outline, outline, read
from reconciler.errors import StalledError
from reconciler.hypervisor.port import NativeGuest
from reconciler.model.definition import VolumeSource
from reconciler.model.names import LibvirtPool, VolumeName
from tests.mixes import IMAGES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from reconciler.model.observed import ObservedHost

XL_FILES = {path.stem: path for path in sorted((Path(__file__).parent / "xl").glob("*.cfg"))}
"""Configuration files of xl as people wrote them, by the name of their guest."""

POOL = LibvirtPool("guests")


def recorded(name: str) -> str:
    """What a real libvirt made of the file of that name."""
    return XL_FILES[name].with_suffix(".xml").read_text()


def volume_at(path: str) -> VolumeSource | None:
    """The volume of the pool ``guests`` that lies at a path."""
    folder, _, name = path.rpartition("/")
    return VolumeSource(pool=POOL, volume=VolumeName(name)) if folder == IMAGES else None


class PaperHost:
    """A ``Surveyor`` of what it was given."""

    def __init__(self, host: ObservedHost) -> None:
        """Have nothing but ``host`` to tell of."""
        self._host = host

    def observe(self) -> ObservedHost:
        """Tell of the host."""
        return self._host

    def outlines(self) -> Mapping[UUID, Outline]:
        """Nothing is on it that no field models."""
        return dict.fromkeys(self._host.guests, Outline(kept=(), cards=()))

    def read_xl(self, config: str) -> NativeGuest:
        """What the real converter made of that file."""
        for name, path in XL_FILES.items():
            if path.read_text() == config:
                if not path.with_suffix(".xml").exists():
                    raise StalledError("libvirt does not read it: configuration file syntax error")
                text = recorded(name)
                return NativeGuest(
                    definition=read(text, volumes=volume_at).definition,
                    outline=outline(text),
                    uuid_said="uuid" in config,
                )
        raise StalledError("libvirt does not read it: no such file was recorded")

    def close(self) -> None:
        """Let go of nothing."""
