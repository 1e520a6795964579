"""A signature counts if somebody made it who may; who that is, no repository can say."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import StalledError
from reconciler.model.names import Sha
from reconciler.source.gitrepository import open_repository
from reconciler.source.signatures import SignatureKind, Signers
from tests.unit.source.keyrings import Keyring, keyring
from tests.unit.source.workshop import Workshop, git

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.source.port import Source

KINDS = (SignatureKind.SSH, SignatureKind.OPENPGP)


@pytest.fixture(scope="module", params=KINDS)
def keys(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keyring]:
    with keyring(request.param, tmp_path_factory.mktemp("keys") / "ring") as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "work")


def _source(
    shop: Workshop, keys: Keyring, tmp_path: Path, *, signers: Path | None = None
) -> Source:
    return open_repository(
        str(shop.path),
        ref="main",
        state_directory=tmp_path / "state",
        signers=Signers(kind=keys.kind, file=signers or keys.signers, revoked=keys.revoked),
    )


def _signed(shop: Workshop, keys: Keyring, name: str) -> Sha:
    words = keys.signing[name]
    git(shop.path, *words, "commit", "--quiet", "--allow-empty", "-S", f"--message={name}")
    return shop.head()


def test_only_the_signature_of_somebody_who_may_counts(
    shop: Workshop, keys: Keyring, tmp_path: Path
) -> None:
    shas = {name: _signed(shop, keys, name) for name in keys.signing}
    shas["unsigned"] = shop.commit({"a": "a"})
    altered = git(shop.path, "cat-file", "commit", shas["good"]).replace("\ngood", "\nevil") + "\n"
    shas["altered"] = Sha(
        git(shop.path, "hash-object", "-t", "commit", "-w", "--stdin", give=altered.encode())
    )
    source = _source(shop, keys, tmp_path)

    said = {name: source.objection(sha) for name, sha in shas.items()}

    assert said.pop("good") is None
    assert "not signed" in (said["unsigned"] or "")
    assert "not among" in (said["stranger"] or "")
    assert "expired" in (said["expired"] or "")
    assert "revoked" in (said["revoked"] or "")
    assert "wrong" in (said["altered"] or "")


def test_a_signature_of_the_other_kind_does_not_count(
    shop: Workshop, keys: Keyring, tmp_path: Path
) -> None:
    other = next(kind for kind in KINDS if kind is not keys.kind)
    with keyring(other, tmp_path / "other") as others:
        sha = _signed(shop, others, "good")
        assert _source(shop, others, tmp_path).objection(sha) is None
        assert _source(shop, keys, tmp_path).objection(sha) is not None


def test_the_repository_cannot_say_who_may_sign_or_what_checks(
    shop: Workshop, keys: Keyring, tmp_path: Path
) -> None:
    sha = _signed(shop, keys, "stranger")
    witness = tmp_path / "witness"
    liar = shop.path / "liar"
    liar.write_text(f"#!/bin/sh\ntouch {witness}\necho '[GNUPG:] GOODSIG 1 x' >&2\nexit 0\n")
    liar.chmod(0o755)
    for name in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program"):
        git(shop.path, "config", name, str(liar))
    allowed = shop.path / "allowed"
    allowed.write_text(keys.signers.read_text().replace("namespaces", "x"))
    git(shop.path, "config", "gpg.ssh.allowedSignersFile", str(allowed))
    assert _source(shop, keys, tmp_path).objection(sha) is not None
    assert not witness.exists()


def test_a_file_of_signers_that_changes_counts_at_once(
    shop: Workshop, keys: Keyring, tmp_path: Path
) -> None:
    sha = _signed(shop, keys, "good")
    with keyring(keys.kind, tmp_path / "newcomers") as newcomers:
        signers = tmp_path / "signers"
        signers.write_text(newcomers.signers.read_text())
        source = _source(shop, keys, tmp_path, signers=signers)
        assert source.objection(sha) is not None
        signers.write_text(keys.signers.read_text())
        assert source.objection(sha) is None


def test_signers_that_cannot_be_read_let_nothing_through(
    shop: Workshop, keys: Keyring, tmp_path: Path
) -> None:
    sha = _signed(shop, keys, "good")
    source = _source(shop, keys, tmp_path, signers=tmp_path / "nowhere")
    with pytest.raises(StalledError, match="nowhere, which says whose signatures count"):
        source.objection(sha)


def test_a_file_that_holds_no_keys_is_told(shop: Workshop, keys: Keyring, tmp_path: Path) -> None:
    sha = _signed(shop, keys, "good")
    junk = tmp_path / "junk"
    junk.write_text("no keys at all\n")
    source = _source(shop, keys, tmp_path, signers=junk)
    if keys.kind is SignatureKind.OPENPGP:
        with pytest.raises(StalledError, match="holds no OpenPGP public keys"):
            source.objection(sha)
    else:
        assert "not among" in (source.objection(sha) or "")


def test_no_daemon_stays_behind(shop: Workshop, keys: Keyring, tmp_path: Path) -> None:
    def agents() -> set[str]:
        done = subprocess.run(
            ["pgrep", "-f", "domops-keys-"], capture_output=True, text=True, check=False
        )
        return set(done.stdout.split())

    before = agents()
    assert _source(shop, keys, tmp_path).objection(_signed(shop, keys, "good")) is None
    assert agents() == before


def test_where_nobody_asks_no_signature_is_missed(shop: Workshop, tmp_path: Path) -> None:
    sha = shop.commit({"a": "a"})
    source = open_repository(str(shop.path), ref="main", state_directory=tmp_path / "state")
    assert source.objection(sha) is None
