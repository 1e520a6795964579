"""Build what a guest is told at its first start, out of texts and of files beside the manifests.

No message here shows any of it: see Note [What must not be shown] in ``model.seed``.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from reconciler.manifests.quantities import render_size
from reconciler.model.desired import VolumeDisk
from reconciler.model.names import Digest, StorageName, VolumeName
from reconciler.model.seed import LARGEST_SEED_TEXT_BYTES, DesiredCloudInit, SeedData

if TYPE_CHECKING:
    from reconciler.manifests.construct import Key
    from reconciler.manifests.drafts import Draft
    from reconciler.manifests.kinds.guest import TextSpec
    from reconciler.model.desired import DesiredDisk

INSTANCE_ID: Final = "instance-id"
"""The one fact of the meta-data that is never the manifest's: it says when cloud-init runs."""

_LONG_ENOUGH: Final = "keep what is long on a server, and name it with #include"


def cloud_init(draft: Draft, disks: tuple[DesiredDisk, ...]) -> DesiredCloudInit | None:
    """What the guest shall be told, or None if nothing, or with a complaint."""
    spec, path = draft.spec.cloud_init, ("spec", "cloudInit")
    if spec is None:
        return None
    storage = _storage(draft, disks)
    if spec.user_data is None:
        draft.miss((*path, "userData"), "missing", "write it, as in userData: {file: PATH}")
    if INSTANCE_ID in spec.meta_data:
        draft.complain(
            (*path, "metaData", INSTANCE_ID),
            "is domops' own: a guest that is told another runs its user data again",
            "take it out; rerun: TOKEN does that on purpose",
        )
    user_data = _text(draft, "userData", spec.user_data)
    network_config = _text(draft, "networkConfig", spec.network_config)
    if storage is None or user_data is None:
        return None
    meta_data = tuple(sorted(spec.meta_data.items()))
    return DesiredCloudInit(
        data=_data(user_data, meta_data, network_config),
        storage=storage,
        volume=VolumeName(f"{draft.name}-cidata.iso"),
        keep=spec.keep,
        rerun=spec.rerun,
    )


def _data(
    user_data: str, meta_data: tuple[tuple[str, str], ...], network_config: str | None
) -> SeedData:
    texts = json.dumps([user_data, meta_data, network_config]).encode()
    sizes = (user_data, network_config or "", *(text for pair in meta_data for text in pair))
    return SeedData(
        digest=Digest(blake2b(texts, digest_size=16).hexdigest()),
        size_bytes=sum(len(text.encode()) for text in sizes),
        user_data=user_data,
        meta_data=meta_data,
        network_config=network_config,
    )


def _storage(draft: Draft, disks: tuple[DesiredDisk, ...]) -> StorageName | None:
    """The storage that is named, or that of the first disk."""
    named = draft.spec.cloud_init.storage if draft.spec.cloud_init is not None else None
    if named is not None:
        if draft.around.missing(draft.around.storages, StorageName(named)):
            path = ("spec", "cloudInit", "storage")
            draft.refer(path, "Storage", named, draft.around.storages)
        return StorageName(named)
    first = next((disk.storage for disk in disks if isinstance(disk, VolumeDisk)), None)
    if first is None:
        draft.miss(
            ("spec", "cloudInit"),
            "no disk of the guest says on which Storage its seed could lie",
            "write storage",
        )
    return first


def _text(draft: Draft, name: str, source: TextSpec | None) -> str | None:
    """The text itself, wherever it stands."""
    path: tuple[Key, ...] = ("spec", "cloudInit", name)
    if source is None:
        return None
    if (source.text is None) == (source.file is None):
        draft.complain(path, "must be text, or {file: PATH}", "write one of the two")
        return None
    if source.file is None:
        text = source.text or ""
        if "\0" in text:
            draft.complain(path, "holds a null character", "take it out")
        elif len(text.encode()) > LARGEST_SEED_TEXT_BYTES:
            _refuse_size(draft, path, len(text.encode()))
        return text
    path = (*path, "file")
    content = draft.included.contents.get(source.file)
    why = draft.included.unreadable.get(source.file)
    if why is not None:
        draft.complain(path, f'"{source.file}" {why}', "name another file")
    elif content is None:
        draft.complain(
            path,
            f'no file "{source.file}" in the repository',
            "give its path from the folder of domops.yaml, and commit it",
        )
    elif len(content) > LARGEST_SEED_TEXT_BYTES:
        _refuse_size(draft, path, len(content))
    else:
        return _decoded(draft, path, source.file, content)
    return None


def _refuse_size(draft: Draft, path: tuple[Key, ...], size: int) -> None:
    draft.complain(
        path,
        f"is {render_size(size)} long, more than {render_size(LARGEST_SEED_TEXT_BYTES)}",
        _LONG_ENOUGH,
    )


def _decoded(draft: Draft, path: tuple[Key, ...], file: str, content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        draft.complain(path, f'"{file}" is no text in UTF-8', "give the text, not compressed")
        return None
    return text
