"""A folder is read as it is, and nothing outside it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import StalledError, TransientError
from reconciler.model.names import Sha
from reconciler.source.folder import FolderSource
from reconciler.source.port import Blob, Change, Oddity, Source
from tests.unit.source.workshop import git

if TYPE_CHECKING:
    from pathlib import Path


def test_the_same_folder_is_the_same_commit(tmp_path: Path) -> None:
    """Names and contents count; times and the order of making do not."""
    for name, order in (("one", "ab"), ("two", "ba")):
        (tmp_path / name).mkdir()
        for letter in order:
            (tmp_path / name / f"{letter}.yaml").write_text(letter)
    os.utime(tmp_path / "one" / "a.yaml", (1, 1))
    one, two = FolderSource(tmp_path / "one"), FolderSource(tmp_path / "two")
    first = one.head()
    assert first.sha == two.head().sha
    assert first.sha.startswith("folder:")
    assert first.author_name == "-"
    (tmp_path / "one" / "a.yaml").write_text("other")
    assert one.head().sha != first.sha
    (tmp_path / "one" / "a.yaml").write_text("a")
    (tmp_path / "one" / "a.yaml").rename(tmp_path / "one" / "c.yaml")
    assert one.head().sha != first.sha


def test_what_changed_between_two_looks_is_told(tmp_path: Path) -> None:
    source: Source = FolderSource(tmp_path)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    old = source.head().sha
    (tmp_path / "a").write_text("c")
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("a")
    new = source.head().sha
    before, after = source.tree(old).files, source.tree(new).files
    assert source.changed(old, new) == (
        Change(path="a", before=before["a"], after=after["a"]),
        Change(path="b", before=before["b"], after=None, oddity=Oddity.SYMLINK),
    )
    assert source.is_ancestor(old, old)
    assert not source.is_ancestor(old, new)
    assert [commit.sha for commit in source.recent(new, limit=9)] == [new]


def test_links_are_listed_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.yaml").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file.yaml").symlink_to(outside / "secret.yaml")
    (inside / "folder").symlink_to(outside)
    (inside / "loop").symlink_to(".")
    (inside / "broken").symlink_to("nowhere")
    source = FolderSource(inside)
    tree = source.tree(source.head().sha)
    assert tree.files == {}
    assert set(tree.oddities) == {"file.yaml", "folder", "loop", "broken"}


def test_a_file_that_became_a_link_after_the_look_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("a")
    place = tmp_path / "inside" / "a"
    place.write_text("a")
    source = FolderSource(tmp_path / "inside")
    blobs = list(source.tree(source.head().sha).files.values())
    place.unlink()
    place.symlink_to(tmp_path / "secret")
    with pytest.raises(StalledError, match="cannot be read"):
        source.read(blobs)


def test_a_file_that_was_edited_after_the_look_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    source = FolderSource(tmp_path)
    blobs = list(source.tree(source.head().sha).files.values())
    (tmp_path / "a").write_text("b")
    with pytest.raises(TransientError, match="was changed"):
        source.read(blobs)
    (tmp_path / "a").unlink()
    with pytest.raises(TransientError, match="went away"):
        source.read(blobs)


def test_git_s_own_folder_and_nested_repositories_are_no_manifests(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", ".")
    git(tmp_path, "init", "--quiet", "nested")
    (tmp_path / "nested" / "a.yaml").write_text("a")
    (tmp_path / "b.yaml").write_text("b")
    os.mkfifo(tmp_path / "pipe")
    source = FolderSource(tmp_path)
    tree = source.tree(source.head().sha)
    assert set(tree.files) == {"b.yaml"}
    assert tree.oddities == {"nested": Oddity.SUBMODULE}


def test_a_folder_that_is_not_there_or_unknown_is_told(tmp_path: Path) -> None:
    with pytest.raises(StalledError, match="is not a folder"):
        FolderSource(tmp_path / "not there").head()
    source = FolderSource(tmp_path)
    with pytest.raises(StalledError, match="never seen"):
        source.tree(Sha("folder:1"))
    with pytest.raises(TransientError, match="does not hold"):
        source.read([Blob("1" * 40)])
    with pytest.raises(StalledError, match="without history"):
        source.commits_touching(re.compile(b"x"), until=source.head().sha)
    (tmp_path / "huge").write_bytes(b"#" * (5 << 20))
    with pytest.raises(StalledError, match="larger than 4 MiB"):
        source.read(source.tree(source.head().sha).files.values())
