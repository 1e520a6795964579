"""The fields whose drift a manifest may have left alone (``ignoreDrift``), by their names in it."""

from __future__ import annotations

from typing import Final

from reconciler.model.options import FIELDS

IGNORABLE: Final = tuple(
    sorted(
        {
            *("agent", "console", "cpus", "cpus.max", "memory", "memory.max"),
            *("boot.cmdline", "boot.firmware", "boot.initrd", "boot.kernel", "boot.loader"),
            "boot.order",
            *FIELDS,
        }
    )
)
"""What can be left as it is without leaving a device, a disk or the guest's identity in doubt."""
