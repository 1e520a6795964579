"""An overlay only adds: what others put there is kept, and a revert takes out what is ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.desired import DesiredGuest, DesiredWorld, RestartWhen
from reconciler.model.mark import MarkedElement
from reconciler.model.observed import ObservedGuest, RunState
from reconciler.model.overlay import OverlayElement, XmlElement
from reconciler.model.plan import Change, Fate, Label, Reason
from tests.strategies.worlds import HOSTS, MAIN, Story, desired, guest, host


def _element(place: str, **attributes: str) -> OverlayElement:
    group, _, tag = place.rpartition("/")
    said = tuple(sorted(attributes.items()))
    return OverlayElement(group=group, element=XmlElement(tag=tag, attributes=said))


SOUND = _element("devices/sound", model="ich9")
IN_A_SLOT = replace(
    SOUND,
    element=replace(
        SOUND.element,
        children=(XmlElement(tag="address", attributes=(("slot", "0x05"),)),),
    ),
)
HYPERV = _element("features/hyperv", mode="custom")


def _up(*elements: OverlayElement, **changes: object) -> Story:
    """A guest that is up, whose manifest has these elements."""
    story = Story.of(_wish(*elements, **changes), host(HOSTS[0]))
    story.passes()
    assert not story.refused
    return story


def _wish(*elements: OverlayElement, **changes: object) -> DesiredWorld:
    return desired(guest("a", overlay=elements, **changes), hosts={HOSTS[0]: MAIN})


def _now(story: Story, *elements: OverlayElement, **changes: object) -> ObservedGuest:
    """The guest after the manifest has got other elements."""
    story.desired = _wish(*elements, **changes)
    story.passes()
    assert not story.refused
    return story.find("a")


def _changes(story: Story) -> dict[str, Change]:
    return {change.field: change for change in story.plan().statuses[guest("a").name].changes}


def _overlays(found: ObservedGuest) -> tuple[object, object]:
    return (
        found.stored.overlay if found.stored else None,
        found.live.overlay if found.live else None,
    )


def test_a_new_guest_is_made_with_its_overlay() -> None:
    found = _up(SOUND).find("a")
    assert _overlays(found) == ((SOUND,), (SOUND,))
    assert found.mark is not None
    assert found.mark.overlay == (MarkedElement(element=SOUND),)


def test_an_overlay_of_a_running_guest_takes_effect_at_its_next_start() -> None:
    story = _up()
    assert _overlays(_now(story, SOUND)) == ((SOUND,), ())
    change = _changes(story)["xml"]
    assert (change.label, change.fate) == (Label.RESTART, Fate.WAITING)
    assert (change.before, change.after) == ("none", '<sound model="ich9"/>')


def test_a_revert_takes_out_what_was_put_in() -> None:
    story = _up(SOUND, restart=RestartWhen.NOW)
    found = _now(story, restart=RestartWhen.NOW)
    assert _overlays(found) == ((), ())
    assert found.mark is not None
    assert found.mark.overlay == ()
    assert found.state is RunState.RUNNING


def test_an_element_that_was_let_go_is_known_until_the_running_guest_is_without_it() -> None:
    found = _now(_up(SOUND))
    assert _overlays(found) == ((), (SOUND,))
    assert found.mark is not None
    assert found.mark.overlay == (MarkedElement(element=SOUND, let_go=True),)


def test_an_element_that_is_asked_for_again_is_ours_again() -> None:
    story = _up(SOUND)
    _now(story)
    found = _now(story, SOUND)
    assert _overlays(found) == ((SOUND,), (SOUND,))
    assert found.mark is not None
    assert found.mark.overlay == (MarkedElement(element=SOUND),)


def test_what_is_there_by_other_hands_serves_and_does_not_become_ours() -> None:
    """It has been completed it with a slot; it says all that the overlay wants."""
    story = _up()
    story.stage("a", elements=(IN_A_SLOT,))
    found = _now(story, SOUND)
    assert _overlays(found) == ((), ())
    assert found.mark is not None
    assert found.mark.overlay == ()
    assert "xml" not in _changes(story)


def test_what_others_took_away_is_put_there_by_us() -> None:
    story = _up()
    story.stage("a", elements=(IN_A_SLOT,))
    _now(story, SOUND)
    story.stage("a", elements=())
    story.passes()
    assert _overlays(story.find("a"))[0] == (SOUND,)


@pytest.mark.parametrize(
    ("wanted", "other", "clash"),
    [
        (HYPERV, _element("features/hyperv", mode="passthrough"), True),
        (_element("devices/memballoon", model="none"), _element("devices/memballoon"), True),
        (
            _element("clock/timer", name="hpet", present="no"),
            _element("clock/timer", name="hpet", present="yes"),
            True,
        ),
        (
            _element("clock/timer", name="hpet", present="no"),
            _element("clock/timer", name="rtc", tickpolicy="catchup"),
            False,
        ),
        (SOUND, _element("devices/sound", model="ac97"), False),
        (_element("pm"), _element("devices/pm"), False),
    ],
    ids=["feature", "single-device", "same-timer", "other-timer", "device", "other-place"],
)
def test_what_a_guest_has_only_once_is_not_added_beside_somebodys(
    wanted: OverlayElement, other: OverlayElement, *, clash: bool
) -> None:
    story = _up()
    story.stage("a", elements=(other,))
    found = _now(story, wanted)
    assert _overlays(found)[0] == (() if clash else (wanted,))
    if clash:
        change = _changes(story)["xml"]
        assert change.reason is Reason.CONFLICT
        assert change.label is Label.REFUSED
        assert "an overlay only adds" in change.message


def test_a_changed_element_replaces_ours() -> None:
    story = _up(HYPERV, restart=RestartWhen.NOW)
    other = _element("features/hyperv", mode="passthrough")
    found = _now(story, other, restart=RestartWhen.NOW)
    assert _overlays(found) == ((other,), (other,))


def test_a_change_of_the_overlay_is_another_intent() -> None:
    wishes: list[DesiredGuest] = [guest("a", overlay=one) for one in ((), (SOUND,), (HYPERV,))]
    assert len({wish.intent for wish in wishes}) == 3
