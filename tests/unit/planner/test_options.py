"""Options on one host or another: what they go back to, what they cost, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.definition import DomainType, GuestType
from reconciler.model.desired import RestartWhen
from reconciler.model.names import FieldName
from reconciler.model.observed import Denial
from reconciler.model.options import (
    HOST_DEVICES,
    HOST_MODEL,
    HOST_PASSTHROUGH,
    NO_OPTIONS,
    Graphics,
    HostBus,
    HostDevice,
    HugePages,
    Options,
    Pin,
    Topology,
)
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.planner.effects import digest_of
from reconciler.planner.hostdevices import impossible_devices
from reconciler.planner.options import as_told, differing_options, impossible_options
from tests.strategies.worlds import ABLE, HOSTS, MAIN, Story, desired, guest, host

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredGuest

MODE, PIN = FieldName("cpus.mode"), FieldName("cpus.pin")
WHERE = {HOSTS[0]: MAIN}


def _story(domain_type: DomainType = DomainType.KVM) -> Story:
    one = replace(host(HOSTS[0], xen=domain_type is DomainType.XEN), domain_type=domain_type)
    story = Story.of(desired(guest("a"), hosts=WHERE), one)
    story.passes()
    return story


def _change(story: Story, wish: DesiredGuest) -> dict[str, Change]:
    story.arrive(desired(wish, hosts=WHERE))
    return {one.field: one for one in story.passes()[-1].statuses[wish.name].changes}


def _stored(story: Story) -> Options:
    found = story.find("a").stored
    assert found is not None
    return found.options


@pytest.mark.parametrize(
    ("domain_type", "silent"),
    [(DomainType.KVM, Options(cpu=HOST_MODEL)), (DomainType.QEMU, NO_OPTIONS)],
)
def test_a_processor_that_is_no_longer_said_is_that_of_a_new_guest_again(
    domain_type: DomainType, silent: Options
) -> None:
    """KVM's new guests get the host's model: libvirt's own default is too old to boot on."""
    story = _story(domain_type)
    assert _stored(story) == silent
    _change(story, guest("a", mentioned=(MODE,), options=Options(cpu="Nehalem")))
    assert _stored(story) == Options(cpu="Nehalem")
    _change(story, guest("a"))
    assert _stored(story) == silent


def test_an_option_of_a_running_guest_waits_for_its_restart() -> None:
    wish = guest("a", mentioned=(MODE,), options=Options(cpu="Nehalem"))
    change = _change(_story(), wish)["cpus.mode"]
    assert (change.label, change.fate, change.reason) == (
        Label.RESTART,
        Fate.WAITING,
        Reason.NEEDS_RESTART,
    )
    assert (change.before, change.after) == ("host-model", "Nehalem")


def test_what_the_hosts_model_came_to_is_no_difference() -> None:
    """See Note [What a running guest tells]."""
    story = _story()
    found = story.find("a")
    assert found.stored is not None
    assert found.live is not None
    came_to = replace(found.live, options=Options(cpu="EPYC-Rome"))
    story.stage("a", live=came_to)
    wish = guest("a", mentioned=(MODE,), options=Options(cpu=HOST_MODEL))
    assert _change(story, wish) == {}


@pytest.mark.parametrize(
    ("live", "stored", "told"),
    [
        (Options(cpu="EPYC"), Options(cpu=HOST_MODEL), Options(cpu=HOST_MODEL)),
        (Options(cpu="EPYC"), Options(cpu="Nehalem"), Options(cpu="EPYC")),
        (NO_OPTIONS, Options(cpu=HOST_MODEL), NO_OPTIONS),
        (
            Options(cpu=HOST_PASSTHROUGH),
            Options(cpu=HOST_MODEL),
            Options(cpu=HOST_PASSTHROUGH),
        ),
        (
            Options(huge_pages=HugePages(size_kib=2048)),
            Options(huge_pages=HugePages()),
            Options(huge_pages=HugePages()),
        ),
        (
            Options(huge_pages=HugePages(size_kib=2048)),
            Options(huge_pages=HugePages(size_kib=1 << 20)),
            Options(huge_pages=HugePages(size_kib=2048)),
        ),
    ],
)
def test_a_running_guest_is_told_as_its_definition_would_be(
    live: Options, stored: Options, told: Options
) -> None:
    assert as_told(live, stored) == told


def test_a_host_that_emulates_cannot_pass_its_processor_through() -> None:
    options = Options(cpu=HOST_PASSTHROUGH)
    for domain_type, refused in ((DomainType.QEMU, [MODE]), (DomainType.KVM, [])):
        found = impossible_options(options, GuestType.HVM, domain_type, ABLE)
        assert [field for field, _ in found] == refused
    kept = impossible_options(options, GuestType.HVM, DomainType.QEMU, ABLE, there=options)
    assert list(kept) == []


def test_a_denial_may_leave_one_value_out() -> None:
    """Xen passes its processor through, whatever is said; so it may be said."""
    able = replace(
        ABLE,
        without={(GuestType.PV, MODE): Denial(why="so", but=frozenset({HOST_PASSTHROUGH}))},
    )
    for cpu, refused in ((HOST_MODEL, ["so"]), (HOST_PASSTHROUGH, []), (None, [])):
        found = impossible_options(Options(cpu=cpu), GuestType.PV, DomainType.XEN, able)
        assert [why for _, why in found] == refused


def test_a_pin_to_a_processor_that_the_host_does_not_have_is_refused() -> None:
    """It would keep the guest from starting, and only then."""
    wish = guest("a", mentioned=(PIN,), options=Options(pin=(Pin(vcpu=0, cpus="0,6-8"),)))
    story = _story()
    change = _change(story, wish)["cpus.pin"]
    assert (change.fate, change.reason) == (Fate.REFUSED, Reason.NOT_SUPPORTED)
    assert change.message == "h1 has 8 processors, 0 to 7, not 0 on 0,6-8"
    assert _stored(story).pin == ()


def test_a_persons_own_options_are_carried_over_into_what_is_written() -> None:
    story = _story()
    found = story.find("a")
    assert found.stored is not None
    theirs = Options(cpu="EPYC", weight=300, graphics=Graphics(listen="10.0.0.1"))
    stored = replace(found.stored, options=theirs)
    story.stage("a", stored=stored, stored_digest=digest_of(stored))
    _change(story, guest("a", mentioned=(PIN,), options=Options(pin=(Pin(vcpu=0, cpus="1"),))))
    assert _stored(story) == replace(theirs, pin=(Pin(vcpu=0, cpus="1"),))


def test_values_are_told_in_words() -> None:
    before = Options(pin=(Pin(vcpu=0, cpus="1"), Pin(vcpu=1, cpus="2-3")), rng=True)
    after = Options(topology=Topology(cores=4), graphics=Graphics(), huge_pages=HugePages())
    fields = {FieldName(one) for one in ("rng", "graphics", "cpus.topology", "memory.hugePages")}
    assert list(differing_options(after, before, fields | {PIN})) == [
        ("cpus.topology", "none", "1 x 4 x 1"),
        ("cpus.pin", "0 on 1, 1 on 2-3", "none"),
        ("memory.hugePages", "none", "yes"),
        ("rng", "yes", "none"),
        ("graphics", "none", "vnc on 127.0.0.1"),
    ]


def _running_with(story: Story, options: Options) -> None:
    found = story.find("a")
    assert found.stored is not None
    both = replace(found.stored, options=options)
    story.stage("a", stored=both, live=both, stored_digest=digest_of(both))


def _live(story: Story) -> Options:
    found = story.find("a").live
    assert found is not None
    return found.options


@pytest.mark.parametrize(
    ("before", "after", "live"),
    [
        ((), (Pin(vcpu=0, cpus="1"),), True),
        ((Pin(vcpu=0, cpus="1"),), (Pin(vcpu=0, cpus="2"),), True),
        ((), (Pin(vcpu=1, cpus="1"),), False),  # it has one virtual CPU now, and can have four
        ((Pin(vcpu=0, cpus="1"),), (), False),
    ],
)
def test_a_pin_is_moved_while_the_guest_runs_but_not_taken_away(
    before: tuple[Pin, ...], after: tuple[Pin, ...], *, live: bool
) -> None:
    """Libvirt would remember a pin to all processors, which is not the same as none."""
    story = _story()
    _running_with(story, Options(cpu=HOST_MODEL, pin=before))
    changes = _change(story, guest("a", mentioned=(PIN,), options=Options(pin=after)))
    assert _stored(story).pin == after
    assert _live(story).pin == (after if live else before)
    assert ("cpus.pin" in changes) is not live


def test_shares_that_are_not_ours_stay_as_the_scheduler_has_them() -> None:
    """One call sets both; a person's weight is told back as it is."""
    story = _story(DomainType.XEN)
    _running_with(story, Options(weight=700))
    cap = FieldName("cpus.cap")
    _change(story, guest("a", mentioned=(cap,), options=Options(cap=50)))
    assert _live(story) == _stored(story) == Options(weight=700, cap=50)
    assert not story.refused


def test_a_cap_that_was_lost_at_a_start_is_given_again() -> None:
    """Note [Shares]: Xen's scheduler is told of it only while the guest runs."""
    story = _story(DomainType.XEN)
    wish = guest("a", mentioned=(FieldName("cpus.cap"),), options=Options(cap=50))
    _change(story, wish)
    found = story.find("a")
    assert found.live is not None
    story.stage("a", live=replace(found.live, options=NO_OPTIONS))
    assert _change(story, wish) == {}
    assert _live(story) == Options(cap=50)


GPU = HostDevice(bus=HostBus.PCI, address="0000:03:00.0")
THEIRS = HostDevice(bus=HostBus.USB, address="046d:c52b")


def test_a_device_of_the_host_is_owned_for_itself() -> None:
    """One that a person handed over stays, whatever a manifest says of another."""
    story = _story()
    _running_with(story, Options(cpu=HOST_MODEL, host_devices=(THEIRS,)))
    wish = guest("a", mentioned=(GPU.field,), options=Options(host_devices=(GPU,)))
    changes = _change(story, wish)
    assert _stored(story).host_devices == (GPU, THEIRS)
    assert changes[GPU.field].label is Label.RESTART
    assert (changes[GPU.field].before, changes[GPU.field].after) == ("none", str(GPU))
    story.stage("a", live=story.find("a").stored)
    _change(story, guest("a", restart=RestartWhen.NOW))
    found = story.find("a")
    assert found.mark is not None
    assert found.mark.fields == ()
    assert _stored(story).host_devices == _live(story).host_devices == (THEIRS,)


def test_a_device_is_refused_where_guests_can_have_none() -> None:
    able = replace(ABLE, without={(GuestType.HVM, HOST_DEVICES): Denial(why="not here")})
    options = Options(host_devices=(GPU, THEIRS))
    told = impossible_devices(options, GuestType.HVM, able, there=Options(host_devices=(THEIRS,)))
    assert list(told) == [(GPU.field, "not here")]
    assert list(impossible_devices(options, GuestType.HVM, ABLE, there=NO_OPTIONS)) == []
