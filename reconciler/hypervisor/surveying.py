"""Look at a host in order to write down what is on it; nothing is written there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import Outline, outline, read
from reconciler.errors import RefusedError, StalledError
from reconciler.hypervisor.guests import domains_of, uuid_of
from reconciler.hypervisor.port import NativeGuest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from reconciler.hypervisor.capabilities import Driver
    from reconciler.model.definition import VolumeSource

XL = "xen-xl"
"""libvirt's name of the format of xl's configuration files."""

_SAYS_UUID = re.compile(r"^\s*uuid\s*=", re.MULTILINE)


def outlines(connection: libvirt.virConnect, driver: Driver) -> Mapping[UUID, Outline]:
    """What no field models of each stored definition; the texts are read without their secrets.

    Domains of kinds that domops does not know are left out, as they have no definition either.
    """
    found: dict[UUID, Outline] = {}
    for domain in domains_of(connection, driver):
        try:
            found[uuid_of(domain)] = outline(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        except StalledError:
            continue
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return found


def read_xl(
    connection: libvirt.virConnect,
    config: str,
    *,
    volumes: Callable[[str], VolumeSource | None],
) -> NativeGuest:
    """Read a configuration file of xl through libvirt's own converter.

    Raises:
        RefusedError: the host's libvirt has no converter: it is no Xen host.
        StalledError: the converter refuses the file, or makes of it what domops does not know.

    """
    if connection.getType() != "Xen":
        raise RefusedError("only the libvirt of a Xen host reads xl's files, and this is none")
    try:
        text = connection.domainXMLFromNative(XL, config, 0)
    except libvirt.libvirtError as error:
        raise StalledError(f"libvirt does not read it: {error.get_error_message()}") from error
    return NativeGuest(
        definition=read(text, volumes=volumes).definition,
        outline=outline(text),
        uuid_said=_SAYS_UUID.search(config) is not None,
    )
