"""Build one guest of the desired world out of its manifest, its class and its surroundings.

A function of its arguments: what a guest wants does not depend on any other guest. What two guests
may not both want (a UUID, an address, a volume) is compared afterwards, in `resolve`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from reconciler.manifests import emulated, machine, peripherals, renaming, starting
from reconciler.manifests.cloudinit import cloud_init
from reconciler.manifests.derive import derive_uuid
from reconciler.manifests.drafts import Draft, Flawed
from reconciler.manifests.ignoring import ignore_drift
from reconciler.manifests.intent import intent_of
from reconciler.manifests.kinds import Guest
from reconciler.manifests.merge import merge
from reconciler.manifests.options import mentioned, options
from reconciler.manifests.overlay import overlay
from reconciler.manifests.parse import Lines
from reconciler.manifests.snapshots import snapshots as build_snapshots
from reconciler.manifests.suspending import suspension
from reconciler.model.definition import Arch, GuestType
from reconciler.model.desired import (
    Autostart,
    DesiredGuest,
    GuestState,
    RestartWhen,
    TrashChoice,
)
from reconciler.model.mark import ShutdownPolicy, ThenWhat
from reconciler.model.names import Digest, GuestName
from reconciler.model.suspension import Covered, Scope

if TYPE_CHECKING:
    from reconciler.manifests.entries import Complaint, Entry
    from reconciler.manifests.included import Included
    from reconciler.manifests.parse import Document
    from reconciler.manifests.surroundings import Surroundings

_shutdown_policy = lru_cache(maxsize=256)(ShutdownPolicy)


def build_guest(
    entry: Entry, guest_class: Document | None, around: Surroundings, included: Included
) -> tuple[DesiredGuest | Flawed, tuple[Complaint, ...]]:
    """Build the guest of ``entry``, and tell what of it is worth a warning.

    ``guest_class`` is the class that it names, if it is there; ``included`` are the files that
    either of them takes in.
    """
    own = written = entry.document.spec
    value = entry.document.value
    if guest_class is not None:
        written = merge(own, guest_class.spec)
        value = {**value, "spec": written}
    manifest = Guest.model_validate(value)
    spec = manifest.spec
    draft = Draft(
        name=manifest.metadata.name,
        first_name=manifest.metadata.former_name or manifest.metadata.name,
        spec=spec,
        own=own,
        around=around,
        whole=spec.class_ is None or guest_class is not None,
        included=included,
    )
    place = machine.place(draft)
    cpus, memory, boot = machine.cpus(draft), machine.memory(draft), machine.boot(draft, place)
    disks, nics = peripherals.disks(draft), peripherals.nics(draft)
    start_after = starting.start_after(draft)
    snapshots = build_snapshots(draft, disks, place)
    chosen = options(draft, cpus, memory)
    told = cloud_init(draft, disks)
    elements = overlay(draft)
    ignored = ignore_drift(draft)
    emulated.warn(draft, place)
    former = renaming.former(draft, manifest.metadata)
    uuid = manifest.metadata.uuid or derive_uuid(around.repository, draft.first_name)
    if draft.complaints or place is None or cpus is None or memory is None:
        flawed = Flawed(
            uuid=uuid,
            disks=disks,
            nics=nics,
            start_after=start_after,
            complaints=tuple(draft.complaints),
        )
        return flawed, tuple(draft.cautions)
    pool, host = place
    guest = DesiredGuest(
        name=GuestName(draft.name),
        uuid=uuid,
        pool=pool,
        host=host,
        type=None if spec.type == "auto" else GuestType(spec.type),
        arch=Arch(spec.arch),
        state=GuestState(spec.state),
        cpus=cpus,
        memory=memory,
        boot=boot,
        disks=disks,
        nics=nics,
        snapshots=snapshots,
        console=spec.console,
        agent=spec.agent,
        shutdown=_shutdown_policy(
            timeout_s=spec.shutdown.timeout, then=ThenWhat(spec.shutdown.then)
        ),
        heal_after_s=spec.heal.after,
        restart=RestartWhen(spec.update.restart),
        autostart=Autostart(spec.autostart),
        protect=spec.protect,
        labels=manifest.metadata.labels,
        intent=Digest(""),
        origin=entry.origin,
        adopt=spec.adopt,
        warnings=tuple(sorted(draft.warnings, key=lambda one: (one.field, one.message))),
        options=chosen,
        mentioned=mentioned(written, chosen),
        cloud_init=told,
        uuid_said=manifest.metadata.uuid is not None,
        former=former,
        start_after=start_after,
        overlay=elements,
        ignore_drift=ignored,
        suspend=suspension(spec.suspend, entry, Covered(scope=Scope.GUEST, name=draft.name)),
        trash=None if spec.trash is None else TrashChoice(spec.trash),
        lines=Lines(entry.file.content, entry.document.index, guest_class),
    )
    return replace(guest, intent=intent_of(guest)), tuple(draft.cautions)
