"""Who a host is, read from what libvirt says of it."""

from __future__ import annotations

from uuid import UUID

import pytest

from reconciler.hypervisor.capabilities import Driver
from reconciler.hypervisor.link import checked_uri, uri_for_people
from reconciler.hypervisor.node import read_capabilities, read_sysinfo
from reconciler.model.definition import Arch, DomainType, GuestType

A_UUID = UUID("9bbc284c-60ec-5e02-ac25-7f077bbe156c")


def capabilities(*guests: tuple[str, str, str]) -> str:
    """Capabilities with these guests: operating system type, architecture, domain type."""
    return "<capabilities><host/>%s</capabilities>" % "".join(  # noqa: UP031 braces are XML's here
        f"<guest><os_type>{os_type}</os_type>"
        f"<arch name='{arch}'><domain type='{kind}'/></arch></guest>"
        for os_type, arch, kind in guests
    )


def test_a_xen_host_runs_all_three_types() -> None:
    text = capabilities(
        ("xen", "x86_64", "xen"), ("xenpvh", "x86_64", "xen"), ("hvm", "i686", "xen")
    )
    identity = read_capabilities(text, Driver.XEN, uuid=A_UUID)
    assert identity.domain_type is DomainType.XEN
    assert identity.guest_types == {
        (GuestType.PV, Arch.X86_64),
        (GuestType.PVH, Arch.X86_64),
        (GuestType.HVM, Arch.I686),
    }


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [(["qemu"], DomainType.QEMU), (["qemu", "kvm"], DomainType.KVM)],
)
def test_a_qemu_host_is_a_kvm_host_where_the_hardware_helps(
    kinds: list[str], expected: DomainType
) -> None:
    text = capabilities(*(("hvm", "x86_64", kind) for kind in kinds))
    assert read_capabilities(text, Driver.QEMU, uuid=A_UUID).domain_type is expected


def test_what_domops_does_not_know_is_left_out() -> None:
    text = capabilities(("exe", "x86_64", "lxc"), ("hvm", "aarch64", "qemu"))
    assert read_capabilities(text, Driver.QEMU, uuid=A_UUID).guest_types == frozenset()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (str(A_UUID), A_UUID),
        (str(A_UUID).upper(), A_UUID),
        ("Not Specified", None),
        ("00000000-0000-0000-0000-000000000000", None),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None),
    ],
)
def test_a_machines_uuid_is_its_firmwares_if_that_is_a_real_one(
    told: str, expected: UUID | None
) -> None:
    text = f"<sysinfo><system><entry name='uuid'>{told}</entry></system></sysinfo>"
    assert read_sysinfo(text) == expected
    assert read_sysinfo("<sysinfo><system/></sysinfo>") is None


def test_a_uri_is_shown_without_its_password() -> None:
    assert uri_for_people("qemu+tcp://me:secret@h1:16509/system?x=1") == (
        "qemu+tcp://me@h1:16509/system?x=1"
    )
    for harmless in ("xen+tls://h1/system", "qemu+ssh://me@h1/system", "test:///a/b.xml"):
        assert uri_for_people(harmless) == harmless
        assert checked_uri(harmless) == harmless
