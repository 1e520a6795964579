"""Parse the ``xml`` of a guest: what may come into a domain's XML although no field models it.

An overlay is text that somebody with write access to the repository puts into a definition that
root's hypervisor obeys. So it is read narrowly: what XML offers beyond elements and attributes is
refused before anything is parsed, then whatever could name a program, a path, a device or the
guest's identity, wherever it stands, and at last every place that the controller has not opened.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from lxml import etree

from reconciler.manifests.entries import Complaint
from reconciler.model.overlay import (
    GROUPS,
    OverlayElement,
    XmlElement,
    closed,
    in_order,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element as Element

    from reconciler.manifests.drafts import Draft

PATH: Final = ("spec", "xml")
MAXIMUM_CHARACTERS: Final = 16384
_MAXIMUM_ELEMENTS: Final = 200
_MAXIMUM_DEPTH: Final = 8
_MAXIMUM_VALUE: Final = 256

_TRICKS: Final = (
    (re.compile(r"[^\t\n\x20-\x7e]"), "holds a character that is no plain ASCII", "leave it out"),
    (re.compile(r"<!--"), "holds a comment, which libvirt would drop", "write a comment of YAML"),
    (re.compile(r"<!\[CDATA\["), "holds a CDATA section", "write the text as it is"),
    (re.compile(r"<!"), "holds a declaration, such as an entity or a document type", "take it out"),
    (re.compile(r"<\?"), "holds a processing instruction", "take it out"),
    (re.compile(r"&"), "holds a reference to a character or an entity", "write plain text"),
    (
        re.compile(r"\bxmlns\b|</?\s*[^\s<>/]*:|\s[\w.-]+:[\w.-]+\s*="),
        "leaves libvirt's own namespace",
        "hypervisors' own elements, such as their command lines, are never let in",
    ),
)
"""What XML can do beyond elements and attributes, each with its sentence; the first one tells."""

_PROGRAMS: Final = frozenset(
    {"arg", "binary", "commandline", "emulator", "env", "init", "initarg", "initenv", "script"}
)
_HOST: Final = frozenset(
    {
        *("backend", "backenddomain", "certificate", "database", "dtb", "forwarder", "image"),
        *("initdir", "initrd", "inituser", "initgroup", "kernel", "loader", "log", "nvram", "rom"),
        *("sandbox", "seclabel", "source", "teardown"),
    }
)
_IDENTITY: Final = frozenset({"alias", "genid", "metadata", "name", "serial", "uuid"})
_ELEMENTS: Final = (
    (_PROGRAMS, "names a program, a script or its arguments"),
    (_HOST, "names something of the host"),
    (_IDENTITY, "gives a name or an identity"),
)
"""Elements that are refused at any depth, by what they do."""

_ATTRIBUTES: Final = (
    (
        frozenset({"binary", "cmd", "command", "emulator", "exec", "program", "script"}),
        "names a program, a script or its arguments",
    ),
    (
        frozenset(
            {
                *("dev", "dir", "evdev", "fd", "fds", "file", "host", "listen", "mountTag", "path"),
                *("port", "rendernode", "runtimeDir", "server", "serverName", "service", "socket"),
                *("template", "uri", "url"),
            }
        ),
        "names something of the host",
    ),
    (frozenset({"passwd", "password", "secret"}), "is a secret, which no repository should hold"),
    (frozenset({"alias", "uuid"}), "gives a name or an identity"),
)
"""Attributes that are refused on any element, by what they do."""

_OUTWARD: Final = frozenset(
    {
        *("alsa", "block", "coreaudio", "dbus", "dev", "direct", "dir", "emulator", "ethernet"),
        *("evdev", "exec", "file", "hostdev", "jack", "mount", "nbd", "network", "nmdm", "oss"),
        *("passthrough", "pipe", "pipewire", "pty", "pulseaudio", "qemu-vdagent", "sdl", "spice"),
        *("spiceport", "spicevmc", "stdio", "tcp", "udp", "unix", "user", "vdpa", "vhostuser"),
        *("vc", "volume", "wav"),
    }
)
"""Values of ``type`` and ``backend`` by which a device reaches out of the guest."""


class _RefusedError(Exception):
    """Something of an overlay is not taken; ``line`` is counted within the overlay, from 1."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.message, self.hint = line, message, hint


def overlay(draft: Draft) -> tuple[OverlayElement, ...]:
    """The elements that the guest's ``xml`` adds; none, with a complaint, if one is not taken."""
    text = draft.spec.xml
    if text is None:
        return ()
    try:
        return parse_overlay(text, draft.around.allowed.overlay_elements)
    except _RefusedError as error:
        draft.complain_of(
            Complaint(path=PATH, message=error.message, hint=error.hint, below=error.line)
        )
        return ()


def parse_overlay(text: str, places: tuple[str, ...] | None) -> tuple[OverlayElement, ...]:
    """Parse ``text``; ``places`` are the open ones, None where they are not known."""
    _refuse_tricks(text)
    found: dict[OverlayElement, int] = {}
    for group, element in _units(_tree(text)):
        line = _line(element)
        tag = str(element.tag)
        place = f"{group}/{tag}" if group else tag
        why = closed(place)
        if why is not None:
            raise _RefusedError(line, f"<{place}> {why}", "an overlay cannot say it")
        parsed = OverlayElement(group=group, element=_parse(element))
        if places is not None and place not in places:
            raise _RefusedError(
                line,
                f"<{place}> is at no place that the controller has opened",
                f"open: {', '.join(sorted(places)) or 'none'}; see its setting overlay_elements",
            )
        clash = next((one for one in found if one == parsed or one.excludes(parsed)), None)
        if clash is not None:
            raise _RefusedError(line, f"<{place}> is there twice", "keep one")
        found[parsed] = line
    if not found:
        raise _RefusedError(1, "holds no element", "leave xml out")
    return in_order(tuple(found))


def _refuse_tricks(text: str) -> None:
    if len(text) > MAXIMUM_CHARACTERS:
        message = f"has {len(text):,} characters, more than {MAXIMUM_CHARACTERS:,}"
        raise _RefusedError(1, message, "no overlay needs that")
    for pattern, message, hint in _TRICKS:
        found = pattern.search(text)
        if found is not None:
            raise _RefusedError(text.count("\n", 0, found.start()) + 1, message, hint)


def _tree(text: str) -> Element:
    """The elements of ``text`` below one that we put around them."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(f"<domain>{text}</domain>", parser)
    except etree.XMLSyntaxError as error:
        line = min(max(error.lineno or 1, 1), text.count("\n") + 1)
        told = re.sub(r",? line \d+.*?(?= and |$)", "", str(error.msg or "cannot be read"))
        message = f"is no well-formed XML: {told[:1].lower()}{told[1:]}"
        raise _RefusedError(line, message, "close what is opened") from error


def _units(root: Element) -> Iterator[tuple[str, Element]]:
    """Each element that stands at a place, with its group."""
    _refuse_bulk(root)
    _refuse_text(root, "between the elements")
    for top in root.iterchildren("*"):
        tag = str(top.tag)
        if tag == "domain":
            message = "<domain> is around everything already"
            raise _RefusedError(_line(top), message, "write what stands inside")
        if tag not in GROUPS:
            yield "", top
            continue
        if top.attrib:
            message = f"<{tag}> is a group of the guest's own and takes no attribute here"
            raise _RefusedError(_line(top), message, "an overlay only adds elements to it")
        _refuse_text(top, f"in <{tag}>")
        for child in top.iterchildren("*"):
            yield tag, child


def _refuse_bulk(root: Element) -> None:
    for count, element in enumerate(root.iterdescendants("*"), start=1):
        depth = sum(1 for _ in element.iterancestors())
        if depth > _MAXIMUM_DEPTH:
            message = f"is more than {_MAXIMUM_DEPTH} elements deep"
            raise _RefusedError(_line(element), message, "no element of libvirt's is")
        if count > _MAXIMUM_ELEMENTS:
            message = f"has more than {_MAXIMUM_ELEMENTS} elements"
            raise _RefusedError(_line(element), message, "no overlay needs that")


def _parse(element: Element) -> XmlElement:
    """The element as a value, unless something in it reaches beyond the guest."""
    tag, line = str(element.tag), _line(element)
    for words, why in _ELEMENTS:
        if tag in words:
            raise _RefusedError(line, f"<{tag}> {why}", "an overlay cannot do that")
    for key, value in element.items():
        _refuse_attribute(line, tag, str(key), str(value))
    children = tuple(_parse(child) for child in element.iterchildren("*"))
    text = " ".join((element.text or "").split())
    if children:
        _refuse_text(element, f"in <{tag}> beside its elements")
    else:
        _refuse_value(line, f"the text of <{tag}>", text)
    return XmlElement(
        tag=tag,
        attributes=tuple(sorted((str(key), str(value)) for key, value in element.items())),
        text="" if children else text,
        children=children,
    )


def _refuse_attribute(line: int, tag: str, name: str, value: str) -> None:
    shown = f'{name}="{value[:40]}" of <{tag}>'
    for words, why in _ATTRIBUTES:
        if name in words:
            raise _RefusedError(line, f"{shown} {why}", "an overlay cannot do that")
    if name in ("type", "backend") and value in _OUTWARD:
        raise _RefusedError(line, f"{shown} reaches out of the guest", "an overlay cannot do that")
    _refuse_value(line, shown, value)


def _refuse_value(line: int, what: str, value: str) -> None:
    if "/" in value or "\\" in value:
        raise _RefusedError(line, f"{what} looks like a path", "an overlay names nothing of a host")
    if len(value) > _MAXIMUM_VALUE:
        raise _RefusedError(line, f"{what} is longer than {_MAXIMUM_VALUE} characters")


def _refuse_text(element: Element, where: str) -> None:
    for text in (element.text, *(child.tail for child in element)):
        if (text or "").strip():
            raise _RefusedError(_line(element), f"has text {where}", "take it out")


def _line(element: Element) -> int:
    line: int | None = element.sourceline  # type: ignore[assignment]  # the stubs' property
    return line or 1
