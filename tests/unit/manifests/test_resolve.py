"""A commit is a world or every problem of it: nothing half, nothing twice, nothing invented."""

from __future__ import annotations

from uuid import UUID

import pytest

from reconciler.manifests import is_manifest, load, parse_file, resolve
from reconciler.model.desired import (
    Budget,
    DesiredHost,
    DesiredNetwork,
    DesiredPool,
    DesiredStorage,
    HostRole,
    HostState,
    Origin,
    PoolMode,
)
from reconciler.model.names import (
    GuestName,
    HostName,
    LibvirtPool,
    NetworkName,
    PlanId,
    PoolName,
    StorageName,
)
from tests.unit.manifests.world import (
    BASE,
    COMMIT,
    PLAIN,
    REPOSITORY,
    guest,
    resolved,
    world_of,
)


def test_everything_but_guests_is_resolved_with_its_defaults() -> None:
    world = world_of()
    assert world.repository == UUID(REPOSITORY)
    assert world.pools == {
        PoolName("main"): DesiredPool(
            name=PoolName("main"),
            mode=PoolMode.WARN,
            budget=Budget(deletions=1, percent=30),
            overcommit_cpus=4,
            trash_keep_s=30 * 86400,
            origin=Origin(path="base.yaml", line=1),
        )
    }
    assert world.hosts == {
        HostName("dom0-a"): DesiredHost(
            name=HostName("dom0-a"),
            uri="xen+tls://dom0-a.example.org/system",
            uuid=None,
            pool=PoolName("main"),
            role=HostRole.PRODUCTION,
            state=HostState.ACTIVE,
            reserve_memory_kib=512 << 10,
            reserve_cpus=0,
            labels={},
            origin=Origin(path="base.yaml", line=6),
        )
    }
    assert world.storages[StorageName("guests")] == DesiredStorage(
        name=StorageName("guests"),
        libvirt_pool=LibvirtPool("guests"),
        hosts={},
        shared=False,
        origin=Origin(path="base.yaml", line=11),
    )
    assert world.networks[NetworkName("servers")] == DesiredNetwork(
        name=NetworkName("servers"),
        bridge="br120",
        libvirt_network=None,
        hosts={},
        origin=Origin(path="base.yaml", line=21),
    )


def test_hosts_may_call_a_storage_and_a_network_otherwise() -> None:
    world = world_of(
        san=guest(
            "type: dir\nlibvirtPool: vg0\nhosts: {dom0-a: {libvirtPool: vg1}}",
            name="san",
            kind="Storage",
        ),
        net=guest(
            "libvirtNetwork: lab\nhosts: {dom0-a: {libvirtNetwork: lab2}}",
            name="lab",
            kind="Network",
        ),
    )
    assert world.storages[StorageName("san")].on(HostName("dom0-a")) == "vg1"
    assert world.storages[StorageName("san")].on(HostName("dom0-b")) == "vg0"
    assert world.networks[NetworkName("lab")].hosts == {HostName("dom0-a"): "lab2"}


def test_every_problem_of_every_file_is_told_at_once_and_in_order() -> None:
    found = resolved(
        b=guest(PLAIN + "placement: {}\ncpu: 2", name="one"),
        a=guest("class: nowhere\npool: nowhere\nhost: nowhere", name="two"),
        c=b"\xff",
    )
    assert [str(problem) for problem in found.problems] == [
        'a.yaml:5:10  spec.class: no GuestClass "nowhere"; write a manifest of kind GuestClass',
        'a.yaml:6:9  spec.pool: no Pool "nowhere"; there are main',
        'a.yaml:7:9  spec.host: no Host "nowhere"; there are dom0-a',
        "b.yaml:9:3  spec.placement: not built yet; pin the guest with spec.host",
        'b.yaml:10:3  spec.cpu: unknown field; did you mean "cpus"?',
        "c.yaml:1:1  byte 0xff is not UTF-8; save the file as UTF-8",
    ]
    assert found.world is None
    assert found.files == 5


def test_one_mistake_in_one_file_is_enough_to_have_no_world() -> None:
    """Promise 2: a commit that does not parse is no world, least of all a smaller one."""
    found = resolved(good=guest(PLAIN, name="good"), bad=guest("pool: main", name="bad"))
    assert found.world is None


def test_without_domops_yaml_there_is_no_world() -> None:
    found = load({"base.yaml": BASE["base.yaml"]}, commit=COMMIT)
    assert [str(problem) for problem in found.problems] == [
        "domops.yaml:1:1  missing; domops init writes it"
    ]
    assert load({}, commit=COMMIT).world is None


def test_what_is_no_file_is_a_problem() -> None:
    found = load(BASE, commit=COMMIT, refused={"guests/all.yaml": "a symbolic link"})
    assert [str(problem) for problem in found.problems] == [
        "guests/all.yaml:1:1  a symbolic link; put a file in its place"
    ]


def test_a_reference_to_what_a_broken_file_may_define_is_not_a_second_problem() -> None:
    broken = b"apiVersion: domops/v1\nkind: Pool\nmetadata: {name: fast}\nspec: {mode: enforce\n"
    found = resolved(pool=broken, lists=guest(PLAIN.replace("main", "fast")))
    assert {problem.path for problem in found.problems} == {"pool.yaml"}


def test_a_volume_is_the_same_however_its_storage_is_called() -> None:
    alias = guest("type: dir\nlibvirtPool: guests", name="alias", kind="Storage")
    disk = "disks:\n  - {name: root, size: 1GiB, storage: %s, volume: v.raw}\n"
    found = resolved(
        alias=alias,
        a=guest(PLAIN + disk % "guests", name="one"),
        b=guest(PLAIN + disk % "alias", name="two"),
    )
    assert [problem.place for problem in found.problems] == ["b.yaml:10:56"]


def test_names_that_meet_in_one_volume_are_told() -> None:
    """Guest ``a`` with disk ``b-c`` and guest ``a-b`` with disk ``c`` derive one name."""
    disk = "disks:\n  - {name: %s, size: 1GiB, storage: guests}\n"
    found = resolved(
        one=guest(PLAIN + disk % "b-c", name="a"), two=guest(PLAIN + disk % "c", name="a-b")
    )
    assert [problem.sentence for problem in found.problems] == [
        (
            'spec.disks[c].volume: the volume "a-b-c.raw" of storage "guests" is already that of'
            ' guest "a", one.yaml:10; write another volume'
        )
    ]


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("domops.yaml", True),
        ("guests/web.yml", True),
        (".github/workflows/ci.yaml", False),
        ("guests/.web.yaml", False),
        ("README.md", False),
        ("guests/web.yaml.orig", False),
    ],
)
def test_only_yaml_files_that_are_not_hidden_are_manifests(path: str, *, read: bool) -> None:
    assert is_manifest(path) is read


def test_approvals_and_commit_are_handed_on() -> None:
    approvals = frozenset({PlanId("5d1c-90ab")})
    found = load(BASE, commit=COMMIT, approvals=approvals)
    assert found.world is not None
    assert (found.world.commit, found.world.approvals) == (COMMIT, approvals)


def test_the_index_knows_what_each_guest_stands_on() -> None:
    index = resolved(
        small=guest("cpus: 1\nmemory: 1GiB", name="small", kind="GuestClass"),
        lists=guest(
            "class: small\nhost: dom0-a\ntype: hvm\n"
            "disks:\n  - {name: root, size: 1GiB, storage: guests, image: a.raw}\n"
            "networks:\n  - {name: eth0, network: servers}\n"
        ),
    ).index()
    lists = frozenset({GuestName("lists")})
    assert index.classes == {"small": lists}
    assert (index.pools, index.hosts) == ({"main": lists}, {"dom0-a": lists})
    assert index.storages == {"guests": lists, "images": lists}
    assert index.networks == {"servers": lists}
    assert index.files == {"lists.yaml": lists}


def test_a_second_commit_takes_over_the_guests_that_nothing_touched() -> None:
    """The second world is that of a fresh start, and its untouched guests are the same values."""
    files = {
        **BASE,
        "small.yaml": guest("cpus: 1\nmemory: 1GiB", name="small", kind="GuestClass"),
        "one.yaml": guest("class: small\npool: main\ntype: hvm", name="one"),
        "two.yaml": guest(PLAIN, name="two"),
        "three.yaml": guest(PLAIN, name="three"),
    }
    parsed = {path: parse_file(content) for path, content in files.items()}
    before = resolve(parsed, included={}, commit=COMMIT)
    assert before.world is not None

    changed = {
        **parsed,
        "small.yaml": parse_file(guest("cpus: 2\nmemory: 1GiB", name="small", kind="GuestClass")),
        "two.yaml": parse_file(guest(PLAIN + "protect: true", name="two")),
    }
    after = resolve(changed, included={}, commit=COMMIT, previous=before)

    assert after.world is not None
    assert after.world == resolve(changed, included={}, commit=COMMIT).world
    same = {
        name for name, found in after.world.guests.items() if found is before.world.guests.get(name)
    }
    assert same == {"three"}


def test_a_second_commit_takes_nothing_over_when_the_surroundings_changed() -> None:
    parsed = {path: parse_file(content) for path, content in BASE.items()}
    parsed["one.yaml"] = parse_file(guest(PLAIN, name="one"))
    before = resolve(parsed, included={}, commit=COMMIT)
    assert before.world is not None
    without_pool = BASE["base.yaml"].replace(
        b"Pool\nmetadata: {name: main}", b"Pool\nmetadata: {name: other}"
    )
    parsed["base.yaml"] = parse_file(without_pool)

    after = resolve(parsed, included={}, commit=COMMIT, previous=before)

    assert {problem.field for problem in after.problems} == {"spec.pool"}
    assert {problem.path for problem in after.problems} == {"base.yaml", "one.yaml"}


def test_a_moved_file_changes_the_origin_and_not_the_intent() -> None:
    one = world_of(a=guest(PLAIN)).guests[GuestName("lists")]
    other = world_of(b=b"# moved\n" + guest(PLAIN)).guests[GuestName("lists")]
    assert one.intent == other.intent
    assert (str(one.origin), str(other.origin)) == ("a.yaml:1", "b.yaml:2")
