"""The disks and network cards of a guest's manifest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from reconciler.manifests.fields import (
    Closed,
    CommandLine,
    Mac,
    ModelName,
    Name,
    NotBuilt,
    Size,
    TargetName,
    Volume,
    refuse,
)

IMAGES = "images"
"""The Storage that the short form ``image: NAME`` means."""


class ImageSpec(Closed):
    """The volume that a new disk begins as a copy of."""

    storage: Name = Field(description="The Storage that holds it.", examples=["images"])
    volume: Volume = Field(description="The volume's name.", examples=["debian-12.raw"])


def _long_image(value: object) -> object:
    if isinstance(value, int | float):
        raise refuse(f"must be text, not {value}", f'put it in quotes: "{value}"')
    return {"storage": IMAGES, "volume": value} if isinstance(value, str) else value


class CdromSpec(Closed):
    """What lies in a drive; neither field for an empty one."""

    storage: Name | None = Field(
        None, description="The Storage that holds the medium.", examples=["isos"]
    )
    volume: Volume | None = Field(
        None, description="The volume's name.", examples=["debian-12-netinst.iso"]
    )


class DiskSpec(Closed):
    """One disk: a volume (`size` and `storage`), or a drive (`cdrom`)."""

    name: Name = Field(
        description="What the disk is called; unique within the guest, and what it is known by.",
        examples=["root"],
    )
    target: TargetName | None = Field(
        None,
        description=(
            "The name on the guest's bus. Omitted, one is given when the guest is first defined,"
            " and never changed: disks from an image first, then by name, drives last."
        ),
        examples=["xvda"],
    )
    size: Size | None = Field(
        None,
        description="How large the disk is; it only ever grows. Whole 512-byte sectors.",
        examples=["20GiB"],
    )
    storage: Name | None = Field(
        None, description="The Storage that holds the volume. Fixed at creation.", examples=["san"]
    )
    image: Annotated[
        ImageSpec | None,
        BeforeValidator(_long_image, json_schema_input_type=Volume | ImageSpec),
    ] = Field(
        None,
        description=(
            "The volume that a new disk begins as a copy of; a name alone means one in the Storage"
            " `images`. Read once, at creation. Without it the disk begins empty."
        ),
        examples=["debian-12.raw"],
    )
    format: Literal["raw", "qcow2"] = Field(
        "raw", description="How the volume's bytes are laid out. Fixed at creation."
    )
    volume: Volume | None = Field(
        None,
        description="The volume's name; GUEST-DISK.FORMAT when absent.",
        examples=["lists-root.raw"],
    )
    cdrom: CdromSpec | None = Field(
        None,
        description="Makes it a drive, and says what lies in it; `{}` for an empty drive.",
        examples=[{"storage": "isos", "volume": "debian-12-netinst.iso"}],
    )
    device: Annotated[CommandLine | None, NotBuilt("put the disk on a Storage")] = Field(
        None, description="A block device of the host, such as a physical partition."
    )
    file: Annotated[CommandLine | None, NotBuilt("put the disk on a Storage")] = Field(
        None, description="A file of the host."
    )
    adopt: bool = Field(
        default=False,
        description=(
            "Take an existing volume as it is, its data untouched; it is never made, nor made anew."
        ),
    )
    protect: Annotated[bool | None, NotBuilt("protect the whole guest")] = Field(
        None, description="Refuse to let go of this disk."
    )


class NicSpec(Closed):
    """One network card."""

    name: Name = Field(
        description="What the card is called; unique within the guest, and what it is known by.",
        examples=["eth0"],
    )
    network: Name = Field(description="The Network that it is plugged into.", examples=["servers"])
    mac: Mac | None = Field(
        None,
        description=(
            "Its address. Omitted, it is derived from repository, guest and card, and stays the"
            " same."
        ),
        examples=["00:16:3e:01:02:03"],
    )
    model: ModelName = Field(
        "pv",
        description="`pv`: netfront on Xen, virtio on KVM; or a model that libvirt knows.",
        examples=["e1000"],
    )
