"""Addresses and refs: which are used, which never are, and how each is shown to a person.

What comes out of ``parse_address`` is safe to hand to git: it names a path or one of five
transports, cannot be taken for an option, and carries no credentials. Those go to git by another
road, so that neither the process list nor git's own messages can repeat them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from reconciler.errors import RefusedError

TRANSPORTS = ("https", "ssh", "git", "http", "file")

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>]*)")
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_SCP_LIKE = re.compile(r"(?:(?P<user>[^/@:]+)@)?(?P<host>\[[^/\]]+\]|[^/:]+):(?P<path>.+)")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f\\]")
_PORT_ENDING = re.compile(r":[0-9]*$")
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$|^[-./]|^@$")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What opens a repository across the network; never shown."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteAddress:
    """A repository that is fetched from.

    ``url`` is what git is given. It has no user or password in it, but may have a secret in its
    query, so only ``shown`` is ever put into a message.
    """

    url: str = field(repr=False)
    shown: str
    transport: str
    credentials: Credentials | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be in any text, whoever wrote it."""
        found = [urlsplit(self.url).query] if "?" in self.url else []
        if self.credentials is not None:
            found.append(self.credentials.password or self.credentials.username)
        return tuple(secret for secret in found if secret)


def parse_address(text: str) -> Path | RemoteAddress:
    """Tell a path on this machine from a repository across the network, and refuse the rest.

    Raises:
        RefusedError: the address runs a program, hides an option, or cannot be understood.

    """
    shown = without_credentials(text)
    if not text:
        raise RefusedError("the address of the repository is empty: give a path or a URL")
    if text.startswith("-"):
        raise RefusedError(f"{shown}: an address never starts with '-': git would read an option")
    if _HELPER.match(text):
        raise RefusedError(
            f"{shown}: addresses of the form 'helper::…' start a program and are never used;"
            f" use one of {', '.join(TRANSPORTS)}, or a path"
        )
    if "://" in text:
        return _parse_url(text, shown)
    if scp_like := _SCP_LIKE.fullmatch(text):
        return _parse_scp_like(text, shown, scp_like)
    if "\x00" in text:
        raise RefusedError("a path has no NUL character in it")
    return Path(text)


def without_credentials(text: str) -> str:
    """Return the text, a URL or any text with URLs in it, with nothing secret left in them."""
    if "://" not in text and re.fullmatch(r"[^/\s:]*:[^\s]*@[^\s]*", text):
        return text.rpartition("@")[2]
    return _URL.sub(_shown_url, text)


def full_ref(ref: str) -> str:
    """Return the one name that the ref can mean: a short name is a branch, never a tag.

    git itself prefers the tag, so whoever may push tags could put one in front of a branch that
    only few may push to.

    Raises:
        RefusedError: no ref can be called so.

    """
    if ref == "HEAD" or _COMMIT.fullmatch(ref):
        return ref
    if not ref or _NO_REF.search(ref):
        raise RefusedError(
            f"{ref!r} cannot be the name of a ref; give a branch ('main'), a full name"
            " ('refs/tags/v1') or a whole commit"
        )
    return ref if ref.startswith("refs/") else f"refs/heads/{ref}"


def clean_folder(folder: str) -> str:
    """Return the folder as git spells it: no slash at either end, empty for the root.

    Raises:
        RefusedError: it leaves the repository or cannot be a path in one.

    """
    parts = [part for part in folder.strip("/").split("/") if part not in {"", "."}]
    if ".." in parts or re.search(r"[\x00-\x1f\x7f]", folder):
        raise RefusedError(f"{folder!r} is not a folder inside the repository")
    return "/".join(parts)


def _shown_url(url: re.Match[str]) -> str:
    scheme, rest = url["scheme"], url["rest"]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    unescaped = not _PORT_ENDING.search(authority) and ":" in authority
    if "@" in authority:
        # A password may hold an unescaped '@' or '/', so everything up to the last '@' goes.
        secret = ":" in authority.partition("@")[0]
        user, _, host = rest.rpartition("@") if secret else rest.partition("@")
        keeps_user = scheme.lower() == "ssh"
        rest = f"{user.partition(':')[0]}@{host}" if keeps_user else host
    elif unescaped and "@" in rest:
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split(r'[?#]', rest, maxsplit=1)[0]}"


def _parse_url(text: str, shown: str) -> RemoteAddress:
    if _UNPRINTABLE.search(text) or _UNPRINTABLE.search(unquote(text).replace(" ", "")):
        raise RefusedError(f"{shown!r}: a URL has no blanks, backslashes or control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise RefusedError(
            f"{shown}: not a URL; in a user name or password write '/' as %2F and '@' as %40"
        ) from error
    transport = text.partition("://")[0]
    if transport not in TRANSPORTS:
        raise RefusedError(
            f"{shown}: repositories are not fetched by '{transport}'; use one of"
            f" {', '.join(TRANSPORTS)}, or a path"
        )
    if parts.fragment:
        raise RefusedError(f"{shown}: the address of a repository has no '#' part")
    if transport == "file":
        if parts.netloc or not parts.path.startswith("/") or parts.query:
            raise RefusedError(f"{shown}: write a repository's path as file:///its/path")
        return RemoteAddress(url=text, shown=shown, transport=transport)
    _check_authority(parts, shown)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    place = f"{host}:{port}" if port is not None else f"{host}"
    query = f"?{parts.query}" if parts.query else ""
    if transport in {"http", "https"}:
        credentials = None
        if parts.username is not None:
            credentials = Credentials(
                username=unquote(parts.username), password=unquote(parts.password or "")
            )
        url = f"{transport}://{place}{parts.path}{query}"
        return RemoteAddress(url=url, shown=shown, transport=transport, credentials=credentials)
    if parts.password is not None or (transport == "git" and parts.username is not None):
        raise RefusedError(
            f"{shown}: {transport} takes no password from an address; give ssh a key"
        )
    user = f"{parts.username}@" if parts.username else ""
    url = f"{transport}://{user}{place}{parts.path}{query}"
    return RemoteAddress(url=url, shown=shown, transport=transport)


def _check_authority(parts: SplitResult, shown: str) -> None:
    if not parts.hostname:
        raise RefusedError(f"{shown}: the URL names no host")
    if not parts.path.strip("/"):
        raise RefusedError(f"{shown}: the URL names no repository on that host")
    for part in (parts.hostname, parts.username or ""):
        if unquote(part).startswith("-"):
            raise RefusedError(f"{shown}: a host or user never starts with '-'")
    if parts.password is not None and "@" in parts.path + parts.query:
        raise RefusedError(
            f"{shown}: in a user name or password write '/' as %2F and '@' as %40;"
            " in the path too, where the URL has a password"
        )


def _parse_scp_like(text: str, shown: str, parts: re.Match[str]) -> RemoteAddress:
    if _UNPRINTABLE.search(text):
        raise RefusedError(
            f"{shown!r}: an address has no blanks, backslashes or control characters"
        )
    if parts["host"].lower() in TRANSPORTS:
        raise RefusedError(f"{shown}: after '{parts['host']}:' a URL has two slashes")
    if "@" in parts["path"] or "@" in parts["host"]:
        raise RefusedError(f"{shown}: ssh takes no password from an address; give it a key")
    if any((parts[part] or "").startswith("-") for part in ("user", "host", "path")):
        raise RefusedError(f"{shown}: a host, user or path here never starts with '-'")
    return RemoteAddress(url=text, shown=shown, transport="ssh")
