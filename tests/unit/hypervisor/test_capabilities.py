"""The capability table: complete, and no denial without its reason."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from reconciler.errors import StalledError
from reconciler.hypervisor.capabilities import TABLE, Driver, driver_called
from reconciler.model.definition import Bus
from reconciler.model.options import DISK_FIELDS, FIELDS, HOST_DEVICES, NIC_FIELDS


@pytest.mark.parametrize("driver", list(Driver))
def test_every_denial_has_a_reason_and_no_reason_is_without_a_denial(driver: Driver) -> None:
    row = TABLE[driver]
    denied = {name for name, able in asdict(row.capabilities).items() if able is False}
    assert denied == row.because.keys()
    assert all(row.because.values())
    assert all(denial.why for denial in row.capabilities.without.values())


def test_what_no_guest_can_have_is_called_as_in_the_manifest() -> None:
    """A row that denies a field that is called otherwise would deny nothing."""
    named = {field for row in TABLE.values() for _, field in row.capabilities.without}
    of_disks = {f"disks.{field}" for field in (*DISK_FIELDS, "nbd", "rbd")}
    of_disks |= {f"disks.bus.{bus}" for bus in Bus}
    of_cards = {f"networks.{field}" for field in (*NIC_FIELDS, "openvswitch")}
    assert named <= {*FIELDS, HOST_DEVICES, *of_disks, *of_cards}


def test_a_driver_that_domops_does_not_know_is_left_alone() -> None:
    with pytest.raises(StalledError, match="OpenVZ"):
        driver_called("OpenVZ")
