"""Options in domain XML: what others wrote is understood, and what is not ours to say stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domxml import merge, read
from reconciler.model.options import (
    HOST_MODEL,
    HOST_PASSTHROUGH,
    NO_OPTIONS,
    Graphics,
    HugePages,
    Options,
    Pin,
    Topology,
    Tpm,
    Watchdog,
    WatchdogAction,
)

_TEXT = """\
<domain type='{type}'>
  <name>web</name>
  <uuid>11111111-2222-3333-4444-555555555501</uuid>
  <memory unit='KiB'>131072</memory>
  <vcpu>4</vcpu>
  {above}
  <os><type arch='{arch}' machine='q35'>hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""


def _text(above: str = "", devices: str = "", *, type_: str = "kvm", arch: str = "x86_64") -> str:
    return _TEXT.format(above=above, devices=devices, type=type_, arch=arch)


@pytest.mark.parametrize(
    ("above", "options"),
    [
        ("<cpu mode='host-model' check='partial'/>", Options(cpu=HOST_MODEL)),
        ("<cpu mode='host-passthrough' migratable='on'/>", Options(cpu=HOST_PASSTHROUGH)),
        (
            "<cpu mode='custom' match='exact'><model fallback='allow'>EPYC</model></cpu>",
            Options(cpu="EPYC"),
        ),
        ("<cpu match='exact'><model>Nehalem</model><vendor>Intel</vendor></cpu>", "Nehalem"),
        ("<cpu mode='custom' check='none'><model>qemu64</model></cpu>", NO_OPTIONS),
        (
            "<cpu><topology sockets='1' dies='2' cores='2' threads='1'/></cpu>",
            Options(topology=Topology(cores=4)),
        ),
        ("<cpu><topology sockets='0' cores='2' threads='1'/></cpu>", NO_OPTIONS),
        (
            (
                "<cputune><vcpupin vcpu='3' cpuset='0-3,^2'/><vcpupin vcpu='0' cpuset='5,4'/>"
                "</cputune>"
            ),
            Options(pin=(Pin(vcpu=0, cpus="4-5"), Pin(vcpu=3, cpus="0-1,3"))),
        ),
        ("<cputune><emulatorpin cpuset='1'/><quota>50000</quota></cputune>", NO_OPTIONS),
        (
            (
                "<cputune><global_period>50000</global_period>"
                "<global_quota>25000</global_quota></cputune>"
            ),
            Options(cap=50),
        ),
        ("<cputune><global_quota>-1</global_quota></cputune>", NO_OPTIONS),
        (
            "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>",
            Options(huge_pages=HugePages(size_kib=1 << 20)),
        ),
        (
            (
                "<memoryBacking><hugepages><page size='2' unit='M' nodeset='0'/></hugepages>"
                "<locked/></memoryBacking>"
            ),
            Options(huge_pages=HugePages()),
        ),
    ],
)
def test_what_libvirt_or_a_person_wrote_above_the_devices_is_understood(
    above: str, options: Options | str
) -> None:
    found = read(_text(above)).definition.options
    assert found == (Options(cpu=options) if isinstance(options, str) else options)


@pytest.mark.parametrize(
    ("devices", "options"),
    [
        ("<rng model='virtio'><backend model='egd' type='unix'/></rng>", Options(rng=True)),
        (
            (
                "<graphics type='vnc' port='-1' autoport='yes' passwd='x'>"
                "<listen type='address' address='127.0.0.1'/></graphics>"
            ),
            Options(graphics=Graphics()),
        ),
        ("<graphics type='vnc' listen='10.0.0.1'/>", Options(graphics=Graphics(listen="10.0.0.1"))),
        ("<graphics type='vnc'/>", Options(graphics=Graphics(listen=""))),
        ("<graphics type='vnc' socket='/run/x.vnc'/>", Options(graphics=Graphics())),
        (
            "<graphics type='spice' listen='::1'/><graphics type='vnc' listen='localhost'/>",
            Options(graphics=Graphics()),
        ),
        (
            "<watchdog model='itco' action='dump'/>",
            Options(watchdog=Watchdog(model="itco", action=WatchdogAction.DUMP)),
        ),
        ("<watchdog model='ib700'/>", Options(watchdog=Watchdog(model="ib700"))),
        ("<tpm model='tpm-tis'><backend type='emulator'/></tpm>", Options(tpm=Tpm())),
        (
            (
                "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/>"
                "</backend></tpm>"
            ),
            Options(tpm=Tpm(version="")),
        ),
    ],
)
def test_what_libvirt_or_a_person_wrote_among_the_devices_is_understood(
    devices: str, options: Options
) -> None:
    assert read(_text(devices=devices)).definition.options == options


def test_the_plainest_processor_of_either_architecture_is_nobodys_wish() -> None:
    """It is what libvirt writes into a definition that says nothing."""
    text = _text("<cpu mode='custom'><model>qemu32</model></cpu>", type_="qemu", arch="i686")
    assert read(text).definition.options == NO_OPTIONS
    text = _text("<cpu mode='custom'><model>qemu64</model></cpu>", type_="xen")
    assert read(text).definition.options == Options(cpu="qemu64")


def test_the_ordinary_weight_of_xen_is_nobodys_wish() -> None:
    text = _text("<cputune><shares>256</shares></cputune>", type_="xen")
    assert read(text).definition.options == NO_OPTIONS


def _merged(text: str, **options: object) -> str:
    definition = read(text).definition
    changed = replace(definition.options, **options)  # type: ignore[arg-type]  # a test's own
    return merge(text, replace(definition, options=changed))


def test_features_and_cells_outlive_another_mode() -> None:
    """What a person tuned by hand stays, as long as there is a model that it can be tuned on."""
    cpu = (
        "<cpu mode='custom' match='exact'><model>EPYC</model><vendor>AMD</vendor>"
        "<feature policy='require' name='pcid'/>"
        "<numa><cell cpus='0-3' memory='131072'/></numa></cpu>"
    )
    text = _merged(_text(cpu), cpu=HOST_MODEL)
    assert "<model" not in text
    assert "vendor" not in text
    assert "pcid" in text
    assert "<numa>" in text
    bare = _merged(text, cpu=None)
    assert "pcid" not in bare
    assert "<numa>" in bare


def test_other_pins_and_quotas_stay() -> None:
    tune = (
        "<cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='2'/><quota>5000</quota>"
        "</cputune>"
    )
    text = _merged(_text(tune), pin=(), weight=100, cap=10)
    assert "vcpupin" not in text
    assert "<emulatorpin cpuset='2'/>".replace("'", '"') in text
    assert "<quota>5000</quota>" in text
    assert "<shares>100</shares>" in text


def test_locked_memory_stays_locked() -> None:
    backing = "<memoryBacking><hugepages/><locked/></memoryBacking>"
    text = _merged(_text(backing), huge_pages=None)
    assert "hugepages" not in text
    assert "<locked/>" in text


def test_a_screen_that_anybody_can_see_is_brought_home_with_its_password() -> None:
    """The address changes in both of its places, or libvirt would refuse the text."""
    screen = (
        "<graphics type='vnc' port='5907' autoport='no' listen='10.0.0.1' passwd='secret'"
        " keymap='it'><listen type='address' address='10.0.0.1'/></graphics>"
        "<video><model type='qxl'/></video>"
    )
    text = _merged(_text(devices=screen), graphics=Graphics())
    assert "10.0.0.1" not in text
    assert text.count("127.0.0.1") == 2
    assert all(kept in text for kept in ('passwd="secret"', 'keymap="it"', "5907", "qxl"))


def test_a_screen_that_is_taken_away_takes_its_card_along() -> None:
    """Libvirt would add one itself, and a revert would leave it behind."""
    text = _merged(_text(), graphics=Graphics())
    assert "<video>" in text
    assert "<video>" not in _merged(text, graphics=None)


def test_another_action_leaves_the_watchdog_in_its_slot() -> None:
    dog = "<watchdog model='i6300esb' action='reset'><address type='pci' slot='0x01'/></watchdog>"
    text = _merged(_text(devices=dog), watchdog=Watchdog(action=WatchdogAction.DUMP))
    assert 'action="dump"' in text
    assert "0x01" in text


def test_devices_of_the_host_are_known_by_their_addresses() -> None:
    """A running guest's text says besides where one was found; what is told otherwise stays."""
    text = _text(
        devices="<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'>"
        "<vendor id='0x046d'/><product id='0xC52B'/><address bus='1' device='7'/>"
        "</source></hostdev>"
        "<hostdev mode='subsystem' type='usb'><source><address bus='01' device='4'/></source>"
        "</hostdev><hostdev mode='subsystem' type='pci' managed='yes'><source>"
        "<address domain='0x0000' bus='0x03' slot='0x1f' function='0x2'/></source></hostdev>"
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883'/>"
        "</source></hostdev>"
    )
    found = read(text).definition.options.host_devices
    assert [str(device) for device in found] == ["pci/0000:03:1f.2", "usb/046d:c52b", "usb/1.4"]
    merged = _merged(text, host_devices=found[1:2])
    assert all(kept in merged for kept in ("optional", "0xC52B", "mdev"))
    assert not any(gone in merged for gone in ("0x1f", 'device="4"'))
