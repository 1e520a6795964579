"""``kind: Storage``: a place for volumes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from reconciler.manifests.construct import EMPTY
from reconciler.manifests.fields import (
    Closed,
    LibvirtName,
    Metadata,
    Name,
    NotBuilt,
    refuse,
)


def _type(value: object) -> str:
    if value in ("lvm", "lvm-thin", "block", "rbd"):
        raise refuse(f'"{value}" is not built yet', "take a storage of type dir for now")
    if value != "dir":
        shown = f'"{value}"' if isinstance(value, str) else "this"
        raise refuse(f"{shown[:60]} is no type of storage", "write dir")
    return "dir"


def _shared(value: object) -> bool:
    if value is True:
        raise refuse("shared storage is not built yet", "write shared: false, or leave it out")
    if value is not False:
        raise refuse("must be true or false", "" if value is EMPTY else "write shared: false")
    return False


StorageType = Annotated[
    Literal["dir"], PlainValidator(_type), WithJsonSchema({"type": "string", "enum": ["dir"]})
]
Shared = Annotated[
    Literal[False], PlainValidator(_shared), WithJsonSchema({"type": "boolean", "enum": [False]})
]


class StorageOnHost(Closed):
    """What one host calls the storage."""

    libvirt_pool: LibvirtName = Field(
        alias="libvirtPool",
        description="The name of the storage pool in this host's libvirt.",
        examples=["vg_san"],
    )


class StorageSpec(Closed):
    """Where the volumes are."""

    type: StorageType = Field(
        description=(
            "`dir`: files in a directory. `lvm`, `lvm-thin`, `block` and `rbd` are not built yet."
        ),
        examples=["dir"],
    )
    libvirt_pool: LibvirtName | None = Field(
        None,
        alias="libvirtPool",
        description=(
            "The name of the storage pool in the hosts' libvirt; `metadata.name` when absent."
        ),
        examples=["default"],
    )
    hosts: dict[Name, StorageOnHost] = Field(
        default_factory=dict,
        description="Hosts that call it otherwise, by name.",
        examples=[{"dom0-b": {"libvirtPool": "guests"}}],
    )
    shared: Shared = Field(
        default=False,
        description=(
            "Whether all hosts see the same volumes. Only `false` is built yet: each host has its"
            " own."
        ),
    )
    locking: Annotated[str | None, NotBuilt("only storage that is not shared is built")] = Field(
        None, description="What keeps two hosts from one volume: `lockd`, `sanlock` or `none`."
    )
    metadata_host: Annotated[str | None, NotBuilt("only directories are built")] = Field(
        None,
        alias="metadataHost",
        description="The one host that changes the metadata of a shared volume group.",
    )


class Storage(Closed):
    """A place for volumes, and what each host's libvirt calls it.

    The Storage named `images` is where the short form `image: NAME` of a disk looks.
    """

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Storage"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the storage is called.")
    spec: StorageSpec = Field(description="Where the volumes are.")
