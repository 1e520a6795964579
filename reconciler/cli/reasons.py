"""What each reason of a plan means and what to do about it: the text of the reference."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.plan import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """For a person who meets the reason: what it says, and what to do."""

    means: str
    to_do: str


MEANINGS: dict[Reason, Meaning] = {
    Reason.HOST_UNKNOWN: Meaning(
        means="A host on which the guest could be did not answer in full, so the guest might run "
        "there. It is neither made, nor started, nor deleted: one guest never runs twice.",
        to_do="Bring the host back. If it will not be back soon, cut it off for certain (power, or "
        "storage and network) and set `state: fenced` in its manifest; `state: retired` if it is "
        "gone for good.",
    ),
    Reason.HOST_FENCED: Meaning(
        means="The guest is on a host that is declared `state: fenced` and answers all the same. "
        "Nothing is done to it there, and no other one is made or started: its disks are there, "
        "and if it runs, a second one would run beside it.",
        to_do="Write `state: active` to have the host and its guests back. Or, if the guest shall "
        "live elsewhere, stop it and undefine it on that host by hand.",
    ),
    Reason.GUEST_UNKNOWN: Meaning(
        means="A writing call for the guest was given up without an answer and may still take "
        "effect. The guest is bound to that host until the call has returned.",
        to_do="Wait; if it lasts, look at libvirtd on that host, and restart it if it hangs.",
    ),
    Reason.OPERATION_RUNNING: Meaning(
        means="A step for the guest has begun and is not known to have ended.",
        to_do="Nothing; it ends, or its deadline comes.",
    ),
    Reason.SETTLING: Meaning(
        means="The guest was seen stopped only just now. States and events come out of order, and "
        "a reboot looks like a stop, so a stop is believed when it was seen for a while.",
        to_do="Nothing; it takes seconds.",
    ),
    Reason.HEAL_DELAY: Meaning(
        means="The guest was shut down from inside or destroyed by hand. It is started again "
        "after `heal.after`.",
        to_do="Nothing; or write `state: stopped` if it is to stay down.",
    ),
    Reason.BACKOFF: Meaning(
        means="The last attempt failed in a way that another one may mend; the next comes later, "
        "each time after a longer pause.",
        to_do="Nothing yet; `domops events GUEST` shows what failed.",
    ),
    Reason.STALLED: Meaning(
        means="A step failed in a way that trying again does not mend. It is tried again when the "
        "guest's manifest changes.",
        to_do="Read the message, put its cause right, and commit a change of the guest; or restart "
        "domops, which forgets the failure.",
    ),
    Reason.CRASH_LOOP: Meaning(
        means="The guest crashed several times within minutes and is not started again.",
        to_do="Look at its console. A commit that changes the guest lets it be tried again.",
    ),
    Reason.NEEDS_RESTART: Meaning(
        means="The change is stored, and takes effect at the guest's next start: this field "
        "cannot be changed while it runs, and `update.restart` does not allow a restart.",
        to_do="Restart the guest when it suits, or write `update.restart: now`, or `window` where "
        "the pool has a window. All causes are "
        "listed, and go away when they are reverted.",
    ),
    Reason.SHUTTING_DOWN: Meaning(
        means="The guest was asked to shut down and has not yet done so.",
        to_do="Nothing; `shutdown.timeout` says how long it is given.",
    ),
    Reason.IGNORES_SHUTDOWN: Meaning(
        means="The guest was asked to shut down and still runs after `shutdown.timeout`. With "
        "`shutdown.then: wait`, the default, it is never destroyed; it is asked again.",
        to_do="Shut it down from inside, or write `shutdown: {then: destroy}`.",
    ),
    Reason.BALLOON_NOT_FOLLOWED: Meaning(
        means="The guest was told its new memory size and did not follow: it has no balloon "
        "driver, or too little free memory to give back.",
        to_do="Look inside the guest; a restart brings the size in any case.",
    ),
    Reason.BUDGET: Meaning(
        means="More is to be deleted, unplugged, let go or restarted than the pool's budget allows "
        "in 24 hours, or a silent host keeps domops from counting. All of one class are held "
        "together.",
        to_do="If it is meant: `domops approve PLAN-ID`, or a commit with the trailer "
        "`Domops-Approve: PLAN-ID`. If it is not: `git revert`.",
    ),
    Reason.WARN_MODE: Meaning(
        means="The pool is in mode warn: `domops run` shows what it would do and does nothing.",
        to_do="`domops apply`, which asks; or `mode: enforce` in the pool's manifest.",
    ),
    Reason.PROTECTED: Meaning(
        means="The guest or disk is protected, so that it does not go with its place in the "
        "manifests, also if the same commit lifted the protection.",
        to_do="Bring it back with `protect: false`, let that be applied, then take it out. "
        "Or let it through by an empty commit with the trailer `Domops-Approve: PLAN-ID`.",
    ),
    Reason.NEVER_SHRINKS: Meaning(
        means="The manifest asks for a smaller disk than there is. Disks never shrink; this one "
        "stays as it is, and everything else about the guest goes on.",
        to_do="Write the size that it has. For a smaller disk, add a new one and move the data.",
    ),
    Reason.CREATE_ONLY: Meaning(
        means="The field acts only when a guest or disk is made: type, arch, image, storage, "
        "format, target.",
        to_do="Put the old value back; or make a new guest or disk, and move the data.",
    ),
    Reason.NOT_SUPPORTED: Meaning(
        means="The host's hypervisor or its driver cannot do this.",
        to_do="Change the manifest, or move to a host that can.",
    ),
    Reason.NO_PLACE: Meaning(
        means="No host that may have the guest has the memory, CPUs, storage or network for it.",
        to_do="The message names what is missing where: free it, or add a host.",
    ),
    Reason.FOREIGN: Meaning(
        means="A domain of the guest's name is on a host of its pool, and is not marked as ours. "
        "It is left alone, and no second one is made.",
        to_do="Rename one of the two, or take the domain over with `adopt: true`.",
    ),
    Reason.NOTHING_TO_ADOPT: Meaning(
        means="The manifest says `adopt: true`, and no host that could have it has a domain with "
        "its UUID or name. It is not made in its place: it would be new and empty.",
        to_do="Define the domain again, correct `metadata.uuid`, `metadata.name` or `spec.host`; "
        "or take `adopt: true` out, if a new guest is what is wanted.",
    ),
    Reason.CONFLICT: Meaning(
        means="What is seen contradicts itself: two copies of one guest, a UUID or disk target "
        "that somebody else has. Nothing is done to the guest.",
        to_do="The message names the two; put one right by hand.",
    ),
    Reason.PAUSED: Meaning(
        means="The guest is paused, by a person or by an I/O error. domops does not resume what "
        "it did not pause.",
        to_do="After an I/O error, look at its storage; then `virsh resume`.",
    ),
    Reason.SAVED: Meaning(
        means="The guest's memory is saved on disk (managed save). Starting it would resume an old "
        "state, so it is left to a person.",
        to_do="`virsh start` resumes it; `virsh managedsave-remove` throws the saved state away.",
    ),
    Reason.BUSY: Meaning(
        means="Somebody's job (a backup, a migration) runs on the guest.",
        to_do="Nothing; it goes on when the job has ended.",
    ),
    Reason.TRANSIENT: Meaning(
        means="The guest runs without a stored definition and would be gone at power-off, so "
        "nothing can be written to it.",
        to_do="Define it again by hand from `virsh dumpxml`, or let it stop.",
    ),
    Reason.LOCKING: Meaning(
        means="The guest's storage is shared and no lock manager works. Shared storage is not "
        "built yet, so no plan has this reason yet.",
        to_do="Nothing.",
    ),
    Reason.PINNED_ELSEWHERE: Meaning(
        means="The guest is on another host or in another pool than its manifest wants. Moving "
        "guests is not built yet.",
        to_do="Write the host or pool that it is on, or move it by hand while it is off.",
    ),
    Reason.START_AFTER: Meaning(
        means="The guest is to be started after others (`startAfter`), and not all of them are "
        "ready. It is defined and has its volumes; only its start waits, at most for the timeout "
        "of each. A guest on a silent host counts as not ready.",
        to_do="Nothing: it starts when they are ready, or without them when the time is up. The "
        "message says what each of them lacks.",
    ),
    Reason.IGNORED: Meaning(
        means="The field is not as the manifest says, and the manifest says to ignore that "
        "(`ignoreDrift`). It is neither put right nor counted as drift.",
        to_do="Nothing; or take the field out of `ignoreDrift` to have it put right.",
    ),
    Reason.ORDER: Meaning(
        means="The host is given only so many steps at a time, and others come first.",
        to_do="Nothing; its turn comes when one of them has ended.",
    ),
    Reason.FROZEN: Meaning(
        means="A snapshot of the guest was interrupted, so its file systems may be frozen, and it "
        "could not be let go on yet: most often its agent does not answer. Nothing else is done to "
        "it meanwhile, for ten minutes at most.",
        to_do="Nothing at first. A guest that stays frozen goes on after `virsh domfsthaw`, or a "
        "reset.",
    ),
    Reason.PINNED_BY_SNAPSHOTS: Meaning(
        means="The guest is pinned by its snapshots, whoever made them: a disk with snapshots "
        "inside can neither grow nor be taken out.",
        to_do="Put the field back; or delete the snapshots that the message names, with "
        "`virsh snapshot-delete`, after their names are out of the manifest.",
    ),
    Reason.SUSPENDED: Meaning(
        means="Somebody has suspended the guest, its pool, or all guests, in a manifest or by "
        "`domops suspend`: no step begins for it, not even one that heals. What was under way goes "
        "on to its end.",
        to_do="The message says who, why and what lifts it: `domops resume`, or a commit that "
        "takes `suspend` out. With an `until` it ends by itself.",
    ),
    Reason.WINDOW: Meaning(
        means="The pool's `windows` say when acts of this class may begin, and now is not such a "
        "time.",
        to_do="Nothing: it begins when the window opens. Who cannot wait changes the pool's "
        "`windows`, or restarts the guest by hand.",
    ),
    Reason.NOT_QUIESCED: Meaning(
        means="A better snapshot can be had by waiting. An agent gets two minutes after the "
        "guest's start. With `quiesced: true` a snapshot waits until the agent is there, or the "
        "guest was shut down in good order. And none is taken while cloud-init's seed is there, "
        "which goes some minutes after the guest's first start.",
        to_do="Look whether the agent runs inside the guest, or take `quiesced: true` out.",
    ),
    Reason.EMPTIED: Meaning(
        means="The guest was deleted, and its time in the trash was over before its manifest came "
        "back: the message says what was removed, and when. It is not made anew, because its disks "
        "would be empty where somebody expects data.",
        to_do="Restore its disks from a backup as volumes and name them with `adopt: true`; or "
        "write `trash: discard` in its manifest, and a new guest with empty disks is made. Take "
        "the word out again when that is done.",
    ),
    Reason.NAME_TAKEN: Meaning(
        means="A deleted guest of that name is still in the trash, and the manifest evidently "
        "means another one: a field that is fixed when a guest is made differs from what it has.",
        to_do="Give the new guest another name; or write `trash: restore` to have the old one "
        "back, with its disks as they are; or write `trash: discard`: the new one is made when the "
        "old one has been removed, at its time or because somebody approved the plan id.",
    ),
}
"""A test fails if a reason has no meaning here."""
