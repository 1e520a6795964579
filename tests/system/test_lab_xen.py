"""The Xen lab keeps its word: a real dom0 comes up, runs a paravirtual guest, and leaves nothing.

Where a machine cannot run it, the fixture fails with the lab's own sentence: a promise about Xen
that was not tried must not look kept.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from tests.lab.xen import image, recipe
from tests.lab.xen.dom0 import Dom0
from tests.lab.xen.errors import LabError

pytestmark = [pytest.mark.system, pytest.mark.xen, pytest.mark.timeout(600)]

VOLUME_MIB = 64
GUEST = f"""
<domain type='xen'>
  <name>first</name>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='xenpv'>linux</type>
    <kernel>{recipe.GUEST_KERNEL}</kernel>
    <initrd>{recipe.GUEST_INITRD}</initrd>
    <cmdline>console=hvc0 loglevel=4</cmdline>
  </os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/var/lib/libvirt/images/first-root'/>
      <target dev='xvda' bus='xen'/>
    </disk>
    <interface type='bridge'>
      <mac address='02:00:00:00:00:01'/>
      <source bridge='br0'/>
    </interface>
    <console type='pty'><target type='xen' port='0'/></console>
  </devices>
</domain>
"""


def awaited(test: Callable[[], bool], patience_s: float = 120.0) -> bool:
    deadline = time.monotonic() + patience_s
    while not test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def dom0() -> Iterator[Dom0]:
    began = time.monotonic()
    try:
        running = Dom0(number=1, say=print)
    except LabError as error:
        pytest.fail(f"the Xen lab cannot run on this machine: {error}", pytrace=False)
    with running:
        print(f"dom0 was ready after {time.monotonic() - began:.1f} s")
        yield running


def test_a_paravirtual_guest_runs_on_a_real_dom0_and_says_what_it_has(dom0: Dom0) -> None:
    """What libvirt was told is what the guest finds in itself, until it is asked to go."""
    connection = libvirt.open(dom0.uri)
    pool = connection.storagePoolLookupByName("guests")
    volume = pool.createXML(
        f"<volume><name>first-root</name><capacity unit='MiB'>{VOLUME_MIB}</capacity></volume>", 0
    )
    began = time.monotonic()
    guest = connection.defineXMLFlags(GUEST, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    guest.create()
    assert awaited(lambda: bool(dom0.says("first"))), dom0.guest_console("first")
    print(f"the first guest spoke {time.monotonic() - began:.1f} s after its definition")

    said = dom0.says("first")[-1]
    assert said["cpus"] == 1
    assert said["disks"] == {"xvda": VOLUME_MIB << 20}
    assert said["nics"] == ["eth0"]
    assert isinstance(said["mem_kb"], int)
    assert 64 << 10 < said["mem_kb"] <= 128 << 10
    assert "first" in dom0.run("xl list")

    guest.shutdown()
    assert awaited(lambda: not guest.isActive()), dom0.guest_console("first")
    assert guest.state() == [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
    assert {line["boot"] for line in dom0.says("first")} == {said["boot"]}
    guest.undefine()
    volume.delete(0)
    assert [domain.name() for domain in connection.listAllDomains()] == ["Domain-0"]


def test_what_one_dom0_went_through_is_unknown_to_the_next(dom0: Dom0) -> None:
    """Each dom0 resumes from the same saved state, on a disk of its own."""
    dom0.run("touch /var/lib/libvirt/images/scratch")
    with Dom0(number=1) as other:
        assert other.uri != dom0.uri
        assert other.attempt("test -e /var/lib/libvirt/images/scratch")[1] != 0
    assert not other.folder.exists()
    dom0.run("rm /var/lib/libvirt/images/scratch")


def test_a_command_that_fails_in_dom0_is_refused_with_what_it_said(dom0: Dom0) -> None:
    with pytest.raises(LabError, match="ended with 3: no such luck"):
        dom0.run("echo no such luck; exit 3")


def test_a_dom0_does_not_outlive_an_owner_that_was_killed() -> None:
    """Neither the machine nor its folder is left when the process that started it is gone."""
    program = (
        "import signal; from tests.lab.xen.dom0 import Dom0\n"
        "with Dom0(number=1) as dom0: print(dom0.folder, flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        machine = int((folder / "pid").read_text())
        assert Path(f"/proc/{machine}").exists()
        owner.kill()
    assert awaited(lambda: not folder.exists() and not Path(f"/proc/{machine}").exists())


def test_a_machine_without_the_tools_is_told_what_to_install() -> None:
    with pytest.raises(LabError, match="apt-get install mmdebstrap"):
        image.require({"no-such-program-anywhere": "mmdebstrap"})
