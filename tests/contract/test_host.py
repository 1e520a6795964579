"""What every implementation of the port promises, tried on each of them.

What a driver cannot do it must refuse without a try: the capability table says which.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from reconciler.domxml import canonical, read
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.model.definition import (
    Bus,
    Disk,
    DiskDevice,
    DomainType,
    Memory,
    Vcpus,
    VolumeSource,
)
from reconciler.model.mark import MarkedSeed, Phase
from reconciler.model.names import Digest, GuestName, LibvirtPool, Target, VolumeName
from reconciler.model.observed import RunState, StateReason
from reconciler.model.options import Pin
from reconciler.model.seed import SEED_CAPACITY_BYTES, SeedData
from reconciler.model.steps import (
    AttachDisk,
    AttachNic,
    ChangeMedium,
    ChangeNic,
    CreateSeed,
    CreateVolume,
    DefineGuest,
    DestroyGuest,
    DetachDisk,
    DetachNic,
    DiscardVolume,
    GrowDisk,
    GrowVolume,
    PinVcpus,
    RemoveSeed,
    SetAutostart,
    SetMark,
    SetMemory,
    SetShares,
    SetVcpus,
    ShutDownGuest,
    StartGuest,
)
from reconciler.model.suspension import Covered, Scope, Suspension
from tests.contract.grounds import (
    FOREIGN,
    GUESTS,
    IMAGES,
    KIB_PER_MIB,
    MIB,
    NAME,
    awaited,
    mark,
    marked_disk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.steps import Step
    from tests.contract.grounds import Ground

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

_XEN = pytest.param("xen", marks=pytest.mark.xen)
on_every_ground = pytest.mark.parametrize("ground", ["memory", "test", "qemu", _XEN], indirect=True)
on_all_but_xen = pytest.mark.parametrize("ground", ["memory", "test", "qemu"], indirect=True)
where_seeds_are_made = pytest.mark.parametrize("ground", ["memory", "qemu", _XEN], indirect=True)
where_guests_live = pytest.mark.parametrize("ground", ["memory", "qemu"], indirect=True)
on_the_test_driver = pytest.mark.parametrize("ground", ["test"], indirect=True)


def on(ground: Ground) -> dict[str, object]:
    """What every step for the guest names."""
    return {"host": ground.host.name, "guest": NAME, "uuid": ground.definition().uuid}


def do(ground: Ground, kind: Callable[..., Step], **arguments: object) -> None:
    """Carry out one step for the guest."""
    ground.host.carry_out(kind(**on(ground), **arguments))


def do_without_writing(ground: Ground, kind: Callable[..., Step], **arguments: object) -> None:
    """Carry out a step whose obligation is true already: it must not write."""
    before = ground.host.writes
    do(ground, kind, **arguments)
    assert ground.host.writes == before


# ------------------------------------------------------------------------------------ observing


@on_every_ground
def test_observing_writes_nothing_and_says_the_same_again(ground: Ground) -> None:
    """An observation is a function of the world: whole, repeatable, and without a trace."""
    ground.define(ground.definition())
    ground.define_foreign()
    writes = ground.host.writes
    first, second = ground.host.observe(), ground.host.observe()
    assert ground.host.writes == writes
    same = {
        "answered_at": first.answered_at,
        "free_memory_kib": first.free_memory_kib,
        "pools": first.pools,
    }
    assert replace(second, **same) == first  # type: ignore[arg-type]
    assert {guest.name for guest in first.guests.values()} == {NAME, FOREIGN}
    assert first.guests.keys() == {guest.uuid for guest in first.guests.values()}
    assert first.domain_type is ground.domain_type
    assert (ground.guest_type, ground.arch) in first.guest_types
    assert first.cpus > 0
    assert first.memory_kib > 0
    assert first.pools[GUESTS].active


@on_every_ground
def test_a_foreign_guest_is_seen_and_has_no_mark(ground: Ground) -> None:
    ground.define_foreign()
    (guest,) = ground.host.observe().guests.values()
    assert (guest.name, guest.mark, guest.mark_problem) == (FOREIGN, None, None)
    assert guest.stored is not None
    assert guest.live is None


@on_every_ground
def test_inspecting_writes_nothing_and_tells_what_a_check_up_asks(ground: Ground) -> None:
    """Whether a file is there is known where a pool would show it, and nowhere else."""
    folder = ground.host.observe().pools[GUESTS].path
    writes = ground.host.writes
    said = ground.host.inspect([f"{folder}/no-such-file", "/no/pool/is/here"])
    assert ground.host.writes == writes
    assert said.files == {f"{folder}/no-such-file": False, "/no/pool/is/here": None}
    assert [part.isdigit() for part in said.libvirt.split(".")] == [True] * 3
    assert said.hypervisor
    assert (said.dom0_memory_kib is not None) is (ground.domain_type is DomainType.XEN)


@on_all_but_xen
def test_an_image_that_lies_in_a_pool_is_there(ground: Ground) -> None:
    image = ground.image
    path = ground.host.observe().pools[image.pool].volumes[image.volume].path
    assert ground.host.inspect([path]).files == {path: True}


@on_all_but_xen
def test_images_and_networks_are_seen(ground: Ground) -> None:
    host = ground.host.observe()
    volume = host.pools[ground.image.pool].volumes[ground.image.volume]
    assert volume.capacity_bytes == 64 * MIB
    assert host.networks == {"lab": True}
    assert host.bridges is not None
    assert "br0" in host.bridges


# ------------------------------------------------------------------------------------- defining


@on_every_ground
def test_what_is_defined_is_what_is_observed(ground: Ground) -> None:
    """Mark included, stopped, and not started with the host."""
    definition = ground.define(ground.definition())
    guest = ground.guest()
    assert guest.stored == definition
    assert guest.mark == definition.mark
    assert guest.live is None
    assert guest.state is RunState.SHUT_OFF
    assert not guest.autostart
    assert not guest.managed_save


@on_every_ground
def test_defining_what_is_defined_writes_nothing(ground: Ground) -> None:
    """Also for a plan that saw the world before: the obligation is true, and that is all."""
    definition = ground.define(ground.definition())
    do_without_writing(ground, DefineGuest, definition=definition, replaces=None)
    found = ground.guest().stored_digest
    do_without_writing(ground, DefineGuest, definition=definition, replaces=found)


@on_every_ground
def test_a_draft_shows_what_a_define_would_write_and_writes_nothing(ground: Ground) -> None:
    """Of a guest that is new, of one that changes, and of one that is as it shall be."""
    definition = ground.definition()
    new = DefineGuest(**on(ground), definition=definition, replaces=None)  # type: ignore[arg-type]
    writes = ground.host.writes
    first = ground.host.draft(new)
    assert ground.host.writes == writes
    assert first.stored == ""
    assert read(first.defined).definition.memory == definition.memory
    ground.define(definition)
    there = ground.host.draft(new)
    assert there.stored == there.defined
    more = replace(definition, vcpus=Vcpus(count=1, maximum=4))
    changed = ground.host.draft(replace(new, definition=more))
    assert changed.stored == there.stored
    assert read(changed.defined).definition.vcpus == more.vcpus
    assert ground.guest().stored == canonical(definition)


@on_every_ground
def test_every_field_that_may_change_can_be_redefined(ground: Ground) -> None:
    first = ground.define(ground.definition())
    assert first.mark is not None
    second = replace(
        first,
        vcpus=Vcpus(count=2, maximum=2),
        memory=Memory(size_kib=100 * KIB_PER_MIB, maximum_kib=100 * KIB_PER_MIB),
        boot=replace(ground.boot, cmdline="console=hvc0 other"),
        nics=(ground.nic(2), ground.nic(3)),
        mark=replace(first.mark, generation=2, protected=True),
    )
    ground.define(second)
    assert ground.guest().stored == second


@on_every_ground
def test_a_definition_that_somebody_changed_meanwhile_is_not_written_over(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    seen = ground.guest().stored_digest
    meanwhile = ground.define(replace(definition, nics=()))
    with pytest.raises(TransientError):
        do(ground, DefineGuest, definition=replace(definition, agent=False), replaces=seen)
    assert ground.guest().stored == meanwhile


@on_every_ground
def test_a_definition_that_went_is_not_made_again_in_passing(ground: Ground) -> None:
    """A plan that saw the guest meant to change it, not to create it."""
    with pytest.raises(TransientError):
        do(ground, DefineGuest, definition=ground.definition(), replaces=Digest("00"))
    assert ground.host.observe().guests == {}


@on_every_ground
def test_a_name_that_another_domain_has_is_not_taken(ground: Ground) -> None:
    ground.define_foreign()
    before = ground.host.observe().guests
    definition = replace(ground.definition(), name=GuestName(FOREIGN), mark=None)
    with pytest.raises(StalledError):
        do(ground, DefineGuest, definition=definition, replaces=None)
    assert ground.host.observe().guests == before


@on_every_ground
def test_autostart_is_set_and_taken_back(ground: Ground) -> None:
    ground.define(ground.definition())
    for on_or_off in (True, False):
        do(ground, SetAutostart, on=on_or_off)
        assert ground.guest().autostart is on_or_off
        do_without_writing(ground, SetAutostart, on=on_or_off)


@on_every_ground
def test_a_mark_is_set_and_nothing_else_moves(ground: Ground) -> None:
    """Also one that gives the guest another name: the domain keeps its own."""
    definition = ground.define(ground.definition())
    assert definition.mark is not None
    suspension = Suspension(
        covered=Covered(scope=Scope.ALL), who="anna", why='a <look> & a "while"'
    )
    changed = replace(
        definition.mark,
        guest=GuestName("renamed"),
        phase=Phase.CREATING,
        tokens=("a <odd> & 'token'",),
        suspended=(suspension,),
    )
    do(ground, SetMark, mark=changed)
    guest = ground.guest()
    assert guest.mark == changed
    assert guest.stored == replace(definition, mark=changed)
    do_without_writing(ground, SetMark, mark=changed)


@on_every_ground
def test_a_domain_that_is_nobodys_is_marked_and_nothing_else_moves(ground: Ground) -> None:
    """Adoption: the definition, what it runs with and its other metadata stay as they are."""
    definition = ground.definition()
    ground.define(replace(definition, mark=None))
    before = ground.guest()
    assert before.mark is None
    do(ground, SetMark, mark=definition.mark)
    after = ground.guest()
    assert after.mark == definition.mark
    assert before.stored is not None
    assert after.stored == replace(before.stored, mark=definition.mark)
    assert (after.state, after.autostart) == (before.state, before.autostart)


@on_every_ground
def test_a_mark_that_is_not_ours_or_was_copied_is_not_written_over(ground: Ground) -> None:
    definition = ground.definition()
    assert definition.mark is not None
    for wrong in (
        replace(definition.mark, owner=UUID(int=9)),
        replace(definition.mark, uuid=UUID(int=9)),
    ):
        ground.define(replace(definition, mark=wrong))
        with pytest.raises(RefusedError):
            do(ground, SetMark, mark=definition.mark)
        assert ground.guest().mark == wrong


@on_every_ground
def test_steps_for_a_guest_that_is_not_there_are_for_another_look(ground: Ground) -> None:
    """Somebody undefined it since it was seen: nothing is wrong with the step."""
    for kind, arguments in (
        (StartGuest, {}),
        (ShutDownGuest, {"timeout_s": 1}),
        (DestroyGuest, {}),
        (SetAutostart, {"on": True}),
        (SetMemory, {"size_kib": KIB_PER_MIB}),
        (SetVcpus, {"count": 1}),
        (SetMark, {"mark": ground.definition().mark}),
    ):
        with pytest.raises(TransientError):
            do(ground, kind, **arguments)
    assert ground.host.observe().guests == {}


# ------------------------------------------------------------------------------------- running


@on_every_ground
def test_a_guest_starts_once_and_is_destroyed_once(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    guest = ground.guest()
    assert (guest.state, guest.reason) == (RunState.RUNNING, StateReason.BOOTED)
    assert guest.live is not None
    assert guest.live.boot == definition.boot
    assert guest.live.nics == definition.nics
    assert guest.live.mark == definition.mark
    assert guest.stored == definition
    do_without_writing(ground, StartGuest)
    do(ground, DestroyGuest)
    guest = ground.guest()
    assert (guest.state, guest.reason) == (RunState.SHUT_OFF, StateReason.DESTROYED)
    assert guest.live is None
    assert guest.stored == definition
    do_without_writing(ground, DestroyGuest)
    do_without_writing(ground, ShutDownGuest, timeout_s=1)


@on_every_ground
def test_a_guest_that_is_asked_shuts_down(ground: Ground) -> None:
    ground.define(ground.definition())
    do(ground, StartGuest)
    ground.wait_until_up()
    do(ground, ShutDownGuest, timeout_s=60)
    guest = ground.wait(lambda guest: not guest.active, "the shutdown")
    assert (guest.state, guest.reason) == (RunState.SHUT_OFF, StateReason.SHUT_DOWN)


@on_every_ground
def test_a_running_guest_is_marked_in_both_definitions(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    assert definition.mark is not None
    do(ground, StartGuest)
    changed = replace(definition.mark, generation=7)
    do(ground, SetMark, mark=changed)
    guest = ground.guest()
    assert guest.live is not None
    assert (guest.mark, guest.live.mark) == (changed, changed)
    do_without_writing(ground, SetMark, mark=changed)


@on_every_ground
def test_redefining_a_running_guest_leaves_it_as_it_runs(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    before = ground.guest().live
    bigger = ground.define(
        replace(definition, memory=Memory(size_kib=96 * KIB_PER_MIB, maximum_kib=192 * KIB_PER_MIB))
    )
    guest = ground.guest()
    assert guest.stored == bigger
    assert guest.live is not None
    assert before is not None
    assert guest.live.memory.maximum_kib == before.memory.maximum_kib
    assert guest.state is RunState.RUNNING


@on_all_but_xen
def test_a_saved_guest_is_not_started_into_its_old_memory(ground: Ground) -> None:
    ground.define(ground.definition())
    do(ground, StartGuest)
    ground.save_by_hand()
    guest = ground.guest()
    assert guest.managed_save
    assert guest.reason is StateReason.SAVED
    with pytest.raises(StalledError):
        do(ground, StartGuest)
    assert not ground.guest().active


@where_guests_live
def test_a_guest_whose_process_dies_is_seen_as_crashed(ground: Ground) -> None:
    ground.define(ground.definition())
    do(ground, StartGuest)
    ground.crash()
    guest = ground.wait(lambda guest: not guest.active, "the crash")
    assert (guest.state, guest.reason) == (RunState.SHUT_OFF, StateReason.CRASHED)


@where_guests_live
def test_a_guest_that_switches_itself_off_is_seen_as_shut_down(ground: Ground) -> None:
    ground.define(ground.definition())
    do(ground, StartGuest)
    ground.power_off_from_inside()
    guest = ground.wait(lambda guest: not guest.active, "the end of the guest")
    assert (guest.state, guest.reason) == (RunState.SHUT_OFF, StateReason.SHUT_DOWN)


@on_every_ground
def test_whoever_watches_is_told_that_something_happened(ground: Ground) -> None:
    told: list[bool] = []
    ground.host.watch(lambda: told.append(True))
    ground.host.observe()
    ground.define(ground.definition())
    do(ground, StartGuest)
    awaited(lambda: told or None, "a notice")


# --------------------------------------------------------------------------------- live changes


@on_all_but_xen
def test_vcpus_are_added_live_and_never_above_the_maximum(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    do(ground, SetVcpus, count=2)
    guest = ground.guest()
    assert guest.live is not None
    assert guest.live.vcpus == Vcpus(count=2, maximum=2)
    assert guest.stored == definition
    do_without_writing(ground, SetVcpus, count=2)
    with pytest.raises(StalledError):
        do(ground, SetVcpus, count=3)


@on_all_but_xen
def test_vcpus_are_not_taken_from_a_running_guest(ground: Ground) -> None:
    ground.define(replace(ground.definition(), vcpus=Vcpus(count=2, maximum=2)))
    do(ground, StartGuest)
    writes = ground.host.writes
    with pytest.raises(RefusedError):
        do(ground, SetVcpus, count=1)
    assert ground.host.writes == writes


@where_guests_live
def test_virtual_cpus_are_pinned_while_they_run(ground: Ground) -> None:
    """Those that are named move; one that is not there cannot."""
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    for cpus in ("0", "0-1"):
        pin = (Pin(vcpu=0, cpus=cpus),)
        do(ground, PinVcpus, pin=pin)
        guest = ground.guest()
        assert guest.live is not None
        assert guest.live.options.pin == pin
        assert guest.stored == definition
        do_without_writing(ground, PinVcpus, pin=pin)
    for impossible in (Pin(vcpu=1, cpus="0"), Pin(vcpu=0, cpus="500")):
        with pytest.raises(StalledError):
            do(ground, PinVcpus, pin=(impossible,))


@on_every_ground
def test_shares_of_a_running_guest_are_set_where_the_table_says_so(ground: Ground) -> None:
    """Weight and cap are read back from the scheduler; elsewhere nothing is tried."""
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    if not ground.host.observe().capabilities.share_running:
        with pytest.raises(RefusedError):
            do(ground, SetShares, weight=512, cap=50)
        return
    wished = replace(definition.options, weight=512, cap=50)
    ground.define(replace(definition, options=wished))
    for weight, cap in ((300, 40), (None, None), (512, 50)):
        do(ground, SetShares, weight=weight, cap=cap)
        guest = ground.guest()
        assert guest.live is not None
        assert (guest.live.options.weight, guest.live.options.cap) == (weight, cap)
        do_without_writing(ground, SetShares, weight=weight, cap=cap)


@on_all_but_xen
def test_a_balloon_is_moved_and_its_achieved_size_read_back(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    ground.wait_until_up()
    for mib in (110, 160):
        size_kib = mib * KIB_PER_MIB
        do(ground, SetMemory, size_kib=size_kib)

        def followed(guest: object, goal: int = size_kib) -> bool:
            live = getattr(guest, "live", None)
            return live is not None and live.memory.size_kib == goal

        guest = ground.wait(followed, f"a balloon of {mib} MiB")
        assert guest.stored == definition
        do_without_writing(ground, SetMemory, size_kib=size_kib)
    with pytest.raises(StalledError):
        do(ground, SetMemory, size_kib=definition.memory.maximum_kib + KIB_PER_MIB)


@where_guests_live
def test_a_disk_is_plugged_in_and_out_and_its_volume_stays(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    ground.create_volume("contract-data", mib=16)
    do(ground, StartGuest)
    ground.wait_until_up()
    disk = ground.disk(1, "contract-data")
    do(ground, AttachDisk, disk=disk)
    guest = ground.guest()
    assert guest.live is not None
    assert guest.live.disks == (disk,)
    assert guest.disk_sizes[disk.target] == 16 * MIB
    assert guest.stored == definition
    do_without_writing(ground, AttachDisk, disk=disk)
    ground.create_volume("contract-other")
    with pytest.raises(StalledError):
        do(ground, AttachDisk, disk=ground.disk(1, "contract-other"))
    do(ground, DetachDisk, disk=disk)
    ground.wait(lambda guest: guest.live is not None and not guest.live.disks, "the detachment")
    assert VolumeName("contract-data") in ground.host.observe().pools[GUESTS].volumes
    do_without_writing(ground, DetachDisk, disk=disk)


@where_guests_live
def test_a_card_is_plugged_in_changed_and_plugged_out(ground: Ground) -> None:
    definition = ground.define(ground.definition())
    do(ground, StartGuest)
    ground.wait_until_up()
    card = ground.nic(9)
    do(ground, AttachNic, nic=card)
    guest = ground.guest()
    assert guest.live is not None
    assert guest.live.nic(card.mac) == card
    assert guest.stored == definition
    do_without_writing(ground, AttachNic, nic=card)
    do_without_writing(ground, ChangeNic, nic=card)
    do(ground, DetachNic, nic=card)
    ground.wait(
        lambda guest: guest.live is not None and guest.live.nic(card.mac) is None, "the detachment"
    )
    do_without_writing(ground, DetachNic, nic=card)


@where_guests_live
def test_a_medium_is_put_into_a_drive_and_taken_out(ground: Ground) -> None:
    empty = Disk(
        target=Target("sda"),
        bus=Bus.SATA,
        source=None,
        device=DiskDevice.CDROM,
        read_only=True,
    )
    full = replace(empty, source=VolumeSource(pool=IMAGES, volume=VolumeName("lab.iso")))
    definition = ground.define(replace(ground.definition(), disks=(empty,)))
    do(ground, StartGuest)
    for disk in (full, empty):
        do(ground, ChangeMedium, disk=disk)
        guest = ground.guest()
        assert guest.live is not None
        assert guest.live.disk(disk.target) == disk
        assert guest.stored == definition
        do_without_writing(ground, ChangeMedium, disk=disk)


@where_guests_live
def test_a_disk_grows_under_a_running_guest_and_never_shrinks(ground: Ground) -> None:
    ground.create_volume("contract-root", mib=16)
    disk = ground.disk(0, "contract-root")
    ground.define(replace(ground.definition(), disks=(disk,)))
    do(ground, StartGuest)
    assert ground.guest().disk_sizes == {disk.target: 16 * MIB}
    do(ground, GrowDisk, target=disk.target, capacity_bytes=24 * MIB)
    assert ground.guest().disk_sizes == {disk.target: 24 * MIB}
    do_without_writing(ground, GrowDisk, target=disk.target, capacity_bytes=24 * MIB)
    do_without_writing(ground, GrowDisk, target=disk.target, capacity_bytes=8 * MIB)
    assert ground.guest().disk_sizes == {disk.target: 24 * MIB}


@on_the_test_driver
def test_what_the_driver_cannot_do_is_refused_without_a_try(ground: Ground) -> None:
    ground.create_volume("contract-data")
    disk, card = ground.disk(1, "contract-data"), ground.nic(9)
    ground.define(ground.definition())
    do(ground, StartGuest)
    writes = ground.host.writes
    capabilities = ground.host.observe().capabilities
    for capability, kind, arguments in (
        ("disk_hotplug", AttachDisk, {"disk": disk}),
        ("disk_hotplug", DetachDisk, {"disk": disk}),
        ("media_change", ChangeMedium, {"disk": disk}),
        ("nic_hotplug", AttachNic, {"nic": card}),
        ("nic_hotplug", DetachNic, {"nic": card}),
        ("nic_change", ChangeNic, {"nic": card}),
        ("grow_running_disk", GrowDisk, {"target": disk.target, "capacity_bytes": MIB}),
        (
            "grow_stopped_volume",
            GrowVolume,
            {"pool": GUESTS, "volume": "contract-data", "capacity_bytes": 99 * MIB},
        ),
        ("volume_upload", CreateSeed, {**_PLACE, "instance": "contract", "data": _DATA}),
    ):
        assert not getattr(capabilities, capability)
        with pytest.raises(RefusedError):
            do(ground, kind, **arguments)
    assert ground.host.writes == writes


# -------------------------------------------------------------------------------------- volumes


@on_all_but_xen
def test_a_volume_is_created_and_never_created_over(ground: Ground) -> None:
    ground.create_volume("contract-data", mib=16)
    made = ground.host.observe().pools[GUESTS].volumes[VolumeName("contract-data")]
    assert made.capacity_bytes == 16 * MIB
    with pytest.raises(StalledError):
        ground.create_volume("contract-data", mib=32)
    again = ground.host.observe().pools[GUESTS].volumes[VolumeName("contract-data")]
    assert again == made


@on_all_but_xen
def test_a_volume_that_is_made_from_an_image_may_be_larger_and_not_smaller(ground: Ground) -> None:
    ground.create_volume("contract-root", mib=80, image=ground.image)
    volumes = ground.host.observe().pools[GUESTS].volumes
    assert volumes[VolumeName("contract-root")].capacity_bytes == 80 * MIB
    with pytest.raises(StalledError):
        ground.create_volume("contract-small", mib=32, image=ground.image)
    assert VolumeName("contract-small") not in ground.host.observe().pools[GUESTS].volumes


@on_all_but_xen
def test_an_image_or_a_pool_that_is_not_there_stalls_the_volume(ground: Ground) -> None:
    missing = VolumeSource(pool=GUESTS, volume=VolumeName("contract-none"))
    with pytest.raises(StalledError):
        ground.create_volume("contract-root", image=missing)
    with pytest.raises(StalledError):
        do(
            ground,
            CreateVolume,
            pool=LibvirtPool("nowhere"),
            volume=VolumeName("contract-root"),
            capacity_bytes=MIB,
            format="raw",
            image=None,
        )
    assert VolumeName("contract-root") not in ground.host.observe().pools[GUESTS].volumes


@on_all_but_xen
def test_a_volume_that_was_never_finished_is_discarded(ground: Ground) -> None:
    """The mark says that we began it; that alone gives the right."""
    definition = ground.definition()
    begun = mark(NAME, definition.uuid, marked_disk("contract-data", filled=False))
    ground.define(replace(definition, mark=begun))
    ground.create_volume("contract-data")
    discarded = {"pool": GUESTS, "volume": VolumeName("contract-data")}
    do(ground, DiscardVolume, **discarded)
    assert VolumeName("contract-data") not in ground.host.observe().pools[GUESTS].volumes
    do_without_writing(ground, DiscardVolume, **discarded)


@on_all_but_xen
def test_a_volume_that_is_in_use_or_finished_or_not_ours_is_not_discarded(ground: Ground) -> None:
    ground.create_volume("contract-data")
    definition = ground.definition()
    begun = mark(NAME, definition.uuid, marked_disk("contract-data", filled=False))
    finished = mark(NAME, definition.uuid, marked_disk("contract-data", filled=True))
    disk = ground.disk(0, "contract-data")
    # The claim is written before the volume is made, so here it is put under somebody's disk.
    for wrong in (
        replace(definition, mark=mark(NAME, definition.uuid)),
        replace(definition, disks=(disk,), mark=mark(NAME, definition.uuid)),
    ):
        ground.define(wrong)
        with pytest.raises((StalledError, RefusedError)):
            do(ground, DiscardVolume, pool=GUESTS, volume=VolumeName("contract-data"))
    for wrong_mark, disks in ((finished, ()), (begun, (disk,))):
        ground.define(replace(definition, disks=disks))
        do(ground, SetMark, mark=wrong_mark)
        with pytest.raises((StalledError, RefusedError)):
            do(ground, DiscardVolume, pool=GUESTS, volume=VolumeName("contract-data"))
    assert VolumeName("contract-data") in ground.host.observe().pools[GUESTS].volumes


@on_all_but_xen
def test_a_volume_that_is_there_is_not_claimed(ground: Ground) -> None:
    """A mark that says "ours, begun" over somebody's volume would give the right to discard it."""
    ground.create_volume("contract-data")
    definition = ground.definition()
    begun = mark(NAME, definition.uuid, marked_disk("contract-data", filled=False))
    with pytest.raises(StalledError):
        ground.define(replace(definition, mark=begun))
    assert ground.host.observe().guests == {}


@where_guests_live
def test_the_volume_of_a_stopped_guest_grows_and_never_shrinks(ground: Ground) -> None:
    ground.create_volume("contract-root", mib=16)
    disk = ground.disk(0, "contract-root")
    ground.define(replace(ground.definition(), disks=(disk,)))
    volume = {"pool": GUESTS, "volume": VolumeName("contract-root")}
    do(ground, GrowVolume, **volume, capacity_bytes=24 * MIB)
    assert ground.guest().disk_sizes == {disk.target: 24 * MIB}
    do_without_writing(ground, GrowVolume, **volume, capacity_bytes=8 * MIB)
    assert ground.guest().disk_sizes == {disk.target: 24 * MIB}
    with pytest.raises(StalledError):
        do(
            ground,
            GrowVolume,
            pool=GUESTS,
            volume=VolumeName("contract-none"),
            capacity_bytes=MIB,
        )


# ---------------------------------------------------------------------------------------- seeds

_DATA = SeedData(digest=Digest("00"), size_bytes=14, user_data="#cloud-config\n")
_SEED = MarkedSeed(
    target=Target("vdb"),
    pool=GUESTS,
    volume=VolumeName("contract-cidata.iso"),
    digest=_DATA.digest,
    instance="contract",
    filled=False,
)
_PLACE = {"pool": _SEED.pool, "volume": _SEED.volume}


def _seeded(ground: Ground, seed: MarkedSeed | None) -> None:
    """Say in the guest's mark what there is of a seed."""
    plain = mark(NAME, ground.definition().uuid)
    do(ground, SetMark, mark=replace(plain, seed=seed))


@where_guests_live
def test_a_seed_is_made_and_never_made_over(ground: Ground) -> None:
    ground.define(ground.definition())
    _seeded(ground, _SEED)
    do(ground, CreateSeed, **_PLACE, instance="contract", data=_DATA)
    made = ground.host.observe().pools[GUESTS].volumes[_SEED.volume]
    assert made.capacity_bytes == SEED_CAPACITY_BYTES
    with pytest.raises(StalledError):
        do(ground, CreateSeed, **_PLACE, instance="contract", data=_DATA)
    with pytest.raises(StalledError):
        do(
            ground,
            CreateSeed,
            pool=LibvirtPool("nowhere"),
            volume=_SEED.volume,
            instance="contract",
            data=_DATA,
        )


@where_seeds_are_made
def test_a_seed_that_was_not_finished_or_is_done_is_removed(ground: Ground) -> None:
    ground.define(ground.definition())
    for seed in (_SEED, replace(_SEED, filled=True, done=True)):
        _seeded(ground, _SEED)
        do(ground, CreateSeed, **_PLACE, instance="contract", data=_DATA)
        _seeded(ground, seed)
        do(ground, RemoveSeed, **_PLACE)
        assert _SEED.volume not in ground.host.observe().pools[GUESTS].volumes
        do_without_writing(ground, RemoveSeed, **_PLACE)


@where_guests_live
def test_a_volume_that_no_mark_calls_a_seed_that_may_go_is_not_removed(ground: Ground) -> None:
    """Neither another volume, nor a seed that the guest needs, nor one that a guest still has."""
    definition = ground.define(ground.definition())
    _seeded(ground, _SEED)
    do(ground, CreateSeed, **_PLACE, instance="contract", data=_DATA)
    for seed in (None, replace(_SEED, filled=True), replace(_SEED, volume=VolumeName("other"))):
        _seeded(ground, seed)
        with pytest.raises(RefusedError):
            do(ground, RemoveSeed, **_PLACE)
    source = VolumeSource(pool=_SEED.pool, volume=_SEED.volume)
    disk = replace(ground.disk(1, _SEED.volume), source=source, read_only=True)
    done = replace(mark(NAME, definition.uuid), seed=replace(_SEED, filled=True, done=True))
    ground.define(replace(definition, disks=(disk,)))
    do(ground, SetMark, mark=done)
    with pytest.raises(RefusedError):
        do(ground, RemoveSeed, **_PLACE)
    assert _SEED.volume in ground.host.observe().pools[GUESTS].volumes


@on_all_but_xen
def test_a_seed_is_not_claimed_over_a_volume_that_is_there(ground: Ground) -> None:
    """The right to remove it must not be given for a volume that somebody else has put there."""
    ground.create_volume(_SEED.volume)
    definition = ground.definition()
    claiming = replace(mark(NAME, definition.uuid), seed=_SEED)
    with pytest.raises(StalledError):
        ground.define(replace(definition, mark=claiming))
    assert ground.host.observe().guests == {}
