"""A remote repository: fetched narrowly, secretly, one at a time, and never lost by a failure."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import http.server
import logging
import os
import socket
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import StalledError, TransientError
from reconciler.source.gitrepository import Deadlines, GitRepository, open_repository
from tests.unit.source.workshop import Workshop, free_port, git

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "hunter2/with@odd:signs"  # noqa: S105 (it opens this test's own server only)
ENCODED = "hunter2%2Fwith%40odd%3Asigns"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    (tmp_path / "served").mkdir()
    return Workshop(tmp_path / "work", bare=tmp_path / "served" / "bare.git")


def _open(tmp_path: Path, address: str, ref: str = "main", fetching_s: float = 60) -> GitRepository:
    return open_repository(
        address,
        ref=ref,
        state_directory=tmp_path / "state",
        deadlines=Deadlines(fetching_s=fetching_s),
    )


def _mirror_of(tmp_path: Path) -> Path:
    (mirror,) = (tmp_path / "state" / "repositories").iterdir()
    return mirror


def test_only_the_named_ref_is_fetched(shop: Workshop, tmp_path: Path) -> None:
    """No other branch, no tag, no work tree, no hook, and no trace of the address."""
    sha = shop.commit({"a.yaml": "a"})
    git(shop.path, "checkout", "--quiet", "-b", "other")
    (shop.path / "secret").write_text("other")
    git(shop.path, "add", "--all")
    git(shop.path, "commit", "--quiet", "--message=Other")
    other = shop.head()
    git(shop.path, "push", "--quiet", str(shop.bare), "other", f"{sha}:refs/tags/v1")
    source = _open(tmp_path, f"file://{shop.bare}")
    source.fetch()
    mirror = _mirror_of(tmp_path)
    assert git(mirror, "for-each-ref", "--format=%(objectname)") == sha
    assert not source._knows(other)
    assert git(mirror, "rev-list", "--all", "--count") == "1"
    assert not (mirror / "hooks").exists()
    assert not (mirror / "FETCH_HEAD").exists()
    assert str(shop.bare) not in (mirror / "config").read_text()
    assert mirror.stat().st_mode & 0o077 == 0


def test_before_the_first_fetch_there_is_nothing_rather_than_an_empty_world(
    shop: Workshop, tmp_path: Path
) -> None:
    shop.commit({"a.yaml": "a"})
    source = _open(tmp_path, f"file://{shop.bare}")
    with pytest.raises(TransientError, match="not been fetched yet"):
        source.head()
    with pytest.raises(StalledError):
        _open(tmp_path, f"file://{shop.bare}", ref="nope").fetch()
    with pytest.raises(TransientError, match="not been fetched yet"):
        source.head()


def test_a_fetch_that_fails_leaves_the_last_commit_in_force(shop: Workshop, tmp_path: Path) -> None:
    sha = shop.commit({"a.yaml": "a"})
    source = _open(tmp_path, f"file://{shop.bare}")
    source.fetch()
    served = tmp_path / "served"
    served.rename(tmp_path / "away")
    with pytest.raises(TransientError, match="was not fetched"):
        source.fetch()
    assert source.head().sha == sha
    assert set(_open(tmp_path, f"file://{shop.bare}").tree(sha).files) == {"a.yaml"}
    (tmp_path / "away").rename(served)
    source.fetch()


def test_another_address_never_shows_what_the_first_one_held(
    shop: Workshop, tmp_path: Path
) -> None:
    shop.commit({"a.yaml": "a"})
    _open(tmp_path, f"file://{shop.bare}").fetch()
    second = _open(tmp_path, f"file://{tmp_path}/elsewhere.git")
    with pytest.raises(TransientError, match="was not fetched"):
        second.fetch()
    with pytest.raises(TransientError, match="not been fetched yet"):
        second.head()


def test_an_unreachable_remote_is_tried_again_later(tmp_path: Path) -> None:
    address = f"git://127.0.0.1:{free_port()}/x.git"
    with pytest.raises(TransientError) as failure:
        _open(tmp_path, address).fetch()
    assert address in str(failure.value)
    assert "tried again" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_remote_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        source = _open(tmp_path, f"git://127.0.0.1:{port}/x.git", fetching_s=0.5)
        with pytest.raises(TransientError, match=r"was not done after 0\.5 s"):
            source.fetch()


def test_a_fetch_that_is_cut_ends_and_leaves_the_way_free(shop: Workshop, tmp_path: Path) -> None:
    """A git left behind would hold the lock, and nobody could fetch any more."""
    shop.commit({"a.yaml": "a"})
    failures: list[TransientError] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = _open(tmp_path, f"git://127.0.0.1:{silent.getsockname()[1]}/x.git")

        def fetch() -> None:
            try:
                source.fetch()
            except TransientError as error:
                failures.append(error)

        fetching = threading.Thread(target=fetch, daemon=True)
        fetching.start()
        silent.settimeout(20)
        with silent.accept()[0]:
            source.cut()
            fetching.join(20)
            assert not fetching.is_alive()
    assert "was not fetched" in str(failures[0])
    lock = os.open(_mirror_of(tmp_path) / "domops.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)


def test_a_remote_that_cuts_the_answer_short_changes_nothing(
    shop: Workshop, tmp_path: Path
) -> None:
    shop.commit({"a.yaml": "a"})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"0032want nonsense")

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(TransientError, match="was not fetched"):
            _open(tmp_path, f"git://127.0.0.1:{port}/x.git").fetch()
        thread.join()


def test_what_a_killed_git_left_behind_is_in_nobody_s_way(shop: Workshop, tmp_path: Path) -> None:
    """Promise 7: a stale lock never stops the fetches that follow."""
    shop.commit({"a.yaml": "a"})
    source = _open(tmp_path, f"file://{shop.bare}")
    source.fetch()
    mirror = _mirror_of(tmp_path)
    (mirror / "refs" / "domops" / "refs%2Fheads%2Fmain.lock").write_text("")
    (mirror / "packed-refs.lock").write_text("")
    (mirror / "objects" / "pack" / "tmp_pack_x").write_text("half a pack")
    sha = shop.commit({"a.yaml": "b"})
    source.fetch()
    assert source.head().sha == sha
    assert not list(mirror.rglob("tmp_*"))
    (mirror / "HEAD").unlink()
    source.fetch()
    assert source.head().sha == sha


def test_two_processes_do_not_fetch_at_once(shop: Workshop, tmp_path: Path) -> None:
    shop.commit({"a.yaml": "a"})
    source = _open(tmp_path, f"file://{shop.bare}", fetching_s=0.5)
    source.fetch()
    with (_mirror_of(tmp_path) / "domops.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match="another process"):
            source.fetch()
        fcntl.flock(lock, fcntl.LOCK_UN)
    source.fetch()


def test_tidying_loses_nothing_even_of_a_rewritten_history(shop: Workshop, tmp_path: Path) -> None:
    """Old, and named by nothing any more: git itself would throw such a commit away."""
    base = shop.commit({"a.yaml": "a"})
    lost = shop.commit({"a.yaml": "b"})
    source = _open(tmp_path, f"file://{shop.bare}")
    source.fetch()
    shop.rewind(base)
    source.fetch()
    packs = _mirror_of(tmp_path) / "objects" / "pack"
    for place in packs.iterdir():
        os.utime(place, (1, 1))
    for number in range(63):
        shop.commit({"a.yaml": f"{number}"})
        source.fetch()
    assert len(list(packs.glob("*.pack"))) < 10
    assert source.read(source.tree(lost).files.values())
    assert source.head().sha == shop.head()
    source.tidy()
    assert source.read(source.tree(base).files.values())


FETCHES = """
import sys
from pathlib import Path
from reconciler.source.gitrepository import open_repository
open_repository(sys.argv[1], ref="main", state_directory=Path(sys.argv[2])).fetch()
"""


def test_a_git_that_outlives_its_killed_domops_keeps_the_lock(tmp_path: Path) -> None:
    """Promise 7: what is still being written is never swept away from under the writer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        command = [sys.executable, "-c", FETCHES, address, str(tmp_path / "state")]
        domops = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        silent.settimeout(60)
        connection, _ = silent.accept()
        domops.kill()
        domops.wait()
        with connection, (_mirror_of(tmp_path) / "domops.lock").open("r+") as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            fcntl.flock(lock, fcntl.LOCK_EX)


def test_nobody_is_asked_for_a_password(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desktop names a window to ask with; a controller has nobody in front of it."""
    shop.commit({"a.yaml": "a"})
    window = tmp_path / "window"
    window.write_text(f'#!/bin/sh\ntouch "{tmp_path / "asked"}"\n')
    window.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(window))
    monkeypatch.setenv("DISPLAY", ":0")
    with _web(tmp_path / "served") as port, pytest.raises(TransientError, match="wants a user"):
        _open(tmp_path, f"http://127.0.0.1:{port}/bare.git").fetch()
    assert not (tmp_path / "asked").exists()


def test_a_state_directory_that_cannot_be_written_is_told(shop: Workshop, tmp_path: Path) -> None:
    shop.commit({"a.yaml": "a"})
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(TransientError, match="not writable"):
        _open(tmp_path, f"file://{shop.bare}").fetch()


class _Guarded(http.server.SimpleHTTPRequestHandler):
    """Serve files to whoever knows the password, and repeat what was sent in the refusal."""

    accepted = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        if given == self.accepted:
            super().do_GET()
            return
        self.send_response(HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", 'Basic realm="manifests"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def _web(folder: Path) -> Iterator[int]:
    handler = functools.partial(_Guarded, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_a_password_opens_the_repository_and_is_seen_nowhere(
    shop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a log, an argument list, a representation nor in what is kept on disk."""
    sha = shop.commit({"a.yaml": "a"})
    git(tmp_path / "served" / "bare.git", "update-server-info")
    with _web(tmp_path / "served") as port, caplog.at_level(logging.DEBUG):
        source = _open(tmp_path, f"http://me:{ENCODED}@127.0.0.1:{port}/bare.git")
        source.fetch()
    assert source.head().sha == sha
    seen = f"{caplog.text} {source!r} {source.shown} {vars(source)!r}"
    kept = [path.read_bytes() for path in _mirror_of(tmp_path).rglob("*") if path.is_file()]
    for secret in (SECRET, ENCODED, _Guarded.accepted):
        assert secret not in seen
        assert not any(secret.encode() in content for content in kept)
    assert "git fetch" in caplog.text.replace("', '", " ")


@pytest.mark.parametrize("user", ["me:wr0ng", "wr0ng", "me:wr0ng%25s%24(id)"])
def test_a_wrong_password_is_told_without_saying_it(
    shop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture, user: str
) -> None:
    shop.commit({"a.yaml": "a"})
    with _web(tmp_path / "served") as port, caplog.at_level(logging.DEBUG):
        with pytest.raises(TransientError) as failure:
            _open(tmp_path, f"http://{user}@127.0.0.1:{port}/bare.git").fetch()
        with pytest.raises(TransientError, match="wants a user and a password"):
            _open(tmp_path, f"http://127.0.0.1:{port}/bare.git").fetch()
    assert "check the user and password or token" in str(failure.value)
    causes = f"{failure.value!r} {failure.value.__cause__!r} {failure.value.__context__!r}"
    assert "wr0ng" not in f"{failure.value} {causes} {caplog.text}"


def test_a_secret_in_the_query_is_not_shown_even_by_git(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/x.git?private_token=hunter2"
    source = _open(tmp_path, address)
    with pytest.raises(TransientError) as failure:
        source.fetch()
    assert "hunter2" not in f"{failure.value} {failure.value!r} {source!r} {source.shown}"


def _loose(mirror: Path, tmp_path: Path) -> None:
    """Take the pack of the copy apart, so that one object can be damaged."""
    (pack,) = (mirror / "objects" / "pack").glob("*.pack")
    taken = pack.rename(tmp_path / "taken.pack")
    for left in (mirror / "objects" / "pack").iterdir():
        left.unlink()
    git(mirror, "unpack-objects", "-q", give=taken.read_bytes())


def _damage(mirror: Path, how: str, shop: Workshop) -> None:
    def object_of(revision: str) -> Path:
        name = git(shop.path, "rev-parse", revision)
        return mirror / "objects" / name[:2] / name[2:]

    match how:
        case "a blob is missing":
            object_of("HEAD:a.yaml").unlink()
        case "a tree is missing":
            object_of("HEAD^{tree}").unlink()
        case "a blob is garbage":
            object_of("HEAD:a.yaml").chmod(0o600)
            object_of("HEAD:a.yaml").write_bytes(b"garbage")
        case "HEAD is garbage":
            (mirror / "HEAD").write_text("garbage")
        case "all objects are missing":
            (mirror / "objects").rename(mirror / "nowhere")
        case _:
            (mirror / "refs" / "domops" / "refs%2Fheads%2Fmain").write_text("")


@pytest.mark.parametrize(
    "how",
    [
        "a blob is missing",
        "a tree is missing",
        "a blob is garbage",
        "HEAD is garbage",
        "all objects are missing",
        "the ref is empty",
    ],
)
def test_a_damaged_copy_is_made_anew_by_the_next_fetch(
    shop: Workshop, tmp_path: Path, how: str
) -> None:
    """It is never taken for a smaller world, and is kept until the other side has answered."""
    sha = shop.commit({"a.yaml": "a"})
    address = f"file://{shop.bare}"
    _open(tmp_path, address).fetch()
    mirror = _mirror_of(tmp_path)
    _loose(mirror, tmp_path)
    _damage(mirror, how, shop)

    def all_of_it(source: GitRepository) -> list[bytes]:
        return list(source.read(source.tree(source.head().sha).files.values()).values())

    with pytest.raises((TransientError, StalledError)):
        all_of_it(_open(tmp_path, address))
    (tmp_path / "served").rename(tmp_path / "away")
    with pytest.raises(TransientError):
        _open(tmp_path, address).fetch()
    assert not (mirror / "domops.damaged").exists()
    (tmp_path / "away").rename(tmp_path / "served")

    source = _open(tmp_path, address)  # another process, as of a command that is typed again
    source.fetch()
    assert source.head().sha == sha
    assert all_of_it(source) == [b"a"]
    assert (mirror / "domops.damaged").is_dir()
    assert not (mirror / "domops.doubted").exists()


def test_a_copy_that_is_whole_is_not_made_anew_for_a_doubt(shop: Workshop, tmp_path: Path) -> None:
    sha = shop.commit({"a.yaml": "a"})
    source = _open(tmp_path, f"file://{shop.bare}")
    source.fetch()
    mirror = _mirror_of(tmp_path)
    (mirror / "domops.doubted").touch()
    source.fetch()
    assert source.head().sha == sha
    assert not (mirror / "domops.damaged").exists()
    assert not (mirror / "domops.doubted").exists()
