"""Names have their own types: a host's can never be passed where a guest's is meant."""

from __future__ import annotations

from typing import NewType

GuestName = NewType("GuestName", str)
"""``metadata.name`` of a Guest; also the guest's id in the mark and libvirt's domain name."""

HostName = NewType("HostName", str)
PoolName = NewType("PoolName", str)
"""A domops pool of hosts; never a libvirt storage pool."""

StorageName = NewType("StorageName", str)
NetworkName = NewType("NetworkName", str)
DiskName = NewType("DiskName", str)
"""``name`` of an entry in a guest's ``disks``; unique within the guest."""

NicName = NewType("NicName", str)
SnapshotName = NewType("SnapshotName", str)
"""The name of a snapshot; unique within the guest, whoever made it."""

LibvirtPool = NewType("LibvirtPool", str)
"""The name by which one host's libvirt knows a storage pool."""

VolumeName = NewType("VolumeName", str)
Target = NewType("Target", str)
"""The name a guest's disk has on its bus: ``xvda``, ``vdb``, ``sda``."""

MacAddress = NewType("MacAddress", str)
"""Six octets, lower case, colons."""

FieldName = NewType("FieldName", str)
"""The dotted name of a field of a manifest's ``spec``: ``rng``, ``cpus.pin``."""

Sha = NewType("Sha", str)
"""A commit, as git writes it; ``folder:…`` for a folder that is not committed."""

Digest = NewType("Digest", str)
"""Hexadecimal; equal digests mean equal things, different digests mean nothing (never drift)."""

PlanId = NewType("PlanId", str)
"""The digest of the sorted held acts, short enough to be typed: ``5d1c-90ab``."""
