"""The computing centre of ``manifests/`` is right, and shows what this version can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.manifests import load
from reconciler.manifests.grammar import fields_of
from reconciler.model.definition import GuestType
from reconciler.model.desired import HostRole
from tests.unit.manifests.world import COMMIT

if TYPE_CHECKING:
    from reconciler.model.desired import DesiredWorld

EXAMPLES = Path(__file__).parents[3] / "manifests"


def centre() -> DesiredWorld:
    files = {
        str(path.relative_to(EXAMPLES)): path.read_bytes()
        for path in EXAMPLES.rglob("*")
        if path.is_file()
    }
    found = load(files, commit=COMMIT)
    assert [str(problem) for problem in found.problems] == []
    assert found.world is not None
    return found.world


def test_the_examples_have_no_problem() -> None:
    assert set(centre().guests) >= {"lists", "web", "dns", "calcolo"}


def test_the_examples_are_three_dom0s_one_of_them_for_tests_and_a_kvm_host() -> None:
    hosts = centre().hosts.values()
    assert sum(host.uri.startswith("xen") for host in hosts) == 3
    assert sum(host.uri.startswith("qemu") for host in hosts) == 1
    assert sum(host.role is HostRole.TEST for host in hosts) == 1


def test_the_examples_show_every_type_of_guest() -> None:
    guests = centre().guests.values()
    assert {guest.type for guest in guests} == {None, *GuestType}
    assert sum(guest.pool == "kvm" for guest in guests) == 2


def test_nothing_in_the_examples_wants_what_its_kind_does_not_build() -> None:
    """No field that is not built is written even in a comment: people copy comments too."""
    names = {
        field.path[-1]
        for field in fields_of("Guest")
        if field.not_built and len(field.path) == 2 and field.path[0] == "spec"
    }
    text = "".join(path.read_text() for path in EXAMPLES.rglob("*.yaml"))
    assert [name for name in names if f"{name}:" in text] == []
