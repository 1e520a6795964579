"""``kind: Network``: something to plug a guest's network card into."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifests.fields import Closed, Interface, LibvirtName, Metadata, Name, Vlan


class NetworkOnHost(Closed):
    """What one host calls the network."""

    bridge: Interface | None = Field(
        None, description="The bridge's name on this host.", examples=["xenbr120"]
    )
    libvirt_network: LibvirtName | None = Field(
        None,
        alias="libvirtNetwork",
        description="The network's name in this host's libvirt.",
        examples=["servers"],
    )


class NetworkSpec(Closed):
    """What guests are connected to: exactly one of `bridge` and `libvirtNetwork`."""

    bridge: Interface | None = Field(
        None, description="A bridge that the hosts have.", examples=["br120"]
    )
    libvirt_network: LibvirtName | None = Field(
        None,
        alias="libvirtNetwork",
        description="A network that the hosts' libvirt keeps.",
        examples=["default"],
    )
    hosts: dict[Name, NetworkOnHost] = Field(
        default_factory=dict,
        description="Hosts that call it otherwise, by name.",
        examples=[{"dom0-b": {"bridge": "xenbr120"}}],
    )
    vlan: Vlan | None = Field(
        None,
        description=(
            "The VLAN that guests are in. On a plain bridge it only says which VLAN the bridge is:"
            " a bridge a VLAN. On an Open vSwitch each card is given the tag."
        ),
        examples=[120],
    )
    openvswitch: bool | None = Field(
        None,
        description="Whether the bridge is an Open vSwitch (KVM), whose ports can be tagged.",
    )


class Network(Closed):
    """Something to plug network cards into: a bridge of the hosts, or a network of libvirt's."""

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Network"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the network is called.")
    spec: NetworkSpec = Field(description="What guests are connected to.")
