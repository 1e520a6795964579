"""Storage volume and pool ↔ libvirt's XML; pure."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from reconciler.errors import TransientError
from reconciler.hypervisor.parsing import parse
from reconciler.model.definition import DiskFormat
from reconciler.model.names import LibvirtPool, VolumeName
from reconciler.model.observed import ObservedVolume

_UNITS = {"bytes": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeText:
    """What a volume's XML says; ``backing`` is the path of the file that it builds on."""

    observed: ObservedVolume
    backing: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolText:
    """What a pool's XML says."""

    name: LibvirtPool
    type: str
    path: str | None
    available_bytes: int


def render_volume(
    name: VolumeName,
    *,
    capacity_bytes: int,
    format: DiskFormat,  # noqa: A002 - the model's word
    root_only: bool = False,
) -> str:
    """Text of a volume that does not exist yet; it takes no space before it is written to.

    With ``root_only`` nobody else on the host may read it. The user that QEMU runs as can, while
    the guest runs: libvirt hands a disk over to it and takes it back.
    """
    volume = etree.Element("volume")
    etree.SubElement(volume, "name").text = name
    etree.SubElement(volume, "capacity", unit="bytes").text = str(capacity_bytes)
    etree.SubElement(volume, "allocation", unit="bytes").text = "0"
    target = etree.SubElement(volume, "target")
    etree.SubElement(target, "format", type=format.value)
    if root_only:
        permissions = etree.SubElement(target, "permissions")
        for name_of, value in (("mode", "0600"), ("owner", "0"), ("group", "0")):
            etree.SubElement(permissions, name_of).text = value
    return etree.tostring(volume, encoding="unicode")


def read_volume(text: str) -> VolumeText:
    """Read what libvirt says of a volume; a format that domops does not know is None."""
    root = parse(text, "volume")
    found = root.find("target/format")
    try:
        disk_format = None if found is None else DiskFormat(found.get("type", ""))
    except ValueError:
        disk_format = None
    return VolumeText(
        observed=ObservedVolume(
            name=VolumeName(_text(root, "name")),
            path=_text(root, "target/path"),
            capacity_bytes=_bytes(root, "capacity"),
            allocation_bytes=_bytes(root, "allocation"),
            format=disk_format,
        ),
        backing=root.findtext("backingStore/path") or None,
    )


def read_pool(text: str) -> PoolText:
    """Read what libvirt says of a pool; ``path`` is None where volumes are no files."""
    root = parse(text, "pool")
    return PoolText(
        name=LibvirtPool(_text(root, "name")),
        type=root.get("type", ""),
        path=root.findtext("target/path") or None,
        available_bytes=_bytes(root, "available"),
    )


def _text(root: etree._Element, path: str) -> str:
    found = root.findtext(path)
    if not found:
        raise TransientError(f"the host's <{root.tag}> has no <{path}>")
    return found


def _bytes(root: etree._Element, path: str) -> int:
    found = root.find(path)
    if found is None:
        return 0
    try:
        return int(found.text or "") * _UNITS[found.get("unit", "bytes")]
    except (KeyError, ValueError) as error:
        raise TransientError(f"the host's <{root.tag}> has an unreadable <{path}>") from error
