"""Which addresses and refs are used, and that nothing secret is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import RefusedError
from reconciler.source.address import (
    Credentials,
    RemoteAddress,
    clean_folder,
    full_ref,
    parse_address,
    without_credentials,
)

HOSTILE = [
    "",
    "-uexec",
    "--upload-pack=touch /tmp/x",
    "ext::sh -c touch% /tmp/x",
    "EXT::sh -c id",
    "fd::17",
    "https::https://example.org/x",
    "ext://sh",
    "git+ssh://example.org/x",
    "ssh+git://example.org/x",
    "FILE:///srv/x",
    "ftp://example.org/x",
    "rsync://example.org/x",
    "javascript://x/y",
    "file://example.org/srv/x",
    "file://srv/x",
    "file:relative",
    "file:///srv/x?y",
    "ssh://-oProxyCommand=id/x",
    "ssh://%2doProxyCommand=id/x",
    "ssh://-oProxyCommand=id@example.org/x",
    "ssh://%2dl@example.org/x",
    "-oProxyCommand=id:x",
    "git@-oProxyCommand=id:x",
    "example.org:-oX",
    "ssh://user:password@example.org/x",
    "user:password@example.org:x",
    "git://user@example.org/x",
    "https://example.org",
    "https:///x",
    "https://example.org/x#y",
    "https://example.org:port/x",
    "https://example.org/a b",
    "https://example.org/a\nb",
    "https://example.org/a%0ab",
    "https://user%0a:x@example.org/a",
    "git://example.org%0a:9418/x",
    "https://example.org\\@evil.example/x",
    "https://user:pass/word@example.org/x",
    "https://user:pass@wo/rd@example.org/x",
    "a\x00b",
]


@pytest.mark.parametrize("address", HOSTILE)
def test_an_address_that_runs_or_hides_something_is_refused(address: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_address(address)
    for secret in ("password", "pass/word", "wo/rd"):
        assert secret not in str(refusal.value).replace("takes no password", "").replace(
            "name or password", ""
        ).replace("has a password", "")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/x.git",
        "https://example.org:8443/group/x.git?ref=1",
        "http://[::1]:80/x",
        "git://127.0.0.1:9418/x",
        "ssh://git@example.org:2222/~git/x.git",
        "git@example.org:group/x.git",
        "example.org:x.git",
        "[::1]:x.git",
        "file:///srv/git/x.git",
    ],
)
def test_an_honest_address_is_given_to_git_as_it_stands(address: str) -> None:
    parsed = parse_address(address)
    assert isinstance(parsed, RemoteAddress)
    assert parsed.url == address
    assert parsed.credentials is None
    assert parsed.shown == address.partition("?")[0]


@pytest.mark.parametrize("path", ["/srv/x.git", "x", "./a:b", "../x", "/a b/c"])
def test_what_is_no_url_is_a_path(path: str) -> None:
    assert parse_address(path) == Path(path)


@pytest.mark.parametrize(
    ("address", "username", "password"),
    [
        ("https://me:s3cret%2Fx%40y@example.org:8443/x.git", "me", "s3cret/x@y"),
        ("http://me:s3cret@[::1]:80/x.git", "me", "s3cret"),
        ("https://s3cret-token@example.org/x.git", "s3cret-token", ""),
        ("https://:s3cret@example.org/x.git", "", "s3cret"),
    ],
)
def test_credentials_are_taken_out_of_the_address(
    address: str, username: str, password: str
) -> None:
    parsed = parse_address(address)
    assert isinstance(parsed, RemoteAddress)
    assert parsed.credentials == Credentials(username=username, password=password)
    assert "@" not in parsed.url
    assert "s3cret" not in parsed.url
    assert "s3cret" not in f"{parsed!r} {parsed.shown} {parsed.credentials!r}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pw@example.org/x", "https://example.org/x"),
        ("https://token@example.org/x", "https://example.org/x"),
        ("ssh://git:pw@example.org/x", "ssh://git@example.org/x"),
        ("git@example.org:x", "git@example.org:x"),
        ("me:pw@example.org:x", "example.org:x"),
        ("https://me:p/w@example.org/x", "https://example.org/x"),
        ("https://me:p@w/y@example.org/x", "https://example.org/x"),
        ("https://example.org/@scope/x", "https://example.org/@scope/x"),
        ("https://token@example.org/@scope/x", "https://example.org/@scope/x"),
        ("https://example.org/x?private_token=pw", "https://example.org/x"),
        (
            "fatal: unable to access 'https://me:pw@example.org/x?t=pw': no; see http://u:pw@h/",
            "fatal: unable to access 'https://example.org/x': no; see http://h/",
        ),
        ("/srv/plain/path", "/srv/plain/path"),
    ],
)
def test_nothing_secret_is_shown(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    ("ref", "full"),
    [
        ("main", "refs/heads/main"),
        ("feature/x", "refs/heads/feature/x"),
        ("refs/tags/v1", "refs/tags/v1"),
        ("heads/main", "refs/heads/heads/main"),
        ("HEAD", "HEAD"),
        ("1" * 40, "1" * 40),
        ("ünï", "refs/heads/ünï"),
    ],
)
def test_a_ref_has_one_meaning(ref: str, full: str) -> None:
    assert full_ref(ref) == full


@pytest.mark.parametrize(
    "ref",
    [
        *("", "-x", "--upload-pack=id", "a..b", "a b", "a\nb", "a~1", "a^", "a:b", "+a:b", "a?"),
        *("a*", "a[", "a\\b", "@", "@{u}", "a@{1}", "a//b", "/a", "a/", ".a", "a/.b", "a.lock"),
        *("a.lock/b", "a.", "a\x7f"),
    ],
)
def test_what_cannot_name_a_ref_is_refused(ref: str) -> None:
    with pytest.raises(RefusedError):
        full_ref(ref)


@pytest.mark.parametrize("folder", ["..", "a/../b", "/../a", "a\nb", "a\0b"])
def test_a_folder_stays_inside_the_repository(folder: str) -> None:
    with pytest.raises(RefusedError):
        clean_folder(folder)
