"""The intent digest: equal for two guests exactly when the same is wanted of them.

# Note [What the intent holds]
The digest is BLAKE2b with 16 bytes, in hexadecimal, of one JSON text: keys sorted, no spaces, only
ASCII, in UTF-8. The text is an object. These keys are always there:

``name uuid pool host type arch state cpus memory boot disks nics console agent shutdown heal
restart autostart protect labels``

- enumerations by their value, UUIDs as text, what is absent as null (``type`` null is ``auto``);
- ``cpus`` [count, maximum]; ``memory`` [size, maximum] in KiB;
- ``boot`` {"kernel", "initrd", "cmdline"} or {"firmware", "order"} or {"loader"};
- ``disks`` sorted by name: {"name", "target", "storage", "volume", "size", "format", "image"} with
  the size in bytes and the image null or [storage, volume]; for a drive {"name", "target", "cdrom"}
  with null or [storage, volume];
- ``nics`` sorted by name: [name, network, address, model];
- ``shutdown`` [seconds, then]; ``heal`` in seconds; ``labels`` an object.

What was added since is there only where it is said, so that the guests that do not use it keep
their digests, and ``policy.RENDERER`` its number: each optional field that the manifest mentions,
under its dotted name (``rng``), also at its default, because to mention it is to own it. A value
with parts is an object, without the parts that are null or empty. Those of a disk stand in the
disk's object, those of a card in an object at the end of the card's list. A disk that is there
without domops has, in the place of storage and all that follows, its source under the name of its
class in the model. A device of the host is true under its address
(``hostDevices[pci/0000:03:00.0]``). Other fields that were added since have their key only where a
guest says something else than the field's default:

- ``startAfter`` a list, in the order written, of [guest, agent, [address, port] or null, seconds];
- ``snapshots`` sorted by name, of [name, quiesced];
- ``adopt`` true, of the guest and of a disk;
- ``protect`` true, of a disk;
- ``cloudInit`` {"digest", "storage"}, with "keep" and "rerun" where they are said; the digest is
  that of the texts;
- ``xml`` a list, sorted, of [group, element on one line];
- ``ignoreDrift`` a sorted list of names.

Not in it: where anything is written, comments, order, which part came from a class, the commit,
what ``trash`` says of a predecessor.
Changing what the first part says changes every digest; then `policy.RENDERER` must be raised.
"""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, assert_never
from uuid import UUID

from reconciler.model.definition import Boot, FirmwareBoot, KernelBoot, LoaderBoot
from reconciler.model.desired import CdromDisk, DesiredDisk, GivenDisk, VolumeDisk
from reconciler.model.names import Digest
from reconciler.model.options import BUS, FIELDS, READ_ONLY, value_of

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredGuest, DesiredNic, StartAfter
    from reconciler.model.seed import DesiredCloudInit

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def intent_of(guest: DesiredGuest) -> Digest:
    """The digest of everything that ``guest`` wants; its own ``intent`` field is not read."""
    text = _encode(_wanted(guest))
    return Digest(blake2b(text.encode(), digest_size=16).hexdigest())


def _wanted(guest: DesiredGuest) -> Json:
    disks: list[Json] = [_disk(each) for each in sorted(guest.disks, key=lambda each: each.name)]
    nics: list[Json] = [
        [each.name, each.network, each.mac, each.model, *_of_nic(each)]
        for each in sorted(guest.nics, key=lambda each: each.name)
    ]
    wanted: dict[str, Json] = {
        "name": guest.name,
        "uuid": str(guest.uuid),
        "pool": guest.pool,
        "host": guest.host,
        "type": guest.type,
        "arch": guest.arch,
        "state": guest.state,
        "cpus": [guest.cpus.count, guest.cpus.maximum],
        "memory": [guest.memory.size_kib, guest.memory.maximum_kib],
        "boot": _boot(guest.boot),
        "disks": disks,
        "nics": nics,
        "console": guest.console,
        "agent": guest.agent,
        "shutdown": [guest.shutdown.timeout_s, guest.shutdown.then],
        "heal": guest.heal_after_s,
        "restart": guest.restart,
        "autostart": guest.autostart,
        "protect": guest.protect,
        "labels": dict(guest.labels),
        **_cloud_init(guest.cloud_init),
        **{
            name: _option(getattr(guest.options, FIELDS[name])) if name in FIELDS else True
            for name in guest.mentioned
        },
    }
    if guest.adopt:
        wanted["adopt"] = True
    if guest.start_after:
        wanted["startAfter"] = [_start_after(each) for each in guest.start_after]
    if guest.snapshots:
        by_name = sorted(guest.snapshots, key=lambda each: each.name)
        wanted["snapshots"] = [[each.name, each.quiesced] for each in by_name]
    if guest.ignore_drift:
        wanted["ignoreDrift"] = list(guest.ignore_drift)
    if guest.overlay:
        wanted["xml"] = [[one.group, str(one.element)] for one in guest.overlay]
    return wanted


def _start_after(entry: StartAfter) -> Json:
    port: Json = None if entry.port is None else [entry.port.address, entry.port.port]
    return [entry.guest, entry.agent, port, entry.timeout_s]


def _cloud_init(wish: DesiredCloudInit | None) -> dict[str, Json]:
    if wish is None:
        return {}
    said: dict[str, Json] = {"digest": wish.data.digest, "storage": wish.storage}
    if wish.keep:
        said["keep"] = True
    if wish.rerun is not None:
        said["rerun"] = wish.rerun
    return {"cloudInit": said}


def _option(value: object) -> Json:
    """The value of an optional field."""
    match value:
        case None | bool() | int() | str():
            return value.value if isinstance(value, StrEnum) else value
        case UUID():
            return str(value)
        case tuple():
            return [_option(one) for one in value]
        case _ if is_dataclass(value):
            parts = {part.name: _option(getattr(value, part.name)) for part in fields(value)}
            return {name: part for name, part in parts.items() if part not in (None, [])}
        case _:
            message = f"the intent has no words for {value!r}"
            raise AssertionError(message)


def _boot(boot: Boot) -> Json:
    match boot:
        case KernelBoot():
            return {"kernel": boot.kernel, "initrd": boot.initrd, "cmdline": boot.cmdline}
        case FirmwareBoot():
            return {
                "firmware": boot.firmware.value,
                "order": [device.value for device in boot.order],
            }
        case LoaderBoot():
            return {"loader": boot.loader.value}
        case _:
            assert_never(boot)


def _of_disk(disk: DesiredDisk) -> dict[str, Json]:
    said = {BUS: disk.bus, READ_ONLY: disk.read_only}
    wanted: dict[str, Json] = {
        name: _option(said[name] if name in said else value_of(disk.options, name))
        for name in disk.mentioned
    }
    if disk.protect:
        wanted["protect"] = True
    return wanted


def _of_nic(nic: DesiredNic) -> list[Json]:
    said: dict[str, Json] = {name: _option(value_of(nic.options, name)) for name in nic.mentioned}
    return [said] if said else []


def _disk(disk: DesiredDisk) -> Json:
    match disk:
        case VolumeDisk():
            volume: dict[str, Json] = {
                **_of_disk(disk),
                "name": disk.name,
                "target": disk.target,
                "storage": disk.storage,
                "volume": disk.volume,
                "size": disk.size_bytes,
                "format": disk.format,
                "image": None if disk.image is None else [disk.image.storage, disk.image.volume],
            }
            if disk.adopt:
                volume["adopt"] = True
            return volume
        case CdromDisk():
            cdrom: Json = None if disk.storage is None else [disk.storage, disk.volume]
            return {
                **_of_disk(disk),
                "name": disk.name,
                "target": disk.target,
                "cdrom": cdrom,
            }
        case GivenDisk():
            return {
                **_of_disk(disk),
                "name": disk.name,
                "target": disk.target,
                type(disk.source).__name__: _option(disk.source),
            }
        case _:
            assert_never(disk)
