"""What only a host behind a real libvirtd shows: other people's hands, broken connections."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import libvirt
import pytest

from reconciler.errors import StalledError, TransientError, UnknownOutcomeError
from reconciler.hypervisor.libvirthost import LibvirtHost
from reconciler.hypervisor.nocloud import render_seed
from reconciler.model.definition import DiskFormat, NetworkSource, VolumeSource
from reconciler.model.mark import Mark, MarkedSeed
from reconciler.model.names import Digest, HostName, Target, VolumeName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.options import Graphics
from reconciler.model.seed import SeedData
from reconciler.model.steps import (
    AttachNic,
    ChangeNic,
    CreateSeed,
    CreateVolume,
    DefineGuest,
    DestroyGuest,
    RemoveSeed,
    SetMark,
    SetMemory,
    ShutDownGuest,
    StartGuest,
)
from tests.contract.grounds import (
    GUESTS,
    IMAGES,
    KIB_PER_MIB,
    MIB,
    NAME,
    awaited,
    mark,
    marked_disk,
    now,
)
from tests.contract.test_host import do, do_without_writing
from tests.system import drop_victim

if TYPE_CHECKING:
    from reconciler.model.observed import ObservedGuest
    from tests.contract.places import QemuGround

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE


def test_what_no_field_models_survives_a_definition_with_its_secrets(qemu: QemuGround) -> None:
    """Somebody's title, screen with its password and metadata are there after domops wrote."""
    definition = qemu.define(qemu.definition())
    text = qemu.domain().XMLDesc(SECURE)
    text = text.replace("<metadata>", "<title>ours too</title><metadata><app xmlns='urn:x'>7</app>")
    vnc = "<graphics type='vnc' listen='127.0.0.1' passwd='s3cret'/>"
    text = text.replace("</devices>", f"{vnc}</devices>")
    qemu.hand.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    screen = Graphics(type="vnc", listen="127.0.0.1")
    definition = replace(definition, options=replace(definition.options, graphics=screen))
    assert qemu.guest().stored == definition
    assert definition.mark is not None
    drafted = qemu.host.draft(
        DefineGuest(
            host=qemu.host.name,
            guest=NAME,
            uuid=definition.uuid,
            definition=replace(definition, mark=replace(definition.mark, protected=True)),
            replaces=None,
        )
    )
    assert "listen='127.0.0.1'" in drafted.stored
    assert "s3cret" not in drafted.stored + drafted.defined  # people read these
    changed = replace(
        definition,
        vcpus=replace(definition.vcpus, maximum=4),
        mark=replace(definition.mark, generation=5),
    )
    qemu.define(changed)
    assert qemu.guest().stored == changed
    text = qemu.domain().XMLDesc(SECURE)
    for kept in ("ours too", "s3cret", "urn:x"):
        assert kept in text


def test_what_libvirt_keeps_otherwise_than_it_was_told_stalls(qemu: QemuGround) -> None:
    """The memory of a guest with NUMA cells is their sum, and would be written for ever."""
    definition = qemu.define(qemu.definition())
    cell = f"<cell id='0' cpus='0-1' memory='{definition.memory.maximum_kib}' unit='KiB'/>"
    text = qemu.domain().XMLDesc(SECURE)
    assert text.count("</cpu>") == 1
    text = text.replace("</cpu>", f"<numa>{cell}</numa></cpu>")
    qemu.hand.defineXMLFlags(text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    found = qemu.guest()
    assert found.stored == definition
    larger = replace(definition.memory, maximum_kib=2 * definition.memory.maximum_kib)
    with pytest.raises(StalledError, match="libvirt keeps memory otherwise"):
        do(
            qemu,
            DefineGuest,
            definition=replace(definition, memory=larger),
            replaces=found.stored_digest,
        )
    assert qemu.guest().stored == definition


def test_a_mark_of_a_newer_domops_is_reported_and_never_written_over(qemu: QemuGround) -> None:
    definition = qemu.define(qemu.definition())
    element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    qemu.domain().setMetadata(
        element, "<guest from='the future'/>", "domops", "urn:domops:mark:1", 2
    )
    guest = qemu.guest()
    assert guest.mark is None
    assert guest.mark_problem
    writes = qemu.host.writes
    with pytest.raises(Exception, match="mark"):
        do(qemu, SetMark, mark=definition.mark)
    assert qemu.host.writes == writes


def test_a_file_that_libvirt_has_not_noticed_is_neither_claimed_nor_overwritten(
    qemu: QemuGround,
) -> None:
    """The refresh before a claim finds what somebody copied into the pool's folder."""
    file = qemu.lab.directory / "lib/images/contract-data"
    file.write_text("precious")
    assert VolumeName("contract-data") not in qemu.host.observe().pools[GUESTS].volumes
    with pytest.raises(StalledError):
        qemu.create_volume("contract-data")
    definition = qemu.definition()
    begun = mark(NAME, definition.uuid, marked_disk("contract-data", filled=False))
    with pytest.raises(StalledError):
        qemu.define(replace(definition, mark=begun))
    assert file.read_text() == "precious"
    assert qemu.host.observe().guests == {}


def test_a_seed_is_whole_closed_to_all_but_root_and_overwritten_before_it_goes(
    qemu: QemuGround,
) -> None:
    """Another name of the same file shows what is left of it: nothing that could be read."""
    qemu.define(qemu.definition())
    seed = MarkedSeed(
        target=Target("vdb"),
        pool=GUESTS,
        volume=VolumeName("contract-cidata.iso"),
        digest=Digest("00"),
        instance="contract",
        filled=False,
    )
    do(qemu, SetMark, mark=replace(mark(NAME, qemu.definition().uuid), seed=seed))
    data = SeedData(digest=Digest("00"), size_bytes=6, user_data="secret")
    place = {"pool": seed.pool, "volume": seed.volume}
    do(qemu, CreateSeed, **place, instance="contract", data=data)
    file = qemu.lab.directory / "lib/images" / seed.volume
    assert (stat.S_IMODE(file.stat().st_mode), file.stat().st_uid) == (0o600, 0)
    assert _content(qemu, seed.volume) == render_seed(data, instance="contract", hostname=NAME)
    again = file.with_suffix(".again")
    again.hardlink_to(file)
    do(qemu, RemoveSeed, **place)
    assert not file.exists()
    left = again.read_bytes()
    again.unlink()
    assert b"secret" not in left
    assert not any(left)


def _content(qemu: QemuGround, name: VolumeName) -> bytes:
    volume = qemu.hand.storagePoolLookupByName(GUESTS).storageVolLookupByName(name)
    stream = qemu.hand.newStream(0)
    pieces: list[bytes] = []
    volume.download(stream, 0, 0, 0)
    stream.recvAll(lambda _stream, piece, _opaque: pieces.append(piece), None)
    stream.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("made", list(DiskFormat))
@pytest.mark.parametrize("image", ["lab.raw", "lab.qcow2"])
def test_a_volume_is_a_whole_copy_of_its_image_in_any_format(
    qemu: QemuGround, made: DiskFormat, image: str
) -> None:
    name = VolumeName("contract-copy")
    do(
        qemu,
        CreateVolume,
        pool=GUESTS,
        volume=name,
        capacity_bytes=96 * MIB,
        format=made,
        image=replace(qemu.image, volume=VolumeName(image)),
    )
    copy = qemu.host.observe().pools[GUESTS].volumes[name]
    assert (copy.capacity_bytes, copy.format) == (96 * MIB, made)
    raw = qemu.lab.run("qemu-img", "info", "-U", f"/var/lib/libvirt/images/{name}")
    assert f"file format: {made}" in raw
    cut = ["dd", f"count={64 * MIB}", "iflag=count_bytes", "status=none", "bs=1M"]
    want = qemu.lab.run(
        "sh", "-c", " ".join([*cut, "if=/var/lib/libvirt/templates/lab.raw"]) + "|md5sum"
    )
    convert = f"qemu-img convert -f {made} -O raw /var/lib/libvirt/images/{name} /tmp/contract-raw"
    got = qemu.lab.run(
        "sh",
        "-c",
        f"{convert}; {' '.join(cut)} if=/tmp/contract-raw | md5sum; rm /tmp/contract-raw",
    )
    assert got == want


def test_after_libvirtd_was_killed_the_next_look_is_whole_and_watched(qemu: QemuGround) -> None:
    """The connection is opened again, and everything registered at it again."""
    told = threading.Event()
    qemu.host.watch(told.set)
    definition = qemu.define(qemu.definition())
    do(qemu, StartGuest)
    qemu.hand.close()
    qemu.lab.kill_libvirtd()
    with pytest.raises(TransientError):
        qemu.host.observe()
    qemu.lab.start_libvirtd()
    qemu.hand = qemu.lab.connect()

    guest = awaited(lambda: _observed(qemu), "an answer of the new libvirtd")
    assert guest.stored == definition
    assert guest.state is RunState.RUNNING
    told.clear()
    do(qemu, DestroyGuest)
    assert told.wait(30)


def _observed(qemu: QemuGround) -> ObservedGuest | None:
    try:
        return qemu.guest()
    except TransientError:
        return None


def test_a_writing_call_that_libvirtd_did_not_survive_has_an_unknown_outcome(
    qemu: QemuGround,
) -> None:
    """The copy was under way when the daemon died: nobody here knows what became of it."""
    qemu.lab.run("truncate", "-s", "3G", "/var/lib/libvirt/templates/contract-big")
    qemu.lab.run(
        "dd",
        "if=/dev/urandom",
        "of=/var/lib/libvirt/templates/contract-big",
        "bs=1M",
        "count=600",
        "conv=notrunc",
        "status=none",
    )
    images = qemu.hand.storagePoolLookupByName(IMAGES)
    images.refresh()
    outcome: list[BaseException] = []

    def fill() -> None:
        try:
            qemu.create_volume(
                "contract-big",
                mib=3 << 10,
                image=replace(qemu.image, volume=VolumeName("contract-big")),
            )
        except BaseException as error:  # noqa: BLE001 what was raised is what is looked at
            outcome.append(error)

    filling = threading.Thread(target=fill)
    filling.start()
    target = qemu.lab.directory / "lib/images/contract-big"
    try:
        awaited(
            lambda: (target.exists() and target.stat().st_blocks > 0) or None, "the copy's begin"
        )
        qemu.hand.close()
        qemu.lab.kill_libvirtd()
        filling.join(60)
    finally:
        qemu.lab.start_libvirtd()
        qemu.hand = awaited(lambda: _connection(qemu), "the new libvirtd")
        target.unlink(missing_ok=True)
        (qemu.lab.images / "contract-big").unlink()
        for pool in (GUESTS, IMAGES):
            qemu.hand.storagePoolLookupByName(pool).refresh()
    assert [type(error) for error in outcome] == [UnknownOutcomeError]


def test_a_connection_that_is_let_go_of_is_not_closed_under_anybodys_call(
    qemu: QemuGround,
) -> None:
    """In a process of its own: libvirt frees what is closed, and a call on that reads rubbish."""
    rounds = 20
    arguments = [qemu.lab.uri, str(qemu.lab.libvirtd_pid_here()), str(rounds)]
    victim = subprocess.run(
        [sys.executable, "-m", drop_victim.__name__, *arguments],
        env={**os.environ, "MALLOC_PERTURB_": "165"},  # what is freed is overwritten at once
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    answered = {"answered": rounds * drop_victim.CALLS}
    assert (victim.returncode, victim.stderr) == (0, "")
    assert victim.stdout == f"{answered}\n"


def _connection(qemu: QemuGround) -> libvirt.virConnect | None:
    try:
        return qemu.lab.connect()
    except libvirt.libvirtError:
        return None


def test_a_host_that_is_not_there_is_a_passing_trouble_and_its_uri_keeps_no_secret() -> None:
    host = LibvirtHost(name=HostName("gone"), uri="qemu+unix:///system?socket=/nowhere", clock=now)
    with pytest.raises(TransientError, match="gone"):
        host.observe()
    with pytest.raises(StalledError) as caught:
        LibvirtHost(name=HostName("gone"), uri="qemu+tcp://root:hunter2@h1/system", clock=now)
    assert "hunter2" not in str(caught.value)


def test_a_card_moves_to_another_network_while_its_guest_runs(qemu: QemuGround) -> None:
    other = qemu.hand.networkDefineXML(
        "<network><name>contract-net</name><forward mode='bridge'/><bridge name='br0'/></network>"
    )
    other.create()
    try:
        qemu.define(qemu.definition())
        do(qemu, StartGuest)
        moved = replace(qemu.nic(1), source=NetworkSource(network="contract-net"))
        do(qemu, ChangeNic, nic=moved)
        live = qemu.guest().live
        assert live is not None
        assert live.nics == (moved,)
        do_without_writing(qemu, ChangeNic, nic=moved)
        with pytest.raises(TransientError):
            do(qemu, ChangeNic, nic=qemu.nic(8))
        with pytest.raises(StalledError):
            do(qemu, AttachNic, nic=qemu.nic(1))
        do(qemu, DestroyGuest)
    finally:
        other.destroy()
        other.undefine()


def test_a_guest_without_a_stored_definition_is_never_stopped(qemu: QemuGround) -> None:
    """Stopped, it would be gone: that is more than the step says."""
    qemu.define(qemu.definition())
    do(qemu, StartGuest)
    qemu.domain().undefine()
    guest = qemu.guest()
    assert guest.stored is None
    assert guest.live is not None
    for kind, arguments in ((ShutDownGuest, {"timeout_s": 1}), (DestroyGuest, {})):
        with pytest.raises(StalledError):
            do(qemu, kind, **arguments)
    assert qemu.guest().active


def test_a_guest_that_a_person_paused_is_told_apart_and_not_started(qemu: QemuGround) -> None:
    qemu.define(qemu.definition())
    do(qemu, StartGuest)
    qemu.domain().suspend()
    guest = qemu.guest()
    assert (guest.state, guest.reason) == (RunState.PAUSED, StateReason.USER)
    with pytest.raises(StalledError):
        do(qemu, StartGuest)


def test_a_balloon_that_a_person_moved_is_seen(qemu: QemuGround) -> None:
    """What counts is what the guest has, not what it was told."""
    qemu.define(qemu.definition())
    do(qemu, StartGuest)
    qemu.wait_until_up()
    qemu.domain().setMemoryFlags(100 * KIB_PER_MIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    qemu.wait(
        lambda guest: guest.live is not None and guest.live.memory.size_kib == 100 * KIB_PER_MIB,
        "the balloon",
    )
    do(qemu, SetMemory, size_kib=128 * KIB_PER_MIB)


def test_a_disk_that_somebody_grew_behind_qemu_is_offered_as_qemu_offers_it(
    qemu: QemuGround,
) -> None:
    """The volume's size is not the guest's: QEMU has to be told."""
    qemu.create_volume("contract-root", mib=16)
    disk = qemu.disk(0, "contract-root")
    qemu.define(replace(qemu.definition(), disks=(disk,)))
    do(qemu, StartGuest)
    assert qemu.guest().disk_sizes == {disk.target: 16 * MIB}
    qemu.lab.run("truncate", "-s", "32M", "/var/lib/libvirt/images/contract-root")
    assert isinstance(qemu.host, LibvirtHost)
    qemu.host._volumes.forget()  # what volumes said is believed for some minutes
    volume = qemu.host.observe().pools[GUESTS].volumes[VolumeName("contract-root")]
    assert volume.capacity_bytes == 32 * MIB
    assert qemu.guest().disk_sizes == {disk.target: 16 * MIB}


def test_a_definition_of_another_uuid_or_mark_is_refused_before_anything_is_written(
    qemu: QemuGround,
) -> None:
    definition = qemu.definition()
    assert isinstance(definition.mark, Mark)
    other = replace(definition, uuid=qemu.definition(NAME).uuid.__class__(int=7))
    with pytest.raises(Exception, match="UUID"):
        do(qemu, DefineGuest, definition=other, replaces=None)
    qemu.define(definition)
    writes = qemu.host.writes
    with pytest.raises(Exception, match="UUID"):
        do(qemu, SetMark, mark=replace(definition.mark, uuid=other.uuid))
    assert qemu.host.writes == writes


def test_a_copy_says_how_far_it_has_come(qemu: QemuGround) -> None:
    """While it is made, by what it takes of what its image takes; nobody asks it to wait."""
    image = VolumeName("large.raw")
    (qemu.lab.images / image).write_bytes(b"\x5a" * (512 * MIB))
    qemu.hand.storagePoolLookupByName(IMAGES).refresh()
    step = CreateVolume(
        host=qemu.host.name,
        guest=NAME,
        uuid=UUID(int=1),
        pool=GUESTS,
        volume=VolumeName("contract-large"),
        capacity_bytes=512 * MIB,
        format=DiskFormat.RAW,
        image=VolumeSource(pool=IMAGES, volume=image),
    )
    try:
        assert qemu.host.progress(step) is None
        copying = threading.Thread(target=qemu.host.carry_out, args=(step,))
        copying.start()
        seen = []
        while copying.is_alive():
            seen.append(qemu.host.progress(step))
        copying.join()
        done = [one.done_bytes for one in seen if one is not None]
        assert done == sorted(done)
        assert any(0 < one < 512 * MIB for one in done)
        last = qemu.host.progress(step)
        assert last is not None
        assert last.done_bytes == last.total_bytes >= 512 * MIB
    finally:
        (qemu.lab.images / image).unlink()
        qemu.hand.storagePoolLookupByName(IMAGES).refresh()
