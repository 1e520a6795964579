"""The mark as an element of ``<metadata>``, and back.

Inside a domain's text the element has our namespace; ``metadata()`` gives it without, and
``setMetadata`` wants it without. Both are read.

What an older domops cannot know (an attribute, an element, a word) makes the whole mark unreadable
to it: a mark that was half understood would be written back with the other half lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from lxml import etree

from reconciler.domxml.document import (
    PARSER,
    digest,
    local_name,
    make,
    number,
    parse,
    put,
    serialise,
    take_out,
)
from reconciler.domxml.overlay import parse_element
from reconciler.errors import RefusedError, StalledError
from reconciler.model.mark import (
    Consistency,
    Mark,
    MarkedDisk,
    MarkedElement,
    MarkedNic,
    MarkedOperation,
    MarkedRestart,
    MarkedSeed,
    MarkedSnapshot,
    OperationKind,
    Phase,
    ShutdownPolicy,
    ThenWhat,
    Trash,
)
from reconciler.model.names import (
    Digest,
    DiskName,
    FieldName,
    GuestName,
    LibvirtPool,
    MacAddress,
    NicName,
    PlanId,
    Sha,
    SnapshotName,
    Target,
    VolumeName,
)
from reconciler.model.overlay import GROUPS, OverlayElement
from reconciler.model.suspension import Covered, Scope, Suspension

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from enum import StrEnum

    from lxml.etree import _Element as Element

    Word = TypeVar("Word", bound=StrEnum)

NAMESPACE = "urn:domops:mark:1"
"""The number is that of the grammar; a mark of another number is somebody newer's."""

PREFIX = "domops"
_FAMILY = "urn:domops:mark:"
_ROOT = "guest"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_FLAGS = {"yes": True, "no": False}
_OPENS, _CLOSES = f"<{PREFIX}:{_ROOT} ", f"</{PREFIX}:{_ROOT}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReading:
    """The mark of a text, or why it has one that cannot be read; both None where it has none."""

    mark: Mark | None
    problem: str | None


def read(domain: Element) -> MarkReading:
    """Return the mark that a domain's text carries, whoever's it is."""
    ours = _elements(domain)
    if not ours:
        return MarkReading(mark=None, problem=None)
    if len(ours) > 1:
        problem = "the domain carries more than one mark of domops"
        return MarkReading(mark=None, problem=problem)
    try:
        return MarkReading(mark=_read(ours[0]), problem=None)
    except StalledError as error:
        return MarkReading(mark=None, problem=str(error))


def write(domain: Element, wanted: Mark | None) -> bool:
    """Make the mark as wanted; say whether anything had to be changed.

    Raises:
        RefusedError: there is a mark that this domops cannot read, which it must not write over.

    """
    there = read(domain)
    if there.mark == wanted and (there.problem is None or wanted is None):
        return False
    if there.problem is not None:
        raise RefusedError(f"domain {domain.findtext('name')}: {there.problem}")
    old = next(iter(_elements(domain)), None)
    metadata = domain.find("metadata")
    if wanted is not None:
        if metadata is None:
            heads = [domain.find(tag) for tag in ("name", "uuid", "genid", "title", "description")]
            last = next((head for head in reversed(heads) if head is not None), None)
            metadata = put(domain, make("metadata"), after=last)
        put(metadata, _render(wanted, namespace=NAMESPACE), after=old)
    if old is not None:
        take_out(old)
    if metadata is not None and not len(metadata):
        take_out(metadata)
    return True


def render_mark(mark: Mark) -> str:
    """The text that libvirt's ``setMetadata`` wants, which puts our namespace on it by itself."""
    return serialise(_render(mark, namespace=None))


def read_mark(text: str) -> Mark:
    """The mark in the text that libvirt's ``metadata`` gives, which has lost its namespace.

    Raises:
        StalledError: it is none, or not one that this domops can read.

    """
    return _read(parse(text, root=_ROOT))


def digest_without_mark(text: str) -> Digest:
    """The digest of a domain's text that stays the same when only the mark changes.

    Costs no parsing: libvirt writes our element with our prefix. Where that cannot be told for sure
    the digest is that of the whole text, and only says "look again" more often.
    """
    start, end = text.find(_OPENS), text.rfind(_CLOSES)
    once = text.count(_OPENS) == 1 and text.count(_CLOSES) == 1
    if not (once and start < end) or "<!" in text:
        return digest(text)
    return digest(text[:start] + text[end + len(_CLOSES) :])


def _elements(domain: Element) -> list[Element]:
    """Every child of ``<metadata>`` in one of our namespaces, of whatever version."""
    metadata = domain.find("metadata")
    children = () if metadata is None else metadata.iterchildren("{*}*")
    return [child for child in children if is_ours(child)]


def is_ours(element: Element) -> bool:
    """Whether an element of ``<metadata>`` is a mark, of whatever version."""
    return _namespace(element).startswith(_FAMILY)


def _namespace(element: Element) -> str:
    tag = str(element.tag)
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""


# ------------------------------------------------------------------------------------ writing


def _render(mark: Mark, *, namespace: str | None) -> Element:
    top = "" if namespace is None else f"{{{namespace}}}"
    root = _root(f"{top}{_ROOT}", namespace)
    root.attrib.update(
        {
            "owner": str(mark.owner),
            "name": mark.guest,
            "uuid": str(mark.uuid),
            "generation": str(mark.generation),
            "phase": mark.phase,
            "commit": mark.commit,
            "intent": mark.intent,
            "renderer": str(mark.renderer),
            "protected": _yes_or_no(mark.protected),
        }
    )
    for tag, attributes in _children(mark):
        said = {name: value for name, value in attributes.items() if value is not None}
        root.append(root.makeelement(f"{top}{tag}", said))
    return root


def _children(mark: Mark) -> Iterator[tuple[str, Mapping[str, str | None]]]:
    """The elements inside the mark, each by its tag and what it says."""
    yield "shutdown", {"timeout": str(mark.shutdown.timeout_s), "then": mark.shutdown.then}
    yield from (("disk", _disk(disk)) for disk in mark.disks)
    yield from (("nic", _nic(nic)) for nic in mark.nics)
    yield from (("field", {"name": field}) for field in mark.fields)
    yield from (("snapshot", _snapshot(snapshot)) for snapshot in mark.snapshots)
    yield from (("element", _element(entry)) for entry in mark.overlay)
    yield from (("restart", _restart(restart)) for restart in mark.restarts)
    if mark.cloud_init is not None:
        yield "cloud-init", {"digest": mark.cloud_init}
    if mark.seed is not None:
        yield "seed", _seed(mark.seed)
    if mark.trash is not None:
        yield "trash", _trash(mark.trash)
    if mark.operation is not None:
        operation = mark.operation
        since = _instant(operation.since)
        yield "operation", {"kind": operation.kind, "id": operation.id, "since": since}
    yield from (("token", {"value": token}) for token in mark.tokens)
    yield from (("suspended", _suspension(one)) for one in mark.suspended)


def _snapshot(snapshot: MarkedSnapshot) -> dict[str, str | None]:
    return {
        "name": snapshot.name,
        "taken": _instant(snapshot.taken),
        "consistency": snapshot.consistency,
        "removed": None if snapshot.removed is None else _instant(snapshot.removed),
        "approval": snapshot.approval,
    }


def _restart(restart: MarkedRestart) -> dict[str, str | None]:
    return {
        "since": _instant(restart.since),
        "intent": restart.intent,
        "approval": restart.approval,
    }


def _element(entry: MarkedElement) -> dict[str, str | None]:
    return {
        "group": entry.element.group or None,
        "xml": str(entry.element.element),
        "letGo": "yes" if entry.let_go else None,
    }


def _suspension(one: Suspension) -> dict[str, str | None]:
    return {
        "scope": one.covered.scope,
        "name": one.covered.name or None,
        "who": one.who,
        "why": one.why,
        "since": None if one.since is None else _instant(one.since),
        "until": None if one.until is None else _instant(one.until),
    }


def _seed(seed: MarkedSeed) -> dict[str, str | None]:
    return {
        "target": seed.target,
        "pool": seed.pool,
        "volume": seed.volume,
        "digest": seed.digest,
        "instance": seed.instance,
        "filled": _yes_or_no(seed.filled),
        "done": _yes_or_no(seed.done),
    }


def _disk(disk: MarkedDisk) -> dict[str, str | None]:
    return {
        "name": disk.name,
        "target": disk.target,
        "pool": disk.pool,
        "volume": disk.volume,
        "ours": _yes_or_no(disk.ours),
        "filled": _yes_or_no(disk.filled),
        "image": disk.image,
        "source": disk.source,
        "detached": None if disk.detached is None else _instant(disk.detached),
        "fields": " ".join(disk.fields) or None,
        "protected": "yes" if disk.protected else None,
        "approval": disk.approval,
        "expired": None if disk.expired is None else _instant(disk.expired),
    }


def _nic(nic: MarkedNic) -> dict[str, str | None]:
    return {"name": nic.name, "mac": nic.mac, "fields": " ".join(nic.fields) or None}


def _trash(trash: Trash) -> dict[str, str | None]:
    return {
        "since": _instant(trash.since),
        "until": _instant(trash.until),
        "commit": trash.commit,
        "approval": trash.approval,
        "emptying": None if trash.emptying is None else _instant(trash.emptying),
    }


def _root(tag: str, namespace: str | None) -> Element:
    """A root that declares our prefix, if it has a namespace at all."""
    bare = make("any")
    return bare.makeelement(tag, {}, None if namespace is None else {PREFIX: namespace})


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - a value to be said, not a switch
    return "yes" if value else "no"


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        raise RefusedError(f"a mark cannot say {value}: a time without a zone is no instant")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


# ------------------------------------------------------------------------------------ reading


def _read(root: Element) -> Mark:
    if _namespace(root) not in {"", NAMESPACE}:
        raise StalledError(f"the mark is written by a newer domops, in {_namespace(root)}")
    if local_name(root) != _ROOT:
        raise StalledError(f"the mark is written by a newer domops: it is a <{local_name(root)}>")
    by_name: dict[str, list[_Said]] = {}
    for child in root.iterchildren("*"):
        if _namespace(child) not in {"", NAMESPACE}:
            raise StalledError(f"the mark holds a foreign <{local_name(child)}>")
        if len(child):
            raise StalledError(f"the mark is written by a newer domops: <{local_name(child)}>")
        by_name.setdefault(local_name(child), []).append(_Said(child))
    said = _Said(root)
    mark = Mark(
        owner=said.uuid("owner"),
        guest=GuestName(said.text("name")),
        uuid=said.uuid("uuid"),
        generation=said.number("generation"),
        phase=said.word("phase", Phase),
        commit=Sha(said.text("commit")),
        intent=Digest(said.text("intent")),
        renderer=said.number("renderer"),
        protected=said.flag("protected"),
        shutdown=_read_shutdown(_one(by_name, "shutdown")),
        disks=tuple(_read_disk(one) for one in by_name.pop("disk", ())),
        nics=tuple(_read_nic(one) for one in by_name.pop("nic", ())),
        fields=tuple(_read_field(one) for one in by_name.pop("field", ())),
        snapshots=tuple(_read_snapshot(one) for one in by_name.pop("snapshot", ())),
        overlay=tuple(_read_element(one) for one in by_name.pop("element", ())),
        restarts=tuple(_read_restart(one) for one in by_name.pop("restart", ())),
        trash=_read_trash(_one(by_name, "trash")),
        operation=_read_operation(_one(by_name, "operation")),
        tokens=tuple(_read_token(one) for one in by_name.pop("token", ())),
        seed=_read_seed(_one(by_name, "seed")),
        cloud_init=_read_cloud_init(_one(by_name, "cloud-init")),
        suspended=tuple(_read_suspension(one) for one in by_name.pop("suspended", ())),
    )
    said.end()
    if by_name:
        raise StalledError(f"the mark is written by a newer domops: <{min(by_name)}>")
    return mark


def _one(by_name: dict[str, list[_Said]], tag: str) -> _Said | None:
    found = by_name.pop(tag, [])
    if len(found) > 1:
        raise StalledError(f"the mark says <{tag}> more than once")
    return found[0] if found else None


def _read_shutdown(said: _Said | None) -> ShutdownPolicy:
    if said is None:
        raise StalledError("the mark lacks <shutdown>")
    policy = ShutdownPolicy(timeout_s=said.number("timeout"), then=said.word("then", ThenWhat))
    said.end()
    return policy


def _read_disk(said: _Said) -> MarkedDisk:
    pool, volume, detached = said.maybe("pool"), said.maybe("volume"), said.maybe("detached")
    expired = said.maybe("expired")
    if (pool is None) != (volume is None):
        raise StalledError("the mark names half a volume: a pool and a volume belong together")
    disk = MarkedDisk(
        name=DiskName(said.text("name")),
        target=Target(said.text("target")),
        pool=None if pool is None else LibvirtPool(pool),
        volume=None if volume is None else VolumeName(volume),
        ours=said.flag("ours"),
        filled=said.flag("filled"),
        image=said.maybe("image"),
        source=said.maybe("source"),
        expired=None if expired is None else _parse_instant(expired),
        detached=None if detached is None else _parse_instant(detached),
        fields=said.names("fields"),
        protected=said.flag_or_no("protected"),
        approval=said.plan_id("approval"),
    )
    said.end()
    return disk


def _read_nic(said: _Said) -> MarkedNic:
    nic = MarkedNic(
        name=NicName(said.text("name")),
        mac=MacAddress(said.text("mac")),
        fields=said.names("fields"),
    )
    said.end()
    return nic


def _read_field(said: _Said) -> FieldName:
    field = FieldName(said.text("name"))
    said.end()
    return field


def _read_snapshot(said: _Said) -> MarkedSnapshot:
    removed = said.maybe("removed")
    snapshot = MarkedSnapshot(
        name=SnapshotName(said.text("name")),
        taken=said.instant("taken"),
        consistency=said.word("consistency", Consistency),
        removed=None if removed is None else _parse_instant(removed),
        approval=said.plan_id("approval"),
    )
    said.end()
    return snapshot


def _read_restart(said: _Said) -> MarkedRestart:
    restart = MarkedRestart(
        since=said.instant("since"),
        intent=Digest(said.text("intent")),
        approval=said.plan_id("approval"),
    )
    said.end()
    return restart


def _read_element(said: _Said) -> MarkedElement:
    text, group, let_go = said.text("xml"), said.maybe("group"), said.maybe("letGo")
    try:
        element = parse_element(etree.fromstring(text.encode(), PARSER))
    except (etree.XMLSyntaxError, UnicodeEncodeError) as error:
        raise StalledError(f"the mark holds an element that cannot be read: {error}") from error
    if element is None or str(element) != text or group not in {None, *GROUPS}:
        raise StalledError("the mark holds an element that domops did not write")
    if let_go not in {None, "yes"}:
        raise StalledError(f"the mark says {let_go!r} for letGo of <element>")
    said.end()
    return MarkedElement(
        element=OverlayElement(group=group or "", element=element), let_go=let_go == "yes"
    )


def _read_seed(said: _Said | None) -> MarkedSeed | None:
    if said is None:
        return None
    seed = MarkedSeed(
        target=Target(said.text("target")),
        pool=LibvirtPool(said.text("pool")),
        volume=VolumeName(said.text("volume")),
        digest=Digest(said.text("digest")),
        instance=said.text("instance"),
        filled=said.flag("filled"),
        done=said.flag("done"),
    )
    said.end()
    return seed


def _read_cloud_init(said: _Said | None) -> Digest | None:
    if said is None:
        return None
    digest = Digest(said.text("digest"))
    said.end()
    return digest


def _read_trash(said: _Said | None) -> Trash | None:
    if said is None:
        return None
    emptying = said.maybe("emptying")
    trash = Trash(
        since=said.instant("since"),
        until=said.instant("until"),
        commit=Sha(said.text("commit")),
        approval=said.plan_id("approval"),
        emptying=None if emptying is None else _parse_instant(emptying),
    )
    said.end()
    return trash


def _read_operation(said: _Said | None) -> MarkedOperation | None:
    if said is None:
        return None
    operation = MarkedOperation(
        kind=said.word("kind", OperationKind), id=said.text("id"), since=said.instant("since")
    )
    said.end()
    return operation


def _read_suspension(said: _Said) -> Suspension:
    since, until = said.maybe("since"), said.maybe("until")
    suspension = Suspension(
        covered=Covered(scope=said.word("scope", Scope), name=said.maybe("name") or ""),
        who=said.text("who"),
        why=said.text("why"),
        since=None if since is None else _parse_instant(since),
        until=None if until is None else _parse_instant(until),
    )
    said.end()
    return suspension


def _read_token(said: _Said) -> str:
    token = said.text("value")
    said.end()
    return token


def _parse_instant(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise StalledError(f"the mark says {text!r} where an instant belongs") from error
    raise StalledError(f"the mark says {text!r}, a time without a zone")


class _Said:
    """The attributes of one element, each taken once; what is left at the end is unknown to us."""

    def __init__(self, element: Element) -> None:
        self._tag = local_name(element)
        self._left = {str(name): str(value) for name, value in element.attrib.items()}

    def maybe(self, name: str) -> str | None:
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        value = self.maybe(name)
        if value is None:
            raise StalledError(f"the mark lacks {name} of <{self._tag}>")
        return value

    def names(self, name: str) -> tuple[FieldName, ...]:
        return tuple(FieldName(word) for word in (self.maybe(name) or "").split())

    def number(self, name: str) -> int:
        text = self.text(name)
        value = number(text)
        if value is None or text != str(value):
            raise self._wrong(name, text)
        return value

    def flag(self, name: str) -> bool:
        text = self.text(name)
        value = _FLAGS.get(text)
        if value is None:
            raise self._wrong(name, text)
        return value

    def flag_or_no(self, name: str) -> bool:
        return name in self._left and self.flag(name)

    def plan_id(self, name: str) -> PlanId | None:
        text = self.maybe(name)
        return None if text is None else PlanId(text)

    def uuid(self, name: str) -> UUID:
        text = self.text(name)
        if not _UUID.fullmatch(text):
            raise self._wrong(name, text)
        return UUID(text)

    def word(self, name: str, words: type[Word]) -> Word:
        text = self.text(name)
        try:
            return words(text)
        except ValueError as error:
            raise StalledError(
                f"the mark is written by a newer domops: {name} of <{self._tag}> is {text!r}"
            ) from error

    def instant(self, name: str) -> datetime:
        return _parse_instant(self.text(name))

    def end(self) -> None:
        if self._left:
            raise StalledError(
                f"the mark is written by a newer domops: {min(self._left)} of <{self._tag}>"
            )

    def _wrong(self, name: str, text: str) -> StalledError:
        return StalledError(f"the mark says {text!r} for {name} of <{self._tag}>")
