"""A paravirtual guest reads its seed from a disk like its others, since it can have no drive.

A read-only one it would not get: QEMU serves its files, and says "Block node is read-only".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import VolumeSource
from reconciler.model.mark import MarkedSeed
from reconciler.model.names import Digest, Target, VolumeName
from reconciler.model.observed import RunState
from reconciler.model.seed import SeedData
from reconciler.model.steps import CreateSeed, DestroyGuest, RemoveSeed, SetMark, StartGuest
from tests.contract.grounds import GUESTS, NAME, awaited, mark
from tests.contract.test_host import do

if TYPE_CHECKING:
    from tests.contract.places import XenGround

pytestmark = [pytest.mark.system, pytest.mark.xen, pytest.mark.timeout(600)]

DATA = SeedData(digest=Digest("00"), size_bytes=14, user_data="#cloud-config\n")
SEED = MarkedSeed(
    target=Target("xvdb"),
    pool=GUESTS,
    volume=VolumeName("contract-cidata.iso"),
    digest=DATA.digest,
    instance="contract",
    filled=False,
)


@pytest.mark.parametrize("ground", ["xen"], indirect=True)
def test_a_paravirtual_guest_reads_its_seed_and_then_loses_it(ground: XenGround) -> None:
    definition = ground.define(ground.definition())
    plain = mark(NAME, definition.uuid)
    do(ground, SetMark, mark=replace(plain, seed=SEED))
    place = {"pool": SEED.pool, "volume": SEED.volume}
    do(ground, CreateSeed, **place, instance="contract", data=DATA)
    source = VolumeSource(pool=SEED.pool, volume=SEED.volume)
    disk = replace(ground.disk(1, SEED.volume), target=SEED.target, source=source)
    seeded = replace(plain, seed=replace(SEED, filled=True))
    ground.define(replace(definition, disks=(disk,), mark=seeded))
    do(ground, StartGuest)
    line = awaited(lambda: _said(ground), "what the seed says", within_s=120)
    assert json.loads(line) == {
        "disk": "xvdb",
        "instance": "contract",
        "user": hashlib.sha256(DATA.user_data.encode()).hexdigest(),
    }
    done = replace(plain, seed=replace(SEED, filled=True, done=True))
    ground.define(replace(definition, mark=done))
    do(ground, DestroyGuest)
    ground.wait(lambda guest: guest.state is RunState.SHUT_OFF, "the guest off")
    do(ground, RemoveSeed, **place)
    assert SEED.volume not in ground.host.observe().pools[GUESTS].volumes


def _said(ground: XenGround) -> str | None:
    lines = ground.dom0.guest_console(NAME).splitlines()
    return next((line.partition("SEED ")[2] for line in lines if line.startswith("SEED ")), None)
