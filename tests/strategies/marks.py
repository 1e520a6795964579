"""Marks: any that the type allows and XML can hold, from tiny alphabets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from uuid import UUID

from hypothesis import strategies as st

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
from reconciler.model.overlay import OverlayElement, XmlElement
from reconciler.model.suspension import Covered, Scope, Suspension

REPOSITORIES = (UUID("6a0e1c5e-5c2b-4d0e-9a59-3d1f0c9c0001"), UUID(int=2))
UUIDS = (UUID("11111111-2222-3333-4444-555555555501"), UUID(int=7))
NAMES = ("dns", "lists", "web")
POOLS = ("default", "vg0")
VOLUMES = ("root.raw", "data.qcow2")
TARGETS = ("vda", "vdb", "sda", "xvda", "xvdb1", "hdc")
MACS = ("00:16:3e:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:ff")
DIGESTS = ("00ff", "5d1c90ab")

sayable = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"], include_characters="\t\n\r<>&'\"]]>"),
    max_size=12,
)
"""Any text that XML can hold at all: no control characters, no halves of characters."""

words = st.sampled_from(("", "a", " a ", "a\nb\t", "\r", "\"<&>]]>'", "é", "\U0001f427"))
"""Text that is easily spoiled on its way through XML; cheap to draw."""

_ZONES = (UTC, timezone(timedelta(hours=5, minutes=30)))
instants = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis puts the zone on by itself
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - as above
    timezones=st.sampled_from(_ZONES),
)


_places = st.sampled_from(
    [None, *((LibvirtPool(pool), VolumeName(one)) for pool in POOLS for one in VOLUMES)]
)


def _in_its_place(disk: MarkedDisk, place: tuple[LibvirtPool, VolumeName] | None) -> MarkedDisk:
    return replace(disk, pool=place[0], volume=place[1]) if place else disk


def _fields(names: tuple[str, ...]) -> st.SearchStrategy[tuple[FieldName, ...]]:
    some = st.lists(st.sampled_from(names).map(FieldName), max_size=2, unique=True)
    return some.map(lambda drawn: tuple(sorted(drawn)))


_bare_disks = st.builds(
    MarkedDisk,
    name=st.sampled_from(("root", "data")).map(DiskName),
    target=st.sampled_from(TARGETS).map(Target),
    pool=st.none(),
    volume=st.none(),
    ours=st.booleans(),
    filled=st.booleans(),
    image=st.none() | words,
    source=st.sampled_from((None, "/dev/sdb", "nbd://nas:10809/a&b")),
    detached=st.none() | instants,
    expired=st.none() | instants,
    fields=_fields(("bus", "cache", "readOnly")),
    protected=st.booleans(),
    approval=st.none() | st.just(PlanId("5d1c-90ab")),
)
_marked_disks = st.builds(_in_its_place, _bare_disks, _places)


_MODEL = (("model", "ich9"),)
_CODEC = XmlElement(tag="codec", attributes=(("type", "duplex"),))
ELEMENTS = (
    OverlayElement(group="devices", element=XmlElement(tag="sound", attributes=_MODEL)),
    OverlayElement(
        group="devices", element=XmlElement(tag="sound", attributes=_MODEL, children=(_CODEC,))
    ),
    OverlayElement(
        group="clock",
        element=XmlElement(tag="timer", attributes=(("name", "hpet"), ("present", "no"))),
    ),
    OverlayElement(group="", element=XmlElement(tag="pm", children=(XmlElement(tag="a"),))),
    OverlayElement(group="", element=XmlElement(tag="iothreads", text="a & <b>")),
)
"""Elements of overlays: one that another one covers, one with text, one right below the domain."""

elements = st.lists(st.sampled_from(ELEMENTS), max_size=2, unique=True).map(tuple)


_suspensions = st.builds(
    Suspension,
    covered=st.sampled_from(
        (
            Covered(scope=Scope.GUEST, name="web"),
            Covered(scope=Scope.POOL, name="main"),
            Covered(scope=Scope.ALL),
        )
    ),
    who=words,
    why=words,
    since=st.none() | instants,
    until=st.none() | instants,
)


@cache
def marks() -> st.SearchStrategy[Mark]:
    """Any mark, also one that no pass would write."""
    trash = st.builds(
        Trash,
        since=instants,
        until=instants,
        commit=words.map(Sha),
        approval=st.none() | st.just(PlanId("5d1c-90ab")),
        emptying=st.none() | instants,
    )
    operation = st.builds(
        MarkedOperation, kind=st.sampled_from(OperationKind), id=words, since=instants
    )
    seed = st.builds(
        MarkedSeed,
        target=st.sampled_from(TARGETS).map(Target),
        pool=st.sampled_from(POOLS).map(LibvirtPool),
        volume=st.sampled_from(VOLUMES).map(VolumeName),
        digest=st.sampled_from(DIGESTS).map(Digest),
        instance=words,
        filled=st.booleans(),
        done=st.booleans(),
    )
    return st.builds(
        Mark,
        owner=st.sampled_from(REPOSITORIES),
        guest=st.sampled_from(NAMES).map(GuestName),
        uuid=st.sampled_from(UUIDS),
        generation=st.integers(0, 3),
        phase=st.sampled_from(Phase),
        commit=sayable.map(Sha),
        intent=st.sampled_from(DIGESTS).map(Digest),
        renderer=st.integers(1, 2),
        protected=st.booleans(),
        shutdown=st.builds(
            ShutdownPolicy, timeout_s=st.integers(0, 600), then=st.sampled_from(ThenWhat)
        ),
        disks=st.lists(_marked_disks, max_size=3).map(tuple),
        nics=st.lists(
            st.builds(
                MarkedNic,
                name=st.sampled_from(("eth0", "eth1")).map(NicName),
                mac=st.sampled_from(MACS).map(MacAddress),
                fields=_fields(("link", "queues")),
            ),
            max_size=2,
        ).map(tuple),
        fields=_fields(("cpus.pin", "rng")),
        snapshots=st.lists(
            st.builds(
                MarkedSnapshot,
                name=st.sampled_from(("one", "two")).map(SnapshotName),
                taken=instants,
                consistency=st.sampled_from(Consistency),
                removed=st.none() | instants,
                approval=st.none() | st.just(PlanId("5d1c-90ab")),
            ),
            max_size=2,
        ).map(tuple),
        overlay=st.lists(
            st.builds(
                MarkedElement,
                element=st.sampled_from(ELEMENTS),
                let_go=st.sampled_from((False, True)),
            ),
            max_size=2,
            unique_by=lambda entry: entry.element,
        ).map(tuple),
        restarts=st.lists(
            st.builds(
                MarkedRestart,
                since=instants,
                intent=words.map(Digest),
                approval=st.none() | st.just(PlanId("5d1c-90ab")),
            ),
            max_size=2,
        ).map(tuple),
        trash=st.none() | trash,
        operation=st.none() | operation,
        tokens=st.lists(words, max_size=2).map(tuple),
        seed=st.none() | seed,
        cloud_init=st.none() | st.sampled_from(DIGESTS).map(Digest),
        suspended=st.lists(_suspensions, max_size=2).map(tuple),
    )
