"""The reader of statistics, against every kind of host: it never waits, and never forgets.

A guest that hangs and a host that hangs keep their last figures, which grow old.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import StalledError
from reconciler.hypervisor.statistics import LibvirtStatistics, ReadingWaits
from reconciler.model.names import GuestName, HostName
from reconciler.model.observed import RunState
from reconciler.model.steps import StartGuest
from tests.contract.grounds import NAME, PREFIX, LibvirtGround, awaited, now
from tests.contract.places import TestDriverGround
from tests.contract.test_host import do

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.statistics import GuestStatistics, HostStatistics
    from tests.contract.grounds import Ground
    from tests.contract.places import QemuGround

OTHER = GuestName(f"{PREFIX}other")
HASTY = ReadingWaits(host_s=3, guest_s=3)

grounds = pytest.mark.parametrize(
    "ground",
    [
        "test",
        pytest.param("qemu", marks=[pytest.mark.system]),
        pytest.param("xen", marks=[pytest.mark.system, pytest.mark.xen]),
    ],
    indirect=True,
)


@contextlib.contextmanager
def reading(ground: Ground) -> Iterator[LibvirtStatistics]:
    """A reader for the ground's host."""
    assert isinstance(ground, LibvirtGround)
    hand = ground.hand
    reader = LibvirtStatistics(
        name=HostName("host"),
        uri=hand.getURI(),
        clock=now,
        waits=HASTY,
        **({"open_connection": lambda _: hand} if isinstance(ground, TestDriverGround) else {}),
    )
    try:
        yield reader
    finally:
        if not isinstance(ground, TestDriverGround):
            reader.close()


def figures(said: HostStatistics, name: GuestName = NAME) -> GuestStatistics:
    """Those of one guest."""
    [found] = [one for one in said.guests if one.name == name]
    return found


@grounds
def test_a_guest_is_counted_from_its_definition_to_its_end(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    with reading(ground) as reader:
        stopped = figures(reader.read())
        assert stopped.state is RunState.SHUT_OFF
        assert stopped.interfaces == ()
        assert stopped.uuid == definition.uuid
        do(ground, StartGuest)

        def used() -> GuestStatistics | None:
            guest = figures(reader.read())
            return guest if guest.cpu_ns and guest.interfaces else None

        running = awaited(used, "a figure of a running guest")
        assert running.state is RunState.RUNNING
        assert running.vcpu_count == 1
        assert running.memory.maximum_kib is not None
        assert running.memory.maximum_kib >= definition.memory.size_kib
        [card] = running.interfaces
        assert card.target
        assert card.receive_bytes is not None
        assert running.at > stopped.at
        assert isinstance(ground, LibvirtGround)
        ground.domain().destroy()

        def off() -> GuestStatistics | None:
            guest = figures(reader.read())
            return guest if guest.state is RunState.SHUT_OFF else None

        assert awaited(off, "the end of the guest").interfaces == ()
        ground.domain().undefine()
        assert reader.read().guests == ()


def test_a_uri_with_a_password_is_not_opened() -> None:
    with pytest.raises(StalledError, match="carries a password"):
        LibvirtStatistics(name=HostName("a"), uri="qemu+tcp://me:secret@a/system", clock=now)


@pytest.mark.system
def test_a_guest_that_hangs_holds_up_no_other(qemu: QemuGround) -> None:
    """Its process is stopped, as one whose disk does not answer is; later it is back."""
    for name in (NAME, OTHER):
        definition = qemu.define(qemu.definition(name))
        qemu.host.carry_out(StartGuest(host=qemu.host.name, guest=name, uuid=definition.uuid))
    pid = qemu.lab.run("cat", f"/run/libvirt/qemu/{NAME}.pid").strip()
    with reading(qemu) as reader:
        first = reader.read()
        assert first.why is None
        qemu.lab.run("kill", "-STOP", pid)
        try:
            later = first
            for _ in range(6):  # more often than calls may hang at once
                later = reader.read()
                assert later.why is None
            assert figures(later) == figures(first)
            assert figures(later, OTHER).at > figures(first, OTHER).at
        finally:
            qemu.lab.run("kill", "-CONT", pid)
        awaited(
            lambda: True if figures(reader.read()).at > figures(first).at else None,
            "a figure of the guest that goes on",
        )


@pytest.mark.system
def test_a_host_that_hangs_gives_its_last_figures(qemu: QemuGround) -> None:
    qemu.define(qemu.definition())
    pid = str(qemu.lab.libvirtd_pid())
    with reading(qemu) as reader:
        first = reader.read()
        qemu.lab.run("kill", "-STOP", pid)
        try:
            hung = reader.read()
            assert hung.why is not None
            assert (hung.answered, hung.guests) == (first.answered, first.guests)
        finally:
            qemu.lab.run("kill", "-CONT", pid)
        awaited(lambda: True if reader.read().why is None else None, "an answer")


def test_a_host_that_is_not_there_was_never_heard_of() -> None:
    reader = LibvirtStatistics(
        name=HostName("a"), uri="qemu+unix:///system?socket=/nonexistent", clock=now
    )
    said = reader.read()
    assert said.answered is None
    assert said.guests == ()
    assert said.why
