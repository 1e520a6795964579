"""Translate libvirt's errors into ours: by what the loop does next, in one table.

A code that is not in the table is transient. libvirt reports most passing trouble as an internal
error or a failed operation, every step may be repeated without harm, and the backoff grows: to try
once too often costs little, while a guest that is stalled by a hiccup stays down until a person
comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import libvirt

from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    TransientError,
    UnknownOutcomeError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """One code of libvirt's, what it means for the loop, and why."""

    code: int
    becomes: type[TransientError | StalledError | RefusedError]
    because: str


ROWS = (
    ErrorRow(
        code=libvirt.VIR_ERR_NO_SUPPORT,
        becomes=RefusedError,
        because="the driver does not have the call at all",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        becomes=RefusedError,
        because="the driver has the call, but not with this argument",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        becomes=RefusedError,
        because="the driver has the call, but not for such a guest",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        becomes=StalledError,
        because="the definition asks for what this host does not have",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_XML_ERROR,
        becomes=StalledError,
        because="the definition is wrong and stays wrong",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_XML_DETAIL,
        becomes=StalledError,
        because="the definition is wrong and stays wrong",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_XML_INVALID_SCHEMA,
        becomes=StalledError,
        because="the definition is wrong and stays wrong",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_INVALID_ARG,
        becomes=StalledError,
        because="the value is out of what the guest or the host allows",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_DOM_EXIST,
        becomes=StalledError,
        because="another domain has this name or this UUID",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_STORAGE_POOL,
        becomes=StalledError,
        because="a person has to define the pool",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_STORAGE_VOL,
        becomes=StalledError,
        because="a person has to bring the volume",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_STORAGE_VOL_EXIST,
        becomes=StalledError,
        because="an existing volume is never taken",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_NETWORK,
        becomes=StalledError,
        because="a person has to define the network",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_KERNEL,
        becomes=StalledError,
        because="a person has to bring the kernel",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_CONNECT,
        becomes=StalledError,
        because="the URI names a driver that this libvirt does not have",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_AUTH_FAILED,
        becomes=StalledError,
        because="credentials do not mend themselves",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_AUTH_CANCELLED,
        becomes=StalledError,
        because="the host wants credentials that nobody is there to type",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        becomes=StalledError,
        because="there is no way to authenticate at this host",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_OPERATION_DENIED,
        becomes=StalledError,
        because="the connection may only read",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_ACCESS_DENIED,
        becomes=StalledError,
        because="the host's access rules deny it",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_OPERATION_TIMEOUT,
        becomes=TransientError,
        because="somebody's job holds the guest (the state change lock)",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_OPERATION_INVALID,
        becomes=TransientError,
        because="the guest's state is no longer the one that was seen",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_NO_DOMAIN,
        becomes=TransientError,
        because="the domain went away since it was seen",
    ),
    ErrorRow(
        code=libvirt.VIR_ERR_RESOURCE_BUSY,
        becomes=TransientError,
        because="somebody else holds a disk or a device at the moment",
    ),
)
"""Every code that means something; the order is by what the loop does next."""

_BY_CODE = {row.code: row for row in ROWS}
_WIRE = (libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_RPC)
_BREAKS = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR)


def means_broken_connection(error: libvirt.libvirtError) -> bool:
    """Whether the connection is gone, rather than the call refused."""
    if error.get_error_code() == libvirt.VIR_ERR_INVALID_CONN:
        return True
    return error.get_error_domain() in _WIRE and error.get_error_code() in _BREAKS


def translated(error: libvirt.libvirtError, doing: str, *, writing: bool) -> DomopsError:
    """Our error for ``error``, which happened while ``doing``; to be raised from it.

    A writing call whose connection broke may or may not have been done: nobody can tell from here.
    """
    message = f"{doing}: {error}"
    if means_broken_connection(error):
        if writing:
            return UnknownOutcomeError(f"{message} (whether it was done is not known)")
        return TransientError(message)
    row = _BY_CODE.get(error.get_error_code())
    return TransientError(message) if row is None else row.becomes(message)
