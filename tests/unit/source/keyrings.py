"""Keys to sign commits with, of both kinds: good ones, strangers', expired and revoked ones."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.source.signatures import SignatureKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("good", "stranger", "expired", "revoked")
_LONG_AGO = "20200601T000000"


def _run(*command: str, environment: dict[str, str] | None = None, give: str = "") -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        input=give,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """What the controller is told of the keys, and what git is told to sign with one."""

    kind: SignatureKind
    signers: Path
    revoked: Path | None = None
    signing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The arguments for git that make it sign with a key, by the key's name."""


@contextlib.contextmanager
def keyring(kind: SignatureKind, folder: Path) -> Iterator[Keyring]:
    """Make the keys below ``folder``; no agent of theirs is left behind."""
    folder.mkdir(parents=True)
    if kind is SignatureKind.SSH:
        yield _ssh(folder)
        return
    home = folder / "home"
    home.mkdir(mode=0o700)
    try:
        yield _openpgp(folder, home)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


def _ssh(folder: Path) -> Keyring:
    lines = []
    for name in NAMES:
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name))
        public = " ".join((folder / f"{name}.pub").read_text().split()[:2])
        limit = ',valid-before="20200101"' if name == "expired" else ""
        if name != "stranger":
            lines.append(f'{name}@example.org namespaces="git"{limit} {public}\n')
    signers, revoked = folder / "allowed_signers", folder / "revoked_keys"
    signers.write_text("".join(lines))
    revoked.write_text((folder / "revoked.pub").read_text())
    return Keyring(
        kind=SignatureKind.SSH,
        signers=signers,
        revoked=revoked,
        signing={
            name: ("-c", "gpg.format=ssh", "-c", f"user.signingkey={folder / name}")
            for name in NAMES
        },
    )


def _openpgp(folder: Path, home: Path) -> Keyring:
    # The home stands in a wrapper and not in the environment: git is run by others than us.
    programs = {}
    for word, more in (("now", ""), ("then", f"--faked-system-time {_LONG_AGO} ")):
        programs[word] = folder / word
        programs[word].write_text(f'#!/bin/sh\nexec gpg --homedir {home} {more}--batch "$@"\n')
        programs[word].chmod(0o755)
    for name in NAMES:
        program, expiry = ("then", "1y") if name == "expired" else ("now", "never")
        person = f"{name} <{name}@example.org>"
        words = ("--quiet", "--passphrase", "", "--quick-gen-key", person, "ed25519", "sign")
        _run(str(programs[program]), *words, expiry)
    now = str(programs["now"])
    listed = _run(now, "--with-colons", "--list-keys", "revoked@example.org")
    print_ = next(row.split(":")[9] for row in listed.splitlines() if row.startswith("fpr"))
    given = (home / "openpgp-revocs.d" / f"{print_}.rev").read_text()
    signing: dict[str, tuple[str, ...]] = {
        name: (
            *("-c", f"gpg.program={programs['then' if name == 'expired' else 'now']}"),
            *("-c", f"user.signingkey={name}@example.org"),
        )
        for name in NAMES
    }
    everybody = [f"{name}@example.org" for name in NAMES if name != "stranger"]
    signers = folder / "keys.asc"
    exported = _run(now, "--armor", "--export", *everybody)
    # The keys are given with the revocation, but it is not in the ring that signs with them.
    signers.write_text(exported + given.replace(":-----BEGIN", "-----BEGIN"))
    return Keyring(kind=SignatureKind.OPENPGP, signers=signers, signing=signing)
