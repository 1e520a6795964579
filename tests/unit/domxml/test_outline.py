"""What no field models is told by its path, and nothing of it but the path."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lxml import etree

from reconciler.domxml import outline, read
from tests.mixes import MIXES


@pytest.mark.parametrize("name", MIXES)
def test_what_is_told_could_go_without_a_word_of_any_manifest(name: str) -> None:
    """Each element that is said to be kept is read by nobody: the guest is the same without it."""
    text = MIXES[name]
    tree = etree.fromstring(text)
    for path in outline(text).kept:
        plain = path.replace("[", "[@").partition("[@")[0]
        for element in _elements(tree, path, plain):
            parent = element.getparent()
            assert parent is not None
            parent.remove(element)
    left = etree.tostring(tree, encoding="unicode")
    assert replace(read(left).definition, mark=None) == replace(read(text).definition, mark=None)


def _elements(tree: etree._Element, path: str, plain: str) -> list[etree._Element]:
    """The elements at ``path``, which names a disk by its target and a card by its address."""
    if "[" not in path:
        names = path.split("/")
        return [
            element
            for element in tree.iter("*")
            if [etree.QName(one).localname for one in _way(element)] == names
        ]
    key, _, rest = path.partition("[")[2].partition("]")
    attribute = "target/@dev" if plain.endswith("disk") else "mac/@address"
    devices = [one for one in tree.iterfind(plain) if one.xpath(attribute) == [key]]
    part = rest.strip("/")
    return [found for one in devices for found in (one.findall(part) if part else [one])]


def _way(element: etree._Element) -> list[etree._Element]:
    above = [one for one in element.iterancestors() if one.tag != "domain"]
    return [*reversed(above), element]


def test_devices_are_told_one_by_one_and_other_elements_together() -> None:
    kept = outline(MIXES["disks-from-everywhere"]).kept
    assert "devices/disk[vdi]/shareable" in kept
    assert "devices/disk[vda]" not in kept
    assert outline(MIXES["sound"]).kept.count("devices/sound") == 1
    assert "devices/disk[fda]" in outline(MIXES["old-pc-with-ide"]).kept


def test_a_console_on_a_terminal_is_no_remainder_and_another_line_is() -> None:
    assert not {"devices/console", "devices/serial"} & set(outline(MIXES["plain-virtio"]).kept)
    assert "devices/serial" in outline(MIXES["serial-lines"]).kept


def test_the_mark_is_no_remainder_and_the_metadata_of_others_is() -> None:
    text = MIXES["metadata-of-others"]
    mark = '<domops:guest xmlns:domops="urn:domops:mark:1" owner="x"/>'
    kept = outline(text.replace("</metadata>", f"{mark}</metadata>")).kept
    assert {"metadata/libosinfo", "metadata/instance", "title", "description"} <= set(kept)
    assert "metadata/guest" not in kept


def test_cards_are_told_in_the_order_in_which_they_stand() -> None:
    macs = [f"52:54:00:ad:0a:{number:02x}" for number in (1, 2, 3, 4, 5, 6, 9)]
    assert list(outline(MIXES["seven-cards"]).cards) == macs


def test_no_value_is_told() -> None:
    told = " ".join(path for text in MIXES.values() for path in outline(text).kept)
    for value in ("sesame", "s3cret", "s3cr3t", "/srv/", "192.0.2"):
        assert value not in told
