"""News on this machine's disk are seen at once, and our own reading is no news."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import TransientError
from reconciler.source.folder import FolderSource
from reconciler.source.gitrepository import open_repository
from reconciler.source.watching import FolderWatch, Place
from tests.unit.source.workshop import DEADLINE_S, git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.source.conftest import Reach
    from tests.unit.source.workshop import Workshop


def test_a_push_is_seen_at_once(reach: Reach) -> None:
    shop = reach.workshop
    shop.commit({"a.yaml": "a"})
    source = reach.open()
    news = threading.Event()
    with closing(source.watch(news.set)):
        for content in ("b", "c"):
            news.clear()
            sha = shop.commit({"a.yaml": content})
            if source.polled:
                continue
            assert news.wait(DEADLINE_S)
            assert source.head().sha == sha
    assert source.polled == ("://" in reach.address)


@pytest.mark.parametrize("how", ["packed", "deep branch", "deleted", "checkout"])
def test_every_way_that_a_ref_moves_is_seen(workshop: Workshop, tmp_path: Path, how: str) -> None:
    workshop.commit({"a.yaml": "a"})
    git(workshop.path, "branch", "other")
    source = open_repository(str(workshop.path), ref="HEAD", state_directory=tmp_path / "state")
    news = threading.Event()
    with closing(source.watch(news.set)):
        match how:
            case "packed":
                git(workshop.path, "pack-refs", "--all")
            case "deep branch":
                git(workshop.path, "branch", "a/b/c/d")
            case "deleted":
                git(workshop.path, "branch", "-D", "other")
            case _:
                git(workshop.path, "checkout", "--quiet", "other")
        assert news.wait(DEADLINE_S)


def test_reading_is_no_news(workshop: Workshop, tmp_path: Path) -> None:
    """Otherwise every look would cause the next. A commit afterwards marks the end of the wait."""
    sha = workshop.commit({"a.yaml": "a"})
    source = open_repository(str(workshop.path), ref="main", state_directory=tmp_path / "state")
    calls: list[int] = []
    news = threading.Event()

    def notify() -> None:
        calls.append(len(calls))
        news.set()

    fence = tmp_path / "fence"
    fence.mkdir()
    with (
        closing(source.watch(notify)),
        closing(FolderWatch((Place(folder=fence),), news.set)),
    ):
        for _ in range(20):
            source.head()
            source.read(source.tree(sha).files.values())
        (fence / "passed").write_text("")
        assert news.wait(DEADLINE_S)
    assert calls == []


def test_nothing_is_told_once_the_watch_is_closed(workshop: Workshop, tmp_path: Path) -> None:
    workshop.commit({"a.yaml": "a"})
    source = open_repository(str(workshop.path), ref="main", state_directory=tmp_path / "state")
    news = threading.Event()
    source.watch(news.set).close()
    news.clear()
    workshop.commit({"a.yaml": "b"})
    assert not news.is_set()


def test_a_folder_that_is_edited_is_seen(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    news = threading.Event()
    with closing(FolderSource(tmp_path).watch(news.set)):
        (tmp_path / "deep" / "a.yaml").write_text("a")
        assert news.wait(DEADLINE_S)


def test_a_watch_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be watched"):
        FolderWatch((Place(folder=tmp_path / "not there"),), print)
