"""The types of fields that several kinds share, each closed against what must not pass.

A pattern here is also the pattern in the JSON Schema, so an editor refuses what domops refuses; the
sentence that goes with it is what a person reads. Names end up in domain XML, in paths and on
command lines: their alphabets hold no character that means anything there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from reconciler.manifests.construct import EMPTY
from reconciler.manifests.quantities import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    QuantityError,
    parse_duration,
    parse_size,
)

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

API_VERSION: Final = "domops/v1"


class Closed(BaseModel):
    """A map whose fields are all known, and which never changes once it is read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        regex_engine="rust-regex",
    )


def refuse(message: str, hint: str = "") -> PydanticCustomError:
    """The error that reaches the reader as exactly this message and hint."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint})


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """Marks a field of the grammar that this version does not build: using it is a problem.

    ``instead`` says what a person does until it is there.
    """

    instead: str = "leave it out for now"

    @property
    def hint(self) -> str:
        """What the problem, the schema and the reference say."""
        return self.instead

    def _validate(self, value: object) -> NoReturn:
        del value
        context = {"message": "not built yet", "hint": self.instead}
        raise PydanticCustomError("not_built", "{message}", context)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        del source, handler
        return core_schema.no_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema, handler
        return {
            "not": {},
            "deprecated": True,
            "deprecationMessage": f"Not built yet: {self.instead}.",
            "doNotSuggest": True,
        }


# ------------------------------------------------------------------------------------ patterns
NAME: Final = r"^[0-9]*[a-z]([a-z0-9-]*[a-z0-9])?$"
VOLUME: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
LIBVIRT_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
TARGET: Final = r"^(xvd|vd|sd|hd)[a-z]{1,2}([1-9][0-9]?)?$"
HOST_PATH: Final = r"^(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+$"
REPOSITORY_PATH: Final = r"^[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)*$"
ONE_TIME_WORD: Final = r"^[A-Za-z0-9]+([._-]+[A-Za-z0-9]+)*$"
DEVICE_PATH: Final = r"^/dev(/[A-Za-z0-9_+@-][A-Za-z0-9._:+@-]*)+$"
SERVER: Final = r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$"
MONITOR: Final = (
    r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])"
    r"(:[1-9][0-9]{0,4})?$"
)
CEPH_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"
EXPORT: Final = r"^[A-Za-z0-9._/+-]*$"
SERIAL: Final = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
LABEL_KEY: Final = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
ONE_LINE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]*$"
MODEL: Final = r"^[a-z0-9][a-z0-9_-]*$"
CPU_MODEL: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
CPU_SET: Final = r"^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$"
PCI_ADDRESS: Final = r"^([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]$"
USB_ADDRESS: Final = r"^([0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}|[0-9]{1,3}\.[0-9]{1,3})$"
WHOLE_NUMBER: Final = r"^(0|[1-9][0-9]*)$"
MAC: Final = r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"
UUID_TEXT: Final = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

SENTENCES: Final = {
    NAME: (
        "is no name: lower-case letters, digits and hyphens, with no hyphen at either end and not"
        " digits alone"
    ),
    VOLUME: (
        "is no volume name: letters, digits and . _ + - only, no slash, a letter or digit first"
    ),
    LIBVIRT_NAME: (
        "is no name of libvirt's: letters, digits and . _ - only, a letter or digit first"
    ),
    TARGET: "is no disk target: xvda, xvda1, vdb, sdc, hdd and the like",
    HOST_PATH: (
        "is no path that domops takes: absolute, of letters, digits and . _ + @ -, and no part"
        " begins with a dot"
    ),
    REPOSITORY_PATH: (
        "is no path in the repository: from the folder of domops.yaml, of letters, digits and"
        " . _ + @ -, and no part begins with a dot"
    ),
    ONE_TIME_WORD: "is no token: letters and digits, with . _ - between them, as in a date",
    DEVICE_PATH: (
        "is no path of a device: below /dev, of letters, digits and . _ : + @ -, and no part begins"
        " with a dot"
    ),
    SERVER: "is no server: a host name, or an IPv4 or IPv6 address",
    MONITOR: "is no monitor: a host name or address, and perhaps a port, as in ceph-a:6789",
    CEPH_NAME: "is no name of Ceph's that domops takes: letters, digits and . _ - only",
    EXPORT: "is no export's name: letters, digits and . _ / + - only",
    SERIAL: "is no serial number: letters, digits and _ . + - only",
    LABEL_KEY: "is no label key: letters, digits and . _ / - only, a letter or digit at both ends",
    ONE_LINE: "holds a line break, a control character or an invisible one",
    MODEL: "is no model name: lower-case letters, digits, _ and - only",
    CPU_MODEL: "is no mode and no name of a processor: letters, digits and . _ - only",
    CPU_SET: "is no set of processors: numbers and ranges with commas between, as in 0,2-3",
    PCI_ADDRESS: "is no PCI address, as lspci -D tells it: 0000:03:00.0",
    USB_ADDRESS: "is neither vendor and product, as in 046d:c52b, nor bus and device, as in 1.4",
    WHOLE_NUMBER: "is no number of a virtual CPU: they are counted from 0",
    MAC: "is no MAC address: six pairs of hexadecimal digits with colons between",
    UUID_TEXT: "is no UUID: 8-4-4-4-12 hexadecimal digits",
}
"""What a person reads when a value does not fit the pattern, after the value itself."""

Name = Annotated[str, Field(pattern=NAME, max_length=63)]
Volume = Annotated[str, Field(pattern=VOLUME, max_length=127)]
LibvirtName = Annotated[str, Field(pattern=LIBVIRT_NAME, max_length=63)]
Interface = Annotated[str, Field(pattern=LIBVIRT_NAME, max_length=15)]
TargetName = Annotated[str, Field(pattern=TARGET)]
HostPath = Annotated[str, Field(pattern=HOST_PATH, max_length=255)]
RepositoryPath = Annotated[str, Field(pattern=REPOSITORY_PATH, max_length=255)]
Token = Annotated[str, Field(pattern=ONE_TIME_WORD, max_length=63)]
DevicePath = Annotated[str, Field(pattern=DEVICE_PATH, max_length=255)]
Server = Annotated[str, Field(pattern=SERVER, max_length=255)]
Monitor = Annotated[str, Field(pattern=MONITOR, max_length=255)]
Serial = Annotated[str, Field(pattern=SERIAL, max_length=36)]
Iops = Annotated[int, Field(ge=1, le=1_000_000_000)]
Vlan = Annotated[int, Field(ge=1, le=4094)]
Queues = Annotated[int, Field(ge=1, le=256)]
Port = Annotated[int, Field(ge=1, le=65535)]
CephName = Annotated[str, Field(pattern=CEPH_NAME, max_length=127)]
ExportName = Annotated[str, Field(pattern=EXPORT, max_length=255)]
LabelKey = Annotated[str, Field(pattern=LABEL_KEY, max_length=63)]
LabelValue = Annotated[str, Field(pattern=ONE_LINE, max_length=255)]
CommandLine = Annotated[str, Field(pattern=ONE_LINE, max_length=2047)]
ModelName = Annotated[str, Field(pattern=MODEL, max_length=31)]
Labels = dict[LabelKey, LabelValue]


# ---------------------------------------------------------------------------------- quantities
def _size(value: object) -> int:
    try:
        return parse_size(_quantity(value, "write it as in 512MiB or 20GiB"))
    except QuantityError as error:
        raise refuse(str(error), error.hint) from None


def _duration(value: object) -> int:
    try:
        return parse_duration(_quantity(value, "write it as in 60s, 5m, 2h or 30d"))
    except QuantityError as error:
        raise refuse(str(error), error.hint) from None


def _quantity(value: object, hint: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refuse("must be a number with its unit", "" if value is EMPTY else hint)
    return str(value)


Size = Annotated[
    int,
    PlainValidator(_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["512MiB", "20GiB"]}),
]
"""In bytes."""

Duration = Annotated[
    int,
    PlainValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["60s", "30d"]}),
]
"""In seconds."""


# ------------------------------------------------------------------------------------ instants
_INSTANT_HINT: Final = "write it as in 2026-12-24T18:00+01:00"


def _instant(value: object) -> datetime:
    if value is EMPTY or not isinstance(value, str):
        raise refuse("must be a date and time with a zone", _INSTANT_HINT)
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        instant = None
    if instant is None or not INSTANT_FORM.fullmatch(value):
        raise refuse(f'"{value[:60]}" is no date and time', _INSTANT_HINT)
    if instant.tzinfo is None:
        raise refuse(f'"{value}" says no zone, so it is no instant', f"{_INSTANT_HINT}, or with Z")
    return instant


INSTANT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
INSTANT_FORM: Final = re.compile(INSTANT.replace("(Z|", "(|Z|"), re.ASCII)
"""As `INSTANT`, and also without a zone, which has a sentence of its own."""

Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "pattern": INSTANT}),
]
"""Knows its zone."""


def _zone(value: object) -> ZoneInfo:
    hint = "write it as in Europe/Rome, or UTC"
    if not isinstance(value, str):
        raise refuse("must be the name of a time zone", hint)
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, KeyError):  # what names a folder, nothing, or a path elsewhere
        raise refuse(f'"{value[:60]}" is no time zone', hint) from None


Zone = Annotated[
    ZoneInfo,
    PlainValidator(_zone),
    WithJsonSchema({"type": "string", "examples": ["Europe/Rome"]}),
]
"""A time zone, by its name."""


# ----------------------------------------------------------------------------------- addresses
def _uuid(value: object) -> UUID:
    if not isinstance(value, str):
        raise refuse("must be a UUID in quotes")
    try:
        found = UUID(value)
    except ValueError:
        found = None
    if found is None or str(found) != value.lower():
        raise refuse(f'"{value[:60]}" {SENTENCES[UUID_TEXT]}')
    if not found.int:
        raise refuse("the UUID of zeros belongs to nobody", "take the real one")
    return found


def _mac(value: str) -> str:
    mac = value.lower()
    first = int(mac[:2], 16)
    if first & 1:
        raise refuse(f'"{value}" is a multicast address', "the second digit must be even")
    if first == RESERVED_OCTET:
        raise refuse(
            f'"{value}" begins with fe, which libvirt keeps for the host\'s end of the cable',
            "take another first pair, or leave mac out",
        )
    if mac == "00:00:00:00:00:00":
        raise refuse("the MAC address of zeros belongs to nobody", "leave mac out")
    return mac


RESERVED_OCTET: Final = 0xFE
"""libvirt gives the host's end of a guest's cable the guest's address with this first octet."""

Mac = Annotated[str, Field(pattern=MAC), AfterValidator(_mac)]
"""Lower case."""

UuidText = Annotated[
    UUID,
    PlainValidator(_uuid),
    WithJsonSchema({"type": "string", "format": "uuid", "pattern": UUID_TEXT}),
]


class Metadata(Closed):
    """What a manifest is called."""

    name: Name = Field(
        description="The name by which other manifests and every command speak of it.",
        examples=["lists"],
    )
    labels: Labels = Field(
        default_factory=dict,
        description="Free text by key, for people and for choosing.",
        examples=[{"service": "mail"}],
    )
