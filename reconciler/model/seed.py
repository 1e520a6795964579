"""The seed: what cloud-init is told at a guest's first start, on a small volume of its own.

# Note [What must not be shown]
User data may hold passwords and keys. The texts are fields that are marked as hidden: they are in
no ``repr``, and the journal leaves them out. A person is shown how large they are and their digest;
only the door, which writes the volume, ever looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.model.names import Digest, StorageName, VolumeName

HIDDEN: Final = "hidden"
"""The key in a field's metadata that says: never shown, never written down."""

SEED_CAPACITY_BYTES: Final = 1 << 20
"""Every seed is as large as this, whatever it says: what it weighs is then known before it is made,
and a logical volume would be rounded up anyway."""

LARGEST_SEED_TEXT_BYTES: Final = 256 << 10
"""Three texts of this size fit on a seed; a longer one belongs on a server that user data names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedData:
    """The texts of a seed; ``digest`` is that of all of them, ``size_bytes`` their sum.

    ``meta_data`` is what the manifest adds to the two facts that are always there: who the instance
    is, and what it is called.
    """

    digest: Digest
    size_bytes: int
    user_data: str = field(default="", repr=False, metadata={HIDDEN: True})
    meta_data: tuple[tuple[str, str], ...] = field(default=(), repr=False, metadata={HIDDEN: True})
    network_config: str | None = field(default=None, repr=False, metadata={HIDDEN: True})

    def __str__(self) -> str:
        """How a person is shown it."""
        return f"{self.size_bytes} bytes, digest {self.digest[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredCloudInit:
    """What a guest shall be told, once, and where the seed lies meanwhile.

    ``keep`` leaves the seed with the guest. ``rerun`` is a token: one that the mark does not know
    yet lets a guest that has run be told once more, as another instance.
    """

    data: SeedData
    storage: StorageName
    volume: VolumeName
    keep: bool = False
    rerun: str | None = None
