"""Render a guest's definition as libvirt's domain XML, and read it back.

One renderer and one reader a device, composed in a list. Pure, and free of policy: what a guest
should be has been decided before it comes here.
"""

from reconciler.domxml.document import digest
from reconciler.domxml.domain import (
    Reading,
    canonical,
    extract_disk,
    extract_nic,
    merge,
    merge_disk,
    merge_nic,
    read,
    render,
    render_disk,
    render_nic,
    without_overlay,
)
from reconciler.domxml.iotune import LIMITS
from reconciler.domxml.mark import (
    NAMESPACE,
    PREFIX,
    digest_without_mark,
    read_mark,
    render_mark,
)
from reconciler.domxml.outline import Outline, outline
from reconciler.domxml.snapshot import read_snapshot, render_snapshot

__all__ = [
    "LIMITS",
    "NAMESPACE",
    "PREFIX",
    "Outline",
    "Reading",
    "canonical",
    "digest",
    "digest_without_mark",
    "extract_disk",
    "extract_nic",
    "merge",
    "merge_disk",
    "merge_nic",
    "outline",
    "read",
    "read_mark",
    "read_snapshot",
    "render",
    "render_disk",
    "render_mark",
    "render_nic",
    "render_snapshot",
    "without_overlay",
]
