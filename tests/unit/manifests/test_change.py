"""The short way from one commit to the next: taken where it leads to the same, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.manifests import Resolved, parse_file, resolve, resolve_change
from reconciler.model.names import GuestName
from tests.unit.manifests.world import BASE, COMMIT, PLAIN, guest

if TYPE_CHECKING:
    from reconciler.manifests import ParsedFile

ADDRESS = 'networks: [{name: eth0, network: servers, mac: "00:16:3e:01:02:03"}]\n'
FILES: dict[str, bytes] = {
    **BASE,
    "one.yaml": guest(PLAIN, name="one"),
    "two.yaml": guest(PLAIN + ADDRESS, name="two"),
    "three.yaml": guest(PLAIN + "startAfter: [one]\n", name="three"),
    "small.yaml": guest("cpus: 1\nmemory: 1GiB", name="small", kind="GuestClass"),
}


def _resolved(files: dict[str, bytes]) -> Resolved:
    parsed = {path: parse_file(text) for path, text in files.items()}
    return resolve(parsed, included={"welcome.yaml": b"#cloud-config\n"}, commit=COMMIT)


def before() -> Resolved:
    """A good world of three guests."""
    found = _resolved(FILES)
    assert found.world is not None
    return found


def change(**files: bytes | None) -> dict[str, ParsedFile | None]:
    """Files that differ: ``one=b"..."`` is ``one.yaml``; None takes it out."""
    return {f"{name}.yaml": parse_file(text) if text else None for name, text in files.items()}


def test_a_change_to_a_guest_builds_that_guest_alone() -> None:
    first = before()
    after = resolve_change(
        first, change(one=guest(PLAIN + "protect: true\n", name="one")), commit=COMMIT
    )
    assert after is not None
    assert first.world is not None
    assert after.world is not None
    names = {
        name for name, one in after.world.guests.items() if one is not first.world.guests[name]
    }
    assert names == {"one"}
    assert after.world.hosts is first.world.hosts


def test_guests_come_and_go_by_the_short_way() -> None:
    first = before()
    after = resolve_change(
        first, change(two=None, four=guest(PLAIN + ADDRESS, name="four")), commit=COMMIT
    )
    assert after is not None
    assert after.world is not None
    assert set(after.world.guests) == {"one", "three", "four"}
    assert after.files == first.files
    again = resolve_change(after, change(four=None), commit=COMMIT)
    assert again is not None
    assert again.world is not None
    assert GuestName("four") not in again.world.guests
    assert again.files == first.files - 1


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"one": b"kind: Guest\n"}, id="a file that is wrong"),
        pytest.param({"one": guest("pool: nowhere\n", name="one")}, id="a guest that is wrong"),
        pytest.param({"one": guest(PLAIN, name="two")}, id="a name that is taken"),
        pytest.param(
            {"four": guest(PLAIN, name="six"), "five": guest(PLAIN, name="six")},
            id="a name that is taken in the same commit",
        ),
        pytest.param({"one": guest(PLAIN + ADDRESS, name="one")}, id="an address that is taken"),
        pytest.param({"one": guest(PLAIN + "class: big\n", name="one")}, id="a class that is not"),
        pytest.param({"one": None}, id="a guest that another waits for is gone"),
        pytest.param({"one": guest(PLAIN + "startAfter: [three]\n", name="one")}, id="a circle"),
        pytest.param(
            {"small": guest("cpus: 2\nmemory: 1GiB", name="small", kind="GuestClass")},
            id="a class that changes",
        ),
        pytest.param({"base": None}, id="what is around the guests"),
        pytest.param({"domops": None}, id="the repository itself"),
        pytest.param(
            {
                "one": guest(
                    PLAIN + "disks: [{name: raw, target: vda, device: /dev/disk/by-id/scsi-1}]\n",
                    name="one",
                )
            },
            id="a disk that is there already",
        ),
        pytest.param(
            {"one": guest(PLAIN + "cloudInit: {userData: {file: welcome.yaml}}\n", name="one")},
            id="a file that is taken in",
        ),
        pytest.param({"one": guest("{}", name="main", kind="Pool")}, id="another kind"),
    ],
)
def test_everything_else_goes_the_long_way(files: dict[str, bytes | None]) -> None:
    """There it is told what is wrong, or all guests are looked at that may be touched."""
    assert resolve_change(before(), change(**files), commit=COMMIT) is None


def test_there_is_no_short_way_from_a_commit_with_problems() -> None:
    bad = {**FILES, "one.yaml": b"kind: Guest\n"}
    first = _resolved(bad)
    assert resolve_change(first, change(one=guest(PLAIN, name="one")), commit=COMMIT) is None
