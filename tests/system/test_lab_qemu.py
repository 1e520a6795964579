"""The QEMU lab keeps its own promises: real guests, nothing foreign touched, nothing left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from tests.lab.cache import CHECKOUT
from tests.lab.guest.build import IMAGE_SAYS
from tests.lab.qemu import Agent, Console, LabError, QemuHost, QemuLab, runs

pytestmark = [pytest.mark.system, pytest.mark.slow]

MIB = 1024 * 1024

# Written by hand, so that the lab is proven without what it is there to prove.
DEFINITION = """
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>192</memory>
  <currentMemory unit='MiB'>128</currentMemory>
  <vcpu current='1'>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/boot/vmlinuz</kernel>
    <initrd>/boot/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet {cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='raw'/>
      <source pool='guests' volume='{name}-root'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source pool='guests' volume='{name}-data'/>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <interface type='network'>
      <source network='lab'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'/>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'/>
    <panic model='isa'/>
  </devices>
</domain>
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


def _define(host: QemuHost, name: str, cmdline: str = "") -> libvirt.virDomain:
    connection = host.connect()
    guests = connection.storagePoolLookupByName("guests")
    image = connection.storagePoolLookupByName("images").storageVolLookupByName("lab.raw")
    guests.createXMLFrom(
        f"<volume><name>{name}-root</name><capacity>0</capacity>"
        "<target><format type='raw'/></target></volume>",
        image,
        0,
    )
    guests.createXML(
        f"<volume><name>{name}-data</name><capacity unit='MiB'>64</capacity>"
        "<target><format type='qcow2'/></target></volume>",
        0,
    )
    return connection.defineXML(DEFINITION.format(name=name, cmdline=cmdline))


def _until(holds: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(0.05)


def test_a_guest_says_what_is_done_to_it(lab: QemuLab) -> None:
    """CPUs, memory, disks, cards and data: what the host changes, the guest's console shows."""
    domain = _define(lab.host, "told", "lab.format=vdb")
    with Console(lab.host.uri, "told") as console:
        domain.create()
        first = console.wait_for(lambda says: len(says.disks) == 2, what="two disks")
        assert first.cpus == 1
        assert first.disks == {"vda": 64 * MIB, "vdb": 64 * MIB}
        assert first.data["vda"] == IMAGE_SAYS
        agent = Agent(domain)
        agent.wait()

        agent.write("vdb", "written by a test")
        domain.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        domain.setMemoryFlags(192 * 1024, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        domain.blockResize("vda", 96 * MIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        domain.attachDeviceFlags(
            "<interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>",
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )
        changed = console.wait_for(
            lambda says: (
                says.cpus == 2
                and says.mem_kb > first.mem_kb + 60 * 1024
                and says.disks["vda"] == 96 * MIB
                and says.nics == ("eth0", "eth1")
                and says.data.get("vdb") == "written by a test"
            ),
            what="all that was changed",
        )
        assert changed.boot == first.boot

        agent.crash()
        _until(lambda: not domain.isActive(), "the crash of the guest")
        assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED

        domain.create()
        again = console.wait_for(lambda says: says.boot != first.boot, what="another boot")
        assert again.data["vdb"] == "written by a test"

        domain.shutdown()
        _until(lambda: not domain.isActive(), "the end of the guest")
        assert domain.state()[1] == libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN
    domain.undefine()


def test_a_deaf_guest_does_not_go_down_when_asked(lab: QemuLab) -> None:
    """A guest that ignores the button is there to test patience; from inside it still goes."""
    domain = _define(lab.host, "deaf", "lab.deaf=1")
    with Console(lab.host.uri, "deaf") as console:
        domain.create()
        console.wait_for(lambda _: True, what="anything")
        agent = Agent(domain)
        agent.wait()
        # Asked through the agent, libvirt itself would wait a whole minute for a deaf guest.
        domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        console.wait_for(lambda _: True, what="that it is still there")
        console.wait_for(lambda _: True, what="that it is still there")
        assert domain.isActive()
        agent.power_off()
        _until(lambda: not domain.isActive(), "the end of the guest from inside")
    domain.undefine()


def test_guests_survive_their_libvirtd(lab: QemuLab) -> None:
    """A libvirtd that dies and comes back finds the guest running, and so does the console."""
    domain = _define(lab.host, "left")
    with Console(lab.host.uri, "left") as console:
        domain.create()
        before = console.wait_for(lambda _: True, what="anything")
        lab.host.kill_libvirtd()
        lab.host.start_libvirtd()
        after = console.wait_for(lambda _: True, what="anything after the restart")
        assert after.boot == before.boot
    with contextlib.closing(lab.host.connect()) as connection:
        again = connection.lookupByName("left")
        again.destroy()
        again.undefine()


def test_two_labs_live_beside_each_other() -> None:
    """Three hosts in two labs: each its own UUID, each pair its own network, all reachable."""
    with QemuLab(2, network=True) as pair, QemuLab(1, network=True) as single:
        uuids = set()
        for host in [*pair.hosts, *single.hosts]:
            for uri in (host.uri, host.tcp_uri):
                with contextlib.closing(libvirt.open(uri)) as connection:
                    assert host.uuid in connection.getCapabilities()
            uuids.add(host.uuid)
        assert len(uuids) == 3
        neighbour = pair.hosts[1]
        assert neighbour.name in pair.hosts[0].run("virsh", "-c", neighbour.tcp_uri, "hostname")


def test_a_host_has_nothing_of_the_machine_s_libvirt(lab: QemuLab) -> None:
    """No KVM, no path that the machine's own libvirt uses, and a /usr that cannot be changed."""
    assert "kvm" not in lab.host.run("ls", "/dev").split()
    assert not Path(lab.host.run("readlink", "-f", "/machine").strip()).exists()
    with pytest.raises(LabError, match="Read-only"):
        lab.host.run("touch", "/usr/lab-was-here")
    here = {_place(path.stat()) for path in map(Path, ("/etc", "/var", "/run"))}
    there = set(lab.host.run("stat", "-c%d:%i", "/etc", "/var", "/run").split())
    assert len(there) > 1
    assert not here & there


def test_a_power_failure_takes_the_guests_and_leaves_the_disks() -> None:
    with QemuLab() as lab:
        domain = _define(lab.host, "cut")
        domain.create()
        lab.host.crash()
        lab.revive(lab.host)
        with contextlib.closing(lab.host.connect()) as connection:
            again = connection.lookupByName("cut")
            assert not again.isActive()
            assert again.undefine() == 0
            volumes = connection.storagePoolLookupByName("guests").listVolumes()
            assert {"cut-root", "cut-data"} <= set(volumes)


OWNER = """
import sys
from tests.lab.qemu import QemuLab
with QemuLab(1, network=True) as lab:
    print(lab.directory, lab.host.namespace.pid, lab.host.tcp_uri, flush=True)
    sys.stdin.read()
"""


def test_a_lab_dies_with_its_owner_and_the_sweep_takes_only_the_dead(lab: QemuLab) -> None:
    """After kill -9 of the owner no process, cable or mount is left, and the sweep the rest."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    told = owner.stdout.readline().split()
    directory, pid = Path(told[0]), int(told[1])
    assert directory.is_dir()
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    _until(lambda: not Path("/proc", str(pid)).exists(), "the end of the host")
    _until(lambda: f"dl{directory.name[-8:]}" not in _links(), "the end of the cable")
    swept = {run.directory for run in runs.sweep()}
    assert directory in swept
    assert not directory.exists()
    assert lab.directory not in swept
    assert lab.directory.is_dir()


def test_a_lab_leaves_nothing_behind() -> None:
    """Processes, links, mounts and files of a run are gone when it has been stopped."""
    with QemuLab(2, network=True) as lab:
        directory = lab.directory
        pids = [host.namespace.pid for host in lab.hosts]
        cable = f"dl{directory.name[-8:]}"
        assert cable in _links()
    assert not directory.exists()
    assert not [pid for pid in pids if Path("/proc", str(pid)).exists()]
    assert cable not in _links()
    assert str(directory) not in Path("/proc/self/mounts").read_text()


def _place(there: os.stat_result) -> str:
    return f"{there.st_dev}:{there.st_ino}"


def _links() -> set[str]:
    done = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
    return {link["ifname"] for link in json.loads(done.stdout)}
