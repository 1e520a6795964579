"""Render a seed: an ISO 9660 image as cloud-init's NoCloud source looks for it. Pure.

The same seed is the same bytes, wherever and whenever it is made: pycdlib would date every record
with the clock and the time zone of the machine, so all dates are taken back.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Final

import pycdlib
from pycdlib.dates import DirectoryRecordDate, VolumeDescriptorDate

from reconciler.errors import RefusedError
from reconciler.model.seed import SEED_CAPACITY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.names import GuestName
    from reconciler.model.seed import SeedData

LABEL: Final = "cidata"
"""The name of the file system by which NoCloud knows its seed."""

_READ_ONLY_FILE: Final = 0o100400
_SECTOR: Final = 2048
_FIRST_DESCRIPTOR: Final = 16
"""The sector of the first volume descriptor, by ECMA-119; the others follow."""
_LAST_DESCRIPTOR: Final = 255
"""The type of the descriptor that ends them."""
_CHANGED: Final = 830
"""Where in a descriptor the date of the last change stands."""


def render_seed(data: SeedData, *, instance: str, hostname: GuestName) -> bytes:
    """The image, as large as every seed is.

    Raises:
        RefusedError: the texts do not fit.

    """
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for name, text in _files(data, instance, hostname):
        encoded = text.encode()
        image.add_fp(
            io.BytesIO(encoded),
            len(encoded),
            f"/{name.upper().replace('-', '_')}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=_READ_ONLY_FILE,
        )
    _take_dates_back(image)
    out = io.BytesIO()
    image.write_fp(out)
    image.close()
    content = bytearray(out.getvalue())
    _undate_descriptors(content)
    if len(content) > SEED_CAPACITY_BYTES:
        raise RefusedError(
            f"the seed of {hostname} would have {len(content)} bytes, more than the"
            f" {SEED_CAPACITY_BYTES} of every seed"
        )
    return bytes(content).ljust(SEED_CAPACITY_BYTES, b"\0")


def _files(data: SeedData, instance: str, hostname: GuestName) -> Iterator[tuple[str, str]]:
    """What lies on the seed; JSON is YAML, and has one way to be written."""
    facts = {"local-hostname": str(hostname), **dict(data.meta_data), "instance-id": instance}
    yield "meta-data", json.dumps(facts, sort_keys=True, indent=1) + "\n"
    yield "user-data", data.user_data
    if data.network_config is not None:
        yield "network-config", data.network_config


def _take_dates_back(image: pycdlib.PyCdlib) -> None:
    """Make every date in the image "not specified", or where there is no such thing, 1970."""
    seen: set[int] = set()
    ahead: list[object] = [image]
    while ahead:
        thing = ahead.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        match thing:
            case DirectoryRecordDate():
                thing.years_since_1900, thing.month, thing.day_of_month = 70, 1, 1
                thing.hour = thing.minute = thing.second = thing.gmtoffset = 0
            case VolumeDescriptorDate():
                thing.date_str = VolumeDescriptorDate.EMPTY_STRING
            case list() | tuple():
                ahead.extend(thing)
            case _ if type(thing).__module__.startswith("pycdlib"):
                ahead.extend(_parts(thing))
            case _:
                pass


def _undate_descriptors(content: bytearray) -> None:
    """Take back when the volume was changed: pycdlib says it only as it writes."""
    for start in range(_FIRST_DESCRIPTOR * _SECTOR, len(content), _SECTOR):
        if content[start] == _LAST_DESCRIPTOR:
            return
        content[start + _CHANGED : start + _CHANGED + len(VolumeDescriptorDate.EMPTY_STRING)] = (
            VolumeDescriptorDate.EMPTY_STRING
        )


def _parts(thing: object) -> Iterator[object]:
    yield from getattr(thing, "__dict__", {}).values()
    for kind in type(thing).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(thing, name):
                yield getattr(thing, name)
