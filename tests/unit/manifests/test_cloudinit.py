"""What a guest is told: texts in manifests and in files beside them, and never shown."""

from __future__ import annotations

import pytest

from reconciler.manifests import included_paths, load, parse_file, resolve
from reconciler.model.names import GuestName, StorageName
from reconciler.model.seed import LARGEST_SEED_TEXT_BYTES, DesiredCloudInit
from tests.unit.manifests.world import BASE, COMMIT, PLAIN, guest, guest_of

DISK = PLAIN + "disks: [{name: root, size: 1GiB, storage: guests}]\n"
LISTS = GuestName("lists")
PATH = "lists/user-data.yaml"
FROM_FILE = DISK + f"cloudInit: {{userData: {{file: {PATH}}}}}\n"


def _told(spec: str) -> DesiredCloudInit:
    told = guest_of(spec).cloud_init
    assert told is not None
    return told


def _problems(spec: str, **files: bytes) -> list[str]:
    """The problems of ``lists`` with ``spec``; ``a__b`` in a name is ``a/b``."""
    content = {name.replace("__", "/").replace("_", "-"): text for name, text in files.items()}
    found = load({**BASE, "lists.yaml": guest(spec), **content}, commit=COMMIT)
    return [str(problem) for problem in found.problems]


def test_a_text_in_the_manifest_is_told_as_it_stands_there() -> None:
    told = _told(DISK + "cloudInit:\n  userData: |\n    #cloud-config\n    packages: [postfix]\n")
    assert told.data.user_data == "#cloud-config\npackages: [postfix]\n"
    assert (told.storage, told.volume) == (StorageName("guests"), "lists-cidata.iso")
    assert (told.keep, told.rerun, told.data.network_config) == (False, None, None)


def test_everything_that_can_be_said_is() -> None:
    told = _told(
        DISK + "cloudInit: {userData: one, metaData: {role: mail, local-hostname: a.example.org},"
        " networkConfig: 'version: 2', keep: true, rerun: 2026-03-02, storage: images}"
    )
    assert told.data.meta_data == (("local-hostname", "a.example.org"), ("role", "mail"))
    assert told.data.network_config == "version: 2"
    assert (told.keep, told.rerun, told.storage) == (True, "2026-03-02", StorageName("images"))


def test_a_file_of_the_repository_is_told_and_is_no_manifest() -> None:
    """Though it ends in ``.yaml``; its path begins at the root, wherever the manifest lies."""
    files = {
        **BASE,
        "guests/deep/lists.yaml": guest(FROM_FILE),
        PATH: b"#cloud-config\npackages: [postfix]\n",
    }
    resolved = load(files, commit=COMMIT)
    assert resolved.problems == ()
    assert resolved.world is not None
    told = resolved.world.guests[LISTS].cloud_init
    assert told is not None
    assert told.data.user_data == "#cloud-config\npackages: [postfix]\n"
    lists = frozenset({LISTS})
    assert resolved.index().files == {"guests/deep/lists.yaml": lists, PATH: lists}
    assert resolved.index().storages == {"guests": lists}


def test_a_change_of_the_file_builds_its_guests_anew_and_no_other() -> None:
    files = {
        **BASE,
        "class.yaml": guest(FROM_FILE, name="told", kind="GuestClass"),
        "one.yaml": guest("class: told", name="one"),
        "two.yaml": guest("class: told", name="two"),
        "other.yaml": guest(PLAIN, name="other"),
    }
    parsed = {path: parse_file(content) for path, content in files.items()}
    assert included_paths(parsed) == {PATH}
    before = resolve(parsed, included={PATH: b"one"}, commit=COMMIT)
    same = resolve(parsed, included={PATH: b"one"}, commit=COMMIT, previous=before)
    after = resolve(parsed, included={PATH: b"two"}, commit=COMMIT, previous=same)
    assert before.world is not None
    assert same.world is not None
    assert after.world is not None
    assert all(same.world.guests[name] is one for name, one in before.world.guests.items())
    changed = {
        name for name, one in after.world.guests.items() if one is not same.world.guests[name]
    }
    assert changed == {"one", "two"}
    assert after.world == resolve(parsed, included={PATH: b"two"}, commit=COMMIT).world
    intents = {world.guests[GuestName("one")].intent for world in (before.world, after.world)}
    assert len(intents) == 2


def test_a_file_that_comes_or_goes_is_a_problem_that_comes_or_goes() -> None:
    parsed = {path: parse_file(text) for path, text in {**BASE, "a.yaml": guest(FROM_FILE)}.items()}
    without = resolve(parsed, included={}, commit=COMMIT)
    [problem] = without.problems
    assert (problem.path, problem.line, problem.field) == (
        "a.yaml",
        10,
        "spec.cloudInit.userData.file",
    )
    again = resolve(parsed, included={PATH: b"one"}, commit=COMMIT, previous=without)
    assert again.problems == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "no text in UTF-8"),
        (b"\x1f\x8b\x08\0", "no text in UTF-8"),
        (b"a\0b", "no text in UTF-8"),
        (b"a" * (LARGEST_SEED_TEXT_BYTES + 1), "long, more than 256KiB"),
        (None, "is too large to be read"),
    ],
    ids=["not-utf-8", "compressed", "null", "long", "huge"],
)
def test_a_file_that_cannot_be_told_is_one_problem_where_it_is_named(
    content: bytes | None, why: str
) -> None:
    parsed = {path: parse_file(text) for path, text in {**BASE, "a.yaml": guest(FROM_FILE)}.items()}
    [problem] = resolve(parsed, included={PATH: content}, commit=COMMIT).problems
    assert (problem.path, problem.line) == ("a.yaml", 10)
    assert why in problem.message


def test_a_manifest_stays_one_whoever_names_it() -> None:
    """Or its guests would leave the world without a word, and be deleted."""
    spec = DISK + "cloudInit: {userData: {file: dns.yaml}}"
    [problem] = _problems(spec, **{"dns.yaml": guest(PLAIN, name="dns")})
    assert '"dns.yaml" is a manifest' in problem


def test_user_data_that_nobody_names_are_no_manifest_either() -> None:
    """They may lie there when their guest is gone: or its deletion would be a broken commit."""
    files = {**BASE, PATH: b"#cloud-config\npackages: [postfix]\n"}
    assert load(files, commit=COMMIT).problems == ()
    files[PATH] = b"#cloud-config\napiVersion: domops/v1\n"
    assert load(files, commit=COMMIT).problems


def test_a_broken_manifest_stays_one_too() -> None:
    spec = DISK + "cloudInit: {userData: {file: dns.yaml}}"
    problems = _problems(spec, **{"dns.yaml": b"apiVersion: domops/v1\nkind: [\n"})
    assert len(problems) == 2
    assert any('"dns.yaml" is a manifest' in problem for problem in problems)


def test_a_long_text_in_a_manifest_is_refused_and_not_shown() -> None:
    long = "b" * (LARGEST_SEED_TEXT_BYTES + 1)
    [problem] = _problems(DISK + f"cloudInit: {{userData: {long}}}")
    assert "is 262145B long, more than 256KiB" in problem
    assert "bbb" not in problem


def test_a_guest_that_says_its_own_data_takes_the_rest_from_its_class() -> None:
    files = {
        **BASE,
        "class.yaml": guest(
            DISK + "cloudInit: {userData: shared, keep: true}", name="told", kind="GuestClass"
        ),
        "lists.yaml": guest("class: told\ncloudInit: {userData: own}"),
    }
    resolved = load(files, commit=COMMIT)
    assert resolved.world is not None
    told = resolved.world.guests[LISTS].cloud_init
    assert told is not None
    assert (told.data.user_data, told.keep) == ("own", True)


def test_every_text_is_in_the_digest_and_none_is_shown() -> None:
    digests = {
        _told(DISK + f"cloudInit: {{{said}}}").data.digest
        for said in (
            "userData: one",
            "userData: two",
            "userData: one, networkConfig: one",
            "userData: one, metaData: {a: one}",
            "userData: one, metaData: {a: two}",
        )
    }
    assert len(digests) == 5
    shown = guest_of(DISK + "cloudInit: {userData: hush-hush, networkConfig: hush-hush}")
    assert "hush-hush" not in repr(shown)
