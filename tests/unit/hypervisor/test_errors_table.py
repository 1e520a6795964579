"""libvirt's errors become ours by what the loop does next."""

from __future__ import annotations

import libvirt
import pytest

from reconciler.errors import (
    DomopsError,
    RefusedError,
    StalledError,
    TransientError,
    UnknownOutcomeError,
)
from reconciler.hypervisor.errors_table import ROWS, means_broken_connection, translated


def libvirt_error(code: int, domain: int = libvirt.VIR_FROM_QEMU) -> libvirt.libvirtError:
    """An error as the binding makes it."""
    error = libvirt.libvirtError("")
    error.err = (code, domain, "it did not work", 2, None, None, None, 0, 0)
    error.args = ("it did not work",)
    return error


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.code))
def test_each_row_is_what_its_code_becomes(row: object) -> None:
    code, becomes = getattr(row, "code", 0), getattr(row, "becomes", None)
    error = translated(libvirt_error(code), "starting web on h1", writing=True)
    assert type(error) is becomes
    assert str(error) == "starting web on h1: it did not work"
    assert getattr(row, "because", "")


def test_no_code_stands_in_the_table_twice() -> None:
    codes = [row.code for row in ROWS]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "code", [libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED, 99_999]
)
def test_what_the_table_does_not_list_is_tried_again(code: int) -> None:
    """Also a code of a libvirt that is newer than domops."""
    assert type(translated(libvirt_error(code), "x", writing=True)) is TransientError


@pytest.mark.parametrize("domain", [libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE])
@pytest.mark.parametrize("code", [libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR])
@pytest.mark.parametrize(
    ("writing", "expected"), [(True, UnknownOutcomeError), (False, TransientError)]
)
def test_a_call_under_which_the_connection_broke_is_unknown_only_if_it_writes(
    domain: int, code: int, *, writing: bool, expected: type[DomopsError]
) -> None:
    error = libvirt_error(code, domain)
    assert means_broken_connection(error)
    assert type(translated(error, "x", writing=writing)) is expected


def test_a_refusal_that_came_over_the_wire_is_no_broken_connection() -> None:
    error = libvirt_error(libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_FROM_RPC)
    assert not means_broken_connection(error)
    assert type(translated(error, "x", writing=False)) is StalledError
    unsupported = libvirt_error(libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_REMOTE)
    assert type(translated(unsupported, "x", writing=True)) is RefusedError
