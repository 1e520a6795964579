"""What a guest may have or do without, beyond what every guest has.

An option that is at its default is not there. Which options a manifest owns is the mark's matter:
see Note [Owned fields] in ``planner.options``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.names import FieldName

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of one guest, wanted or found.

    ``rng``: there is a device that gives the guest's kernel random numbers of the host.
    """

    rng: bool = False


NO_OPTIONS = Options()

FIELDS: Mapping[FieldName, str] = {
    FieldName("rng"): "rng",
}
"""What a manifest calls each option, and the attribute of ``Options`` that holds it."""
