"""On a real host: what a guest may have beyond the ordinary, given, kept, and taken away again."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import libvirt
import pytest
from lxml import etree

from reconciler.model.plan import Fate
from tests.demo.stage import guest_manifest
from tests.lab.qemu import Agent, QemuLab
from tests.system.ground import STORED, Ground, begin, converge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lxml.etree import _Element as Element

pytestmark = [pytest.mark.system, pytest.mark.slow]

FILE = "guests/web.yaml"
BY_HAND = "sesame"

OPTIONS = """\
  update: {restart: now}
  rng: true
  graphics: {type: vnc}
  watchdog: {model: i6300esb, action: poweroff}
  tpm: {version: "2.0"}
"""
CPUS = "cpus: {count: 1, max: 2, mode: host-model, topology: {cores: 2}, pin: {0: 1, 1: 0-1}}"


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def ground(lab: QemuLab, tmp_path: Path) -> Ground:
    return begin(tmp_path, lab.host)


def _plain(name: str) -> str:
    return guest_manifest(name) + "  update: {restart: now}\n"


def _with_options(name: str) -> str:
    return re.sub(r"cpus: \{.*\}", CPUS, guest_manifest(name)) + OPTIONS


@contextlib.contextmanager
def _domain(ground: Ground, name: str) -> Iterator[libvirt.virDomain]:
    with contextlib.closing(ground.host.connect()) as connection:
        yield connection.lookupByName(name)


def _texts(ground: Ground, name: str) -> tuple[Element, Element]:
    """The stored and the running text, secrets included."""
    with _domain(ground, name) as domain:
        return (
            etree.fromstring(domain.XMLDesc(STORED)),
            etree.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)),
        )


def _without(text: Element, *xpaths: str) -> list[str]:
    """What a text says line by line, but for the elements at ``xpaths``."""
    for xpath in xpaths:
        for element in text.findall(xpath):
            parent = element.getparent()
            assert parent is not None
            parent.remove(element)
    return [line for line in etree.tostring(text, encoding="unicode").splitlines() if line.strip()]


def test_options_are_given_kept_and_taken_away_again(ground: Ground) -> None:
    """A password that a person sets outlives a commit; a revert leaves the guest as it was."""
    ground.repository.commit("An ordinary guest", {FILE: _plain("web")})
    with ground.controller() as opened:
        converge(opened)
        before, _ = _texts(ground, "web")

        ground.repository.commit("Give it all there is", {FILE: _with_options("web")})
        converge(opened)
        stored, live = _texts(ground, "web")
        assert stored.find("cpu").get("mode") == "host-model"  # type: ignore[union-attr]  # it is there
        assert live.findtext("cpu/model")
        for text in (stored, live):
            assert text.find("cpu/topology[@cores='2']") is not None
            assert [pin.get("cpuset") for pin in text.iterfind("cputune/vcpupin")] == ["1", "0-1"]
            assert text.find("devices/rng/backend[@model='random']") is not None
            assert text.find("devices/watchdog[@action='poweroff']") is not None
            assert text.find("devices/tpm/backend[@version='2.0']") is not None
            assert text.find("devices/graphics/listen[@address='127.0.0.1']") is not None
        _wait_until_up(ground, "web")

        _set_password(ground, "web")
        with_dog = _with_options("web").replace("poweroff", "reset")
        ground.repository.commit("Another action", {FILE: with_dog})
        converge(opened)
        for text in _texts(ground, "web"):
            assert text.find(f"devices/graphics[@passwd='{BY_HAND}']") is not None
            assert text.find("devices/watchdog[@action='reset']") is not None

        ground.repository.commit("Take it back", {FILE: _plain("web")})
        done = converge(opened).last
        assert done.plan is not None
        assert done.plan.steps == ()
        after, live = _texts(ground, "web")
        for text in (after, live):
            for gone in ("rng", "graphics", "video", "watchdog", "tpm"):
                assert text.find(f"devices/{gone}") is None
            assert text.find("cputune") is None
            assert text.find("cpu/topology") is None
        assert after.findall("metadata//{*}field") == []
        ground.host.run("test", "-d", f"/var/lib/libvirt/swtpm/{after.findtext('uuid')}")
        # Slots that were made for what is gone, and the mark, may differ; nothing else does.
        made = ("metadata", "devices/controller", "devices/memballoon")
        assert _without(after, *made) == _without(before, *made)


def _wait_until_up(ground: Ground, name: str) -> None:
    with _domain(ground, name) as domain:
        Agent(domain).wait()


def _set_password(ground: Ground, name: str) -> None:
    """By hand, for the next start: QEMU gives a screen that runs without one no password."""
    with _domain(ground, name) as domain:
        screen = etree.fromstring(domain.XMLDesc(STORED)).find("devices/graphics")
        assert screen is not None
        screen.set("passwd", BY_HAND)
        text = etree.tostring(screen, encoding="unicode")
        domain.updateDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def test_what_the_host_cannot_do_is_refused_before_anything_is_written(ground: Ground) -> None:
    """The guest runs on as it was, and its other changes are made."""
    ground.repository.commit("An ordinary guest", {FILE: _plain("dns")})
    with ground.controller() as opened:
        converge(opened)
        bold = "cpus: {count: 1, max: 2, mode: host-passthrough, pin: {0: 64}, weight: 2, cap: 50}"
        text = re.sub(r"cpus: \{.*\}", bold, _plain("dns")) + "  rng: true\n"
        ground.repository.commit("More than there is", {FILE: text})
        done = converge(opened).last
        assert done.plan is not None
        [status] = done.plan.statuses.values()
        refused = {one.field: one.message for one in status.changes if one.fate is Fate.REFUSED}
        assert refused.keys() == {"cpus.cap", "cpus.mode", "cpus.pin", "cpus.weight"}
        assert "emulates" in refused["cpus.mode"]
        assert "control group" in refused["cpus.cap"]
        stored, live = _texts(ground, "dns")
        for text_ in (stored, live):
            assert text_.find("devices/rng") is not None
            assert text_.find("cputune") is None

        number = ground.running()["dns"]
        pinned = re.sub(r"cpus: \{.*\}", "cpus: {count: 1, max: 2, pin: {0: 0}}", text)
        ground.repository.commit("What there is", {FILE: pinned})
        converge(opened)
        for text_ in _texts(ground, "dns"):
            assert [pin.get("cpuset") for pin in text_.iterfind("cputune/vcpupin")] == ["0"]
        assert ground.running()["dns"] == number


def test_devices_of_the_host_are_written_as_libvirt_wants_them(ground: Ground) -> None:
    """No device of this machine is handed over: the guest stays off. One that is not listed waits.

    What a person adds by hand stays when the listed ones are let go.
    """
    ground.host_devices = ("dom0-a/pci/0000:03:00.0", "dom0-a/usb/046d:c52b")
    name = "guests/gpu.yaml"
    off = guest_manifest("gpu") + "  host: dom0-a\n  state: stopped\n"
    devices = "  hostDevices:\n    - {name: gpu, pci: 03:00.0}\n    - {name: key, usb: 046d:c52b}\n"
    ground.repository.commit("A guest with devices", {name: off + devices})
    with ground.controller() as opened:
        converge(opened)
        stored = etree.fromstring(ground.stored()["gpu"])
        kinds = [one.get("type") for one in stored.iterfind("devices/hostdev")]
        assert sorted(map(str, kinds)) == ["pci", "usb"]
        assert stored.find("devices/hostdev/source/address[@bus='0x03']") is not None
        with _domain(ground, "gpu") as domain:
            by_hand = "<hostdev mode='subsystem' type='usb'><source>"
            by_hand += "<address bus='1' device='2'/></source></hostdev>"
            domain.attachDeviceFlags(by_hand, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        ground.repository.commit("Without them", {name: off})
        done = converge(opened).last
        assert done.plan is not None
        assert done.plan.steps == ()
        stored = etree.fromstring(ground.stored()["gpu"])
        [left] = stored.iterfind("devices/hostdev")
        assert left.find("source/address[@device='2']") is not None
        assert stored.findall("metadata//{*}field") == []
        greedy = off + "  hostDevices:\n    - {name: disk, pci: 00:1f.2}\n"
        ground.repository.commit("The host's own disk", {name: greedy})
        refused = opened.controller.pass_once()
        assert any("host_devices" in str(problem) for problem in refused.problems)
