"""What the unit that domops ships says of a controller that died."""

from __future__ import annotations

import configparser

from tests.lab.cache import CHECKOUT

UNIT = CHECKOUT / "contrib" / "systemd" / "domops.service"


def restart_delay_s() -> float:
    """How long systemd waits before it starts a killed controller again.

    Restart=on-failure and Restart=always both follow upon a signal; without either nothing would.
    """
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    unit.read(UNIT)
    service = unit["Service"]
    assert service["Restart"] in {"on-failure", "on-abnormal", "always"}, "it stays dead"
    return float(service["RestartSec"].removesuffix("s"))
