"""Build the list of fields whose drift is ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.manifests.explain import did_you_mean, quoted
from reconciler.model.ignoring import IGNORABLE

if TYPE_CHECKING:
    from reconciler.manifests.drafts import Draft


def ignore_drift(draft: Draft) -> tuple[str, ...]:
    """The names, sorted; one that cannot be ignored is complained of."""
    for index, name in enumerate(draft.spec.ignore_drift):
        if name not in IGNORABLE:
            hint = did_you_mean(name, IGNORABLE) or f"these can: {', '.join(IGNORABLE)}"
            message = f"{quoted(name)} is no field whose drift can be ignored"
            draft.complain(("spec", "ignoreDrift", index), message, hint)
    return tuple(sorted(set(draft.spec.ignore_drift)))
