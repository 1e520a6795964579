"""A seed is what NoCloud looks for, and the same bytes wherever it is made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pycdlib
import pytest

from reconciler.errors import RefusedError
from reconciler.hypervisor.nocloud import LABEL, render_seed
from reconciler.model.names import Digest, GuestName
from reconciler.model.seed import LARGEST_SEED_TEXT_BYTES, SEED_CAPACITY_BYTES, SeedData

DATA = SeedData(
    digest=Digest("00"),
    size_bytes=40,
    user_data="#cloud-config\nhostname: é\n",
    meta_data=(("local-hostname", "lists.example.org"), ("role", "mail")),
    network_config="version: 2\n",
)
WHO = GuestName("lists")
INSTANCE = "9f1c2b7e-0000-4000-8000-000000000001"
DIGEST = "06dcaaa56bd8102ae2bf131bc0f2c8d285ac0d4bcddec5f8086f3752ef5e3d63"


def _files(image: bytes) -> dict[str, bytes]:
    """What a guest's kernel finds on the image, by the names that it shows."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found = {}
    for record in iso.list_children(rr_path="/"):
        if record.is_file():
            name = record.rock_ridge.name().decode()
            out = io.BytesIO()
            iso.get_file_from_iso_fp(out, rr_path=f"/{name}")
            found[name] = out.getvalue()
    iso.close()
    return found


def test_the_image_has_the_label_and_the_files_that_cloud_init_reads() -> None:
    image = render_seed(DATA, instance=INSTANCE, hostname=WHO)
    assert image[32808 : 32808 + len(LABEL)] == LABEL.encode()
    assert len(image) == SEED_CAPACITY_BYTES
    files = _files(image)
    assert files["user-data"].decode() == DATA.user_data
    assert files["network-config"].decode() == DATA.network_config
    assert json.loads(files["meta-data"]) == {
        "instance-id": INSTANCE,
        "local-hostname": "lists.example.org",
        "role": "mail",
    }


def test_who_the_instance_is_and_what_it_is_called_is_always_said() -> None:
    bare = SeedData(digest=Digest("00"), size_bytes=0)
    files = _files(render_seed(bare, instance=INSTANCE, hostname=WHO))
    assert set(files) == {"meta-data", "user-data"}
    assert json.loads(files["meta-data"]) == {"instance-id": INSTANCE, "local-hostname": "lists"}
    lying = replace(bare, meta_data=(("instance-id", "another"),))
    files = _files(render_seed(lying, instance=INSTANCE, hostname=WHO))
    assert json.loads(files["meta-data"])["instance-id"] == INSTANCE


def test_the_image_is_pinned() -> None:
    """No clock and no chance is in it: it was made on another day, and is still the same."""
    image = render_seed(DATA, instance=INSTANCE, hostname=WHO)
    assert hashlib.sha256(image).hexdigest() == DIGEST


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Caracas"])
def test_no_time_zone_is_in_the_image(zone: str) -> None:
    program = (
        "import hashlib; from tests.unit.hypervisor.test_nocloud import *;"
        "print(hashlib.sha256(render_seed(DATA, instance=INSTANCE, hostname=WHO)).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": zone},
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == DIGEST


def test_the_largest_texts_fit_and_larger_ones_are_refused() -> None:
    text = "a" * LARGEST_SEED_TEXT_BYTES
    full = replace(DATA, user_data=text, network_config=text)
    assert len(render_seed(full, instance=INSTANCE, hostname=WHO)) == SEED_CAPACITY_BYTES
    with pytest.raises(RefusedError, match="more than the 1048576"):
        render_seed(replace(full, user_data=text * 4), instance=INSTANCE, hostname=WHO)


def test_what_a_seed_says_is_shown_nowhere() -> None:
    assert "hostname" not in repr(DATA)
    assert str(DATA) == "40 bytes, digest 00"
