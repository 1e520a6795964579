"""Optional fields: whose they are, what they shall be, and what of them differs.

# Note [Owned fields]
What a manifest does not mention inside a guest is kept as it is (promise 4), and a revert takes a
change back. Together they need a memory: a field that the manifest no longer mentions must be taken
out if an earlier manifest put it there, and left alone if nobody of ours ever spoke of it. The mark
is that memory, ``Mark.fields``. An optional field of a guest is therefore one of three:

- *mentioned* by the manifest: it shall be as the manifest says, and its name stands in the mark;
- *let go*: the mark has its name, the manifest has not. It goes back to its default, that of a new
  guest whose manifest is silent about it. The name stays in the mark until both definitions, the
  stored and the running one, are seen at that default: then the revert is complete;
- *not ours*: in neither. It is never compared and never written, and what the stored definition
  holds is carried over into the wanted one.

To mention a field is to take it over: what stood there before was not ours and is not remembered.
A name in the mark that this version does not know belongs to another version and stays.

To add an option: an attribute and its name in ``model.options``; the field in the manifest's model
and a line in ``manifests.options``; a reader and a writer in ``domxml.options``; what a driver
cannot do in ``without`` of its row of ``hypervisor.capabilities``. It then costs a restart, unless
``differences.cost`` has a step for it. An optional field that is not an option (one of a disk, say)
asks ``Ownership`` by a name of its own, as ``disks[root].cache``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from reconciler.model.definition import DomainType
from reconciler.model.names import FieldName
from reconciler.model.options import (
    FIELDS,
    HOST_MODEL,
    HOST_PASSTHROUGH,
    NO_OPTIONS,
    DiskOptions,
    HugePages,
    IoLimits,
    NicOptions,
    Options,
    fields_of,
    value_of,
)
from reconciler.planner import words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.model.definition import GuestType
    from reconciler.model.desired import DesiredGuest
    from reconciler.model.mark import Mark
    from reconciler.model.observed import Capabilities
    from reconciler.model.options import AnyOptions, Pin

    Value = TypeVar("Value")
    OptionsT = TypeVar("OptionsT", Options, DiskOptions, NicOptions)

_MODE = FieldName("cpus.mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Whose the optional fields of one guest are; see Note [Owned fields].

    ``refused`` are those that the host cannot do as the manifest says: they stay as they are.
    """

    mentioned: frozenset[FieldName]
    marked: frozenset[FieldName]
    refused: frozenset[FieldName] = frozenset()

    @property
    def owned(self) -> frozenset[FieldName]:
        """The fields that are compared and written at all."""
        return (self.mentioned | self.marked) - self.refused

    def choose(self, field: FieldName, *, said: Value, default: Value, stored: Value) -> Value:
        """What the field shall be in the stored definition."""
        if field not in self.owned:
            return stored
        return said if field in self.mentioned else default

    def names(self, *, back: Collection[FieldName]) -> tuple[FieldName, ...]:
        """The names for the mark; ``back`` are the fields seen at their defaults everywhere."""
        let_go = {field for field in self.marked if field not in back}
        return tuple(sorted((self.mentioned - self.refused) | let_go))


def ownership(guest: DesiredGuest, mark: Mark | None, refused: Collection[FieldName]) -> Ownership:
    """Whose the fields of ``guest`` are, by its manifest and by the mark that is there."""
    return Ownership(
        mentioned=frozenset(guest.mentioned),
        marked=frozenset(mark.fields if mark is not None else ()),
        refused=frozenset(refused),
    )


def default_options(domain_type: DomainType) -> Options:
    """The options of a guest whose manifest is silent about them."""
    if domain_type is DomainType.KVM:
        # Without a word libvirt gives qemu64, which current distributions refuse to boot on.
        return replace(NO_OPTIONS, cpu=HOST_MODEL)
    return NO_OPTIONS


def choose_options(
    owner: Ownership, said: OptionsT, stored: OptionsT, default: OptionsT
) -> OptionsT:
    """The options that the stored definition shall have."""
    chosen = {
        attribute: owner.choose(
            field,
            said=getattr(said, attribute),
            default=getattr(default, attribute),
            stored=getattr(stored, attribute),
        )
        for field, attribute in fields_of(default).items()
    }
    return replace(stored, **chosen)


def options_back(default: AnyOptions, *seen: AnyOptions | None) -> frozenset[FieldName]:
    """The options that are at ``default`` in each of those that were seen."""
    return frozenset(
        field
        for field, attribute in fields_of(default).items()
        if all(
            getattr(one, attribute) == getattr(default, attribute)
            for one in seen
            if one is not None
        )
    )


def as_told(live: Options, stored: Options) -> Options:
    """The options of a running guest, told as its stored definition would tell them.

    # Note [What a running guest tells]
    libvirt replaces ``host-model`` in a running guest by the model that it came to, and the host's
    favourite page size by its number. Which of two wishes a model came from cannot be told any
    more; it counts as the one that is stored.
    """
    cpu, pages = live.cpu, live.huge_pages
    if stored.cpu == HOST_MODEL and cpu not in (None, HOST_PASSTHROUGH):
        cpu = HOST_MODEL
    if stored.huge_pages == HugePages() and pages is not None:
        pages = stored.huge_pages
    return replace(live, cpu=cpu, huge_pages=pages)


def kept_options(wanted: OptionsT, actual: OptionsT, owned: Collection[FieldName]) -> OptionsT:
    """The options that are wanted, with each that is not ours as it actually is."""
    others = {
        attribute: getattr(actual, attribute)
        for field, attribute in fields_of(wanted).items()
        if field not in owned
    }
    return replace(wanted, **others)


def differing_options(
    wanted: AnyOptions, actual: AnyOptions, owned: Collection[FieldName]
) -> Iterator[tuple[FieldName, str, str]]:
    """Every owned option in which ``actual`` is not as ``wanted``: before and after, in words."""
    for field in fields_of(wanted):
        before, after = value_of(actual, field), value_of(wanted, field)
        if field in owned and before != after:
            absent = _ABSENT.get(field, "none")
            yield field, _words(before, absent), _words(after, absent)


_ABSENT: Mapping[FieldName, str] = {
    FieldName(field): "default" for field in ("cache", "discard", "link", "queues")
}
"""What an option is called that is not said: the hypervisor then does something of its own."""


def impossible_options(
    wanted: Options,
    type_: GuestType,
    domain_type: DomainType,
    capabilities: Capabilities,
    *,
    there: Options = NO_OPTIONS,
) -> Iterator[tuple[FieldName, str]]:
    """The options that no guest of ``type_`` can be given on a host, each with the reason.

    Somebody's option that is ``there`` already may stay.
    """
    for field, attribute in FIELDS.items():
        value = getattr(wanted, attribute)
        if value in (getattr(NO_OPTIONS, attribute), getattr(there, attribute)):
            continue
        denial = capabilities.without.get((type_, field))
        if denial is not None and value not in denial.but:
            yield field, denial.why
    emulated = domain_type is DomainType.QEMU
    if emulated and wanted.cpu == HOST_PASSTHROUGH != there.cpu:
        yield _MODE, "the host emulates its guests' processors; write host-model, or name a model"


def impossible_of_device(
    wanted: DiskOptions | NicOptions,
    type_: GuestType,
    capabilities: Capabilities,
    *,
    there: DiskOptions | NicOptions,
) -> Iterator[tuple[FieldName, str]]:
    """The options that no disk or card can be given on a host; what is ``there`` may stay."""
    group = "disks" if isinstance(wanted, DiskOptions) else "networks"
    for field in fields_of(wanted):
        value = value_of(wanted, field)
        denial = capabilities.without.get((type_, FieldName(f"{group}.{field}")))
        if denial is not None and value not in (None, value_of(there, field)):
            yield field, denial.why


def pins_beyond(pins: tuple[Pin, ...], cpus: int) -> Iterator[Pin]:
    """The pins to processors that a host with ``cpus`` of them does not have."""
    for pin in pins:
        last = re.split("[,-]", pin.cpus)[-1]
        if int(last) >= cpus:
            yield pin


def _words(value: object, absent: str) -> str:
    """A value as a plan shows it."""
    match value:
        case None | False | ():
            return absent
        case True:
            return "yes"
        case IoLimits():
            return words.limits(value)
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)
