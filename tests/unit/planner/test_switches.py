"""VLANs: a plain bridge is one, a port of an Open vSwitch is tagged, and silence keeps a port."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.definition import BridgeSource, GuestType
from reconciler.model.names import FieldName
from reconciler.model.observed import Denial
from reconciler.model.options import OPENVSWITCH
from reconciler.model.plan import Fate, Label, Plan, Reason
from reconciler.planner.effects import digest_of, with_nic
from tests.strategies.worlds import ABLE, HOSTS, MAIN, Story, desired, guest, host, nic

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredNetwork, DesiredWorld

WHERE = {HOSTS[0]: MAIN}
LAN = nic("a").network
TAGGED = BridgeSource(bridge="br0", openvswitch=True, vlan=120)


def wish(**network: object) -> DesiredWorld:
    """A guest on a network of which ``network`` is said."""
    world = desired(guest("a"), hosts=WHERE)
    lan: DesiredNetwork = replace(world.networks[LAN], bridge="br0", **network)  # type: ignore[arg-type]
    return replace(world, networks={**world.networks, LAN: lan})


def up(world: DesiredWorld, **capabilities: object) -> Story:
    able = replace(ABLE, **capabilities)  # type: ignore[arg-type]
    story = Story.of(world, host(HOSTS[0], capabilities=able))
    story.passes()
    return story


def commit(story: Story, world: DesiredWorld) -> list[Plan]:
    story.arrive(world)
    return story.passes()


def plug(story: Story) -> object:
    """What the stored definition's one card is plugged into."""
    found = story.find("a").stored
    assert found is not None
    [card] = found.nics
    return card.source


def test_a_vlan_of_a_plain_bridge_tags_nothing() -> None:
    story = up(wish(vlan=120))
    assert plug(story) == BridgeSource(bridge="br0")
    assert not any(plan.steps for plan in commit(story, wish(vlan=130)))


def test_a_card_on_an_open_vswitch_is_tagged_and_another_tag_needs_a_restart() -> None:
    story = up(wish(vlan=120, openvswitch=True))
    assert plug(story) == TAGGED
    mark = story.find("a").mark
    assert mark is not None
    assert [entry.fields for entry in mark.nics] == [(OPENVSWITCH,)]
    plans = commit(story, wish(vlan=130, openvswitch=True))
    [change] = plans[-1].statuses[guest("a").name].changes
    assert change.label is Label.RESTART
    assert "VLAN 120 (Open vSwitch)" in change.before
    assert "VLAN 130 (Open vSwitch)" in change.after


def test_a_port_of_a_switch_goes_when_its_network_no_longer_says_so() -> None:
    story = up(wish(vlan=120, openvswitch=True))
    commit(story, wish(vlan=120))
    assert plug(story) == BridgeSource(bridge="br0")


def test_a_port_that_somebody_tagged_stays_tagged() -> None:
    """The network says nothing of a switch; a commit that moves the card keeps the tag."""
    story = up(wish())
    found = story.find("a")
    assert found.stored is not None
    card = replace(found.stored.nics[0], source=TAGGED)
    stored = replace(found.stored, nics=with_nic(found.stored.nics, card))
    story.stage("a", stored=stored, live=stored, stored_digest=digest_of(stored))
    assert not any(plan.steps for plan in story.passes())
    world = wish()
    moved = replace(world.networks[LAN], bridge="br1")
    commit(story, replace(world, networks={**world.networks, LAN: moved}))
    assert plug(story) == replace(TAGGED, bridge="br1")


def test_a_driver_that_cannot_tag_refuses_and_leaves_a_card_as_it_is() -> None:
    why = "no switch here"
    without = {(GuestType.HVM, FieldName("networks.openvswitch")): Denial(why=why)}
    story = up(wish(), without=without)
    plans = commit(story, wish(vlan=120, openvswitch=True))
    told = {one.field: one for one in plans[-1].statuses[guest("a").name].changes}
    change = told["networks[eth0].network"]
    assert (change.fate, change.reason, change.message) == (
        Fate.REFUSED,
        Reason.NOT_SUPPORTED,
        why,
    )
    assert plug(story) == BridgeSource(bridge="br0")
    new = up(wish(vlan=120, openvswitch=True), without=without)
    [never] = new.plan().statuses[guest("a").name].changes
    assert why in never.message
