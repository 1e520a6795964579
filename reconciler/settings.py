"""The controller's own settings: what the operator of domops decides, not the repository.

They come, each outdoing the one before, from their defaults, a TOML file, the environment
(``DOMOPS_`` and the setting's name in capitals) and the command line. What is wrong with them is
told all at once, a sentence each.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from reconciler.errors import RefusedError
from reconciler.model.overlay import closed
from reconciler.recording.log import LogForm
from reconciler.source.signatures import SignatureKind

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_CONFIG = Path("/etc/domops/domops.toml")
ENVIRONMENT_PREFIX = "DOMOPS_"
_LISTS = {
    "device_prefixes": ":",
    "file_prefixes": ":",
    "host_devices": ",",
    "kernel_prefixes": ":",
    "overlay_elements": ":",
}
"""What parts the entries of a list in the environment; an address holds colons itself."""

_HOST_DEVICE = re.compile(
    r"[a-z0-9-]+/(pci/[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|"
    r"usb/([0-9a-f]{4}:[0-9a-f]{4}|(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)))",
    re.ASCII,
)
_NOT_SETTINGS = frozenset({"DOMOPS_CONFIG", "DOMOPS_DEBUG"})


class SettingsError(RefusedError):
    """The settings cannot be used; ``problems`` has a sentence for each thing wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Keep the sentences apart, and join them for who prints the error."""
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseModel):
    """Everything that may be set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(
        ".",
        min_length=1,
        description="Path or URL of the git repository with the manifests. A path is read in "
        "place and watched, so a push is seen at once; a URL is fetched from time to time.",
    )
    ref: str = Field(
        "main",
        min_length=1,
        description="The branch or full ref whose commits are wanted. No other ref is fetched.",
    )
    path: str = Field(
        "",
        description="The folder of the repository that holds the manifests; empty for its root.",
    )
    state_dir: Path = Field(
        description="Where the journal, the lock, the status and fetched commits are kept. It may "
        "be lost without harm to a guest. The default is /var/lib/domops for root, else domops "
        "below $XDG_STATE_HOME or ~/.local/state.",
    )
    signatures: SignatureKind = Field(
        SignatureKind.NONE,
        description="By what the newest commit must be signed to count: `ssh`, `openpgp`, or "
        "`none`: nobody asks. While it is not signed by somebody in `signers`, the last commit "
        "that was stays in force.",
    )
    signers: Path | None = Field(
        None,
        description="Whose signatures count: for `ssh` an allowed-signers file, as ssh-keygen(1) "
        "describes it; for `openpgp` a file of public keys, as `gpg --export` writes it. It "
        "belongs to the controller's machine, never into the repository.",
    )
    revoked_signers: Path | None = Field(
        None,
        description="SSH keys that count no more: a key a line, or a revocation list of "
        "`ssh-keygen -k`. Revoked OpenPGP keys say so themselves, in `signers`.",
    )
    poll_s: float = Field(
        30,
        ge=1,
        le=3600,
        description="How often hosts are asked when nothing happens. Events of libvirt get lost "
        "and Xen sends few, so this is the longest that drift stays unseen.",
    )
    fetch_s: float = Field(
        60,
        ge=5,
        le=86400,
        description="How often a remote repository is fetched. Every fetch is a connection to "
        "the forge; a local repository needs none.",
    )
    patience_s: float = Field(
        5,
        ge=0.1,
        le=300,
        description="How long a pass waits for the slowest host before it plans without it. "
        "What is on such a host is unknown and not touched.",
    )
    answer_s: float = Field(
        30,
        ge=1,
        le=3600,
        description="How old an answer that came too late for one pass may be and still serve the "
        "next.",
    )
    converge_s: float = Field(
        3600,
        ge=1,
        description="How long `domops apply` goes on before it leaves the rest to a later one.",
    )
    grace_s: float = Field(
        20,
        ge=0,
        le=3600,
        description="How long a controller that is told to stop waits for calls that are out. What "
        "has not come back by then is understood by the next start.",
    )
    kernel_prefixes: tuple[str, ...] = Field(
        (),
        description="Folders of the hosts from which `boot.kernel` and `boot.initrd` may be "
        "loaded. None by default: a manifest must not be able to name any file of a host.",
    )
    overlay_elements: tuple[str, ...] = Field(
        (),
        description="The places of a domain's XML at which the `xml` of a guest may add elements, "
        "as in `devices/sound` or `features/hyperv`. None by default. What names a program, a path "
        "or a device of a host, or the guest's identity, can be opened by nobody.",
    )
    host_devices: tuple[str, ...] = Field(
        (),
        description="Devices of hosts that guests may have for themselves, as "
        "`HOST/pci/0000:03:00.0`, `HOST/usb/046d:c52b` or `HOST/usb/1.4`; in the environment they "
        "are parted by commas. None by default: a guest can read its host's memory through a PCI "
        "device, if nothing in the host stops it.",
    )

    device_prefixes: tuple[str, ...] = Field(
        (),
        description="Folders below which `device:` of a disk may name a block device of a host, as "
        "`/dev/disk/by-id`. None by default: whoever may name a device may read and write it.",
    )
    file_prefixes: tuple[str, ...] = Field(
        (),
        description="Folders below which `file:` of a disk may name a file of a host. None by "
        "default, and for the same reason.",
    )
    log_format: LogForm = Field(
        LogForm.AUTO,
        description="How `domops run` logs to standard error: `text` for people, `json` for "
        "programs, one object a line, or `auto`: text on a terminal, JSON elsewhere.",
    )
    listen: str | None = Field(
        None,
        description="Where `domops run` serves metrics and health, as ADDRESS:PORT; "
        "`127.0.0.1:9177` is a good choice. None by default: no door is opened that nobody asked "
        "for. There is neither encryption nor a password, so anything but loopback belongs behind "
        "a proxy or a firewall.",
    )

    @model_validator(mode="after")
    def _signed_by_somebody(self) -> Self:
        if (self.signatures is not SignatureKind.NONE) != (self.signers is not None):
            raise ValueError("signatures and signers belong together: name both, or neither")
        if self.revoked_signers is not None and self.signatures is not SignatureKind.SSH:
            raise ValueError("revoked_signers is for signatures of ssh keys alone")
        return self

    @field_validator("listen")
    @classmethod
    def _address(cls, listen: str | None) -> str | None:
        if listen is not None:
            listen_address(listen)
        return listen

    @field_validator("overlay_elements")
    @classmethod
    def _open(cls, places: tuple[str, ...]) -> tuple[str, ...]:
        for place in places:
            why = closed(place)
            if why is not None:
                raise ValueError(f'"{place}" {why}')
        return places

    @field_validator("host_devices")
    @classmethod
    def _addressed(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        for device in devices:
            if not _HOST_DEVICE.fullmatch(device):
                raise ValueError(
                    f'"{device}" is no device of a host, as in dom0-a/pci/0000:03:00.0,'
                    " dom0-a/usb/046d:c52b or dom0-a/usb/1.4"
                )
        return devices

    @field_validator("kernel_prefixes", "device_prefixes", "file_prefixes")
    @classmethod
    def _absolute(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not prefix.startswith("/") or ".." in prefix.split("/"):
                raise ValueError(f'"{prefix}" is no absolute folder')
        return prefixes


def listen_address(text: str) -> tuple[str, int]:
    """The address and the port of ``ADDRESS:PORT``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is no such thing.

    """
    parts = urlsplit(f"//{text}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.netloc != text or "@" in text:
        raise ValueError(f'"{text}" is not ADDRESS:PORT, as 127.0.0.1:9177 or [::1]:9177')
    return host, port


def settings_file(config: Path | None, environment: Mapping[str, str] | None = None) -> Path | None:
    """The file that settings come from: one that is named, or the usual one if it is there."""
    named = config or _named_config(os.environ if environment is None else environment)
    return named or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)


def load_settings(
    *,
    config: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Gather the settings; ``overrides`` are the command line's, None values do not count.

    Raises:
        SettingsError: something cannot be read, is not known, or has no sense.

    """
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    named = config or _named_config(environment)
    file = named or DEFAULT_CONFIG
    values: dict[str, object] = {"state_dir": default_state_directory(environment)}
    sources = dict.fromkeys(values, "default")
    from_file = _read(file, problems) if named or file.exists() else {}
    for found, source in (
        (from_file, str(file)),
        (_from_environment(environment), "environment"),
        (dict(overrides or {}), "command line"),
    ):
        for name, value in found.items():
            if value is not None:
                values[name], sources[name] = value, source
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for one in error.errors():
            name = str(one["loc"][0]) if one["loc"] else ""
            problems.append(_sentence(name, sources.get(name, ""), one["type"], one["msg"]))
    else:
        if not problems:
            return settings
    raise SettingsError(tuple(problems))


def default_state_directory(environment: Mapping[str, str]) -> Path:
    """Where state is kept if nobody says: the system's place for root, else the person's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/domops")
    own = environment.get("XDG_STATE_HOME")
    return (Path(own) if own else Path.home() / ".local" / "state") / "domops"


def _named_config(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("DOMOPS_CONFIG")
    return Path(named) if named else None


def _read(path: Path, problems: list[str]) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is no TOML: {error}")
    return {}


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    """The settings among the environment's variables; lists are parted as ``_LISTS`` says.

    A variable that names no setting is left alone: others may begin with the same letters.
    """
    found: dict[str, object] = {}
    for name in Settings.model_fields:
        variable = f"{ENVIRONMENT_PREFIX}{name.upper()}"
        if variable in environment and variable not in _NOT_SETTINGS:
            text = environment[variable]
            found[name] = text.split(_LISTS[name]) if name in _LISTS else text
    return found


def _sentence(name: str, source: str, kind: str, message: str) -> str:
    where = f"{source}: " if source else ""
    if kind == "extra_forbidden":
        known = ", ".join(sorted(Settings.model_fields))
        return f"{where}{name}: no such setting; there are {known}"
    told = message.removeprefix("Value error, ")
    return f"{where}{f'{name}: ' if name else ''}{told[:1].lower()}{told[1:]}"
