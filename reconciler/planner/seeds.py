"""The seed of cloud-init on one host: what becomes of it, what is made or removed, what is refused.

# Note [The life of a seed]
The mark names the volume before it is made, and says ``filled`` in the define that gives the guest
the disk: so a seed that was half written is in no definition, and is removed and made again. Only
the stored definition is given the disk. A running guest that has it was therefore *started* with
it, which is all that has to be known of its first boot, and is known from the host alone. When such
a guest has run for a while, the seed is ``done``: it leaves the stored definition, then the running
one where that can be done live, then its volume goes, and last its name in the mark. What stays is
``cloud_init``, the digest of what the guest was told.

Data are told once. Others are refused, unless ``rerun`` names a token that is new to the mark; it
is written there together with the claim on the new seed's volume, before the first byte of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model.definition import Bus, Disk, DiskDevice, DomainType, VolumeSource
from reconciler.model.mark import MarkedSeed
from reconciler.model.observed import RunState
from reconciler.model.plan import Reason
from reconciler.planner.disks import refusal_of
from reconciler.planner.effects import with_disk
from reconciler.planner.targets import bus_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from uuid import UUID

    from reconciler.model.definition import GuestDefinition
    from reconciler.model.desired import DesiredGuest, DesiredWorld
    from reconciler.model.mark import Mark
    from reconciler.model.memory import Memory
    from reconciler.model.names import Digest, LibvirtPool, Target, VolumeName
    from reconciler.model.observed import ObservedGuest, ObservedHost
    from reconciler.model.plan import Change
    from reconciler.model.policy import Policy
    from reconciler.model.seed import DesiredCloudInit
    from reconciler.planner.disks import Existing


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeding:
    """What the mark shall say of the seed, and what is still to be done about its volume.

    ``make`` and ``remove`` are never both true. ``refused`` says what of the wish cannot be had.
    ``shared`` is another guest that has the seed, as one does whose definition was copied.
    """

    seed: MarkedSeed | None
    cloud_init: Digest | None
    tokens: tuple[str, ...]
    make: bool = False
    remove: bool = False
    refused: tuple[Change, ...] = ()
    shared: str | None = None

    @property
    def pending(self) -> bool:
        """Whether a seed is on its way that is not complete yet."""
        return self.seed is not None and not self.seed.filled and (self.make or self.remove)

    def filled(self) -> Seeding:
        """The same, with a seed that is complete said to be so."""
        if self.seed is None or self.pending or self.seed.filled:
            return self
        seed = replace(self.seed, filled=True)
        return replace(self, seed=seed, cloud_init=seed.digest)


def token_of(rerun: str) -> str:
    """How a token of ``cloudInit.rerun`` stands in the mark, apart from those of other acts."""
    return f"cloudInit:{rerun}"


def instance_of(uuid: UUID, wish: DesiredCloudInit) -> str:
    """Who cloud-init takes the guest for: the same at every boot, another one for each token."""
    return str(uuid) if wish.rerun is None else f"{uuid}-{wish.rerun}"


def work_is_done(guest: ObservedGuest, mark: Mark, policy: Policy, now: datetime) -> bool:
    """Whether the guest was started with its seed, and has been running for long enough."""
    until = done_at(guest, mark, policy, now)
    return until is not None and now >= until


def done_at(guest: ObservedGuest, mark: Mark, policy: Policy, now: datetime) -> datetime | None:
    """When the seed's work will be done, if the guest goes on running as it does now."""
    seed = mark.seed
    if seed is None or not seed.filled or seed.done or guest.state is not RunState.RUNNING:
        return None
    if not _has(guest.live, seed):
        return None
    return (guest.state_since or now) + timedelta(seconds=policy.seed_after_s)


def resolve_seed(
    guest: DesiredGuest,
    host: ObservedHost,
    desired: DesiredWorld,
    memory: Memory,
    existing: Existing | None,
    *,
    creating: bool,
    target: Callable[[], Target],
) -> Seeding:
    """Say what becomes of the guest's seed; ``target`` finds a place for a new one."""
    mark = existing.mark if existing is not None else None
    tokens = mark.tokens if mark is not None else ()
    told = mark.cloud_init if mark is not None else None
    old = mark.seed if mark is not None else None
    wish = guest.cloud_init
    uuid = existing.stored.uuid if existing is not None else guest.uuid
    again = wish is not None and wish.rerun is not None and token_of(wish.rerun) not in tokens
    if old is not None and existing is not None:
        kept = Seeding(seed=old, cloud_init=told, tokens=tokens)
        if old.filled:
            retracted = wish is None and not _has(existing.guest.live, old)
            leaves = existing.seed_done and (wish is None or not wish.keep)
            if not (old.done or leaves or retracted or again):
                return replace(kept, refused=_refusal(guest, told))
            old = replace(old, done=True)
            used = _has(existing.stored, old) or _has(existing.guest.live, old)
            if used or is_listed(old.pool, old.volume, host):
                refused = () if again else _refusal(guest, told)
                shared = _sharer(old, existing, host)
                return replace(
                    kept,
                    seed=old,
                    remove=not used and shared is None,
                    refused=refused,
                    shared=shared,
                )
        elif wish is not None and _fits(old, wish, uuid):
            listed = is_listed(old.pool, old.volume, host)
            made = listed and (host.name, old.pool, old.volume) in memory.filled
            return replace(kept, make=not listed, remove=listed and not made)
        elif is_listed(old.pool, old.volume, host):
            return replace(kept, remove=True)  # half made, and not wished for any more
        else:
            again = again or (wish is not None and wish.rerun is not None)
    nothing = Seeding(seed=None, cloud_init=told, tokens=tokens)
    if wish is None or not (creating or again):
        return replace(nothing, refused=_refusal(guest, told))
    seed = MarkedSeed(
        target=target(),
        pool=desired.storages[wish.storage].on(host.name),
        volume=wish.volume,
        digest=wish.data.digest,
        instance=instance_of(uuid, wish),
        filled=False,
    )
    refused = tuple(_obstacle(guest, seed, host))
    if refused:
        return replace(nothing, refused=refused)
    token = () if wish.rerun is None else (token_of(wish.rerun),)
    return Seeding(
        seed=seed,
        cloud_init=told,
        tokens=(*tokens, *(one for one in token if one not in tokens)),
        make=True,
    )


def with_seed(
    disks: tuple[Disk, ...], seed: MarkedSeed | None, host: ObservedHost
) -> tuple[Disk, ...]:
    """``disks`` with the one by which a guest sees its seed, as long as it shall have one.

    It is of the kind that its other disks are. A drive would be what a person expects, and is what
    a cloud kernel has no driver for. On Xen the guest may write to it: QEMU, which serves files to
    paravirtual guests there, knows no read-only disks.
    """
    if seed is None or not seed.filled or seed.done:
        return disks
    disk = Disk(
        target=seed.target,
        bus=bus_of(seed.target, host.domain_type, DiskDevice.DISK) or Bus.VIRTIO,
        source=VolumeSource(pool=seed.pool, volume=seed.volume),
        read_only=host.domain_type is not DomainType.XEN,
    )
    return with_disk(disks, disk)


def seed_target(seed: MarkedSeed | None, existing: Existing | None) -> Target | None:
    """Where the seed is or shall be; None once nothing of it is in the guest's definitions."""
    if seed is None:
        return None
    there = existing is not None and (
        _has(existing.stored, seed) or _has(existing.guest.live, seed)
    )
    return seed.target if there or (seed.filled and not seed.done) else None


def is_listed(pool: LibvirtPool, volume: VolumeName, host: ObservedHost) -> bool:
    """Whether the volume is there, or cannot be seen not to be."""
    found = host.pools.get(pool)
    return found is None or not found.active or volume in found.volumes


def _has(definition: GuestDefinition | None, seed: MarkedSeed) -> bool:
    disks = definition.disks if definition is not None else ()
    return any(
        isinstance(disk.source, VolumeSource)
        and (disk.source.pool, disk.source.volume) == (seed.pool, seed.volume)
        for disk in disks
    )


def _sharer(seed: MarkedSeed, existing: Existing, host: ObservedHost) -> str | None:
    """Another guest of the host that has the seed, if there is one."""
    others = (one for uuid, one in host.guests.items() if uuid != existing.guest.uuid)
    return next(
        (one.name for one in others if _has(one.stored, seed) or _has(one.live, seed)), None
    )


def _fits(seed: MarkedSeed, wish: DesiredCloudInit, uuid: UUID) -> bool:
    """Whether the seed that is being made is the one that is wished for now."""
    return seed.digest == wish.data.digest and seed.instance == instance_of(uuid, wish)


def _refusal(guest: DesiredGuest, told: Digest | None) -> tuple[Change, ...]:
    """Refuse to tell a guest something else than it was told at its first start."""
    wish = guest.cloud_init
    if wish is None or wish.data.digest == told:
        return ()
    refusal = refusal_of(
        guest,
        "cloudInit",
        "nothing" if told is None else told[:8],
        str(wish.data),
        Reason.CREATE_ONLY,
        "cloud-init acts at the first start only; to have it act once more, write a new token"
        " as cloudInit.rerun",
    )
    return (refusal,)


def _obstacle(guest: DesiredGuest, seed: MarkedSeed, host: ObservedHost) -> Iterator[Change]:
    """Why the seed cannot be made here; never is a volume that is there taken over."""
    pool = host.pools.get(seed.pool)
    place = f"{seed.pool}/{seed.volume}"
    if not host.capabilities.volume_upload:
        reason, why = Reason.NOT_SUPPORTED, f"{host.name} lets no volume be written"
    elif pool is None or not pool.active:
        reason, why = Reason.NO_PLACE, f"{host.name} has no active storage pool {seed.pool}"
    elif seed.volume in pool.volumes:
        reason = Reason.CONFLICT
        why = f"{host.name} has a volume {place} already; domops never takes or overwrites one"
    else:
        return
    yield refusal_of(guest, "cloudInit", "none", place, reason, why)
