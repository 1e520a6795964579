"""What every repository promises, however it is reached.

The suite of ``reconciler.source.port.Source``: in place (bare or not, or a linked work tree), by a
file URL and across a socket.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import RefusedError, StalledError
from reconciler.model.names import Sha
from reconciler.source.folder import FolderSource
from reconciler.source.port import Blob, Change, Oddity
from tests.unit.source.workshop import git

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.source.port import CommitInfo, Source
    from tests.unit.source.conftest import Reach

HOST = re.compile(rb"kind: Host")


def _git_calls(log: pytest.LogCaptureFixture) -> int:
    return sum(
        record.name == "git.cmd" and record.getMessage().startswith("Popen(")
        for record in log.records
    )


def _look(source: Source) -> CommitInfo:
    source.fetch()
    return source.head()


def test_the_head_tells_who_when_and_why(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2024-02-03T04:05:06+0200")
    first = reach.workshop.commit({"a.yaml": "a"}, "Begin")
    message = "Grow lists\n\nBecause.\n\nDomops-Approve: 5d1c-90ab\nSigned-off-by: A\n  Tester"
    sha = reach.workshop.commit({"a.yaml": "b"}, message)
    source = reach.open()
    source.fetch()
    head = source.head()
    assert head.sha == sha
    assert head.parents == (first,)
    assert head.author_name == "A Tester"
    assert head.subject == "Grow lists"
    assert head.committed_at == datetime(2024, 2, 3, 2, 5, 6, tzinfo=UTC)
    assert head.trailers == (("Domops-Approve", "5d1c-90ab"), ("Signed-off-by", "A Tester"))


def test_the_tree_lists_files_and_keeps_what_is_no_file_apart(reach: Reach) -> None:
    shop = reach.workshop
    shop.commit({"a.yaml": "a", "deep/er/b.yml": "b", "lists/user-data": "c", "empty.yaml": ""})
    (shop.path / "link.yaml").symlink_to("/etc/passwd")
    (shop.path / "out").symlink_to("..")
    module = ("--cacheinfo", f"160000,{shop.head()},module")
    git(shop.path, "update-index", "--add", *module)
    git(shop.path, "add", "link.yaml", "out")
    git(shop.path, "commit", "--quiet", "--message=Oddities")
    shop.push()
    source = reach.open()
    source.fetch()
    tree = source.tree(source.head().sha)
    assert set(tree.files) == {"a.yaml", "deep/er/b.yml", "lists/user-data", "empty.yaml"}
    assert tree.oddities == {
        "link.yaml": Oddity.SYMLINK,
        "out": Oddity.SYMLINK,
        "module": Oddity.SUBMODULE,
    }


def test_paths_are_those_below_the_configured_folder(reach: Reach) -> None:
    """The same manifests are the same tree, wherever in a larger repository they stand."""
    shop = reach.workshop
    old = shop.commit({"infra/vm/a.yaml": "kind: Host", "other/b.yaml": "kind: Host"})
    new = shop.commit({"infra/vm/a.yaml": "2", "other/b.yaml": "2", "infra/vm/c.yaml": "3"})
    source = reach.open(folder="/infra//vm/")
    source.fetch()
    assert source.folder == "infra/vm"
    assert set(source.tree(new).files) == {"a.yaml", "c.yaml"}
    assert [change.path for change in source.changed(old, new)] == ["a.yaml", "c.yaml"]
    assert [change.path for change in source.commits_touching(HOST, until=new)] == ["a.yaml"]


def test_a_folder_that_is_not_there_is_no_empty_folder(reach: Reach) -> None:
    """Promise 2: what cannot be read is not an empty world."""
    shop = reach.workshop
    old = shop.commit({"a.yaml": "a", "vm/b.yaml": "b"})
    new = shop.commit({"vm/b.yaml": None})
    source = reach.open(folder="vm")
    source.fetch()
    assert set(source.tree(old).files) == {"b.yaml"}
    with pytest.raises(StalledError, match="has no folder vm"):
        source.tree(new)
    with pytest.raises(StalledError, match="has no folder vm"):
        source.changed(old, new)
    of_a_file = reach.open(folder="a.yaml")
    with pytest.raises(StalledError, match=r"has no folder a\.yaml"):
        of_a_file.tree(old)


def test_many_contents_are_read_by_one_process(
    reach: Reach, caplog: pytest.LogCaptureFixture
) -> None:
    contents = {f"guests/{number}.yaml": f"number: {number}\n" * 50 for number in range(500)}
    sha = reach.workshop.commit({**contents, "bytes": b"\0\xff\n\n", "none": b""})
    source = reach.open()
    source.fetch()
    tree = source.tree(sha)
    with caplog.at_level(logging.DEBUG, logger="git.cmd"):
        read = source.read(tree.files.values())
    assert _git_calls(caplog) == 1
    assert {path: read[blob].decode("latin-1") for path, blob in tree.files.items()} == {
        **contents,
        "bytes": "\0\xff\n\n",
        "none": "",
    }


def test_taking_in_a_commit_costs_four_processes(
    reach: Reach, caplog: pytest.LogCaptureFixture
) -> None:
    """Fetch, head, what changed, and the changed contents; only fetch where there is a remote."""
    shop = reach.workshop
    old = shop.commit({f"{number}.yaml": f"{number}" for number in range(50)})
    source = reach.open()
    source.fetch()
    shop.commit({"7.yaml": "seven"})
    with caplog.at_level(logging.DEBUG, logger="git.cmd"):
        source.fetch()
        head = source.head()
        changes = source.changed(old, head.sha)
        read = source.read(change.after for change in changes if change.after is not None)
    assert list(read.values()) == [b"seven"]
    assert _git_calls(caplog) == (4 if source.polled else 3)


def test_a_content_that_is_not_there_is_an_error(reach: Reach) -> None:
    sha = reach.workshop.commit({"a.yaml": "a"})
    source = reach.open()
    source.fetch()
    with pytest.raises(Exception, match="does not hold the content"):
        source.read([*source.tree(sha).files.values(), Blob("1" * 40)])
    with pytest.raises(Exception, match="about"):
        source.read([Blob(sha)])
    with pytest.raises(RefusedError):
        source.read([Blob("HEAD")])


def test_a_huge_file_is_refused_and_hurts_nobody_who_does_not_read_it(reach: Reach) -> None:
    sha = reach.workshop.commit({"a.yaml": "a", "huge.yaml": b"#" * (5 << 20)})
    source = reach.open()
    source.fetch()
    files = source.tree(sha).files
    assert source.read([files["a.yaml"]]) == {files["a.yaml"]: b"a"}
    with pytest.raises(StalledError, match="larger than 4 MiB"):
        source.read(files.values())


def test_what_changed_between_two_commits_is_told_path_by_path(reach: Reach) -> None:
    shop = reach.workshop
    old = shop.commit(
        {"same.yaml": "s", "edited.yaml": "1", "gone.yaml": "g", "moved.yaml": "m", "was.yaml": "w"}
    )
    (shop.path / "was.yaml").unlink()
    (shop.path / "was.yaml").symlink_to("same.yaml")
    new = shop.commit(
        {"edited.yaml": "2", "gone.yaml": None, "moved.yaml": None, "to/moved.yaml": "m"}
    )
    source = reach.open()
    source.fetch()
    before, after = source.tree(old).files, source.tree(new).files
    expected = {
        Change(path="edited.yaml", before=before["edited.yaml"], after=after["edited.yaml"]),
        Change(path="gone.yaml", before=before["gone.yaml"], after=None),
        Change(path="moved.yaml", before=before["moved.yaml"], after=None),
        Change(path="to/moved.yaml", before=None, after=before["moved.yaml"]),
        Change(path="was.yaml", before=before["was.yaml"], after=None, oddity=Oddity.SYMLINK),
    }
    assert set(source.changed(old, new)) == expected
    back = {(change.path, change.after) for change in source.changed(new, old)}
    assert back == {(change.path, change.before) for change in expected}
    assert source.changed(new, new) == ()


def test_changes_applied_to_the_old_tree_give_the_new_one(reach: Reach) -> None:
    """A caller may keep a tree up to date by changes alone."""
    shop = reach.workshop
    shas = [shop.commit({f"{number}.yaml": "x" for number in range(4)})]
    (shop.path / "0.yaml").unlink()
    (shop.path / "0.yaml").symlink_to("1.yaml")
    shas.append(shop.commit({"1.yaml": None, "9.yaml": "9"}))
    (shop.path / "0.yaml").unlink()
    shas.append(shop.commit({"2.yaml": "y"}))
    source = reach.open()
    source.fetch()
    for old, new in ((shas[0], shas[1]), (shas[1], shas[2]), (shas[2], shas[0])):
        tree = source.tree(old)
        files, oddities = dict(tree.files), dict(tree.oddities)
        for change in source.changed(old, new):
            files.pop(change.path, None)
            oddities.pop(change.path, None)
            if change.after is not None:
                files[change.path] = change.after
            if change.oddity is not None:
                oddities[change.path] = change.oddity
        assert (files, oddities) == (source.tree(new).files, source.tree(new).oddities)


def test_the_newest_commits_come_first(reach: Reach) -> None:
    shop = reach.workshop
    shas = [shop.commit({"a.yaml": f"{number}"}, f"Commit {number}") for number in range(4)]
    source = reach.open()
    source.fetch()
    recent = source.recent(shas[-1], limit=3)
    assert [commit.subject for commit in recent] == ["Commit 3", "Commit 2", "Commit 1"]
    assert source.recent(shas[1], limit=1)[0].sha == shas[1]


def test_a_history_that_was_rewritten_is_taken_over_and_seen_as_such(reach: Reach) -> None:
    """The caller decides what to do about it; the old commit stays readable."""
    shop = reach.workshop
    base = shop.commit({"a.yaml": "a"})
    lost = shop.commit({"b.yaml": "b"})
    source = reach.open()
    source.fetch()
    assert source.head().sha == lost
    shop.rewind(base)
    new = shop.commit({"c.yaml": "c"})
    source.fetch()
    assert source.head().sha == new
    assert source.is_ancestor(base, new)
    assert source.is_ancestor(new, new)
    assert not source.is_ancestor(lost, new)
    assert not source.is_ancestor(new, base)
    assert not source.is_ancestor(Sha("1" * 40), new)
    assert {change.path for change in source.changed(lost, new)} == {"b.yaml", "c.yaml"}


def test_a_ref_that_was_deleted_is_told_and_the_last_commit_stays(reach: Reach) -> None:
    """Promise 2: a branch that is gone is not an empty world."""
    shop = reach.workshop
    sha = shop.commit({"a.yaml": "a"})
    git(shop.bare or shop.path, "branch", "other", sha)
    source = reach.open()
    source.fetch()
    git(shop.path, "checkout", "--quiet", "--detach")
    shop.drop_branch()
    with pytest.raises(StalledError, match=r"has no ref refs/heads/main; .*refs/heads/other"):
        _look(source)
    assert set(source.tree(sha).files) == {"a.yaml"}
    if source.polled:
        assert source.head().sha == sha


def test_a_repository_without_a_commit_is_told(reach: Reach) -> None:
    source = reach.open(ref="trunk")
    with pytest.raises(StalledError, match=r"no commit yet|none at all|has no ref"):
        _look(source)


def test_a_short_name_is_a_branch_even_where_a_tag_has_it_too(reach: Reach) -> None:
    """Who may push tags must not be able to put one in front of a protected branch."""
    shop = reach.workshop
    decoy = shop.commit({"a.yaml": "decoy"})
    sha = shop.commit({"a.yaml": "a"})
    where = shop.bare or shop.path
    git(where, "update-ref", "refs/tags/main", decoy)
    git(where, "update-ref", "refs/main", decoy)
    source = reach.open()
    source.fetch()
    assert source.head().sha == sha
    tagged = reach.open(ref="refs/tags/main")
    tagged.fetch()
    assert tagged.head().sha == decoy


def test_an_annotated_tag_names_its_commit(reach: Reach) -> None:
    shop = reach.workshop
    sha = shop.commit({"a.yaml": "a"})
    git(shop.bare or shop.path, "tag", "--annotate", "--message=One", "v1", sha)
    source = reach.open(ref="refs/tags/v1")
    source.fetch()
    assert source.head().sha == sha
    assert source.commit("v1" if not source.polled else sha[:10]).sha == sha


def test_a_person_may_name_a_commit_in_short(reach: Reach) -> None:
    shop = reach.workshop
    old = shop.commit({"a.yaml": "a"})
    new = shop.commit({"a.yaml": "b"})
    git(shop.bare or shop.path, "update-ref", "refs/tags/main", old)
    source = reach.open()
    source.fetch()
    assert source.commit("main").sha == source.commit("refs/heads/main").sha == new
    assert source.commit("main~1").sha == source.commit("main^").sha == old
    assert source.commit(old[:9]).sha == old
    if source.polled:
        assert source.commit("HEAD~1").sha == old
    for unknown in ("nope", "", "--all", "main\0", "1" * 40, f"{new}:a.yaml", "main~9"):
        with pytest.raises(StalledError, match="knows no commit"):
            source.commit(unknown)


def test_a_folder_gives_the_same_tree_as_the_commit_of_it(reach: Reach) -> None:
    """``--from FOLDER`` plans what committing it would plan."""
    shop = reach.workshop
    (shop.path / "link").symlink_to("a.yaml")
    sha = shop.commit({"a.yaml": "a", "deep/b.yaml": "b", "c.bin": b"\0\xff", "empty": ""})
    repository: Source = reach.open()
    repository.fetch()
    folder: Source = FolderSource(shop.path)
    seen = folder.tree(folder.head().sha)
    assert seen == repository.tree(sha)
    assert folder.read(seen.files.values()) == repository.read(seen.files.values())


def test_hosts_that_once_were_are_found_in_the_past(reach: Reach) -> None:
    """Promise 1 rests on it: a host whose manifest was deleted may still run guests."""
    shop = reach.workshop
    shop.commit({"a.yaml": "kind: Host\nname: a\n", "b.yaml": "kind: Host\nname: b\n"})
    shop.commit({"c.yaml": "kind: Guest\n", "both.yaml": "kind: Host\nname: c\n---\nkind: Pool\n"})
    edited = shop.commit({"a.yaml": "kind: Host\nname: renamed\n"}, "Rename a host in place")
    gone = shop.commit({"b.yaml": None}, "Delete a manifest")
    last = shop.commit({"c.yaml": None, "both.yaml": "kind: Pool\n"}, "Drop one of two documents")
    source = reach.open()
    source.fetch()
    found = list(source.commits_touching(HOST, until=last))
    assert [(change.path, change.commit.sha) for change in found] == [
        ("both.yaml", last),
        ("b.yaml", gone),
        ("a.yaml", edited),
    ]
    assert found[1].after is None
    assert source.read([found[2].before]) == {found[2].before: b"kind: Host\nname: a\n"}
    newer = source.commits_touching(HOST, until=last, since=edited)
    assert [change.path for change in newer] == ["both.yaml", "b.yaml"]
    assert list(source.commits_touching(HOST, until=last, since=last)) == []
    unknown = source.commits_touching(HOST, until=last, since=Sha("1" * 40))
    assert list(unknown) == found


def test_a_host_dropped_by_a_merge_or_on_a_side_branch_is_found(reach: Reach) -> None:
    shop = reach.workshop
    base = shop.commit({"a.yaml": "kind: Host\n", "x.yaml": "x"})
    git(shop.path, "checkout", "--quiet", "-b", "side")
    shop.commit({"s.yaml": "kind: Host\n"})
    shop.commit({"s.yaml": None})
    side = shop.head()
    git(shop.path, "checkout", "--quiet", "main")
    shop.rewind(base)
    shop.commit({"x.yaml": "y"})
    git(shop.path, "merge", "--quiet", "--no-commit", side)
    merged = shop.commit({"a.yaml": None}, "A merge that takes something out")
    assert len(git(shop.path, "rev-list", "--parents", "-1", merged).split()) == 3
    source = reach.open()
    source.fetch()
    assert {change.path for change in source.commits_touching(HOST, until=merged)} == {
        "a.yaml",
        "s.yaml",
    }


def test_a_manifest_that_was_moved_is_one_gone_and_one_new(reach: Reach) -> None:
    """Otherwise two paths would stand where the reader expects one."""
    shop = reach.workshop
    shop.commit({"a.yaml": "kind: Host\nname: a\n" * 20, "b.yaml": "kind: Host\n"})
    moved = shop.commit({"a.yaml": None, "to/a.yaml": "kind: Host\nname: a\n" * 20})
    last = shop.commit({"b.yaml": None})
    source = reach.open()
    source.fetch()
    found = list(source.commits_touching(HOST, until=last))
    assert [(change.path, change.commit.sha, change.after) for change in found] == [
        ("b.yaml", last, None),
        ("a.yaml", moved, None),
    ]


def test_a_side_branch_that_ended_where_it_began_is_walked_too(reach: Reach) -> None:
    """With a folder given, git would leave out a branch that in the end changed nothing there."""
    shop = reach.workshop
    base = shop.commit({"vm/a.yaml": "a", "x": "x"})
    shop.commit({"vm/h.yaml": "kind: Host\n"})
    side = shop.commit({"vm/h.yaml": None})
    shop.rewind(base)
    shop.commit({"x": "y"})
    git(shop.path, "merge", "--quiet", "--no-edit", side)
    shop.push()
    source = reach.open(folder="vm")
    source.fetch()
    found = list(source.commits_touching(HOST, until=source.head().sha))
    assert [(change.path, change.commit.sha) for change in found] == [("h.yaml", side)]


def test_a_host_that_a_rewritten_history_took_away_is_found(reach: Reach) -> None:
    shop = reach.workshop
    base = shop.commit({"a.yaml": "a"})
    applied = shop.commit({"h.yaml": "kind: Host\n"})
    source = reach.open()
    source.fetch()
    shop.rewind(base)
    new = shop.commit({"a.yaml": "b"})
    source.fetch()
    assert list(source.commits_touching(HOST, until=new)) == []
    found = list(source.commits_touching(HOST, until=new, since=applied))
    assert [(change.path, change.commit.sha, change.after) for change in found] == [
        ("h.yaml", new, None)
    ]


def test_a_past_that_was_cut_off_is_not_taken_for_an_empty_one(
    tmp_path: Path, reach: Reach
) -> None:
    shop = reach.workshop
    shop.commit({"h.yaml": "kind: Host\n"})
    sha = shop.commit({"h.yaml": None})
    shallow = tmp_path / "shallow.git"
    where = f"file://{shop.bare or shop.path}"
    git(tmp_path, "clone", "--quiet", "--bare", "--depth=1", where, str(shallow))
    source = type(reach)(workshop=shop, address=str(shallow), state=reach.state).open()
    with pytest.raises(StalledError, match="shallow"):
        list(source.commits_touching(HOST, until=sha))


def test_strange_names_and_messages_are_read_as_they_are(reach: Reach) -> None:
    """Nothing that a person can write into a commit is taken for the next field."""
    shop = reach.workshop
    names = ["a b.yaml", "tab\there.yaml", 'quo"te.yaml', "ünï.yaml", ":100644 x.yaml", "-n.yaml"]
    first = shop.commit(dict.fromkeys(names, "kind: Host\n"))
    (shop.path / os.fsdecode(b"\xff\xfe.yaml")).write_text("not UTF-8")
    message = f":100644 000000 {'1' * 40} {'0' * 40} D\n\n{'2' * 40}\n\nKey: \x1b[31mred\x1f:"
    sha = shop.commit(dict.fromkeys(names), message)
    source = reach.open()
    source.fetch()
    printed = {name.replace("\t", "\\x09") for name in names}
    assert set(source.tree(first).files) == printed
    assert set(source.tree(sha).files) == {"\\xff\\xfe.yaml"}
    head = source.head()
    assert head.trailers == (("Key", "\\x1b[31mred\\x1f:"),)
    found = list(source.commits_touching(HOST, until=sha))
    assert {change.path for change in found} == printed
    assert {change.commit for change in found} == {head}


@pytest.mark.parametrize("not_a_hash", ["HEAD", "--output=x", "main", "", "1" * 39, "g" * 40])
def test_only_whole_hashes_reach_git(reach: Reach, not_a_hash: str) -> None:
    reach.workshop.commit({"a.yaml": "a"})
    source = reach.open()
    source.fetch()
    sha = source.head().sha
    with pytest.raises(RefusedError):
        source.tree(Sha(not_a_hash))
    with pytest.raises(RefusedError):
        source.changed(sha, Sha(not_a_hash))
    with pytest.raises(RefusedError):
        source.recent(Sha(not_a_hash), limit=1)
    with pytest.raises(RefusedError):
        source.is_ancestor(Sha(not_a_hash), sha)
