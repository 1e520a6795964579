"""``kind: Host``: one dom0 or KVM host, reached through libvirt."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from reconciler.manifests.fields import (
    ONE_LINE,
    Closed,
    CommandLine,
    Metadata,
    Name,
    NotBuilt,
    Size,
    UuidText,
    refuse,
)

_DRIVERS: Final = ("xen", "qemu", "test")
_TRANSPORTS: Final = ("", "unix", "tls", "tcp", "ssh", "libssh", "libssh2")
_PARAMETERS: Final = ("socket", "mode", "keyfile", "known_hosts", "pkipath", "sshauth")
"""What may be said after ``?``. ``command``, ``netcat`` and ``no_verify`` name programs, or turn
off the check of who answers; a repository must be able to do neither.
"""


def check_uri(uri: str) -> str:
    """Pass a URI that leads to a hypervisor and nowhere else; no secret may stand in it."""
    try:
        parts = urlsplit(uri)
        password, _ = parts.password, parts.port
        parameters = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)
        )
    except ValueError as error:
        raise refuse(f"is no URI: {error}", "as in xen+tls://dom0-a.example.org/system") from None
    if "://" not in uri:
        raise refuse(f'"{uri[:60]}" is no URI', "as in xen+tls://dom0-a.example.org/system")
    driver, _, transport = parts.scheme.partition("+")
    if driver not in _DRIVERS:
        raise refuse(
            f'"{driver[:20]}" is no hypervisor that domops speaks to',
            f"begin the URI with {', '.join(_DRIVERS)}",
        )
    if transport not in _TRANSPORTS:
        raise refuse(
            f'the transport "{transport[:20]}" is not taken',
            "take tls, ssh, libssh2, unix or tcp",
        )
    if password is not None:
        raise refuse("holds a password", "take it out, and give the controller a key instead")
    if parts.fragment or any(each.isspace() for each in uri):
        raise refuse("holds a # or a space", "take it out")
    for name, _ in parameters:
        if name not in _PARAMETERS:
            raise refuse(
                f'the parameter "{name[:30]}" is not taken',
                f"only {', '.join(_PARAMETERS)} are",
            )
    if not parts.path.strip("/"):
        raise refuse("names no path", "end it with /system")
    return uri


Uri = Annotated[str, Field(pattern=ONE_LINE, max_length=512), AfterValidator(check_uri)]


_STATES: Final = ("active", "cordoned", "fenced", "retired")


def _state(value: object) -> str:
    if value == "drained":
        raise refuse("draining is not built yet", "write cordoned, and move the guests by hand")
    if value not in _STATES:
        shown = f'"{value}"' if isinstance(value, str) else "this"
        raise refuse(f"{shown[:60]} is none of {', '.join(_STATES)}")
    return str(value)


State = Annotated[
    Literal["active", "cordoned", "fenced", "retired"],
    PlainValidator(_state),
    WithJsonSchema({"type": "string", "enum": list(_STATES)}),
]


class HostSsh(Closed):
    """The second, narrow door to a host, for what libvirt cannot do."""

    address: CommandLine | None = Field(None, description="Where the SSH server listens.")
    user: CommandLine | None = Field(None, description="As whom to come in.")


class HostMigration(Closed):
    """Where guests arrive."""

    address: CommandLine | None = Field(None, description="The address that guests are sent to.")


class HostReserve(Closed):
    """What stays with the host itself and is never given to guests."""

    memory: Size = Field(
        512 << 20,
        description="Memory that guests do not get.",
        examples=["1GiB"],
        json_schema_extra={"default": "512MiB"},
    )
    cpus: int = Field(
        0, ge=0, le=1024, description="Processors that are not counted for guests.", examples=[1]
    )


class HostSpec(Closed):
    """How to reach a host, and what it may be used for."""

    uri: Uri = Field(
        description="libvirt's URI of the host: `xen` or `qemu`, by TLS, SSH or a socket.",
        examples=["xen+tls://dom0-a.example.org/system"],
    )
    host_uuid: UuidText | None = Field(
        None,
        alias="hostUUID",
        description=(
            "The UUID of the machine. Learned at first contact when absent; when written, another"
            " machine that answers at the URI is not believed."
        ),
        examples=["4c4c4544-0043-3510-8052-b4c04f583332"],
    )
    pool: Name = Field(description="The Pool that the host belongs to.", examples=["main"])
    role: Literal["production", "test"] = Field(
        "production", description="`test` hosts are the first to get anything new."
    )
    state: State = Field(
        "active",
        description=(
            "`cordoned` hosts get no new guests. `fenced` is your word that the machine was cut off"
            " and nothing runs on it: its guests may be made elsewhere; say in the commit who made"
            " sure of it, and how. `retired` is how a host leaves: only then may its manifest go."
            " `drained` is not built yet."
        ),
    )
    reserve: HostReserve = Field(
        default_factory=HostReserve.model_construct,
        description="What stays with the host itself and is never given to guests.",
    )
    ssh: Annotated[HostSsh | None, NotBuilt("domops does everything through libvirt for now")] = (
        Field(None, description="The second, narrow door for what libvirt cannot do.")
    )
    migration: Annotated[HostMigration | None, NotBuilt("guests stay where they are for now")] = (
        Field(None, description="How guests arrive at this host.")
    )


class Host(Closed):
    """One dom0 or KVM host.

    A host is the machine that answers at `uri`. Taking its manifest away does not say that its
    guests are gone: set `state: retired` first, and delete the manifest in a later commit.
    """

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Host"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the host is called.")
    spec: HostSpec = Field(description="How to reach the host, and what it may be used for.")
