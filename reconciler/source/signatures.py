"""Whether a commit is signed by somebody who may: asked of git, in settings of our own.

A repository's configuration can name the program that checks signatures and the keys that are
believed, so all of that is said here anew. For the kind that was not asked for there is no
program: a commit signed the other way is signed by nobody.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import StalledError, TransientError
from reconciler.source.parsing import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.source.program import GitProgram

_NO_PROGRAM: Final = os.devnull  # one that ran and said no could end git by a broken pipe
_IMPORT_S: Final = 30
_FIELDS: Final = 3
_SILENT: Final = (
    # Every key of the ring was given by the operator: none needs anybody's word.
    "trust-model always\n"
    # Checking needs no agent, and a daemon would outlive us.
    "no-autostart\nno-auto-key-retrieve\nno-auto-key-import\n"
)


class SignatureKind(StrEnum):
    """By what commits are signed; ``NONE``: nobody asks."""

    NONE = "none"
    SSH = "ssh"
    OPENPGP = "openpgp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """Whose signatures count.

    For SSH, ``file`` is an allowed-signers file and ``revoked`` a list of keys, or a KRL, that
    count no more (ssh-keygen(1), ALLOWED SIGNERS and KEY REVOCATION LISTS). For OpenPGP, ``file``
    holds public keys as ``gpg --export`` writes them, with their revocations.
    """

    kind: SignatureKind
    file: Path
    revoked: Path | None = None


class Verifier:
    """Says why a commit's signature does not count."""

    def __init__(self, signers: Signers) -> None:
        self._signers = signers
        self._home: Path | None = None
        self._digest: bytes | None = None

    def _settings(self) -> tuple[tuple[str, str], ...]:
        """What git is told of signatures, so that nothing of the repository's own counts.

        Raises:
            StalledError: the program that checks is not installed.

        """
        ssh = self._signers.kind is SignatureKind.SSH
        checks = _program("ssh-keygen", "openssh-client") if ssh else _program("gpg", "gnupg")
        pgp, ssh_program = (_NO_PROGRAM, checks) if ssh else (checks, _NO_PROGRAM)
        revoked = self._signers.revoked if ssh else None
        return (
            ("gpg.program", pgp),
            ("gpg.openpgp.program", pgp),
            ("gpg.x509.program", _NO_PROGRAM),
            ("gpg.ssh.program", ssh_program),
            ("gpg.ssh.allowedSignersFile", str(self._signers.file) if ssh else ""),
            ("gpg.ssh.revocationFile", str(revoked) if revoked else ""),
            ("gpg.minTrustLevel", "undefined"),
        )

    def _environment(self) -> Mapping[str, str]:
        """Where gpg finds the keys that count, and only those.

        Raises:
            StalledError: a file of the settings cannot be read, or is not what it should be.

        """
        content = _content(self._signers.file)
        if self._signers.revoked is not None:
            _content(self._signers.revoked)
        if self._signers.kind is not SignatureKind.OPENPGP:
            return {}
        digest = hashlib.sha256(content).digest()
        if self._home is None or digest != self._digest:
            self._home, self._digest = self._import(content), digest
        return {"GNUPGHOME": str(self._home)}

    def objection(self, program: GitProgram, sha: str, *, deadline_s: float) -> str | None:
        """Why the signature of ``sha`` does not count, in words that follow the commit's name.

        Raises:
            StalledError: signatures cannot be checked before a person has acted.
            TransientError: they cannot be checked now.

        """
        git = program.also(settings=self._settings(), environment=self._environment())
        answer = git.ask(
            *("log", "-1", "--no-show-signature", "--format=%G?%x00%GS%x00%GK", sha, "--"),
            deadline_s=deadline_s,
        )
        fields = [text(field) for field in answer.out.rstrip(b"\n").split(b"\0")]
        if answer.status != 0 or len(fields) != _FIELDS or fields[0] not in _VERDICTS:
            raise TransientError(f"the signature of {sha} was not checked: {answer.complaint}")
        verdict, signer, key = fields
        said = _VERDICTS[verdict]
        if said is None:
            return None
        if verdict == "U" and self._had_expired(git, sha, deadline_s):
            said = "is signed by a key that had expired when it was made"
        by = signer or key
        return f"{said} ({by})" if by else said

    def _had_expired(self, git: GitProgram, sha: str, deadline_s: float) -> bool:
        """Of an SSH key that is out of date git tells no more than that nobody is known by it."""
        answer = git.ask("verify-commit", "--raw", sha, deadline_s=deadline_s)
        return "key has expired" in answer.complaint

    def _import(self, content: bytes) -> Path:
        """Lay the keys out for gpg, in a place that goes when this object does."""
        home = Path(tempfile.mkdtemp(prefix="domops-keys-"))
        weakref.finalize(self, shutil.rmtree, home, ignore_errors=True)
        (home / "gpg.conf").write_text(_SILENT)
        command = [
            _program("gpg", "gnupg"),
            "--homedir",
            str(home),
            "--batch",
            "--quiet",
            "--import",
        ]
        done = subprocess.run(  # noqa: S603 - arguments of our own, found on PATH
            command, input=content, capture_output=True, timeout=_IMPORT_S, check=False
        )
        if done.returncode != 0:
            raise StalledError(
                f"{self._signers.file} holds no OpenPGP public keys (the setting signers):"
                f" {text(done.stderr.strip())[-200:]}"
            )
        return home


_VERDICTS: Final[Mapping[str, str | None]] = {
    "G": None,
    "N": "is not signed, or not in the way that is asked for",
    "B": "has a signature that is wrong, by a revoked key, or of a kind that does not count",
    "U": "is signed by a key that is not among the allowed ones",
    "E": "is signed by a key that is not among the given ones",
    "X": "has a signature that has expired",
    "Y": "is signed by a key that has expired",
    "R": "is signed by a key that was revoked",
}
"""What git's letters for a signature mean (git-log(1), ``%G?``); only the first one counts."""


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise StalledError(f"{name}, which checks signatures, is not here: install {package}")
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StalledError(
            f"{path}, which says whose signatures count, cannot be read: {error.strerror}"
        ) from error
