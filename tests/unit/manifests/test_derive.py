"""Derived names are pinned: changing one makes a guest another machine to all who knew it."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests.derive import derive_mac, derive_uuid, derive_volume
from reconciler.model.definition import DiskFormat
from tests.unit.manifests.world import REPOSITORY

HERE = UUID(REPOSITORY)


def test_the_derivations_are_those_of_the_first_release() -> None:
    assert str(derive_uuid(HERE, "lists")) == "bc7bca9a-ebbf-5bcd-a631-dfa0657b5728"
    assert str(derive_uuid(HERE, "web")) == "75774d4f-a41a-57d2-a15b-fd906dc0b17f"
    assert derive_mac(HERE, "lists", "eth0") == "be:66:85:49:d0:de"
    assert derive_mac(HERE, "lists", "eth1") == "c6:de:cc:e3:04:96"
    assert derive_mac(HERE, "web", "eth0") == "22:f7:f0:81:94:00"
    assert derive_volume("lists", "root", DiskFormat.RAW) == "lists-root.raw"
    assert derive_volume("lists", "data", DiskFormat.QCOW2) == "lists-data.qcow2"


def test_an_address_that_libvirt_keeps_for_itself_is_derived_once_more() -> None:
    assert derive_mac(HERE, "guest19", "eth0") == "96:f1:3e:c8:b4:cc"


def test_another_repository_gives_other_names() -> None:
    there = UUID(int=1)
    assert derive_uuid(there, "lists") != derive_uuid(HERE, "lists")
    assert derive_mac(there, "lists", "eth0") != derive_mac(HERE, "lists", "eth0")


@given(st.uuids(), st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_a_derived_address_is_local_unicast_and_never_reserved(repository: UUID, name: str) -> None:
    first = int(derive_mac(repository, name, "eth0")[:2], 16)
    assert first & 0b11 == 0b10
    assert first != 0xFE
