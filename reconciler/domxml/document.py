"""Domain XML as text and as a tree: the one place where foreign text is parsed.

Text from a host is never trusted: no entity is expanded, no file or address is opened, nothing of
unbounded depth is read. Changes to a tree leave every other byte's meaning alone; what is put in is
indented like its neighbours, because people read these texts.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.errors import StalledError
from reconciler.model.names import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element as Element

INDENT = "  "
_DIGEST_BYTES = 16
_WHOLE_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)

# `encoding` outranks whatever the text declares of itself: what libvirt hands out is UTF-8.
PARSER = etree.XMLParser(
    encoding="utf-8",
    resolve_entities=False,
    no_network=True,
    load_dtd=False,
    dtd_validation=False,
    attribute_defaults=False,
    huge_tree=False,
    recover=False,
    remove_blank_text=False,
    strip_cdata=False,
)


def parse(text: str, *, root: str = "domain") -> Element:
    """The tree of ``text``, whose outermost element must be called ``root``.

    Raises:
        StalledError: it is no well-formed XML, brings a document type of its own, or is about
            something else.

    """
    try:
        tree = etree.fromstring(text.encode(), PARSER)
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise StalledError(f"the XML of a {root} cannot be read: {error}") from error
    if tree.getroottree().docinfo.doctype:  # type: ignore[union-attr]  # the stubs' property
        raise StalledError(f"the XML of a {root} brings a document type, which libvirt never does")
    if local_name(tree) != root:
        raise StalledError(f"this is the XML of a {local_name(tree)}, not of a {root}")
    return tree


def serialise(tree: Element) -> str:
    """The text of ``tree`` alone, ending in a line's end."""
    return etree.tostring(tree, encoding="unicode", with_tail=False) + "\n"


def tidy(tree: Element) -> None:
    """Indent all of a tree that we made ourselves."""
    etree.indent(tree, INDENT)


def local_name(element: Element) -> str:
    """The element's name without its namespace; empty for a comment."""
    return "" if callable(element.tag) else str(element.tag).rpartition("}")[2]


def number(text: str | None) -> int | None:
    """The whole number that ``text`` says, None if it says none."""
    if text is None or not _WHOLE_NUMBER.fullmatch(text.strip()):
        return None
    return int(text)


def make(tag: str, attributes: Mapping[str, str] | None = None, *children: Element) -> Element:
    """Return a new element."""
    element = etree.Element(tag, dict(attributes or {}))
    element.extend(children)
    return element


def said(tag: str, text: str) -> Element:
    """A new element that holds only ``text``."""
    element = etree.Element(tag)
    element.text = text
    return element


def put(parent: Element, child: Element, *, after: Element | None = None) -> Element:
    """Put a new element into ``parent``: right after ``after``, or else at the end; return it."""
    level = sum(1 for _ in parent.iterancestors()) + 1
    etree.indent(child, INDENT, level=level)
    own_line = "\n" + INDENT * level
    if after is None and len(parent):
        after = parent[-1]
    if after is None:
        if not (parent.text or "").strip():
            parent.text = own_line
        child.tail = "\n" + INDENT * (level - 1)
        parent.insert(0, child)
        return child
    tail = after.tail
    parent.insert(parent.index(after) + 1, child)
    if (tail or "").strip():
        child.tail = own_line
    else:
        after.tail, child.tail = own_line, tail
    return child


def put_first(parent: Element, child: Element) -> Element:
    """Put a new element before all others of ``parent``; return it."""
    if not len(parent):
        return put(parent, child)
    level = sum(1 for _ in parent.iterancestors()) + 1
    etree.indent(child, INDENT, level=level)
    child.tail = "\n" + INDENT * level
    parent.insert(0, child)
    return child


def take_out(element: Element) -> None:
    """Remove an element, but not the text behind it, which belongs to its parent."""
    parent = element.getparent()
    if parent is None:
        return
    tail, before = element.tail or "", element.getprevious()
    last = element.getnext() is None
    parent.remove(element)
    if not (last or tail.strip()):
        return
    if before is not None:
        kept = "" if last and not (before.tail or "").strip() else before.tail or ""
        before.tail = kept + tail
    else:
        kept = parent.text or ""
        parent.text = (kept if kept.strip() else "") + (tail if len(parent) or tail.strip() else "")


def only(parent: Element, tag: str) -> Element:
    """The first child called ``tag``, made at the end if there is none."""
    child = parent.find(tag)
    return put(parent, make(tag)) if child is None else child


def drop(parent: Element, *tags: str) -> None:
    """Remove every child called one of ``tags``."""
    for tag in tags:
        for child in parent.findall(tag):
            take_out(child)


def tell(parent: Element, tag: str, text: str | None) -> None:
    """Make ``text`` what the only child called ``tag`` says; None removes it."""
    if text is None:
        drop(parent, tag)
        return
    child = only(parent, tag)
    if child.text != text:
        child.text = text


def digest(text: str) -> Digest:
    """The digest of a text as it is."""
    return _digest_of_bytes(text.encode(errors="surrogatepass"))


def digest_of_tree(tree: Element) -> Digest:
    """The digest of what a tree means: blanks between elements and quotes do not count."""
    parser = etree.XMLParser(remove_blank_text=True, resolve_entities=False, no_network=True)
    # In ASCII, lxml's own choice, a name beyond ASCII would become one that is no name.
    bare = etree.fromstring(etree.tostring(tree, encoding="utf-8", with_tail=False), parser)
    canonical = etree.tostring(bare, method="c14n")
    return _digest_of_bytes(canonical)


def forget(element: Element, *attributes: str) -> None:
    """Remove every attribute called one of ``attributes``."""
    for name in attributes:
        if name in element.attrib:
            del element.attrib[name]


def _digest_of_bytes(content: bytes) -> Digest:
    return Digest(blake2b(content, digest_size=_DIGEST_BYTES).hexdigest())
