"""The three kinds of libvirt hosts as grounds: the test driver, the QEMU lab, the Xen lab."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import libvirt

from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.model.definition import (
    Arch,
    BridgeSource,
    Bus,
    DomainType,
    GuestType,
    KernelBoot,
    NetworkSource,
    VolumeSource,
)
from reconciler.model.names import HostName, VolumeName
from tests.contract.grounds import GUESTS, IMAGES, NAME, LibvirtGround, awaited, now
from tests.lab.qemu import Agent
from tests.lab.qemu.host import INITRD, KERNEL
from tests.lab.xen import recipe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.qemu import QemuHost
    from tests.lab.xen.dom0 import Dom0

_TEST_NODE = f"""
<node>
  <pool type='dir'><name>{GUESTS}</name><target><path>/guests</path></target>
    <volume type='file'>
      <name>lab.raw</name><capacity unit='MiB'>64</capacity><allocation>0</allocation>
      <target><path>/guests/lab.raw</path><format type='raw'/></target>
    </volume>
  </pool>
  <pool type='dir'><name>{IMAGES}</name><target><path>/images</path></target>
    <volume type='file'>
      <name>lab.iso</name><capacity unit='MiB'>1</capacity><allocation>0</allocation>
      <target><path>/images/lab.iso</path><format type='raw'/></target>
    </volume>
  </pool>
  <network><name>lab</name><bridge name='virbr0'/></network>
  <interface type='bridge' name='br0'><start mode='onboot'/><bridge/></interface>
</node>
"""


class TestDriverGround(LibvirtGround):
    """libvirt's test driver: a host inside the process, whose world is one connection's own."""

    __test__ = False

    domain_type = DomainType.TEST
    guest_type = GuestType.HVM
    arch = Arch.I686
    nic_source = NetworkSource(network="lab")
    boot = KernelBoot(kernel="/boot/vmlinuz", initrd="/boot/initrd.gz", cmdline="quiet")
    # The test driver clones only within a pool.
    image = VolumeSource(pool=GUESTS, volume=VolumeName("lab.raw"))

    def __init__(self, directory: Path) -> None:
        """Furnish a host of this test's own; domops and the test share its connection."""
        node = directory / "node.xml"
        node.write_text(_TEST_NODE)
        uri = f"test://{node}"
        hand = libvirt.open(uri)
        super().__init__(
            LibvirtHost(name=HostName("test"), uri=uri, clock=now, open_connection=lambda _: hand),
            hand,
        )

    def wait_until_up(self) -> None:
        """Its guests are up at once."""


class QemuGround(LibvirtGround):
    """A QEMU host of the lab, whose guests really run."""

    domain_type = DomainType.QEMU
    guest_type = GuestType.HVM
    nic_source = NetworkSource(network="lab")
    boot = KernelBoot(kernel=KERNEL, initrd=INITRD, cmdline="console=ttyS0 quiet")
    agent = True
    image = VolumeSource(pool=IMAGES, volume=VolumeName("lab.raw"))

    def __init__(self, lab: QemuHost) -> None:
        """Reach the lab's host twice: as domops, and by hand."""
        self.lab = lab
        super().__init__(LibvirtHost(name=HostName("qemu"), uri=lab.uri, clock=now), lab.connect())

    def wait_until_up(self) -> None:
        """Wait for the guest's agent."""
        Agent(self.domain()).wait()

    def crash(self) -> None:
        """Kill the guest's QEMU."""
        self.lab.run("sh", "-c", f"kill -KILL $(cat /run/libvirt/qemu/{NAME}.pid)")

    def power_off_from_inside(self) -> None:
        """Let the guest switch itself off."""
        agent = Agent(self.domain())
        agent.wait()
        agent.begin("poweroff -f")

    def clear(self) -> None:
        """Leave the lab as it was."""
        super().clear()
        self.hand.close()


class XenGround(LibvirtGround):
    """A dom0 of the Xen lab, whose guests are paravirtual."""

    domain_type = DomainType.XEN
    guest_type = GuestType.PV
    bus = Bus.XEN
    letters = "xvd"
    nic_model = "netfront"
    nic_source = BridgeSource(bridge="br0")
    boot = KernelBoot(
        kernel=recipe.GUEST_KERNEL, initrd=recipe.GUEST_INITRD, cmdline="console=hvc0 loglevel=4"
    )

    def __init__(self, dom0: Dom0) -> None:
        """Reach the dom0 twice: as domops, and by hand."""
        self.dom0 = dom0
        super().__init__(
            LibvirtHost(name=HostName("xen"), uri=dom0.uri, clock=now), libvirt.open(dom0.uri)
        )

    def wait_until_up(self) -> None:
        """Wait until the guest speaks on its console."""
        awaited(lambda: self.dom0.says(NAME) or None, "a word from the guest", within_s=120)

    def clear(self) -> None:
        """Leave the dom0 as it was."""
        super().clear()
        self.dom0.attempt(f"rm -f /var/log/xen/guest-{NAME}.log")
        with contextlib.suppress(libvirt.libvirtError):
            self.hand.close()
