"""On a real host: a guest that UEFI firmware starts, and what it keeps in its firmware for ever."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.lab.guest import build_guest
from tests.lab.qemu import Agent, QemuLab
from tests.system.ground import Ground, begin, converge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.system, pytest.mark.slow]

FILE = "guests/web.yaml"
GUEST = """\
apiVersion: domops/v1
kind: Guest
metadata: {name: web}
spec:
  pool: main
  type: hvm
  cpus: 1
  memory: 256MiB
  boot: {firmware: uefi}
  disks:
    - {name: root, size: 64MiB, storage: guests, image: uefi.raw}
  agent: true
  shutdown: {timeout: 60s, then: destroy}
  update: {restart: now}
"""
_VARIABLES = "/sys/firmware/efi/efivars"
_NAME = "LabNote-6f1c0d8e-3f63-4a5e-9d3f-1d2f8c8b7a10"
_WITHIN_S = 120


@pytest.fixture(scope="module")
def lab() -> Iterator[QemuLab]:
    with QemuLab() as lab:
        yield lab


@pytest.fixture
def ground(lab: QemuLab, tmp_path: Path) -> Ground:
    image = build_guest().image_uefi
    shutil.copy(image, lab.host.images / image.name)
    with contextlib.closing(lab.host.connect()) as connection:
        connection.storagePoolLookupByName("images").refresh()
    return begin(tmp_path, lab.host)


@contextlib.contextmanager
def _inside(ground: Ground) -> Iterator[Agent]:
    """A way into the guest, which has booted, with its firmware's variables at hand."""
    with contextlib.closing(ground.host.connect()) as connection:
        agent = Agent(connection.lookupByName("web"))
        agent.wait(_WITHIN_S)
        agent.run(f"grep -q efivarfs /proc/mounts || mount -t efivarfs efivarfs {_VARIABLES}")
        yield agent


def _note(ground: Ground) -> str:
    """What the guest finds in its firmware, behind the four bytes of the variable's kind."""
    with _inside(ground) as agent:
        return agent.run(f"dd if={_VARIABLES}/{_NAME} bs=1 skip=4 2>/dev/null")


def test_what_a_guest_keeps_in_its_firmware_outlives_everything(ground: Ground) -> None:
    """A redefinition, a change of firmware and back, the trash, and a revert out of it."""
    ground.repository.commit("A guest that UEFI starts", {FILE: GUEST})
    with ground.controller() as opened:
        converge(opened)
        with _inside(ground) as agent:
            agent.run(f"printf '\\007\\000\\000\\000kept' > {_VARIABLES}/{_NAME}")

        stopped = GUEST.replace("uefi}", "bios}") + "  state: stopped\n"
        ground.repository.commit("Other firmware, switched off", {FILE: stopped})
        converge(opened)
        assert ground.running() == {}
        assert "firmware" not in ground.stored()["web"]
        ground.repository.commit("Back again, and more", {FILE: GUEST + "  rng: true\n"})
        converge(opened)
        assert _note(ground) == "kept"

        deleted = ground.repository.commit("Away with it", {FILE: None})
        converge(opened)
        assert ground.running() == {}
        ground.repository.revert(deleted)
        converge(opened)
        assert _note(ground) == "kept"
