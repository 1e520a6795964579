"""Names that manifests allow, made from names that hypervisors allow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.manifests.fields import NAME

if TYPE_CHECKING:
    from collections.abc import Container

LONGEST: Final = 63
_NAME: Final = re.compile(NAME.removesuffix("$"))


def allowed(name: str, taken: Container[str], *, otherwise: str) -> str:
    """``name``, or the nearest to it that manifests allow and that is not taken.

    ``otherwise`` is put before a name of digits alone, and stands for one with nothing in it.
    """
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].strip("-")
    if _NAME.fullmatch(base) is None:
        base = f"{otherwise}-{base}".strip("-")
    found, number = base, 1
    while found in taken:
        number += 1
        end = f"-{number}"
        found = base[: LONGEST - len(end)] + end
    return found
