"""Whole elements are put in and taken out again, and nothing beside them moves."""

from dataclasses import replace

import pytest
from lxml import etree

from reconciler.domxml import merge, read, render
from reconciler.errors import RefusedError
from reconciler.model.definition import GuestDefinition
from reconciler.model.mark import MarkedElement
from reconciler.model.overlay import (
    GROUPS,
    NEVER,
    OverlayElement,
    XmlElement,
    closed,
)
from tests.golden.definitions import DEFINITIONS, MARK, PATHS

SOUND = OverlayElement(
    group="devices", element=XmlElement(tag="sound", attributes=(("model", "ich9"),))
)
HYPERV = OverlayElement(
    group="features",
    element=XmlElement(tag="hyperv", children=(XmlElement(tag="relaxed"),)),
)
SHARES = OverlayElement(group="memtune", element=XmlElement(tag="swap_hard_limit", text="1048576"))
PLAIN = DEFINITIONS["kvm-bios"]
IN_A_SLOT = '<sound model="ich9"><address type="pci" slot="0x05"/></sound>'


def _with(*elements: OverlayElement, let_go: tuple[OverlayElement, ...] = ()) -> GuestDefinition:
    entries = [MarkedElement(element=one) for one in elements]
    entries += [MarkedElement(element=one, let_go=True) for one in let_go]
    return replace(PLAIN, overlay=elements, mark=replace(MARK, overlay=tuple(entries)))


def _without_mark(text: str) -> str:
    start, end = text.index("<metadata>"), text.index("</metadata>")
    return text[:start] + text[end:]


@pytest.mark.parametrize("elements", [(SOUND,), (HYPERV,), (SHARES,), (SOUND, HYPERV, SHARES)])
def test_what_was_put_in_and_taken_out_again_leaves_no_trace(
    elements: tuple[OverlayElement, ...],
) -> None:
    """Not even the group that had to be made for it; every byte beside the mark is the same."""
    text = render(_with(), paths=PATHS)
    more = merge(text, _with(*elements), paths=PATHS)
    assert read(more).definition.overlay == elements
    assert merge(more, _with(), paths=PATHS) == text


def test_what_libvirt_has_completed_is_still_ours() -> None:
    text = render(_with(SOUND), paths=PATHS).replace('<sound model="ich9"/>', IN_A_SLOT)
    assert read(text).definition.overlay == (SOUND,)
    assert IN_A_SLOT in merge(text, _with(SOUND), paths=PATHS)
    assert "sound" not in _without_mark(merge(text, _with(), paths=PATHS))


def test_of_several_that_say_it_ours_is_the_one_that_says_least() -> None:
    ours = '<sound model="ich9"/>'
    text = render(_with(SOUND), paths=PATHS).replace(ours, f"{ours}{IN_A_SLOT}")
    left = merge(text, _with(), paths=PATHS)
    assert IN_A_SLOT in left
    assert ours not in _without_mark(left)


def test_of_two_of_ours_that_one_element_could_be_it_is_the_one_that_says_more() -> None:
    """A mark can name an element that is gone beside one that says all of that and more."""
    duplex = XmlElement(tag="codec", attributes=(("type", "duplex"),))
    more = replace(SOUND, element=replace(SOUND.element, children=(duplex,)))
    both = _with(SOUND, more)
    text = render(replace(both, overlay=(more,)), paths=PATHS)
    assert read(text).definition.overlay == (more,)


def test_elements_of_others_at_open_places_are_told_and_ours_are_not() -> None:
    text = render(_with(SOUND), paths=PATHS).replace("</devices>", f"{IN_A_SLOT}</devices>")
    [other] = read(text, places=("devices/sound",)).elements
    assert other.covers(SOUND)
    assert not SOUND.covers(other)
    assert read(text, places=("features/hyperv",)).elements == ()
    assert read(text).elements == ()


def test_an_element_with_a_namespace_or_of_great_depth_is_nobodys_overlay() -> None:
    for odd in (
        '<sound xmlns="urn:x"/>',
        '<sound xmlns:x="urn:x" x:model="ich9"/>',
        '<sound><x:y xmlns:x="urn:x"/></sound>',
        "<sound>" + "<a>" * 20 + "</a>" * 20 + "</sound>",
    ):
        text = render(PLAIN, paths=PATHS).replace("</devices>", f"{odd}</devices>")
        assert read(text, places=("devices/sound",)).elements == ()


def test_what_was_let_go_is_still_told_of_the_running_guest() -> None:
    """There it is until the next start; in the stored definition it is somebody else's."""
    text = render(_with(SOUND), paths=PATHS)
    text = merge(text, _with(let_go=(SOUND,)), paths=PATHS)
    text = text.replace("</devices>", f"{IN_A_SLOT}</devices>")
    assert read(text).definition.overlay == ()
    assert read(text.replace("<domain ", '<domain id="7" ')).definition.overlay == (SOUND,)


@pytest.mark.parametrize("place", ["devices/emulator", "name", "os", "metadata", "devices"])
def test_no_text_is_made_with_what_is_open_to_nobody(place: str) -> None:
    """Whoever has written it into a mark or a plan: the last door before the host is shut too."""
    group, _, tag = place.rpartition("/")
    evil = OverlayElement(group=group, element=XmlElement(tag=tag, text="evil"))
    with pytest.raises(RefusedError, match=f"<{place}>"):
        render(_with(evil), paths=PATHS)
    if group:
        marked = replace(PLAIN, mark=replace(MARK, overlay=(MarkedElement(element=evil),)))
        text = render(marked, paths=PATHS)
        there = text.replace("</devices>", "<emulator>evil</emulator></devices>")
        with pytest.raises(RefusedError, match=f"<{place}>"):
            merge(there, _with(), paths=PATHS)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('xml="&lt;sound/"', "cannot be read"),
        ('xml="&lt;sound  /&gt;"', "did not write"),
        ('xml="&lt;sound/&gt;" group=".."', "did not write"),
        ('xml="&lt;sound/&gt;" group=""', "did not write"),
        ('xml="&lt;sound/&gt;" letGo="no"', "letGo"),
        ("xml=\"&lt;a xmlns='urn:x'/&gt;\"", "did not write"),
        ('group="devices"', "lacks xml"),
    ],
)
def test_a_mark_with_an_element_that_nobody_of_us_wrote_is_not_read(said: str, why: str) -> None:
    text = render(_with(SOUND), paths=PATHS)
    start = text.index("<domops:element")
    end = text.index("/>", start) + 2
    reading = read(f"{text[:start]}<domops:element {said}/>{text[end:]}")
    assert reading.definition.mark is None
    assert why in (reading.mark_problem or "")


def test_every_place_that_a_field_writes_is_open_to_nobody_or_was_there_before() -> None:
    """A field whose element an overlay could add as well would be two masters over one thing."""
    made_once = {
        *("features/acpi", "features/apic", "features/pae"),
        *("devices/controller", "devices/panic"),
    }
    overlays = {one.place for golden in DEFINITIONS.values() for one in golden.overlay}
    texts = [render(definition, paths=PATHS) for definition in DEFINITIONS.values()]
    written = {place for text in texts for place in _places(text)}
    assert {one for one in written if closed(one) is None} <= made_once | overlays


def _places(text: str) -> set[str]:
    domain = etree.fromstring(text)
    tops = [one for one in domain.iterchildren("*") if "}" not in str(one.tag)]
    below = {f"{top.tag}/{one.tag}" for top in tops if top.tag in GROUPS for one in top}
    return below | {str(one.tag) for one in tops}


def test_each_reason_for_which_a_place_is_open_to_nobody_reads_as_a_sentence() -> None:
    for place, why in NEVER.items():
        assert why.split()[0] in {"is", "names", "gives", "takes", "decides", "maps", "hands"}, (
            place
        )
