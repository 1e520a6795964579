"""The doors through which text comes in, and what must hold of each whatever the text is.

A target is a function of bytes. It returns when the door held: it took the text, or said no with
one of domops' own errors. Anything else that leaves it, an ``AssertionError`` too, is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lxml import etree

from reconciler.domxml import (
    canonical,
    digest_without_mark,
    merge,
    outline,
    read,
    read_mark,
    read_snapshot,
    render_mark,
)
from reconciler.errors import DomopsError
from reconciler.hypervisor.storagexml import read_pool, read_volume
from reconciler.manifests import REPOSITORY_FILE, Allowed, is_manifest, load, parse_file
from reconciler.model.desired import Commit
from reconciler.model.names import Sha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.overlay import XmlElement

TESTS: Final = Path(__file__).resolve().parents[1]
_BETWEEN_FILES: Final = b"\n#### "
_COMMIT: Final = Commit(
    sha=Sha("0" * 40), author="A Tester", committed_at=datetime(2025, 1, 1, tzinfo=UTC), subject="-"
)
_WORLD: Final = {path.name: path.read_bytes() for path in (TESTS / "cases/bad/_world").iterdir()}
_ALL_OPEN: Final = Allowed(
    kernel_prefixes=("/",),
    device_prefixes=("/",),
    file_prefixes=("/",),
    overlay_elements=("devices/sound", "devices/panic", "devices/memballoon", "pm", "clock/timer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A door: what to do with any bytes, bytes to begin with, and words that it knows."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    words: tuple[str, ...]


# ------------------------------------------------------------------------------------ manifests


def one_manifest(content: bytes) -> None:
    """One file is parsed, alone and within a world: each fault has a place and a sentence."""
    parsed = parse_file(content)
    rows = content.count(b"\r") + len(content.decode(errors="replace").splitlines())
    for fault in parsed.faults:
        assert fault.message, fault
        assert 1 <= fault.line <= rows + 1, fault
        assert fault.column >= 1, fault
    _is_one_or_the_other({**_WORLD, "case.yaml": content})


def a_tree(content: bytes) -> None:
    """A few files at once, each behind a line ``#### PATH``."""
    _is_one_or_the_other(
        {**_WORLD, **{path: text for path, text in _files(content).items() if is_manifest(path)}}
    )


def _is_one_or_the_other(files: Mapping[str, bytes]) -> None:
    for allowed in (Allowed(), _ALL_OPEN):
        resolved = load(files, commit=_COMMIT, allowed=allowed)
        errors = [one for one in resolved.problems if one.severity == "error"]
        assert (resolved.world is None) == bool(errors)
        for problem in resolved.problems:
            sentence = str(problem)
            assert problem.path in files, sentence
            assert sentence.isprintable(), ascii(sentence)


def _files(content: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for part in content.split(_BETWEEN_FILES)[1:]:
        path, _, text = part.partition(b"\n")
        files[path.decode(errors="replace")] = text
    return files


# ------------------------------------------------------------------------------------------ XML


def a_domain(content: bytes) -> None:
    """A domain's text is read; written back as it was read, it says the same."""
    text = content.decode(errors="replace")
    digest_without_mark(text)
    try:
        reading = read(text)
    except DomopsError:
        return
    outline(text)
    assert read(text) == reading
    if reading.mark_problem is not None:
        return  # a mark that cannot be read is never written over
    try:
        written = merge(text, reading.definition)
    except DomopsError:
        return
    again = read(written)
    assert again.mark_problem is None
    assert _meaning(again.definition) == _meaning(reading.definition)


def _meaning(definition: GuestDefinition) -> GuestDefinition:
    return canonical(replace(definition, mark=None))


def a_mark(content: bytes) -> None:
    """A mark that can be read is written and read again without a loss."""
    try:
        mark = read_mark(content.decode(errors="replace"))
    except DomopsError:
        return
    assert read_mark(render_mark(mark)) == mark


def what_a_host_says(content: bytes) -> None:
    """The texts of a snapshot, a volume and a pool."""
    text = content.decode(errors="replace")
    for door in (read_snapshot, read_volume, read_pool):
        try:
            door(text)
        except DomopsError:
            continue


# -------------------------------------------------------------------------------------- overlays

_PROGRAMS: Final = {"emulator", "script", "binary", "commandline", "init", "loader", "kernel"}
_NAMES: Final = {"uuid", "name", "metadata", "alias", "seclabel", "source"}
_OF_THE_HOST: Final = {"uuid", "alias", "path", "file", "dev", "socket", "script"}


def an_overlay(content: bytes) -> None:
    """What an overlay lets through names no program, no path and nobody's identity."""
    head = b"apiVersion: domops/v1\nkind: Guest\nmetadata: {name: lists}\nspec:\n  host: dom0-a\n"
    lines = content.decode(errors="replace").splitlines()
    text = "".join(f"    {line}\n" for line in lines).encode()
    rest = b"  cpus: 1\n  memory: 1GiB\n  boot: {firmware: bios}\n  type: hvm\n  xml: |\n"
    allowed = replace(_ALL_OPEN, overlay_elements=None)
    resolved = load({**_WORLD, "case.yaml": head + rest + text}, commit=_COMMIT, allowed=allowed)
    if resolved.world is None:
        return
    for guest in resolved.world.guests.values():
        for entry in guest.overlay:
            _is_harmless(entry.element)


def _is_harmless(element: XmlElement) -> None:
    assert element.tag not in _PROGRAMS | _NAMES, element
    for name, value in element.attributes:
        assert name not in _OF_THE_HOST, element
        assert not value.startswith("/"), element
        assert "://" not in value, element
    assert not element.text.strip().startswith("/"), element
    for child in element.children:
        _is_harmless(child)


# ---------------------------------------------------------------------------------------- seeds


def _manifests() -> Iterator[bytes]:
    for path in sorted((TESTS / "cases/bad").glob("*.yaml")):
        yield path.read_bytes()
    yield from _WORLD.values()
    for path in sorted((TESTS.parent / "manifests").rglob("*.yaml")):
        yield path.read_bytes()


def _trees() -> Iterator[bytes]:
    files = [b"%sa/%d.yaml\n%s" % (_BETWEEN_FILES, n, one) for n, one in enumerate(_manifests())]
    for start in range(0, len(files), 3):
        yield b"".join(files[start : start + 3])
    for path in sorted((TESTS.parent / "manifests").iterdir()):
        inside = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        texts = [(one.relative_to(path.parent), one.read_bytes()) for one in inside]
        yield b"".join(b"%s%s\n%s" % (_BETWEEN_FILES, bytes(at), text) for at, text in texts)


def _domains() -> Iterator[bytes]:
    for folder in ("golden/expected", "golden/recorded", "mixes"):
        for path in sorted((TESTS / folder).rglob("*.xml")):
            if b"<domain" in (text := path.read_bytes()):
                yield text


def _marks() -> Iterator[bytes]:
    for text in _domains():
        try:
            mark = read(text.decode()).definition.mark
        except DomopsError:
            continue
        if mark is not None:
            yield render_mark(mark).encode()


def _said_by_hosts() -> Iterator[bytes]:
    for path in sorted((TESTS / "golden/recorded/xen/host").glob("*.xml")):
        yield path.read_bytes()
    yield (
        b"<domainsnapshot><name>before</name><description>Made by domops (quiesced) for repository"
        b" 7b1d2c9e-5f6a-4f0e-9d3c-2a1b0c9d8e7f</description><state>running</state>"
        b"<creationTime>1764000000</creationTime><memory snapshot='internal'/><disks>"
        b"<disk name='vda' snapshot='internal'/></disks></domainsnapshot>"
    )


def _overlays() -> Iterator[bytes]:
    yield b"<pm><suspend-to-mem enabled='no'/></pm>"
    yield b"<devices>\n  <sound model='ich9'/>\n  <panic model='isa'/>\n</devices>"
    yield b"<clock><timer name='hpet' present='no'/></clock>"
    yield b"<blkiotune><weight>500</weight></blkiotune>"
    for path in sorted((TESTS / "cases/bad").glob("guest-xml-*.yaml")):
        _, _, text = path.read_bytes().partition(b"xml: |\n")
        if text:
            yield text


def _tags(texts: Iterator[bytes]) -> tuple[str, ...]:
    words: set[str] = set()
    for text in texts:
        for element in etree.fromstring(text).iter("*"):
            words.update((f"<{etree.QName(element).localname}", *map(str, element.attrib)))
    return tuple(sorted(words))


_YAML_WORDS: Final = (
    *("apiVersion: domops/v1", "kind: Guest", "kind: Host", "kind: Pool", "kind: Storage"),
    *("kind: Network", "kind: GuestClass", "metadata:", "spec:", "name:", "host:", "pool:"),
    *("disks:", "networks:", "boot:", "cpus:", "memory:", "cloudInit:", "startAfter:", "xml: |"),
    *("snapshots:", "placement:", "&a", "*a", "<<:", "---", "...", "!!python/object", "!!binary"),
    *("? ", "- ", "{", "}", "[", "]", "|", ">", "%YAML 1.2", "\\u202e", "\\x00", "0x10", "1e400"),
    *("GiB", "../", "/dev/", "null", "~", "yes", "2001-01-01", "190:20:30", "1_000", "\ufeff"),
)

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        Target(name="manifest", run=one_manifest, seeds=_manifests, words=_YAML_WORDS),
        Target(
            name="tree", run=a_tree, seeds=_trees, words=(*_YAML_WORDS, "\n#### ", "domops.yaml")
        ),
        Target(name="domain", run=a_domain, seeds=_domains, words=_tags(_domains())),
        Target(name="mark", run=a_mark, seeds=_marks, words=_tags(_marks())),
        Target(
            name="host",
            run=what_a_host_says,
            seeds=_said_by_hosts,
            words=("<volume", "<pool", "<domainsnapshot", "<!DOCTYPE", "<!ENTITY", "&a;", "-1"),
        ),
        Target(name="overlay", run=an_overlay, seeds=_overlays, words=_tags(_domains())),
    )
}
"""Every door by its name."""

assert REPOSITORY_FILE in _WORLD  # a world without it would have a problem of its own
