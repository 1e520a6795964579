"""The disks and network cards of a guest's manifest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from reconciler.manifests.fields import (
    CephName,
    Closed,
    DevicePath,
    ExportName,
    HostPath,
    Iops,
    Mac,
    ModelName,
    Monitor,
    Name,
    Port,
    Queues,
    Serial,
    Server,
    Size,
    TargetName,
    UuidText,
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


class NbdSpec(Closed):
    """An image that a server offers over NBD."""

    host: Server = Field(description="The server.", examples=["nas.example.org"])
    port: Port = Field(10809, description="Where it listens.")
    export: ExportName = Field(
        "", description="What the server calls the image.", examples=["lists-data"]
    )


class RbdSpec(Closed):
    """An image of a Ceph pool."""

    pool: CephName = Field(description="The Ceph pool.", examples=["vms"])
    image: CephName = Field(description="The image's name in it.", examples=["lists-data"])
    monitors: tuple[Monitor, ...] = Field(
        (),
        description="The cluster's monitors; those of the host's own ceph.conf when absent.",
        examples=[["ceph-a.example.org", "ceph-b.example.org:6789"]],
    )
    user: CephName | None = Field(
        None, description="The Ceph user, where the cluster asks for one.", examples=["libvirt"]
    )
    secret: UuidText | None = Field(
        None,
        description=(
            "The UUID of the secret that libvirt keeps on the hosts with the user's key; the key"
            " itself is in no manifest."
        ),
        examples=["5d1c90ab-0000-4000-8000-000000000001"],
    )


class LimitsSpec(Closed):
    """The most that a disk does in a second: in all, or apart for reading and writing."""

    bytes_: Size | None = Field(
        None, alias="bytes", description="Bytes read and written.", examples=["100MiB"]
    )
    read_bytes: Size | None = Field(None, alias="readBytes", description="Bytes read.")
    write_bytes: Size | None = Field(None, alias="writeBytes", description="Bytes written.")
    iops: Iops | None = Field(None, description="Operations.", examples=[1000])
    read_iops: Iops | None = Field(None, alias="readIops", description="Reading operations.")
    write_iops: Iops | None = Field(None, alias="writeIops", description="Writing operations.")


class DiskSpec(Closed):
    """One disk: a volume (`size` and `storage`), a drive (`cdrom`), or what is there already.

    What is there already (`device`, `file`, `nbd`, `rbd`) is never made, grown, wiped or deleted by
    domops, and two guests may share it only if neither can write to it.
    """

    name: Name = Field(
        description="What the disk is called; unique within the guest, and what it is known by.",
        examples=["root"],
    )
    former_name: Name | None = Field(
        None,
        alias="formerName",
        description=(
            "What the disk was called before it was renamed: it stays the same disk. May be taken"
            " out once that was applied."
        ),
        examples=["data"],
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
        "raw", description="How the bytes of a volume, file or export are laid out. Fixed."
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
    device: DevicePath | None = Field(
        None,
        description=(
            "In place of `storage`: a block device of the host, such as a physical partition. The"
            " controller's setting `device_prefixes` must allow it."
        ),
        examples=["/dev/disk/by-id/scsi-36001405-part3"],
    )
    file: HostPath | None = Field(
        None,
        description=(
            "In place of `storage`: a file of the host that lies in no storage pool. The"
            " controller's setting `file_prefixes` must allow it."
        ),
        examples=["/srv/exports/lists.raw"],
    )
    nbd: NbdSpec | None = Field(
        None,
        description="In place of `storage`: an image that a server offers over NBD (KVM).",
        examples=[{"host": "nas.example.org", "export": "lists-data"}],
    )
    rbd: RbdSpec | None = Field(
        None,
        description="In place of `storage`: an image of a Ceph pool (KVM).",
        examples=[{"pool": "vms", "image": "lists-data", "monitors": ["ceph-a.example.org"]}],
    )
    bus: Literal["virtio", "scsi", "sata", "ide", "usb", "xen"] | None = Field(
        None,
        description=(
            "How it is connected; that of `target`'s first letters when absent, else virtio on KVM"
            " and xen on Xen, where the target alone decides. `sata`, `ide` and `usb` are emulated,"
            " and so is `scsi` on Xen: they are slow, and warned of."
        ),
    )
    read_only: bool = Field(
        default=False,
        alias="readOnly",
        description="Whether the guest may only read it.",
    )
    cache: Literal["none", "writethrough", "writeback", "directsync", "unsafe"] | None = Field(
        None,
        description="How the host keeps its bytes on their way (KVM); the host's choice if absent.",
    )
    discard: Literal["unmap", "ignore"] | None = Field(
        None,
        description="Whether blocks that the guest discards are given back (KVM).",
    )
    serial: Serial | None = Field(
        None,
        description="The serial number that the guest reads (KVM); virtio shows 20 characters.",
        examples=["LISTS-DATA-01"],
    )
    limits: LimitsSpec | None = Field(
        None,
        description="The most that it does in a second (KVM); changed while the guest runs.",
        examples=[{"bytes": "100MiB", "writeIops": 500}],
    )
    adopt: bool = Field(
        default=False,
        description=(
            "Take an existing volume as it is, its data untouched; it is never made, nor made anew."
        ),
    )
    protect: bool = Field(
        default=False,
        description=(
            "Keep the disk plugged in although it is taken out of the manifest, and never remove"
            " what it holds, until a commit of its own lifts this."
        ),
    )


class NicSpec(Closed):
    """One network card."""

    name: Name = Field(
        description="What the card is called; unique within the guest, and what it is known by.",
        examples=["eth0"],
    )
    former_name: Name | None = Field(
        None,
        alias="formerName",
        description=(
            "What the card was called before it was renamed: it keeps its address. May be taken out"
            " once that was applied."
        ),
        examples=["lan"],
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
        description=(
            "`pv`: netfront on Xen, virtio on KVM; or a model that the host emulates, which is slow"
            " and warned of."
        ),
        examples=["e1000"],
    )
    queues: Queues | None = Field(
        None,
        description="How many queues a pv card has (KVM), at most one a virtual CPU; 1 if absent.",
        examples=[4],
    )
    link: Literal["up", "down"] | None = Field(
        None, description="Whether the cable is in (KVM); changed while the guest runs."
    )
