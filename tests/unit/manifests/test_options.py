"""Options: what a manifest says of them, and which of them it mentions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.manifests import load
from reconciler.manifests.intent import intent_of
from reconciler.manifests.kinds.guest import GuestSpec
from reconciler.manifests.surroundings import Allowed
from reconciler.model.options import (
    FIELDS,
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
from tests.unit.manifests.world import BASE, COMMIT, PLAIN, guest, guest_of


def test_a_guest_that_says_nothing_of_options_owns_none() -> None:
    plain = guest_of(PLAIN)
    assert plain.options == NO_OPTIONS
    assert plain.mentioned == ()


@pytest.mark.parametrize(
    ("said", "options"), [("rng: true", Options(rng=True)), ("rng: false", NO_OPTIONS)]
)
def test_what_is_written_is_mentioned_also_at_its_default(said: str, options: Options) -> None:
    """``rng: false`` means that there shall be none, which silence does not."""
    found = guest_of(f"{PLAIN}{said}")
    assert found.options == options
    assert found.mentioned == ("rng",)


@pytest.mark.parametrize(
    ("said", "field", "options"),
    [
        ("cpus: {count: 1, mode: host-model}", "cpus.mode", Options(cpu="host-model")),
        ("cpus: {count: 1, mode: EPYC-v2}", "cpus.mode", Options(cpu="EPYC-v2")),
        (
            "cpus: {count: 2, max: 4, topology: {sockets: 2, cores: 2}}",
            "cpus.topology",
            Options(topology=Topology(sockets=2, cores=2)),
        ),
        (
            'cpus: {count: 2, pin: {1: 5, 0: "3,2,7-8"}}',
            "cpus.pin",
            Options(pin=(Pin(vcpu=0, cpus="2-3,7-8"), Pin(vcpu=1, cpus="5"))),
        ),
        ("cpus: {count: 1, weight: 512}", "cpus.weight", Options(weight=512)),
        ("cpus: {count: 1, cap: 50}", "cpus.cap", Options(cap=50)),
        ("cpus: {count: 1, cap: 0}", "cpus.cap", NO_OPTIONS),
        (
            "memory: {size: 1GiB, hugePages: true}",
            "memory.hugePages",
            Options(huge_pages=HugePages()),
        ),
        ("memory: {size: 1GiB, hugePages: false}", "memory.hugePages", NO_OPTIONS),
        (
            "memory: {size: 1GiB, hugePages: 1GiB}",
            "memory.hugePages",
            Options(huge_pages=HugePages(size_kib=1 << 20)),
        ),
        ("graphics: {type: vnc}", "graphics", Options(graphics=Graphics())),
        ("graphics: {type: none}", "graphics", NO_OPTIONS),
        ("watchdog: {}", "watchdog", Options(watchdog=Watchdog())),
        (
            "watchdog: {model: ib700, action: inject-nmi}",
            "watchdog",
            Options(watchdog=Watchdog(model="ib700", action=WatchdogAction.INJECT_NMI)),
        ),
        ("watchdog: {model: none}", "watchdog", NO_OPTIONS),
        ('tpm: {version: "2.0"}', "tpm", Options(tpm=Tpm())),
        ("tpm: {version: 2.0}", "tpm", Options(tpm=Tpm())),
        ("tpm: {version: none}", "tpm", NO_OPTIONS),
    ],
)
def test_each_option_is_built_as_it_is_written(said: str, field: str, options: Options) -> None:
    lines = [
        line for line in PLAIN.splitlines() if line.split(":")[0] != said.split(":", maxsplit=1)[0]
    ]
    found = guest_of("\n".join([*lines, said]))
    assert found.options == options
    assert found.mentioned == (field,)


def test_what_a_class_says_its_guests_mention() -> None:
    shared = guest("rng: true", name="small", kind="GuestClass")
    found = guest_of(f"{PLAIN}class: small", small=shared)
    assert found.options.rng
    assert found.mentioned == ("rng",)


def test_every_option_is_a_field_of_the_manifest() -> None:
    """A name in the table that no manifest can write would never be owned by anybody."""
    for field in FIELDS:
        model: object = GuestSpec
        for step in field.split("."):
            fields = {one.alias or name: one for name, one in model.model_fields.items()}  # type: ignore[attr-defined]  # a model of pydantic's
            assert step in fields, field
            model = next(
                (one for one in getattr(fields[step].annotation, "__args__", ()) if _model(one)),
                None,
            )


def _model(one: object) -> bool:
    return hasattr(one, "model_fields")


_DEVICES = """\
host: dom0-a
hostDevices:
  - {name: gpu, pci: "03:00.0"}
  - {name: dongle, usb: "046D:C52B"}
  - {name: port, usb: "01.4"}
"""


def test_devices_of_the_host_are_owned_by_their_addresses() -> None:
    found = guest_of(f"{PLAIN}{_DEVICES}")
    told = ["pci/0000:03:00.0", "usb/046d:c52b", "usb/1.4"]
    assert [str(device) for device in found.options.host_devices] == told
    assert list(found.mentioned) == [f"hostDevices[{address}]" for address in told]
    assert intent_of(found) != intent_of(replace(found, mentioned=found.mentioned[:2]))


def test_a_device_that_the_controller_does_not_list_is_refused() -> None:
    """By host, bus and address; an entry for another host allows nothing here."""
    files = {**BASE, "lists.yaml": guest(f"{PLAIN}{_DEVICES}")}
    listed = ("dom0-a/pci/0000:03:00.0", "dom0-b/usb/046d:c52b", "dom0-a/usb/1.4")
    found = load(files, commit=COMMIT, allowed=Allowed(host_devices=listed))
    [problem] = map(str, found.problems)
    assert "spec.hostDevices[dongle].usb" in problem
    assert '"dom0-a/usb/046d:c52b" is not a device that the controller allows' in problem
    assert "see its setting host_devices" in problem
    assert len(load(files, commit=COMMIT, allowed=Allowed(host_devices=())).problems) == 3
