"""Definition and XML say the same, whatever the definition and whatever else the XML holds."""

import re
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from reconciler.domxml import (
    canonical,
    digest,
    digest_without_mark,
    extract_disk,
    extract_nic,
    merge,
    read,
    read_mark,
    render,
    render_disk,
    render_mark,
    render_nic,
)
from reconciler.errors import DomopsError, RefusedError, StalledError
from reconciler.model import definition as definition_module
from reconciler.model import mark as mark_module
from reconciler.model import options as options_module
from reconciler.model import overlay as overlay_module
from reconciler.model.definition import GuestDefinition
from reconciler.model.mark import Mark
from reconciler.model.names import GuestName
from tests.strategies.definitions import PATHS, definitions, pairs, volume_at
from tests.strategies.exercised import Exercised
from tests.strategies.foreign import (
    Injection,
    foreign_parts,
    inject,
    injections,
    nonsense,
    spoiled,
)
from tests.strategies.marks import marks

Pair = tuple[GuestDefinition, GuestDefinition]

# What is foreign and must be kept is a promise of the design, and gets all examples of the profile;
# the rest is code against code, where each further hundred examples finds less.
enough = settings(max_examples=min(500, settings().max_examples))


def _text(definition: GuestDefinition) -> str:
    return render(definition, paths=PATHS)


@enough
@given(definitions())
def test_what_is_rendered_is_read_back(definition: GuestDefinition) -> None:
    """Reading undoes rendering, and finds nothing to complain of in the mark."""
    reading = read(_text(definition), volumes=volume_at)
    assert reading.definition == definition
    assert reading.mark_problem is None


@enough
@given(pairs(), injections())
def test_after_merging_the_text_says_what_was_merged(pair: Pair, foreign: Injection) -> None:
    """Whatever stood there: every field is as wanted, and wanting it again changes no byte."""
    there, wanted = pair
    text = merge(inject(_text(there), foreign), wanted, paths=PATHS)
    assert read(text, volumes=volume_at).definition == wanted
    assert merge(text, wanted, paths=PATHS) == text


@given(pairs(), injections())
def test_merging_keeps_what_no_field_models(pair: Pair, foreign: Injection) -> None:
    """Secrets, other programs' metadata, host devices, unknown elements: all are still there."""
    there, wanted = pair
    text = inject(_text(there), foreign)
    merged = merge(text, wanted, paths=PATHS)
    assert len(foreign_parts(text, foreign)) == sum(map(len, foreign))
    assert foreign_parts(merged, foreign) == foreign_parts(text, foreign)


@given(pairs(), injections())
def test_merging_keeps_the_alias_and_address_of_a_device_that_stays(
    pair: Pair, foreign: Injection
) -> None:
    """A disk or card that is wanted as it is stays in its slot, to the byte."""
    there, wanted = pair
    text = inject(_text(there), foreign)
    merged = merge(text, wanted, paths=PATHS)
    for disk in set(there.disks) & set(wanted.disks):
        assert _same(extract_disk(text, disk.target), extract_disk(merged, disk.target))
    for nic in set(there.nics) & set(wanted.nics):
        assert _same(extract_nic(text, nic.mac), extract_nic(merged, nic.mac))


def _same(before: str | None, after: str | None) -> bool:
    """Equal but for the blanks between elements."""
    return before is not None and after is not None and before.split() == after.split()


@given(pairs())
def test_a_password_that_somebody_set_outlives_every_merge(pair: Pair) -> None:
    """As long as the guest keeps a screen of the same type: what no git holds, no git can restore.

    Also where the screen itself is changed, to be seen from the host alone.
    """
    there, wanted = pair
    domain = etree.fromstring(_text(there))
    for screen in domain.iterfind("devices/graphics"):
        screen.set("passwd", "secret")
    merged = etree.fromstring(
        merge(etree.tostring(domain, encoding="unicode"), wanted, paths=PATHS)
    )
    screens = merged.findall("devices/graphics")
    before, after = there.options.graphics, wanted.options.graphics
    stays = before is not None and after is not None and before.type == after.type
    assert [screen.get("passwd") for screen in screens] == (
        [] if after is None else ["secret" if stays else None]
    )


@enough
@given(definitions(), injections())
def test_merging_what_a_text_says_anyway_changes_nothing(
    definition: GuestDefinition, foreign: Injection
) -> None:
    """No byte moves, whether volumes are told apart from files or not."""
    text = inject(_text(definition), foreign)
    assert merge(text, read(text).definition) == text
    assert merge(text, read(text, volumes=volume_at).definition, paths=PATHS) == text


@enough
@given(definitions())
def test_a_canonical_definition_is_canonical(definition: GuestDefinition) -> None:
    """Making a definition canonical twice is the same as once."""
    assert canonical(definition) == definition


@enough
@given(pairs())
def test_what_is_fixed_at_the_making_is_never_merged(pair: Pair) -> None:
    """A domain is not made into another one."""
    there, wanted = pair
    text = _text(there)
    for other in (
        replace(wanted, name=GuestName("other")),
        replace(wanted, uuid=UUID(int=99)),
    ):
        with pytest.raises(RefusedError, match="fixed when a guest is made"):
            merge(text, other, paths=PATHS)


@enough
@given(definitions())
def test_a_single_device_is_told_as_in_the_whole_text(definition: GuestDefinition) -> None:
    """What is plugged into a running guest is what its next start would give it."""
    text = _text(definition)
    for disk in definition.disks:
        alone = render_disk(disk, definition, paths=PATHS)
        assert _same(alone, extract_disk(text, disk.target))
    for nic in definition.nics:
        assert _same(render_nic(nic, definition), extract_nic(text, nic.mac))


# --------------------------------------------------------------------------------- the mark


@enough
@given(marks())
def test_a_mark_outlives_setting_and_getting(mark: Mark) -> None:
    """The text for ``setMetadata`` is read back, to the microsecond and the last line's end."""
    assert read_mark(render_mark(mark)) == mark


@enough
@given(marks(), st.sampled_from(("attribute", "element", "inside")))
def test_a_mark_of_a_newer_domops_is_not_half_understood(mark: Mark, where: str) -> None:
    """What is not known makes the mark unreadable, and says so."""
    text = render_mark(mark)
    match where:
        case "attribute":
            text = text.replace("<guest ", '<guest surprise="1" ', 1)
        case "element":
            text = text.replace("</guest>", "<surprise/></guest>")
        case _:
            text = text.replace("<shutdown ", '<shutdown surprise="1" ', 1)
    with pytest.raises(StalledError, match="written by a newer domops"):
        read_mark(text)


@enough
@given(definitions(mark=marks()), marks())
def test_a_mark_that_cannot_be_read_is_never_written_over(
    definition: GuestDefinition, mark: Mark
) -> None:
    """It is told as a problem, and only a person can take it away."""
    text = _text(definition).replace("<domops:guest ", '<domops:guest surprise="1" ', 1)
    reading = read(text, volumes=volume_at)
    assert reading.definition == replace(definition, mark=None, overlay=())
    assert reading.mark_problem
    with pytest.raises(RefusedError, match="newer"):
        merge(text, replace(definition, mark=mark, overlay=()), paths=PATHS)


@enough
@given(pairs(), injections())
def test_the_digest_without_the_mark_sees_all_but_the_mark(pair: Pair, foreign: Injection) -> None:
    """A mark that moves does not move it; any other byte does."""
    there, wanted = pair
    text = inject(_text(there), foreign)
    if there.mark is not None and wanted.mark is not None and "<!" not in text:
        # What an overlay put there goes with the mark that says so.
        mark = replace(wanted.mark, overlay=there.mark.overlay)
        remarked = merge(text, replace(there, mark=mark), paths=PATHS)
        assert digest_without_mark(remarked) == digest_without_mark(text)
    changed = text.replace("</memory>", "0</memory>", 1)
    assert digest_without_mark(changed) != digest_without_mark(text)
    assert digest(changed) != digest(text)


# ------------------------------------------------------------------------------ hostile text


@enough
@given(
    st.one_of(
        st.text(),
        nonsense(),
        spoiled(definitions().map(_text)),
        nonsense().map(lambda text: re.sub("<", "&lt;", text, count=1)),
        st.just('<!DOCTYPE d [<!ENTITY a "b">]><domain><name>&a;</name></domain>'),
    )
)
def test_no_text_makes_the_reader_fail_in_another_way_than_ours(text: str) -> None:
    """Any text is read or is a domops error; what is read can be merged back without a change."""
    try:
        reading = read(text)
    except DomopsError:
        return
    assert merge(text, reading.definition) == text


@enough
@given(spoiled(marks().map(render_mark)) | st.text())
def test_no_text_of_a_mark_fails_in_another_way_than_ours(text: str) -> None:
    """The same for what libvirt's ``metadata()`` hands out, which anybody may have written."""
    try:
        mark = read_mark(text)
    except StalledError:
        return
    assert read_mark(render_mark(mark)) == mark


@enough
@given(definitions(), st.text(st.characters(categories=["Cc", "Cs"]), min_size=1, max_size=2))
def test_what_no_xml_can_say_is_refused(definition: GuestDefinition, odd: str) -> None:
    """Characters that XML cannot hold never reach a host, and never crash on the way."""
    named = replace(definition, name=GuestName(odd))
    try:
        text = _text(named)
    except RefusedError:
        return
    assert read(text, volumes=volume_at).definition == named


# ---------------------------------------------------------------------------------- coverage


def test_every_field_and_word_of_the_model_is_drawn() -> None:
    """A field that the strategies never vary would be a field without properties."""
    exercised = Exercised()

    @settings(max_examples=800, derandomize=True, database=None)
    @given(definitions())
    def draw(definition: GuestDefinition) -> None:
        exercised.note(definition)

    draw()
    # What can be read and kept but that domops never makes, and the one path of a block device.
    assert set(exercised.never(definition_module, mark_module, options_module, overlay_module)) == {
        "BlockSource.path",
        "Loader.PVGRUB",
        "LoaderBoot.loader",
        "OtherNicSource",
        "OtherSource",
    }


def test_foreign_parts_are_compared_by_meaning() -> None:
    """The comparison above is one that can fail."""
    text = "<domain><metadata/><devices/></domain>"
    foreign: Injection = ((), ('<a b="c"/>',), ())
    assert foreign_parts(inject(text, foreign), foreign)
    assert not foreign_parts(inject(text, foreign).replace('b="c"', 'b="d"'), foreign)
