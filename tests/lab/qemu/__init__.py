"""Private libvirt/QEMU hosts on this machine, with guests that say how they are."""

import libvirt

from tests.lab.qemu.agent import Agent
from tests.lab.qemu.console import Console, ConsoleTimeout, Says
from tests.lab.qemu.errors import LabError
from tests.lab.qemu.host import QemuHost
from tests.lab.qemu.lab import QemuLab

# Every error also comes as an exception; libvirt would print each on the terminal besides.
libvirt.registerErrorHandler(lambda *_: None, None)

__all__ = ["Agent", "Console", "ConsoleTimeout", "LabError", "QemuHost", "QemuLab", "Says"]
