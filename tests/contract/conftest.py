"""Labs that live as long as the run, and on them a fresh ground for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.hypervisor.eventloop import run_event_loop
from tests.contract.grounds import MemoryGround
from tests.contract.places import QemuGround, TestDriverGround, XenGround
from tests.lab.qemu import QemuLab
from tests.lab.xen.dom0 import Dom0
from tests.lab.xen.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.grounds import Ground
    from tests.lab.qemu import QemuHost


@pytest.fixture(scope="session")
def qemu_host() -> Iterator[QemuHost]:
    """One QEMU host for all tests."""
    run_event_loop()
    with QemuLab(hosts=1) as lab:
        yield lab.host


@pytest.fixture(scope="session")
def xen_host() -> Iterator[Dom0]:
    """One dom0 for all tests."""
    run_event_loop()
    try:
        dom0 = Dom0(number=1)
    except LabError as error:
        pytest.fail(f"the Xen lab cannot run on this machine: {error}", pytrace=False)
    with dom0:
        yield dom0


@pytest.fixture
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """The ground that the test's parameter names, cleared afterwards."""
    made: Ground
    match request.param:
        case "memory":
            made = MemoryGround()
        case "test":
            run_event_loop()
            made = TestDriverGround(tmp_path)
        case "qemu":
            made = QemuGround(request.getfixturevalue("qemu_host"))
        case "xen":
            made = XenGround(request.getfixturevalue("xen_host"))
        case other:
            pytest.fail(f"there is no ground called {other}")
    try:
        yield made
    finally:
        made.clear()


@pytest.fixture
def qemu(qemu_host: QemuHost) -> Iterator[QemuGround]:
    """The QEMU ground, for what only a real QEMU host can show."""
    made = QemuGround(qemu_host)
    try:
        yield made
    finally:
        made.clear()
