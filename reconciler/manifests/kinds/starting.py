"""Which guests come first: the entries of ``startAfter``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from reconciler.manifests.fields import Closed, Duration, Name, refuse


def _numeric(value: str) -> str:
    try:
        address = ip_address(value)
    except ValueError:
        raise refuse(
            f'"{value[:60]}" is no IP address',
            "a name would have to be resolved, perhaps by the guest that is waited for",
        ) from None
    if address.is_multicast or address.is_unspecified:
        raise refuse(f'"{value}" is the address of no single machine', "take the guest's own")
    return str(address)


Address = Annotated[str, Field(max_length=45), AfterValidator(_numeric)]


class Ready(Closed):
    """When a guest counts as ready; `running` or `agent` alone is the state."""

    state: Literal["running", "agent"] = Field(
        "running",
        description="`running`: it runs. `agent`: the guest agent inside is connected too (KVM).",
    )
    tcp: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="A TCP port that takes connections too, as seen from the controller.",
        examples=[53],
    )
    address: Address | None = Field(
        None,
        description="The IP address of that port.",
        examples=["10.0.0.53"],
    )


def _long_ready(value: object) -> object:
    return {"state": value} if isinstance(value, str) else value


def _long_entry(value: object) -> object:
    if isinstance(value, int | float):
        raise refuse("must be the name of a guest, or {guest: …, ready: …}")
    return {"guest": value} if isinstance(value, str) else value


class StartAfterSpec(Closed):
    """A guest that must be ready first."""

    guest: Name = Field(description="The guest's name.", examples=["dns"])
    ready: Annotated[
        Ready,
        BeforeValidator(_long_ready, json_schema_input_type=Literal["running", "agent"] | Ready),
    ] = Field(
        default_factory=Ready.model_construct,
        description="When it counts as ready; `running` when absent.",
        examples=["agent"],
    )
    timeout: Duration = Field(
        300,
        description="How long it is waited for; after that the guest starts without it.",
        examples=["5m"],
        json_schema_extra={"default": "5m"},
    )


StartAfter = Annotated[
    StartAfterSpec, BeforeValidator(_long_entry, json_schema_input_type=Name | StartAfterSpec)
]
"""An entry of ``startAfter``; a name alone is the guest."""
