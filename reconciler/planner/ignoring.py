"""Leave alone what a manifest says to ignore: ``ignoreDrift``.

An ignored field of a guest that is there keeps the value that it has, in the stored definition and
in the running one; neither is compared. What the manifest would want is told all the same, apart
from the changes, because nobody should forget that it is ignored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.options import FIELDS
from reconciler.model.plan import Change, Fate, Label, Reason
from reconciler.planner.differences import differences

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.definition import Boot, GuestDefinition
    from reconciler.planner.case import Case


def left_alone(
    wanted: GuestDefinition, stored: GuestDefinition, ignored: Collection[str]
) -> GuestDefinition:
    """``wanted`` with every ignored field as it is ``stored``."""
    if not ignored:
        return wanted
    cpus, memory = wanted.vcpus, wanted.memory
    if "cpus.max" in ignored:
        cpus = replace(cpus, maximum=stored.vcpus.maximum)
    if "cpus" in ignored:
        cpus = replace(cpus, count=stored.vcpus.count)
    if "memory.max" in ignored:
        memory = replace(memory, maximum_kib=stored.memory.maximum_kib)
    if "memory" in ignored:
        memory = replace(memory, size_kib=stored.memory.size_kib)
    options = {
        attribute: getattr(stored.options, attribute)
        for field, attribute in FIELDS.items()
        if field in ignored
    }
    return replace(
        wanted,
        # What is left alone may be more than what the manifest now says is the most.
        vcpus=replace(cpus, count=min(cpus.count, cpus.maximum)),
        memory=replace(memory, size_kib=min(memory.size_kib, memory.maximum_kib)),
        boot=_boot(wanted.boot, stored.boot, ignored),
        console=stored.console if "console" in ignored else wanted.console,
        agent=stored.agent if "agent" in ignored else wanted.agent,
        options=replace(wanted.options, **options),
    )


def _boot(wanted: Boot, stored: Boot, ignored: Collection[str]) -> Boot:
    """The ways to boot are whole: a guest that boots in another one keeps all of it."""
    names = [field.removeprefix("boot.") for field in ignored if field.startswith("boot.")]
    if not names:
        return wanted
    if type(wanted) is not type(stored):
        return stored
    parts = {name: getattr(stored, name) for name in names if hasattr(stored, name)}
    return replace(wanted, **parts)


def ignored_changes(case: Case) -> tuple[Change, ...]:
    """What the manifest would change if it did not say to ignore it."""
    fields = case.wanted.owned.ignored
    if not fields:
        return ()
    everything = replace(case.wanted.owned, ignored=frozenset())
    found: dict[str, Change] = {}
    for actual in (case.guest.live, case.stored):
        if actual is None:
            continue
        slack = case.policy.balloon_slack_kib if actual is case.guest.live else 0
        for one in differences(case.wanted.meant, actual, everything, slack_kib=slack):
            if one.field in fields and one.field not in found:
                found[one.field] = Change(
                    guest=case.desired.name,
                    field=one.field,
                    before=one.before,
                    after=one.after,
                    label=Label.NONE,
                    fate=Fate.WAITING,
                    reason=Reason.IGNORED,
                    message="ignoreDrift leaves it as it is",
                    origin=case.desired.where("spec.ignoreDrift"),
                )
    return tuple(found.values())
