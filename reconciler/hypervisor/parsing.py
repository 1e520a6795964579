"""Parse the XML that hosts give: no entities, no network, and a typed error for what is no XML."""

from __future__ import annotations

from lxml import etree

from reconciler.errors import TransientError


def parse(text: str, tag: str) -> etree._Element:
    """The root of ``text``, which must be a ``tag``.

    Raises:
        TransientError: the host answered with something else.

    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise TransientError(f"the host's <{tag}> cannot be read: {error}") from error
    if root.tag != tag:
        raise TransientError(f"the host gave <{root.tag}> where <{tag}> was asked for")
    return root
