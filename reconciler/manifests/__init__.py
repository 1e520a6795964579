"""Parse text into the desired world, or into every problem at once, each with its place.

The only room that knows pydantic's models of the manifests. It is given bytes and gives values; it
opens no files and knows nothing of libvirt. ``parse_file`` looks at one file alone and may be
remembered by blob; ``resolve`` puts the files of a commit together.
"""

from reconciler.manifests.change import resolve_change
from reconciler.manifests.parse import ParsedFile, parse_file
from reconciler.manifests.problems import (
    Problem,
    render_github,
    render_gitlab,
    render_json,
    render_text,
)
from reconciler.manifests.resolve import (
    REPOSITORY_FILE,
    Index,
    Resolved,
    included_paths,
    is_manifest,
    load,
    resolve,
)
from reconciler.manifests.surroundings import Allowed

__all__ = [
    "REPOSITORY_FILE",
    "Allowed",
    "Index",
    "ParsedFile",
    "Problem",
    "Resolved",
    "included_paths",
    "is_manifest",
    "load",
    "parse_file",
    "render_github",
    "render_gitlab",
    "render_json",
    "render_text",
    "resolve",
    "resolve_change",
]
