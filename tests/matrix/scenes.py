"""What a controller does while it is killed: small changes of a few guests, of few steps each.

A scene is an endless row of turns. Turning is cheap: the guests stay, and most turns are taken back
by the next. The same scenes are played in memory and on a real host.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.model.steps import SetMark
from tests.demo.stage import GUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.hypervisor.port import Host

LIVE, STILL, LIFE = "live", "still", "life"
"""A guest that runs and has an agent; one that never runs; one that starts and stops."""

IMAGE_MIB = 64
SLOW_IMAGE = "slow.raw"
"""An image that takes long enough to copy to be met half way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A commit, the steps that it brings, and the guest whom they serve.

    Without a manifest the guest goes into the trash, and the trash begins to be emptied.
    """

    guest: str
    manifest: str | None
    brings: frozenset[str]

    @property
    def files(self) -> dict[str, str | None]:
        """What to commit."""
        return {f"guests/{self.guest}.yaml": self.manifest}


def _manifest(name: str, *changes: tuple[str, str], more: str = "") -> str:
    text = GUEST.format(name=name, cpus=1, memory=192, disk=IMAGE_MIB)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text + more


_LAST_DISK = "storage: guests, image: lab.raw}\n"
_QCOW2 = (_LAST_DISK, "storage: guests, format: qcow2, image: lab.raw}\n")
_CARD = "{name: eth0, network: servers}\n"
_DRIVE = "    - {name: cd, cdrom: {storage: images, volume: lab.iso}}\n"


def _live(*changes: tuple[str, str], disks: str = "", more: str = "") -> str:
    """The guest that runs; its first disk is qcow2."""
    row = (_LAST_DISK, f"{_QCOW2[1]}{_DRIVE}{disks}")
    return _manifest(LIVE, row, *changes, more=more)


def _switch(*steps: str) -> Callable[[str], Callable[[int], Turn]]:
    """A change of the running guest that is made at even turns and taken back at odd ones."""

    def of(changed: str) -> Callable[[int], Turn]:
        def turn(number: int) -> Turn:
            on = number % 2 == 0
            step = steps[0] if on else steps[-1]
            return Turn(
                guest=LIVE,
                manifest=changed if on else _live(),
                brings=frozenset({step, "DefineGuest"}),
            )

        return turn

    return of


def _autostart(number: int) -> Turn:
    more = f"  autostart: {('on', 'off')[number % 2]}\n"
    return Turn(guest=LIVE, manifest=_live(more=more), brings=frozenset({"SetAutostart"}))


def _pin(number: int) -> Turn:
    """A pin is moved to and fro: taken away from a guest that runs it cannot be."""
    pinned = ("max: 2}", f"max: 2, pin: {{0: {number % 2}}}}}")
    return Turn(guest=LIVE, manifest=_live(pinned), brings=frozenset({"PinVcpus"}))


def _mark(number: int) -> Turn:
    more = f"  protect: {('true', 'false')[number % 2]}\n"
    return Turn(guest=LIVE, manifest=_live(more=more), brings=frozenset({"SetMark"}))


def _grow_live(number: int) -> Turn:
    size = (f"size: {IMAGE_MIB}MiB", f"size: {IMAGE_MIB + 1 + number}MiB")
    return Turn(guest="grown", manifest=_grown(size), brings=frozenset({"GrowDisk"}))


def _grown(*changes: tuple[str, str]) -> str:
    return _manifest("grown", *changes)


def _snapshot(number: int) -> Turn:
    more = f"  snapshots: [kept-{number}]\n"
    return Turn(
        guest="wiki",
        manifest=_manifest("wiki", _QCOW2, more=more),
        brings=frozenset({"CreateSnapshot", "ResumeGuest"}),
    )


def _grow_still(number: int) -> Turn:
    size = (f"size: {IMAGE_MIB}MiB", f"size: {IMAGE_MIB + 1 + number}MiB")
    return Turn(
        guest=STILL,
        manifest=_manifest(STILL, size, more="  state: stopped\n"),
        brings=frozenset({"GrowVolume"}),
    )


def _life(number: int) -> Turn:
    """It is deaf to the power button, and so is destroyed in the end; its balloon is, too."""
    more = "  state: {}\n  shutdown: {{timeout: 1s, then: destroy}}\n"
    deaf = ("console=ttyS0 quiet", "console=ttyS0 quiet acpi=off")
    silent = ("  agent: true\n", "  agent: false\n")
    fixed = ("size: 192MiB, max: 384MiB}\n", "size: 192MiB}\n")
    match number % 3:
        case 0:
            text = _manifest(LIFE, deaf, fixed, silent, more=more.format("running"))
            return Turn(guest=LIFE, manifest=text, brings=frozenset({"StartGuest"}))
        case 1:
            two = ("count: 1", "count: 2")
            text = _manifest(LIFE, deaf, fixed, silent, two, more=more.format("running"))
            return Turn(guest=LIFE, manifest=text, brings=frozenset({"SetVcpus"}))
        case _:
            text = _manifest(LIFE, deaf, fixed, silent, more=more.format("stopped"))
            ends = frozenset({"ShutDownGuest", "DestroyGuest"})
            return Turn(guest=LIFE, manifest=text, brings=ends)


def _making(number: int) -> Turn:
    """A new guest each time: an empty disk, copies as large as the image and larger, a seed."""
    name = f"new-{number}"
    disks = (
        "    - {name: empty, size: 8MiB, storage: guests}\n"
        f"    - {{name: other, size: {IMAGE_MIB + 8}MiB, storage: guests, image: lab.qcow2}}\n"
    )
    slow = (_LAST_DISK, f"storage: guests, image: {SLOW_IMAGE}}}\n{disks}")
    size = (f"size: {IMAGE_MIB}MiB", "size: 256MiB")
    more = "  state: stopped\n  cloudInit: {userData: told}\n"
    return Turn(
        guest=name,
        manifest=_manifest(name, size, slow, more=more),
        brings=frozenset(
            {"DefineGuest", "CreateVolume", "DiscardVolume", "CreateSeed", "RemoveSeed", "SetMark"}
        ),
    )


def _emptying(kind: str, more: str, *steps: str) -> Callable[[int], Turn]:
    """A guest that goes into the trash and from there, with its volumes and ``more``."""

    def turn(number: int) -> Turn:
        name = f"{kind}-{number // 2}"
        if number % 2:
            gone = frozenset({*steps, "DeleteVolume"})
            return Turn(guest=name, manifest=None, brings=gone)
        qcow2 = (_LAST_DISK, "storage: guests, format: qcow2, image: lab.qcow2}\n")
        text = _manifest(name, qcow2, more=f"  state: stopped\n{more}")
        return Turn(guest=name, manifest=text, brings=frozenset())

    return turn


_EXTRA = "    - {name: extra, size: 8MiB, storage: guests}\n"

SCENES: tuple[Callable[[int], Turn], ...] = (
    _switch("SetMemory")(_live(("size: 192MiB", "size: 176MiB"))),
    _switch("AttachDisk", "DetachDisk")(_live(disks=_EXTRA)),
    _switch("AttachNic", "DetachNic")(
        _live((_CARD, f"{_CARD}    - {{name: eth1, network: servers}}\n"))
    ),
    _switch("ChangeNic")(_live((_CARD, "{name: eth0, network: servers, link: down}\n"))),
    _switch("ChangeMedium")(_live((_DRIVE, "    - {name: cd, cdrom: {}}\n"))),
    _switch("SetDiskLimits")(_live(("format: qcow2,", "format: qcow2, limits: {bytes: 64MiB},"))),
    _pin,
    _autostart,
    _mark,
    _grow_live,
    _snapshot,
    _grow_still,
    _life,
    _emptying("gone", "  snapshots: [one]\n", "DeleteSnapshot", "UndefineGuest"),
    _emptying("told", "  cloudInit: {userData: told}\n"),
    _making,
)


def first_manifests() -> dict[str, str | None]:
    """The guests that are there before the first turn."""
    life = _life(2).manifest
    return {
        f"guests/{LIVE}.yaml": _live(),
        "guests/grown.yaml": _grown(),
        "guests/wiki.yaml": _manifest("wiki", _QCOW2),
        f"guests/{STILL}.yaml": _manifest(STILL, more="  state: stopped\n"),
        f"guests/{LIFE}.yaml": life,
    }


EXCUSED = {
    "SetShares": "Xen's scheduler alone is told of a running guest's shares",
    "CreateSnapshot: before resume": "libvirt ends the pause of a snapshot itself",
    "CreateSnapshot: after resume": "libvirt ends the pause of a snapshot itself",
}
"""Crossings, or all of a step, that no scene reaches, and why."""

EXCUSED_ON_QEMU = {
    "ResumeGuest: before resume": "libvirt ends the pause itself, also over the death",
    "ResumeGuest: after resume": "libvirt ends the pause itself, also over the death",
}
"""Crossings that no scene reaches on a real host."""

FAILING = {
    "CreateVolume: before delete": "CreateVolume: before resize",
    "CreateVolume: after delete": "CreateVolume: before resize",
    "CreateSeed: before delete": "CreateSeed: amid upload",
    "CreateSeed: after delete": "CreateSeed: amid upload",
}
"""Crossings on the way back from a failure, and where the failure is."""

AFTERMATH = {
    "DiscardVolume": "CreateVolume: after createXMLFrom",
    "RemoveSeed": "CreateSeed: amid upload",
    "ResumeGuest": "CreateSnapshot: after fsFreeze",
}
"""Steps that follow upon a death, and a crossing at which a death brings them."""


def begin_to_empty(host: Host, guest: str) -> None:
    """Let the mark of a guest of the trash say that its data began to be removed."""
    [seen] = [one for one in host.observe().guests.values() if one.name == guest]
    assert seen.mark is not None
    assert seen.mark.trash is not None
    trash = replace(seen.mark.trash, emptying=datetime.now(UTC))
    mark = replace(seen.mark, trash=trash)
    host.carry_out(SetMark(host=host.name, guest=seen.name, uuid=seen.uuid, mark=mark))


def excuse(crossing: str, *, on_qemu: bool = False) -> str | None:
    """Why no scene reaches ``crossing``, if none does."""
    said = EXCUSED | EXCUSED_ON_QEMU if on_qemu else EXCUSED
    return said.get(crossing) or said.get(crossing.split(":", maxsplit=1)[0])
