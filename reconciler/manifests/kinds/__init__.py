"""The grammar: one module a kind, each a closed and frozen pydantic model that explains itself.

These models check one document on its own. What needs a second document (references, classes,
duplicates) is `resolve`'s work; pydantic goes no further than there.
"""

from __future__ import annotations

from typing import Final

from reconciler.manifests.kinds.guest import Guest
from reconciler.manifests.kinds.guest_class import GuestClass
from reconciler.manifests.kinds.host import Host
from reconciler.manifests.kinds.network import Network
from reconciler.manifests.kinds.pool import Pool
from reconciler.manifests.kinds.repository import Repository
from reconciler.manifests.kinds.storage import Storage

Manifest = Repository | Host | Pool | Storage | Network | GuestClass | Guest

KINDS: Final[dict[str, type[Manifest]]] = {
    kind.__name__: kind for kind in (Repository, Host, Pool, Storage, Network, GuestClass, Guest)
}
"""Every kind by its name, in the order in which a reader meets them."""

__all__ = [
    "KINDS",
    "Guest",
    "GuestClass",
    "Host",
    "Manifest",
    "Network",
    "Pool",
    "Repository",
    "Storage",
]
