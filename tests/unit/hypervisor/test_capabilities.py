"""The capability table: complete, and no denial without its reason."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from reconciler.errors import StalledError
from reconciler.hypervisor.capabilities import TABLE, Driver, driver_called


@pytest.mark.parametrize("driver", list(Driver))
def test_every_denial_has_a_reason_and_no_reason_is_without_a_denial(driver: Driver) -> None:
    row = TABLE[driver]
    denied = {name for name, able in asdict(row.capabilities).items() if not able}
    assert denied == row.because.keys()
    assert all(row.because.values())


def test_a_driver_that_domops_does_not_know_is_left_alone() -> None:
    with pytest.raises(StalledError, match="OpenVZ"):
        driver_called("OpenVZ")
