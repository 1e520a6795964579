"""``kind: Guest``: one virtual machine; and the part of it that a GuestClass may share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from reconciler.manifests.fields import (
    CPU_MODEL,
    CPU_SET,
    PCI_ADDRESS,
    USB_ADDRESS,
    WHOLE_NUMBER,
    Closed,
    CommandLine,
    Duration,
    HostPath,
    LabelKey,
    LabelValue,
    Metadata,
    Name,
    NotBuilt,
    RepositoryPath,
    Size,
    Token,
    UuidText,
    refuse,
)
from reconciler.manifests.kinds.devices import DiskSpec, NicSpec
from reconciler.manifests.kinds.starting import StartAfter
from reconciler.manifests.kinds.suspending import SuspendSpec

# Note [Said or not]
# A GuestClass and a guest are merged as plain values, before a model fills its defaults in (see
# `merge`): otherwise a default of the guest would win over something that the class says.


Count = Annotated[int, Field(ge=1, le=512)]


def _mode(value: str) -> str:
    if value == "pool":
        raise refuse("pool is not built yet", "write host-model, or name a model")
    return value


def _text_of_number(value: object) -> object:
    """What looks like a number in YAML and is none: a version, a set of one processor."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


CpuMode = Annotated[str, Field(pattern=CPU_MODEL, max_length=63), AfterValidator(_mode)]
VcpuNumber = Annotated[str, Field(pattern=WHOLE_NUMBER, max_length=15)]
CpuSet = Annotated[
    str, Field(pattern=CPU_SET, max_length=255), BeforeValidator(_text_of_number, str | int)
]


class TopologySpec(Closed):
    """How the virtual CPUs look to the guest."""

    sockets: Count = Field(1, description="Sockets.")
    cores: Count = Field(1, description="Cores of a socket.")
    threads: Count = Field(1, description="Threads of a core.")


class CpusSpec(Closed):
    """Virtual CPUs."""

    count: Count | None = Field(None, description="How many the guest has.", examples=[2])
    max: Count | None = Field(
        None,
        description="How many it can have without a restart; `count` when absent.",
        examples=[8],
    )
    pin: dict[VcpuNumber, CpuSet] | None = Field(
        None,
        description="The processors of the host on which a virtual CPU may run; others may on any.",
        examples=[{"0": "2-3"}],
    )
    weight: int | None = Field(
        None,
        ge=2,
        le=65535,
        description=(
            "The share of processor time beside the host's other guests. 256 is Xen's ordinary"
            " one; on KVM it is the control group's, whose ordinary one is 1024, or 100."
        ),
        examples=[512],
    )
    cap: int | None = Field(
        None,
        ge=0,
        le=51200,
        description=(
            "The most processor time of the whole guest, in percent of one processor; 0 is no"
            " limit."
        ),
        examples=[150],
    )
    mode: CpuMode | None = Field(
        None,
        description=(
            "The processor that the guest sees: `host-model`, `host-passthrough`, or a model's"
            " name. `pool`, the pool's baseline, is not built yet."
        ),
        examples=["host-model"],
    )
    topology: TopologySpec | None = Field(
        None,
        description="How the virtual CPUs look to the guest; together they are `max`.",
        examples=[{"cores": 4}],
    )


def _huge_pages(value: object) -> object:
    if not isinstance(value, bool) and value not in _PAGE_SIZES:
        sizes = " or ".join(_PAGE_SIZES)
        raise refuse(f'"{str(value)[:60]}" is no size of large pages', f"write true, {sizes}")
    return value


_PAGE_SIZES = ("2MiB", "1GiB")
LargePages = Annotated[
    bool | str,
    PlainValidator(_huge_pages),
    WithJsonSchema({"enum": [True, False, *_PAGE_SIZES]}),
]


class MemorySpec(Closed):
    """Memory, in whole MiB."""

    size: Size | None = Field(None, description="How much the guest has.", examples=["2GiB"])
    max: Size | None = Field(
        None,
        description="How much it can have without a restart; `size` when absent.",
        examples=["4GiB"],
    )
    huge_pages: LargePages | None = Field(
        None,
        alias="hugePages",
        description=(
            "Whether it lies in large pages that the host has set aside (KVM), or of which size:"
            " `2MiB` or `1GiB`."
        ),
        examples=[True, "1GiB"],
    )


def _long_cpus(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"count": value}
    if isinstance(value, str | float | bool):
        raise refuse("must be a whole number, or {count: …, max: …}", "as in cpus: 2")
    return value


def _long_memory(value: object) -> object:
    return {"size": value} if isinstance(value, str | int | float) else value


def _loader(value: object) -> str:
    if value == "pvgrub":
        raise refuse("pvgrub is not built yet", "write pygrub, or give boot.kernel")
    if value != "pygrub":
        shown = f'"{value}"' if isinstance(value, str) else "this"
        raise refuse(f"{shown[:60]} is no boot loader that domops knows", "write pygrub")
    return "pygrub"


Loader = Annotated[
    Literal["pygrub"],
    PlainValidator(_loader),
    WithJsonSchema({"type": "string", "enum": ["pygrub"]}),
]


class BootSpec(Closed):
    """What the guest starts with: `kernel`, `loader` or `firmware`; firmware `bios` when absent."""

    kernel: HostPath | None = Field(
        None,
        description="The kernel's path, on every host of the pool.",
        examples=["/boot/guest/vmlinuz"],
    )
    initrd: HostPath | None = Field(
        None,
        description="The initial RAM disk's path, on every host of the pool.",
        examples=["/boot/guest/initrd.img"],
    )
    cmdline: CommandLine | None = Field(
        None,
        description="What the kernel is told.",
        examples=["root=LABEL=root ro console=hvc0"],
    )
    firmware: Literal["bios", "uefi"] | None = Field(
        None, description="What an hvm guest's machine starts with.", examples=["bios"]
    )
    order: tuple[Literal["disk", "cdrom", "network"], ...] = Field(
        ("disk",), description="What the firmware tries, in this order."
    )
    loader: Loader | None = Field(
        None,
        description=(
            "A boot loader of the host that reads the guest's own disk for its kernel (Xen, pv and"
            " pvh): `pygrub`. It does so as root on the host. `pvgrub` is not built yet."
        ),
        examples=["pygrub"],
    )


class ShutdownSpec(Closed):
    """How the guest is stopped."""

    timeout: Duration = Field(
        300,
        description="How long the guest may take after it was asked.",
        examples=["5m"],
        json_schema_extra={"default": "5m"},
    )
    then: Literal["wait", "destroy"] = Field(
        "wait",
        description="What follows if it has not stopped: `wait` tells you, `destroy` cuts it off.",
    )


class HealSpec(Closed):
    """How a guest that stopped by itself comes back."""

    after: Duration = Field(
        60,
        description=(
            "How long after a shutdown from inside, or a destroy by hand, the guest is started"
            " again. A crashed guest does not wait."
        ),
        examples=["60s"],
        json_schema_extra={"default": "60s"},
    )


class UpdateSpec(Closed):
    """When a change that needs a restart may cause one."""

    restart: Literal["never", "window", "now"] = Field(
        "never",
        description="`window` without a window is `never`.",
    )


class TextSpec(Closed):
    """A text: written here, or a file of the repository."""

    text: str | None = Field(
        None, description="The text itself; a text alone, as in `userData: |`, means this."
    )
    file: RepositoryPath | None = Field(
        None,
        description=(
            "The path of a file with the text, from the folder of `domops.yaml`. A file that is"
            " named here is no manifest, whatever its name ends in, and no more is one that begins"
            " with `#cloud-config`."
        ),
        examples=["guests/lists/user-data.yaml"],
    )


def _long_text(value: object) -> object:
    """What is refused here is not shown: it may be secret."""
    if isinstance(value, str):
        return {"text": value}
    strange = isinstance(value, dict) and not value.keys() <= {"text", "file"}
    if strange or isinstance(value, int | float | tuple):
        hint = "put a | behind the colon, and the text below it as it shall be told"
        raise refuse("must be text, or {file: PATH}", hint)
    return value


Text = Annotated[
    TextSpec | None, BeforeValidator(_long_text, json_schema_input_type=str | TextSpec)
]


class CloudInitSpec(Closed):
    """What a new guest is told at its first start, by cloud-init's NoCloud source."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_map(cls, value: object) -> object:
        """A text that stands here by mistake is not shown either."""
        if isinstance(value, str):
            raise refuse("must be a map of fields", "write the text below userData: |")
        return value

    user_data: Text = Field(
        None,
        alias="userData",
        description="The user data, as cloud-init takes them; at most 256 KiB.",
        examples=[{"file": "guests/lists/user-data.yaml"}],
    )
    meta_data: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        alias="metaData",
        description=(
            "What is added to the meta-data. `instance-id` is always domops' own; `local-hostname`"
            " is the guest's name unless it is written here."
        ),
        examples=[{"local-hostname": "lists.example.org"}],
    )
    network_config: Text = Field(
        None,
        alias="networkConfig",
        description="The network configuration, in either of cloud-init's versions.",
        examples=[{"file": "guests/lists/network.yaml"}],
    )
    keep: bool = Field(
        default=False,
        description=(
            "Whether the seed stays with the guest. Otherwise it is taken away, and its volume"
            " deleted, when the guest has been running for five minutes."
        ),
    )
    rerun: Token | None = Field(
        None,
        description=(
            "A token that the guest was not given before: it is told its data once more, as another"
            " instance, at its next start."
        ),
        examples=["2026-03-02"],
    )
    storage: Name | None = Field(
        None,
        description="The Storage of the seed; that of the first disk when absent.",
        examples=["san"],
    )


class PlacementSpec(Closed):
    """Where a guest would rather be."""

    avoid: dict[str, str] | None = Field(None, description="Labels of guests to keep apart from.")


class MigrationSpec(Closed):
    """How the guest may be moved."""

    allow: tuple[str, ...] = Field(("live",), description="`live`, `pause`, `copy`.")
    max_pause: Duration | None = Field(
        None, alias="maxPause", description="How long it may stand still."
    )


class GraphicsSpec(Closed):
    """A screen, seen from the host itself alone."""

    type: Literal["vnc", "none"] = Field(
        description="`vnc` on the host's loopback; a password that somebody set there is kept.",
        examples=["vnc"],
    )


class WatchdogSpec(Closed):
    """A device that acts when the guest's own system hangs."""

    model: Literal["i6300esb", "ib700", "none"] = Field(
        "i6300esb", description="What the guest takes it for."
    )
    action: Literal["reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi"] = Field(
        "reset", description="What happens to a guest that hangs."
    )


def _tpm_version(value: object) -> str:
    text = str(value)
    if text not in _TPM_VERSIONS or isinstance(value, bool):
        raise refuse(f'"{text[:60]}" is none of {", ".join(_TPM_VERSIONS)}')
    return text


_TPM_VERSIONS = ("2.0", "none")
TpmVersion = Annotated[
    str, PlainValidator(_tpm_version), WithJsonSchema({"enum": [2.0, *_TPM_VERSIONS]})
]


class TpmSpec(Closed):
    """A trusted platform module, emulated by the host; what it has sealed stays there."""

    version: TpmVersion = Field(description="The standard that it follows.", examples=["2.0"])


class HostDeviceSpec(Closed):
    """A device of the host, by exactly one of `pci` and `usb`."""

    name: Name = Field(
        description="The name by which plans speak of it; unique in the guest.",
        examples=["dongle"],
    )
    pci: Annotated[str, Field(pattern=PCI_ADDRESS, max_length=63)] | None = Field(
        None, description="Its PCI address.", examples=["0000:03:00.0"]
    )
    usb: Annotated[str, Field(pattern=USB_ADDRESS, max_length=63)] | None = Field(
        None,
        description="Its USB vendor and product, or its bus and device.",
        examples=["046d:c52b", "1.4"],
    )


class GuestDefaults(Closed):
    """What a guest is, apart from its name: all of it may be shared by a GuestClass."""

    pool: Name | None = Field(
        None,
        description="The Pool in which domops chooses the host.",
        examples=["main"],
    )
    host: Name | None = Field(
        None,
        description="The Host that the guest is pinned to, in place of `pool`.",
        examples=["dom0-a"],
    )
    type: Literal["pv", "pvh", "hvm", "auto"] = Field(
        "auto",
        description="How it is virtualised; `auto`: pvh on Xen, hvm on KVM. Fixed at creation.",
    )
    arch: Literal["x86_64", "i686"] = Field(
        "x86_64", description="The processor that the guest sees. Fixed at creation."
    )
    state: Literal["running", "stopped"] = Field(
        "running", description="Whether the guest shall run."
    )
    cpus: Annotated[
        CpusSpec | None, BeforeValidator(_long_cpus, json_schema_input_type=Count | CpusSpec)
    ] = Field(None, description="Virtual CPUs; a number alone is the count.", examples=[2])
    memory: Annotated[
        MemorySpec | None, BeforeValidator(_long_memory, json_schema_input_type=Size | MemorySpec)
    ] = Field(None, description="Memory in whole MiB; a size alone is the size.", examples=["2GiB"])
    boot: BootSpec = Field(
        default_factory=BootSpec.model_construct, description="What the guest starts with."
    )
    disks: tuple[DiskSpec, ...] = Field(
        (), description="The disks, by name; their order means nothing."
    )
    networks: tuple[NicSpec, ...] = Field(
        (), description="The network cards, by name; their order means nothing."
    )
    console: bool = Field(default=True, description="Whether the guest has a text console.")
    agent: bool = Field(
        default=False, description="Whether there is a channel for the QEMU guest agent (KVM)."
    )
    shutdown: ShutdownSpec = Field(
        default_factory=ShutdownSpec.model_construct, description="How the guest is stopped."
    )
    heal: HealSpec = Field(
        default_factory=HealSpec.model_construct,
        description="How a guest that stopped by itself comes back.",
    )
    update: UpdateSpec = Field(
        default_factory=UpdateSpec.model_construct,
        description="When a change that needs a restart may cause one.",
    )
    autostart: Literal["auto", "on", "off"] = Field(
        "auto",
        description=(
            "Whether libvirt starts the guest together with its host; `auto`: only guests that are"
            " pinned to a host, on storage that is not shared."
        ),
    )
    protect: bool = Field(
        default=False,
        description="Refuse to delete the guest until a commit that says `false` was applied.",
    )
    cloud_init: CloudInitSpec | None = Field(
        None,
        alias="cloudInit",
        description="What a new guest is told at its first start. Fixed at creation.",
    )
    placement: Annotated[PlacementSpec | None, NotBuilt("pin the guest with spec.host")] = Field(
        None, description="Where the guest would rather be."
    )
    start_after: tuple[StartAfter, ...] = Field(
        (),
        alias="startAfter",
        max_length=64,
        description=(
            "Guests that must be ready before this one is started; a name alone asks that the guest"
            " runs. Each is waited for until its `timeout`, and for no longer."
        ),
        examples=[["dns", {"guest": "db", "ready": "agent"}]],
    )
    migration: Annotated[MigrationSpec | None, NotBuilt("guests stay where they are for now")] = (
        Field(None, description="How the guest may be moved.")
    )
    bootstrap: Annotated[bool | None, NotBuilt("pin the guest with spec.host")] = Field(
        None, description="Marks guests that domops itself needs."
    )
    rng: bool | None = Field(
        None,
        description="Whether the guest is given random numbers of the host (KVM).",
        examples=[True],
    )
    graphics: GraphicsSpec | None = Field(None, description="A screen.")
    watchdog: WatchdogSpec | None = Field(
        None, description="A device that acts when the guest's own system hangs (KVM)."
    )
    tpm: TpmSpec | None = Field(
        None, description="A trusted platform module, emulated by the host (KVM)."
    )
    host_devices: tuple[HostDeviceSpec, ...] = Field(
        (),
        alias="hostDevices",
        description=(
            "Devices of the host that the guest has for itself (KVM). The guest must be pinned"
            " with `host`, and the controller's setting `host_devices` must list each."
        ),
    )
    ignore_drift: tuple[str, ...] = Field(
        (),
        alias="ignoreDrift",
        max_length=64,
        description=(
            "Fields that stay as they are on a guest that is there, whatever this manifest says of"
            " them: they are neither compared nor put right, and told as ignored. `domops diff"
            " --suggest-ignore` writes the list."
        ),
        examples=[["memory", "cpus"]],
    )
    xml: str | None = Field(
        None,
        description=(
            "Elements of libvirt's domain XML that no field models, as they stand inside"
            " `<domain>`. They are only ever added, at places that the controller's setting"
            " `overlay_elements` has opened; what names something of a host is refused."
        ),
        examples=["<devices><sound model='ich9'/></devices>"],
    )


class SnapshotSpec(Closed):
    """One snapshot of a guest's disks, kept inside them."""

    name: Name = Field(
        description="What the snapshot is called; unique within the guest.",
        examples=["before-upgrade"],
    )
    quiesced: bool = Field(
        default=False,
        description=(
            "Rather take none than one whose file systems were not frozen through the agent, or"
            " shut down in good order."
        ),
    )


def _long_snapshot(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class GuestSpec(GuestDefaults):
    """What the guest is."""

    class_: Name | None = Field(
        None,
        alias="class",
        description="The GuestClass that fills in what is not said here.",
        examples=["small"],
    )
    snapshots: tuple[
        Annotated[
            SnapshotSpec,
            BeforeValidator(_long_snapshot, json_schema_input_type=Name | SnapshotSpec),
        ],
        ...,
    ] = Field(
        (),
        description=(
            "Snapshots that exist while they are named here, by name; a name alone will do. They"
            " lie inside the disks, which must all be qcow2 (KVM). One whose name is taken out is"
            " kept, and the same again when the name is put back."
        ),
        examples=[["before-upgrade"]],
    )
    suspend: SuspendSpec | None = Field(
        None, description="Leave the guest alone while this stands here."
    )
    adopt: bool = Field(
        default=False,
        description=(
            "Take over a domain that is there and not managed, known by `metadata.uuid` or by its"
            " name: nothing but the mark is written. Such a guest is never made new."
        ),
    )
    trash: Literal["restore", "discard"] | None = Field(
        None,
        description=(
            "What becomes of a deleted guest of this name, where domops does not decide that by"
            " itself: `restore` takes the one that is still in the trash, with its disks;"
            " `discard` gives up what was removed from the trash, so that a new guest with empty"
            " disks is made."
        ),
        examples=["discard"],
    )


class GuestMetadata(Metadata):
    """What the guest is called."""

    uuid: UuidText | None = Field(
        None,
        description=(
            "The domain's UUID. Omitted, it is derived from repository and name. Fixed at creation."
        ),
        examples=["1f0b7c52-3f6e-4d0a-8a55-0b8f8a2f6c11"],
    )
    former_name: Name | None = Field(
        None,
        alias="formerName",
        description=(
            "What the guest was called before it was renamed: it stays the same guest, with its"
            " UUID, volumes and addresses. May be taken out once that was applied."
        ),
        examples=["lists-old"],
    )


class Guest(Closed):
    """One virtual machine.

    Deleting the manifest puts the guest into the trash: shut down, kept, with its volumes. A revert
    of the commit brings it back.
    """

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Guest"] = Field(description="What this manifest describes.")
    metadata: GuestMetadata = Field(description="What the guest is called.")
    spec: GuestSpec = Field(description="What the guest is.")
