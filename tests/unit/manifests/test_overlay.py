"""What an overlay may say: the hostile ones are cases in ``tests/cases/bad``."""

from __future__ import annotations

import pytest

from reconciler.manifests import Allowed, load
from reconciler.model.overlay import OverlayElement, XmlElement, closed
from tests.unit.manifests.world import BASE, COMMIT, PLAIN, guest, guest_of, resolved

SOUND = "xml: |\n  <devices>\n    <sound model='ich9'/>\n  </devices>"
TWO = SOUND + "\n  <features>\n    <hyperv><relaxed state='on'/></hyperv>\n  </features>"


@pytest.mark.parametrize(
    ("places", "what"),
    [
        (None, ""),
        (("devices/sound", "features/hyperv"), ""),
        (("features/hyperv",), "11:7  spec.xml: <devices/sound>; open: features/hyperv"),
        ((), "11:7  spec.xml: <devices/sound>; open: none"),
        (("devices/sound",), "14:7  spec.xml: <features/hyperv>; open: devices/sound"),
    ],
    ids=["laptop", "both", "one", "none", "the-other"],
)
def test_an_overlay_stands_only_where_the_controller_allows_it(
    places: tuple[str, ...] | None, what: str
) -> None:
    """Where the controller's settings are not known, as on somebody's laptop, it is not checked."""
    files = {**BASE, "lists.yaml": guest(PLAIN + TWO)}
    found = load(files, commit=COMMIT, allowed=Allowed(overlay_elements=places))
    told = [str(problem) for problem in found.problems]
    place, _, allowed = what.partition("; ")
    closed_there = f"lists.yaml:{place} is at no place that the controller has opened; {allowed}"
    assert told == ([f"{closed_there}; see its setting overlay_elements"] if what else [])


def test_blanks_order_and_quotes_mean_nothing() -> None:
    other = (
        'xml: "<features><hyperv><relaxed\\tstate=\\"on\\"></relaxed></hyperv></features>'
        "<devices>\\n<sound   model='ich9' ></sound></devices>\""
    )
    assert guest_of(PLAIN + TWO).overlay == guest_of(PLAIN + other).overlay
    assert guest_of(PLAIN + TWO).intent == guest_of(PLAIN + other).intent


def test_an_overlay_is_told_by_its_places() -> None:
    found = guest_of(PLAIN + "xml: <pm><suspend-to-mem enabled='no'/></pm>")
    off = XmlElement(tag="suspend-to-mem", attributes=(("enabled", "no"),))
    assert found.overlay == (
        OverlayElement(group="", element=XmlElement(tag="pm", children=(off,))),
    )
    assert [one.place for one in guest_of(PLAIN + TWO).overlay] == [
        "devices/sound",
        "features/hyperv",
    ]


def test_the_overlay_of_a_guest_replaces_that_of_its_class() -> None:
    shared = guest(PLAIN + TWO, name="loud", kind="GuestClass")
    files = {"loud": shared}
    assert len(guest_of("class: loud", **files).overlay) == 2
    assert len(guest_of("class: loud\n" + SOUND, **files).overlay) == 1


def test_what_is_wrong_in_the_overlay_of_a_class_is_told_where_the_class_is_named() -> None:
    shared = guest(PLAIN + "xml: <name>x</name>", name="loud", kind="GuestClass")
    (problem,) = resolved(loud=shared, lists=guest("class: loud")).problems
    assert str(problem).startswith("lists.yaml:5:10  spec.xml: <name> is the guest's identity")
    assert '(class "loud" says so)' in problem.sentence


@pytest.mark.parametrize("indicator", ["|", "|-", "|2", ">", ""])
def test_only_in_a_literal_block_a_mistake_is_told_at_its_own_line(indicator: str) -> None:
    text = f"xml: {indicator}\n    <pm>\n    </pm>\n    <name>x</name>"
    (problem,) = resolved(lists=guest(PLAIN + text)).problems
    own = 12 if indicator.startswith("|") else 9
    assert problem.line == own if indicator else problem.line == 10


@pytest.mark.parametrize(
    ("place", "is_open"),
    [
        ("devices/sound", True),
        ("features/hyperv", True),
        ("clock/timer", True),
        ("pm", True),
        ("devices", False),
        ("devices/disk", False),
        ("os/loader", False),
        ("devices/sound/codec", False),
        ("nowhere/sound", False),
        ("devices/", False),
        ("/devices/sound", False),
        ("devices/*", False),
        ("..", False),
        ("devices/a[1]", False),
        ("", False),
    ],
)
def test_a_setting_opens_single_places_only(place: str, *, is_open: bool) -> None:
    assert (closed(place) is None) is is_open
