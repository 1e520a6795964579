"""The bugs: each a sentence, a place, and what stands there instead of the truth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """``old`` stands exactly once in ``reconciler/planner/FILE``; ``new`` is the bug."""

    what: str
    file: str
    old: str
    new: str


BUGS = (
    Bug(
        what="a silent host is taken for an empty one",
        file="match.py",
        old='        yield f"host {host.name} is silent ({why})"',
        new='        if not why:\n            yield f"host {host.name} is silent ({why})"',
    ),
    Bug(
        what="a host that left the repository is forgotten",
        file="match.py",
        old="    for gone in memory.departed or ():\n        if gone.name in desired.hosts:",
        new="    for gone in memory.departed or ():\n        if gone.name:",
    ),
    Bug(
        what="a lost memory counts as one that knows of no departed host",
        file="match.py",
        old="    if memory.departed is None:\n",
        new="    if memory.departed is not None and not desired.hosts:\n",
    ),
    Bug(
        what="a host on which a step for the guest began does not count in another pool",
        file="match.py",
        old="    if host.name in history.touched:\n",
        new="    if host.name in history.touched and pool == host.pool:\n",
    ),
    Bug(
        what="a step that began on a host is forgotten when the host falls silent",
        file="match.py",
        old="    if host.name in history.touched:\n        return True\n",
        new="",
    ),
    Bug(
        what="a call that was given up no longer binds its guest",
        file="match.py",
        old="{one.guest: one for one in operations if one.condemned}",
        new="{one.guest: one for one in operations if not one.condemned}",
    ),
    Bug(
        what="what is seen on a fenced host is overlooked",
        file="match.py",
        old="    if copies:\n        return _home(guest.name, copies",
        new="    if copies and copies[0].host.name not in index.fenced:\n"
        "        return _home(guest.name, copies",
    ),
    Bug(
        what="a copy on a fenced host is home if its generation is the highest",
        file="match.py",
        old="    within = [copy for copy in copies if copy.host.name not in index.fenced]",
        new="    within = copies",
    ),
    Bug(
        what="a guest that runs on a fenced host is acted on there",
        file="match.py",
        old="        if home.host.name in index.fenced:\n",
        new="        if home.host.name in index.condemned:\n",
    ),
    Bug(
        what="a call on a fenced host binds its guest",
        file="fencing.py",
        old="if one.host not in fenced)",
        new="if one.host or one.host not in fenced)",
    ),
    Bug(
        what="a fenced host that answers is not heard before a guest is made elsewhere",
        file="witnesses.py",
        old="            if host.state is HostState.FENCED or could_have(",
        new="            if could_have(",
    ),
    Bug(
        what="a host that is to be drained counts as fenced",
        file="match.py",
        old="_SAID_TO_BE_EMPTY = (HostState.RETIRED, HostState.FENCED)",
        new="_SAID_TO_BE_EMPTY = (HostState.RETIRED, HostState.FENCED, HostState.DRAINED)",
    ),
    Bug(
        what="an answer from before the pass is enough to start a guest",
        file="witnesses.py",
        old="    if not _runs_there_as_ours(step, observed):",
        new="    if memory.renamed and not _runs_there_as_ours(step, observed):",
    ),
    Bug(
        what="a deletion is counted with answers from before the pass",
        file="witnesses.py",
        old="    if planned.counted:",
        new="    if planned.counted and not planned.disruptive:",
    ),
    Bug(
        what="a copied mark counts",
        file="match.py",
        old="mark.owner == repository and mark.uuid == guest.uuid:",
        new="mark.owner == repository:",
    ),
    Bug(
        what="a domain with the same UUID and no mark is overlooked",
        file="match.py",
        old="    for uuid in sorted(twins):",
        new="    for uuid in sorted(twins)[:0]:",
    ),
    Bug(
        what="a stopped guest is started although it could run elsewhere",
        file="guards.py",
        old="    if not case.elsewhere:",
        new="    if case.elsewhere or not case.elsewhere:",
    ),
    Bug(
        what="a paused guest is acted on",
        file="guards.py",
        old="    if guest.state in (RunState.PAUSED, RunState.SUSPENDED):",
        new="    if guest.state in (RunState.SUSPENDED,):",
    ),
    Bug(
        what="disks that the manifest does not name are dropped from the definition",
        file="disks.py",
        old="        disk for disk in stored if disk.target not in owned.disks and disk.target",
        new="        disk for disk in stored[:0] if disk.target",
    ),
    Bug(
        what="cards that the manifest does not name are dropped from the definition",
        file="cards.py",
        old="    foreign = [nic for nic in there if nic.mac not in owned]",
        new="    foreign: list[Nic] = []",
    ),
    Bug(
        what="a new disk takes over a volume that is there",
        file="obstacles.py",
        old="    if volume in pool.volumes:\n        why = (\n",
        new="    if volume == '' and volume in pool.volumes:\n        why = (\n",
    ),
    Bug(
        what="a guest is ready before its volumes are filled",
        file="wanted.py",
        old="            return Phase.CREATING if unfilled else Phase.READY\n"
        "        case Phase.TRASH:",
        new="            return Phase.READY\n        case Phase.TRASH:",
    ),
    Bug(
        what="a memory of a filled volume is believed though the volume is gone",
        file="disks.py",
        old="    if pool is None or entry.volume not in pool.volumes:\n        return False",
        new="    if pool is None:\n        return False",
    ),
    Bug(
        what="a disk is grown whatever volume is behind it",
        file="telling.py",
        old="                break  # what is there",
        new="                pass  # what is there",
    ),
    Bug(
        what="a disk that shall shrink is not refused",
        file="telling.py",
        old="        if disk.size_bytes < actual:",
        new="        if disk.size_bytes < 0:",
    ),
    Bug(
        what="the commit, not the intent, makes the plan id",
        file="budget.py",
        old="verb=Verb.DELETE, before=mark.intent)",
        new="verb=Verb.DELETE, before=mark.commit)",
    ),
    Bug(
        what="finished acts undo the approval of the rest",
        file="budget.py",
        old="        if plan_id({*asked, *done}) == approval:",
        new="        if plan_id(asked) == approval:",
    ),
    Bug(
        what="any approval lets any deletion through",
        file="budget.py",
        old="        if plan_id({*asked, *done}) == approval:",
        new="        if plan_id({*asked, *done}):",
    ),
    Bug(
        what="deletions of the last day are not counted",
        file="budget.py",
        old="sorted(one.since for one in self.begun if",
        new="sorted(one.since for one in self.begun[:0] if",
    ),
    Bug(
        what="a deletion whose mark is being written is not counted",
        file="budget.py",
        old="    for operation in operations:\n",
        new="    for operation in list(operations)[:0]:\n",
    ),
    Bug(
        what="the budget is one too large",
        file="budget.py",
        old="len(recent) + len(left) <= allowed:",
        new="len(recent) + len(left) <= allowed + 1:",
    ),
    Bug(
        what="an approval lets the same restart through again and again",
        file="budget.py",
        old="for act in asked if act not in done}",
        new="for act in asked}",
    ),
    Bug(
        what="a protection is lifted by the command",
        file="budget.py",
        old="approvals = world.lifted if protected else",
        new="approvals = policy.approvals if protected else",
    ),
    Bug(
        what="what is protected is within the budget",
        file="budget.py",
        old="_protect(account, approvals) if protected else",
        new="_protect(account, approvals) if protected and account.silent else",
    ),
    Bug(
        what="what was begun on a silent host counts as nothing",
        file="budget.py",
        old="    if not account.silent and len(recent)",
        new="    if len(recent)",
    ),
    Bug(
        what="a restart leaves no trace in the mark",
        file="budget.py",
        old="restarts=(*recent, this)",
        new="restarts=recent",
    ),
    Bug(
        what="a restart makes an earlier one of the day forgotten",
        file="budget.py",
        old="for one in case.mark.restarts if",
        new="for one in case.mark.restarts[:0] if",
    ),
    Bug(
        what="a restart asks nobody",
        file="running.py",
        old="    if not needs_ruling(case):",
        new="    if case.guest.active:",
    ),
    Bug(
        what="a restart that waits is not asked for",
        file="classify.py",
        old="    if not needs_ruling(case) or not any(",
        new="    if not needs_ruling(case) or case.guest.active or not any(",
    ),
    Bug(
        what="a disk is unplugged before anybody counted it",
        file="letting_go.py",
        old="not (entry.protected or is_kept(entry)):",
        new="not entry.protected:",
    ),
    Bug(
        what="a protected disk is let go like any other",
        file="letting_go.py",
        old="_PROTECTED.format(name=entry.name) if entry.protected else",
        new="_PROTECTED.format(name=entry.name) if entry.detached else",
    ),
    Bug(
        what="a snapshot is let go before anybody counted it",
        file="letting_go.py",
        old="                entry = self._snapshot(entry)",
        new="                entry = replace(entry, removed=self._now)",
    ),
    Bug(
        what="a new disk takes the place of one that stays",
        file="obstacles.py",
        old="    if entry.target in kept:",
        new="    if entry.target in kept and existing is None:",
    ),
    Bug(
        what="a protected guest is deleted",
        file="trash.py",
        old="_PROTECTED if found.mark.protected else",
        new="_PROTECTED if found.mark.protected and found.guest.stored is None else",
    ),
    Bug(
        what="the trash is emptied by its date alone",
        file="keeping.py",
        old="memory.days.get(kept, 0) >= days_needed(kept.since, until)",
        new="kept.since < until",
    ),
    Bug(
        what="the trash is emptied by the days alone",
        file="keeping.py",
        old="return now >= until and memory",
        new="return now > kept.since and memory",
    ),
    Bug(
        what="the day on which a guest went into the trash counts",
        file="keeping.py",
        old="sum(day > thing.since",
        new="sum(day >= thing.since",
    ),
    Bug(
        what="an adopted volume goes with its guest",
        file="emptying.py",
        old="    return frozenset(place for place in claimed(mark) if place not in adopted)\n",
        new="    return claimed(mark) | {one for one in adopted if one[0] and one[1]}\n",
    ),
    Bug(
        what="a volume goes that another domain has",
        file="emptying.py",
        old="            if there and guest.uuid == found.guest.uuid:\n",
        new="            if there:\n",
    ),
    Bug(
        what="a volume goes that a manifest names",
        file="emptying.py",
        old="        if wish.name != found.mark.guest and any(",
        new="        if wish.name == found.mark.guest and any(",
    ),
    Bug(
        what="a snapshot goes that lacks a disk",
        file="emptying.py",
        old="            if disk is None:\n                return False\n            source",
        new="            if disk is None:\n                continue\n            source",
    ),
    Bug(
        what="somebody's snapshot does not hold the guest in the trash",
        file="emptying.py",
        old="        if not is_ours(snapshot, mark.owner):\n            why = f\"somebody's",
        new="        if snapshot.external:\n            why = f\"somebody's",
    ),
    Bug(
        what="the domain goes before its volumes",
        file="emptying.py",
        old="        if there is not None:\n            size",
        new="        if there is not None and guest.job:\n            size",
    ),
    Bug(
        what="a volume goes before the mark says so",
        file="trash.py",
        old="    if begun:\n        return _verdict(",
        new="    if begun or approved:\n        return _verdict(",
    ),
    Bug(
        what="what is half emptied goes on though its manifest came back",
        file="returning.py",
        old="        if is_half_emptied(found):\n",
        new="        if is_half_emptied(found) and guest.trash:\n",
    ),
    Bug(
        what="a guest that was removed for good is made anew",
        file="returning.py",
        old="        return buried and not adopts and guest.trash is not TrashChoice.DISCARD\n",
        new="        return buried and adopts and guest.trash is not TrashChoice.DISCARD\n",
    ),
    Bug(
        what="another guest of that name takes the disks of the one in the trash",
        file="returning.py",
        old="        if stored is None or guest.intent == mark.intent:\n",
        new="        if stored is None or guest.intent != mark.intent:\n",
    ),
    Bug(
        what="an expired disk goes before the mark says so",
        file="expiring.py",
        old="    elif entry.expired is None:\n",
        new="    elif entry.expired is None and found.guest.job:\n",
    ),
    Bug(
        what="an expired disk goes while its guest has it",
        file="emptying.py",
        old='    return (f"{guest.name} itself",) if used else ()\n',
        new='    return (f"{guest.name} itself",) if wished else ()\n',
    ),
    Bug(
        what="a disk that was removed for good comes back empty",
        file="disks.py",
        old="    if old.expired is None or old.pool is None:\n",
        new="    if old.expired is not None or old.pool is None:\n",
    ),
    Bug(
        what="the trash is emptied without a pace",
        file="budget.py",
        old="        if disk.expired is not None:\n            yield Begun(",
        new="        if disk.expired is None:\n            yield Begun(",
    ),
    Bug(
        what="a guest in the trash starts with its host",
        file="trash.py",
        old="    if guest.autostart:\n",
        new="    if guest.autostart and guest.job:\n",
    ),
    Bug(
        what="a guest is shut down before its mark says so",
        file="stopping.py",
        old="    if mark.operation is None or mark.operation.kind is not kind:",
        new="    if mark.operation is None and guest.job:",
    ),
    Bug(
        what="a guest that may only be waited for is destroyed",
        file="stopping.py",
        old="now >= deadline and mark.shutdown.then is ThenWhat.DESTROY",
        new="now >= deadline",
    ),
    Bug(
        what="a guest that was shut down from inside is started at once",
        file="running.py",
        old="    if case.now < at:",
        new="    if case.now < since:",
    ),
    Bug(
        what="a guest that crashes while it is being started is started without pause",
        file="running.py",
        old="    if case.operation is not None and not crashed:",
        new="    if case.operation is not None:",
    ),
    Bug(
        what="the operation stays in the mark after the start",
        file="running.py",
        old="    if case.mark.operation is not None:\n        return Move(",
        new="    if case.mark.operation is None and case.guest.job:\n        return Move(",
    ),
    Bug(
        what="vCPUs are taken from a running guest that cannot give them",
        file="differences.py",
        old="                return _live_if(capabilities.vcpu_unplug)",
        new="                return _live_if(capabilities.vcpu_hotplug)",
    ),
    Bug(
        what="memory is asked for beyond what the guest was started with",
        file="differences.py",
        old="            return _live_if(capabilities.memory_balloon and fits)",
        new="            return _live_if(capabilities.memory_balloon)",
    ),
    Bug(
        what="a volume that is there may be placed over",
        file="placement.py",
        old="                    elif disk.volume in found.volumes:",
        new="                    elif disk.volume == '' and disk.volume in found.volumes:",
    ),
    Bug(
        what="mode warn acts",
        file="planning.py",
        old="    return manifest is not None and manifest.mode is PoolMode.ENFORCE",
        new="    return manifest is not None",
    ),
    Bug(
        what="a running disk grows and its volume does not",
        file="effects.py",
        old="    if volume is None or volume.capacity_bytes >= step.capacity_bytes:\n"
        "        return host\n    grown = replace(volume, capacity_bytes=step.capacity_bytes)\n"
        "    return _with_volumes(host, pool, {**pool.volumes, volume.name: grown})",
        new="    return host if volume is not None else host",
    ),
    Bug(
        what="a step is reached where its guest is not there",
        file="effects.py",
        old="not isinstance(host, ObservedHost) or not possible(step, host)",
        new="not isinstance(host, ObservedHost)",
    ),
    Bug(
        what="a started guest keeps the live definition it had",
        file="effects.py",
        old="        live=guest.stored,\n",
        new="        live=guest.live,\n",
    ),
    Bug(
        what="a mark is written to the stored definition and not told",
        file="effects.py",
        old="replace(guest, mark=mark, stored=stored, live=live, stored_digest=digest)",
        new="replace(guest, stored=stored, live=live, stored_digest=digest)",
    ),
    Bug(
        what="a snapshot of somebody else counts as ours",
        file="letting_go.py",
        old="            if snapshot.signature is None or snapshot.signature.owner != self._owner:",
        new="            if snapshot.signature is None:",
    ),
    Bug(
        what="a snapshot is taken where somebody has one of that name",
        file="snapshotting.py",
        old="        elif not is_ours(found, case.world.repository):\n",
        new="        elif not is_ours(found, case.mark.uuid):\n",
    ),
    Bug(
        what="a guest that a kill left frozen waits for a pool that only warns",
        file="planning.py",
        old="    return isinstance(step, ResumeGuest)\n",
        new="    return isinstance(step, ResumeGuest) and step is None\n",
    ),
    Bug(
        what="a disk is let go although a snapshot is inside it",
        file="letting_go.py",
        old="        if pins and stored.disk(",
        new="        if not pins and stored.disk(",
    ),
    Bug(
        what="a token that was used tells its guest once more",
        file="seeds.py",
        old="token_of(wish.rerun) not in tokens\n",
        new="bool(token_of(wish.rerun))\n",
    ),
    Bug(
        what="a seed goes although its guest was not started with it",
        file="seeds.py",
        old="    if not _has(guest.live, seed):",
        new="    if seed.done:",
    ),
    Bug(
        what="a seed goes while its guest still has it",
        file="seeds.py",
        old="_has(existing.stored, old) or _has(existing.guest.live, old)\n",
        new="_has(existing.stored, old)\n",
    ),
    Bug(
        what="a half-made seed is taken for a whole one",
        file="seeds.py",
        old="listed and (host.name, old.pool, old.volume) in memory.filled",
        new="listed",
    ),
    Bug(
        what="a guest that somebody suspended is healed",
        file="suspending.py",
        old="(restarting and isinstance(step, StartGuest))",
        new="isinstance(step, StartGuest)",
    ),
    Bug(
        what="a suspension is lost with the local state",
        file="suspending.py",
        old="    marked = found.mark.suspended if found is not None else ()\n",
        new="    marked = found.mark.suspended if found is not None and known else ()\n",
    ),
    Bug(
        what="a window is open a moment longer than it says",
        file="windows.py",
        old="now < instant + length",
        new="now <= instant + length",
    ),
    Bug(
        what="a freeze is no stronger than a window",
        file="windows.py",
        old="    freezes = [one for one in about if not one.allows]\n",
        new="    freezes = [one for one in about if not one.allows and not allowing]\n",
    ),
    Bug(
        what="a renamed card gets another address",
        file="renaming.py",
        old="    return nic if known is None else replace(nic, mac=known.mac)\n",
        new="    return replace(nic, mac=known.mac) if known and nic.former else nic\n",
    ),
    Bug(
        what="what a renamed guest has goes to the trash",
        file="match.py",
        old="index.owned.keys() - desired.guests.keys() - renamed):",
        new="index.owned.keys() - desired.guests.keys()):",
    ),
    Bug(
        what="a step under the former name of a guest does not count",
        file="planning.py",
        old="guest.former is not None and guest.former in under_way:",
        new="guest.former is not None and guest.name in under_way:",
    ),
)
