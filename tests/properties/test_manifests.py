"""What must hold of manifests whatever is written in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifests import (
    ParsedFile,
    Resolved,
    load,
    parse_file,
    resolve,
    resolve_change,
)
from reconciler.manifests.included import is_user_data
from reconciler.manifests.intent import intent_of
from reconciler.model.names import GuestName
from tests.unit.manifests.world import BASE, COMMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

CASES = sorted((Path(__file__).parents[1] / "cases" / "bad").glob("*.yaml"))
TOKENS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "? ",
        "| ",
        "|\n",
        ">\n",
        "#",
        '"',
        "'",
        ",",
        "\n",
        "\n  ",
    ),
    *("&a ", "*a", "<<: ", "!!str ", "!x ", "---\n", "...\n", "%YAML 1.1\n", "\t", "\r", "\u2028"),
    *("~", "null", "true", "0x1F", "1e400", ".inf", ".nan", "-0", "9" * 30, "1.5", "no", "2GiB"),
    *(
        "apiVersion: domops/v1\n",
        "kind: Guest\n",
        "kind: Pool\n",
        "metadata: ",
        "name: ",
        "spec:\n",
    ),
    *(
        "{name: lists}",
        "  pool: main\n",
        "  cpus: ",
        "  memory: ",
        "  disks:\n",
        "é",
        "\u202e",
        "\x07",
    ),
]

Spec = dict[str, object]
PARSED = {path: parse_file(content) for path, content in BASE.items()}


def with_base(path: str, content: bytes) -> Resolved:
    """The base, which is parsed once for all examples, and one file more."""
    return resolve({**PARSED, path: parse_file(content)}, included={}, commit=COMMIT)


def either_a_world_or_problems(found: Resolved) -> None:
    assert (found.world is None) == bool(found.problems)
    for problem in found.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert "\n" not in str(problem)


@given(st.binary(max_size=200))
def test_any_bytes_are_documents_or_faults(content: bytes) -> None:
    """Or say of themselves that they are none of ours."""
    parsed = parse_file(content)
    assert parsed.documents or parsed.faults or is_user_data(content)


@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_any_heap_of_yaml_is_a_world_or_problems(tokens: list[str]) -> None:
    either_a_world_or_problems(with_base("heap.yaml", "".join(tokens).encode()))


@given(st.data())
def test_any_damage_to_a_manifest_gives_a_world_or_problems(data: st.DataObject) -> None:
    """Cut, doubled and spoilt near-manifests reach deeper than heaps of tokens do."""
    content = bytearray(data.draw(st.sampled_from(CASES)).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 20))
        new = data.draw(st.one_of(st.sampled_from(TOKENS).map(str.encode), st.binary(max_size=3)))
        content[at : at + length] = new
    either_a_world_or_problems(with_base("case.yaml", bytes(content)))


# ------------------------------------------------------------------------- guests that are right
SIZES = st.sampled_from(["1GiB", "1024MiB", "2GiB"])
DISKS = st.fixed_dictionaries(
    {"size": SIZES, "storage": st.sampled_from(["guests", "images"])},
    optional={
        "image": st.sampled_from(["a.raw", {"storage": "images", "volume": "a.raw"}]),
        "format": st.sampled_from(["raw", "qcow2"]),
    },
)
NICS = st.fixed_dictionaries(
    {"network": st.just("servers")}, optional={"model": st.sampled_from(["pv", "e1000"])}
)


def named(
    entries: st.SearchStrategy[Mapping[str, object]], *names: str
) -> st.SearchStrategy[object]:
    """A list whose entries have names, each at most once, in any order."""
    return st.lists(st.tuples(st.sampled_from(names), entries), unique_by=lambda each: each[0]).map(
        lambda pairs: [{"name": name, **entry} for name, entry in pairs]
    )


_SAID: dict[str, st.SearchStrategy[object]] = {
    "pool": st.just("main"),
    "type": st.sampled_from(["hvm", "hvm", "pv"]),
    "cpus": st.sampled_from([1, 2, {"count": 1}, {"count": 1, "max": 2}]),
    "memory": st.sampled_from(["1GiB", "1024MiB", {"size": "1GiB", "max": "2GiB"}]),
    "boot": st.sampled_from([{"kernel": "/boot/k"}, {"kernel": "/boot/k", "cmdline": "ro"}]),
}
_PERHAPS: dict[str, st.SearchStrategy[object]] = {
    "state": st.sampled_from(["running", "stopped"]),
    "disks": named(DISKS, "root", "data"),
    "networks": named(NICS, "eth0", "eth1"),
    "shutdown": st.sampled_from([{"timeout": "5m"}, {"timeout": "300s", "then": "destroy"}]),
    "heal": st.sampled_from([{"after": "60s"}, {"after": "1m"}, {"after": "2m"}]),
    "update": st.sampled_from([{"restart": "never"}, {"restart": "now"}]),
    "protect": st.booleans(),
    "autostart": st.sampled_from(["auto", "on"]),
    "console": st.booleans(),
    "agent": st.booleans(),
    "arch": st.sampled_from(["x86_64", "i686"]),
    "host": st.just("dom0-a"),
}
SPECS: st.SearchStrategy[Spec] = st.fixed_dictionaries(_SAID, optional=_PERHAPS)


def document(spec: Spec, *, name: str = "lists", kind: str = "Guest") -> dict[str, object]:
    return {"apiVersion": "domops/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def dump(value: object, *, flow: bool | None = False) -> bytes:
    # PyYAML writes YAML 1.1, which quotes what 1.1 would misread: plain text to 1.2 either way.
    dumped: bytes = yaml.dump(
        value, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=flow, encoding="utf-8"
    )
    return dumped


def resolved(*documents: dict[str, object], path: str = "guests.yaml") -> Resolved:
    content = b"---\n".join(dump(each) for each in documents)
    return with_base(path, content)


def shuffled(value: object, data: st.DataObject) -> object:
    """The same wish, written in another order."""
    if isinstance(value, dict):
        keys = data.draw(st.permutations(list(value)))
        return {key: shuffled(value[key], data) for key in keys}
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return [shuffled(each, data) for each in data.draw(st.permutations(value))]
    return value


@given(SPECS, st.data())
def test_intent_does_not_depend_on_order_comments_style_or_file(
    spec: Spec, data: st.DataObject
) -> None:
    first = resolved(document(spec))
    other = shuffled(document(spec), data)
    text = b"# a comment\n\n" + dump(other, flow=data.draw(st.booleans()))
    second = with_base("else/where.yml", text)
    assert first.world is not None
    assert second.world is not None
    one, two = first.world.guests[GuestName("lists")], second.world.guests[GuestName("lists")]
    assert one.intent == two.intent
    assert one == replace(two, origin=one.origin)


@given(SPECS, SPECS, st.data())
def test_intents_are_equal_exactly_when_the_same_is_wanted(
    one: Spec, drawn: Spec, data: st.DataObject
) -> None:
    """The second guest differs in one field at most, so that no field can hide behind another."""
    key = data.draw(st.sampled_from(sorted(drawn)))
    other: Spec = {**one, key: drawn[key]}
    found = [resolved(document(spec)).world for spec in (one, other)]
    assert found[0] is not None
    assert found[1] is not None
    first, second = (world.guests[GuestName("lists")] for world in found if world is not None)
    assert (first.intent == second.intent) == (replace(first, origin=second.origin) == second)
    assert intent_of(first) == first.intent


@given(SPECS, st.data())
def test_a_class_says_what_the_guest_might_have_said_itself(
    spec: Spec, data: st.DataObject
) -> None:
    """Wherever the fields of a spec are divided between guest and class, the guest is the same."""
    shared = data.draw(st.sets(st.sampled_from(sorted(spec))))
    if "host" in spec:  # a guest's own pool drops the host of its class: the two stay together
        shared = shared | {"host"} if "pool" in shared else shared - {"host"}
    own: Spec = {key: value for key, value in spec.items() if key not in shared}
    whole = resolved(document(spec)).world
    divided = resolved(
        document({**own, "class": "common"}),
        document({key: spec[key] for key in shared}, name="common", kind="GuestClass"),
    ).world
    assert whole is not None
    assert divided is not None
    assert whole.guests[GuestName("lists")].intent == divided.guests[GuestName("lists")].intent


@given(SPECS)
def test_every_written_field_has_a_line_that_mentions_it(spec: Spec) -> None:
    text = dump(document(spec))
    found = with_base("guests.yaml", text).world
    assert found is not None
    guest = found.guests[GuestName("lists")]
    written = text.decode().splitlines()
    for path in guest.lines:
        last = path.rsplit(".", 1)[-1].rsplit("[", 1)[-1].rstrip("]")
        assert last in written[guest.where(path).line - 1]


FEW: st.SearchStrategy[Spec] = st.sampled_from(
    [
        {"pool": "main", "type": "hvm", "cpus": 1, "memory": "1GiB"},
        {"pool": "main", "type": "hvm", "cpus": 2, "memory": "1GiB"},
        {"host": "dom0-a", "type": "hvm", "cpus": 1, "memory": "1GiB"},
        {"pool": "main", "type": "hvm", "memory": "1GiB"},
        {
            "pool": "main",
            "type": "hvm",
            "cpus": 1,
            "memory": "1GiB",
            "networks": [{"name": "eth0", "network": "servers", "mac": "00:16:3e:01:02:03"}],
        },
        {"pool": "main", "type": "hvm", "cpus": 1, "memory": "1GiB", "startAfter": ["two"]},
    ]
)
FILES = st.dictionaries(
    st.sampled_from(["a.yaml", "b.yaml", "c.yaml"]),
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from(["Guest", "GuestClass"]),
        FEW,
        st.booleans(),
    ),
)


@given(st.lists(FILES, min_size=2, max_size=4))
def test_a_history_of_commits_ends_where_its_last_commit_alone_does(
    history: list[dict[str, tuple[str, str, Spec, bool]]],
) -> None:
    """What is taken over from one commit to the next never shows in the result."""
    cache: dict[bytes, ParsedFile] = {}
    previous: Resolved | None = None
    before: dict[str, ParsedFile] = {}
    for commit in history:
        files = dict(BASE)
        for path, (name, kind, spec, classy) in commit.items():
            extra: Spec = {"class": "one"} if classy and kind == "Guest" else {}
            files[path] = dump(document({**spec, **extra}, name=name, kind=kind))
        parsed = {path: parse_file(content) for path, content in files.items()}
        for path, content in files.items():
            parsed[path] = cache.setdefault(content, parsed[path])
        fresh = load(files, commit=COMMIT)
        ways = [resolve(parsed, included={}, commit=COMMIT, previous=previous)]
        if previous is not None:
            changed = {
                path: parsed.get(path)
                for path in before.keys() | parsed.keys()
                if before.get(path) is not parsed.get(path)
            }
            short = resolve_change(previous, changed, commit=COMMIT)
            if short is not None:
                ways.append(short)
        for way in ways:
            assert way.problems == fresh.problems
            assert way.warnings == fresh.warnings
            assert way.world == fresh.world
            assert way.files == fresh.files
            assert way.index() == fresh.index()
        previous, before = ways[-1], parsed
        either_a_world_or_problems(fresh)
