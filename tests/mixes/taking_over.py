"""What a test of taking guests over compares: stored texts, to the byte and as trees."""

from __future__ import annotations

import re

from lxml import etree

from reconciler.domxml import NAMESPACE

_MARK = re.compile(r"\s*<domops:guest .*?</domops:guest>", re.DOTALL)
_EMPTY = re.compile(r"\s*<metadata>\s*</metadata>")
_SIZE = re.compile(r"^(  memory: (?:\{size: )?)\d+[KM]iB", re.MULTILINE)


def without_mark(text: str) -> str:
    """The stored text as it was before: libvirt makes a place for metadata where there is none."""
    return _EMPTY.sub("", _MARK.sub("", text))


def canonical(text: str, *, but: tuple[str, ...] = ()) -> bytes:
    """What a text means, its mark left out, and the elements at the paths ``but``."""
    tree = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    for path in (f"metadata/{{{NAMESPACE}}}guest", *but):
        for element in tree.findall(path):
            parent = element.getparent()
            assert parent is not None
            parent.remove(element)
    for metadata in tree.findall("metadata"):
        if not len(metadata):
            tree.remove(metadata)
    return etree.tostring(tree, method="c14n")


def with_less_memory(manifest: str) -> str:
    """The manifest with that one field changed; what else it says of memory stays."""
    changed, times = _SIZE.subn(r"\g<1>96MiB", manifest)
    assert times == 1
    return changed
