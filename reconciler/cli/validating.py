"""Find every problem of a folder or a revision, without asking any host."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.controller.included import read_included
from reconciler.errors import RefusedError
from reconciler.manifests.parse import parse_file
from reconciler.manifests.resolve import Resolved, is_manifest, resolve
from reconciler.manifests.surroundings import Allowed
from reconciler.model.desired import Commit
from reconciler.settings import load_settings, settings_file
from reconciler.source.folder import FolderSource
from reconciler.source.gitrepository import open_repository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.options import Where
    from reconciler.source.port import Blob, CommitInfo, Source


def problems_of_folder(folder: Path, allowed: Allowed | None = None) -> Resolved:
    """Read what lies in ``folder`` now, committed or not."""
    if not folder.is_dir():
        raise RefusedError(f"{folder} is no folder.")
    source = FolderSource(folder)
    return _read(source, source.head(), allowed)


def allowed_here(where: Where) -> Allowed | None:
    """What the controller's settings let manifests name; None where there is no file of them."""
    if settings_file(where.config) is None:
        return None
    settings = load_settings(config=where.config, overrides=where.overrides())
    return Allowed(
        kernel_prefixes=settings.kernel_prefixes,
        device_prefixes=settings.device_prefixes,
        file_prefixes=settings.file_prefixes,
        overlay_elements=settings.overlay_elements,
        host_devices=settings.host_devices,
    )


def read_folder(folder: Path) -> tuple[Mapping[str, bytes], Resolved]:
    """The manifests that lie in ``folder`` now, by path, and what they say together."""
    if not folder.is_dir():
        raise RefusedError(f"{folder} is no folder.")
    source = FolderSource(folder)
    info = source.head()
    blobs = _manifests(source, info)
    contents = source.read(blobs.values())
    return {path: contents[blob] for path, blob in blobs.items()}, _read(source, info)


def problems_of_revision(revision: str, where: Where, allowed: Allowed | None = None) -> Resolved:
    """Read what the repository has at ``revision``; a remote one is fetched into a passing copy."""
    settings = load_settings(config=where.config, overrides=where.overrides())
    with tempfile.TemporaryDirectory(prefix="domops-") as passing:
        source = open_repository(
            settings.repository,
            ref=settings.ref,
            folder=settings.path,
            state_directory=Path(passing),
        )
        source.fetch()
        return _read(source, source.commit(revision), allowed)


def _read(source: Source, info: CommitInfo, allowed: Allowed | None = None) -> Resolved:
    """Parse every manifest of a commit and resolve them together."""
    tree = source.tree(info.sha)
    wanted = _manifests(source, info)
    contents = source.read(wanted.values())
    parsed = {path: parse_file(contents[blob]) for path, blob in wanted.items()}
    return resolve(
        parsed,
        included=read_included(source, tree, parsed, {}),
        commit=Commit(
            sha=info.sha,
            author=info.author_name,
            committed_at=info.committed_at,
            subject=info.subject,
        ),
        refused={path: oddity.value for path, oddity in tree.oddities.items()},
        allowed=allowed,
    )


def _manifests(source: Source, info: CommitInfo) -> dict[str, Blob]:
    """The files of a commit that are manifests by their names."""
    return {path: blob for path, blob in source.tree(info.sha).files.items() if is_manifest(path)}
