"""The same mixes on libvirt's test driver: a host in this process, quick and without devices."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import libvirt

from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.model.names import HostName
from tests.mixes import IMAGES, MIXES, volumes_of

if TYPE_CHECKING:
    from pathlib import Path

STORED = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE

_NODE = f"""
<node>
  <network>
    <name>lab</name>
    <bridge name='br0'/>
    <ip address='192.0.2.1' netmask='255.255.255.0'/>
  </network>
  <pool type='dir'>
    <name>guests</name>
    <target><path>{IMAGES}</path></target>
  </pool>
</node>
"""
_VOLUME = """
<volume>
  <name>{name}</name>
  <capacity unit='MiB'>8</capacity>
  <target><format type='{layout}'/></target>
</volume>
"""


class _KeptOpen:
    """The connection, which does not end with its user: the world of the driver would end too."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def close(self) -> int:
        """Stay open."""
        return 1


class PretendedHost:
    """A host of libvirt's test driver with the mixes, and the door to it."""

    def __init__(self, folder: Path, *, name: str = "dom0-a") -> None:
        """Make the host; its world lives as long as its one connection."""
        node = folder / name
        node.write_text(_NODE)
        self.uri = f"test://{node}"
        self.connection = libvirt.open(self.uri)
        pool = self.connection.storagePoolLookupByName("guests")
        for text in MIXES.values():
            for volume in volumes_of(text):
                layout = "qcow2" if volume.endswith("qcow2") else "raw"
                pool.createXML(_VOLUME.format(name=volume, layout=layout))
        self.host = LibvirtHost(
            name=HostName(name),
            uri=self.uri,
            clock=lambda: datetime.now(UTC),
            open_connection=lambda _: _KeptOpen(self.connection),
        )

    def define(self, text: str) -> libvirt.virDomain:
        """Define a mix here, as a domain of this driver."""
        return self.connection.defineXML(
            re.sub(r'^<domain type="qemu"', '<domain type="test"', text)
        )

    def stored(self) -> dict[str, str]:
        """The stored XML of every domain, secrets included, by name."""
        return {one.name(): one.XMLDesc(STORED) for one in self.connection.listAllDomains()}
