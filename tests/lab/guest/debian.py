"""Fetch Debian packages and unpack them somewhere, without installing anything.

The machine's own apt sources are used. Where its package lists are missing or out of date, lists
are fetched into a directory of our own, so neither root nor a change to the machine is needed.
"""

import os
import subprocess
from pathlib import Path


class DebianError(RuntimeError):
    """A package could not be had; the message says which and what apt said."""


def unpack(wanted: dict[str, Path], workshop: Path) -> dict[str, str]:
    """Unpack each package into its directory; return the version that each turned out to have."""
    try:
        return _unpack(wanted, workshop, options=[])
    except DebianError:
        options = _own_lists(workshop)
        return _unpack(wanted, workshop, options=options)


def dependencies(package: str, workshop: Path) -> list[str]:
    """Return the packages that ``package`` depends on directly."""
    try:
        text = _apt(["apt-cache", "depends", package])
    except DebianError:
        text = _apt(["apt-cache", *_own_lists(workshop), "depends", package])
    return [line.split(": ", 1)[1] for line in text.splitlines() if "Depends: " in line]


def installed_versions(packages: list[str]) -> dict[str, str]:
    """Return the versions of installed packages; one that is missing is an error that names it."""
    text = _apt(["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *packages])
    return dict(line.split(" ", 1) for line in text.splitlines())


def _unpack(wanted: dict[str, Path], workshop: Path, options: list[str]) -> dict[str, str]:
    downloads = workshop / "packages"
    downloads.mkdir(exist_ok=True)
    # apt running as root hands the download to a user of its own, who must be able to write here.
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    _apt(["apt-get", *options, *sandbox, "--quiet", "download", *wanted], cwd=downloads)
    versions = {}
    for package, directory in wanted.items():
        archive = next(downloads.glob(f"{package}_*.deb"))
        directory.mkdir(parents=True, exist_ok=True)
        _apt(["dpkg-deb", "--extract", str(archive), str(directory)])
        versions[package] = _apt(["dpkg-deb", "--field", str(archive), "Version"]).strip()
    return versions


def _own_lists(workshop: Path) -> list[str]:
    state = workshop / "apt"
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    options = [
        "-o",
        f"Dir::State::Lists={state}/lists",
        "-o",
        f"Dir::Cache={state}",
        "-o",
        "APT::Sandbox::User=root",
    ]
    if not any((state / "lists").glob("*Packages*")):
        _apt(["apt-get", *options, "--quiet", "update"])
    return options


def _apt(command: list[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DebianError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
