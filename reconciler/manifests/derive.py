"""Names that are not written but follow from what is: UUIDs, MAC addresses, volumes.

They are functions of the repository's id and of names, and of nothing else: no counter, no clock,
no order. Another clone, another day and another version of domops come to the same ones. Tests pin
them, because changing one would make a guest another machine to everybody who knew it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from reconciler.manifests.fields import RESERVED_OCTET
from reconciler.model.names import MacAddress, VolumeName

if TYPE_CHECKING:
    from reconciler.model.definition import DiskFormat


def derive_uuid(repository: UUID, guest: str) -> UUID:
    """The UUID of a guest that names none."""
    return uuid5(repository, guest)


def derive_mac(repository: UUID, guest: str, nic: str) -> MacAddress:
    """The address of a network card that names none: 46 derived bits, local, unicast.

    The first octet is never fe, which libvirt keeps for the host's end: the 2% of cards that would
    get it are derived once more.
    """
    attempt = 0
    while True:
        text = f"{repository}/{guest}/{nic}" + (f"/{attempt}" if attempt else "")
        octets = bytearray(blake2b(text.encode(), digest_size=6, person=b"domops mac").digest())
        octets[0] = octets[0] & 0xFC | 0x02
        if octets[0] != RESERVED_OCTET:
            return MacAddress(octets.hex(":"))
        attempt += 1


def derive_volume(guest: str, disk: str, disk_format: DiskFormat) -> VolumeName:
    """The name of a volume that is given none: ``lists-root.raw``."""
    return VolumeName(f"{guest}-{disk}.{disk_format}")
