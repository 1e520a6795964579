"""Carry out the steps that write a stored definition: define, mark, autostart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from reconciler.domxml import (
    NAMESPACE,
    PREFIX,
    canonical,
    digest,
    merge,
    read,
    read_mark,
    render,
    render_mark,
    without_overlay,
)
from reconciler.errors import RefusedError, StalledError, TransientError
from reconciler.hypervisor.capabilities import TABLE
from reconciler.hypervisor.door import volume_in
from reconciler.hypervisor.port import Draft
from reconciler.planner.ability import impossible_in
from reconciler.planner.rules import claimed

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.mark import Mark
    from reconciler.model.steps import DefineGuest, SetAutostart, SetMark

_CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG
_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE


def define(door: Door, step: DefineGuest) -> None:
    """Write the stored definition in one call, if the text is still the one the plan saw.

    libvirt offers no way to define only over a certain text. Reading it last of all, on the
    connection that writes, leaves the smallest gap that can be had.
    """
    if step.definition.uuid != step.uuid:
        raise RefusedError(f"{door.doing}: the definition is of another UUID")
    planned = canonical(step.definition)
    domain = door.find_domain(step.uuid)
    if domain is None:
        if step.replaces is not None:
            raise TransientError(f"{door.doing}: the domain is gone since it was looked at")
        _require_able(door, step.definition, None)
        _require_free_name(door, step.definition)
        _claim(door, step.definition, had=None)
        paths = door.paths_for(step.definition.disks)
        text = render(step.definition, paths=paths)
        plain = render(without_overlay(step.definition), paths=paths)
    else:
        _, stored = door.stored(domain)
        if stored == planned and domain.isPersistent():
            return
        _require_able(door, step.definition, stored)
        _claim(door, step.definition, had=stored.mark)
        paths = door.paths_for(step.definition.disks)
        old, _ = door.stored(domain)
        if digest(old) != step.replaces:
            raise TransientError(f"{door.doing}: the definition changed since it was looked at")
        text = merge(old, step.definition, paths=paths)
        plain = old
    told = read(text, volumes=door.volume_at).definition
    if told != planned:
        fields = _differing(told, planned)
        raise RefusedError(f"{door.doing}: libvirt would not be told what was planned of {fields}")
    door.write(door.connection.defineXMLFlags, text, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    _require_overlay(door, step.definition, otherwise=plain)
    _require_kept(door, planned)


def draft(door: Door, step: DefineGuest) -> Draft:
    """The stored text without its secrets, and what a define would make of it."""
    paths = door.paths_for(step.definition.disks)
    domain = door.find_domain(step.uuid)
    if domain is None:
        return Draft(stored="", defined=render(step.definition, paths=paths))
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return Draft(stored=text, defined=merge(text, step.definition, paths=paths))


def _require_overlay(door: Door, definition: GuestDefinition, *, otherwise: str) -> None:
    """Stall if libvirt has kept an element of the overlay in other words than it was given.

    Such an element would be missed for ever, and put there again and again. ``otherwise`` is the
    text without it, which is put back, so that nothing of ours is left that no mark knows.
    """
    if not definition.overlay:
        return
    domain = door.find_domain(definition.uuid)
    kept = door.stored(domain)[1].overlay if domain is not None else ()
    lost = [one for one in definition.overlay if one not in kept]
    if lost:
        door.write(door.connection.defineXMLFlags, otherwise, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        shown = ", ".join(str(one.element) for one in lost)
        raise StalledError(
            f"{door.doing}: libvirt does not keep {shown} of the overlay as it is written; "
            "write it as virsh dumpxml shows it, or leave it out"
        )


def _require_kept(door: Door, planned: GuestDefinition) -> None:
    """Stall if libvirt has made something else of a definition than was planned.

    Such a field would be missed for ever, and written again in every pass: the memory of a guest
    with NUMA cells, for instance, is the sum of its cells whatever else is said of it.
    """
    domain = door.find_domain(planned.uuid)
    if domain is None:
        raise TransientError(f"{door.doing}: the domain is gone since it was defined")
    _, kept = door.stored(domain)
    if kept != planned:
        raise StalledError(
            f"{door.doing}: libvirt keeps {_differing(kept, planned)} otherwise than it was told; "
            "the rest is stored. Put the old value back, or change by hand what stands against it"
        )


def _differing(told: GuestDefinition, planned: GuestDefinition) -> str:
    return ", ".join(
        field
        for field in type(planned).__dataclass_fields__
        if getattr(told, field) != getattr(planned, field)
    )


def set_mark(door: Door, step: SetMark) -> None:
    """Write the mark into the stored definition, and into the running one if there is one."""
    if step.mark.uuid != step.uuid:
        raise RefusedError(f"{door.doing}: the mark is of another UUID")
    domain = door.domain(step.uuid, step.guest)
    if not domain.isPersistent():
        raise StalledError(f"{door.doing}: {step.guest} has no stored definition")
    scopes = [_CONFIG, _LIVE] if domain.isActive() else [_CONFIG]
    flags = 0
    for scope in scopes:
        there = _mark_of(domain, scope)
        if there is not None and (there.owner, there.uuid) != (step.mark.owner, step.uuid):
            raise RefusedError(f"{door.doing}: it carries a mark that is not its own, or not ours")
        if there != step.mark:
            flags |= scope
    if flags:
        door.write(
            domain.setMetadata,
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            render_mark(step.mark),
            PREFIX,
            NAMESPACE,
            flags,
        )


def set_autostart(door: Door, step: SetAutostart) -> None:
    """Have libvirt start the guest with the host, or not."""
    domain = door.domain(step.uuid, step.guest)
    if bool(domain.autostart()) != step.on:
        door.write(domain.setAutostart, int(step.on))


def _mark_of(domain: libvirt.virDomain, scope: int) -> Mark | None:
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, scope)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
    try:
        return read_mark(text)
    except StalledError as error:
        # Half understood and written over, the other half would be lost.
        raise RefusedError(f"{domain.name()} has a mark that cannot be read: {error}") from error


def _require_able(door: Door, wanted: GuestDefinition, stored: GuestDefinition | None) -> None:
    """Refuse what the driver's row denies: libvirt may take it and never do it."""
    capabilities = TABLE[door.identity.driver].capabilities
    for field, why in impossible_in(wanted, stored, capabilities):
        raise RefusedError(f"{door.doing}: {field}: {why}")


def _require_free_name(door: Door, definition: GuestDefinition) -> None:
    """Stall if another domain has the name: libvirt would call that a failed operation."""
    try:
        other = door.connection.lookupByName(definition.name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return
        raise
    raise StalledError(
        f"{door.doing}: a domain of this name with the UUID {other.UUIDString()} is there already"
    )


def _claim(door: Door, definition: GuestDefinition, *, had: Mark | None) -> None:
    """Stall if a volume that the new mark claims to be ours is there already.

    # Note [Claiming a volume]
    A mark that says "ours, not filled" is the right to remake that volume (``DiscardVolume``). It
    must never be given for a volume that somebody else has put there, be it a file that libvirt has
    not noticed: so the pool is refreshed, and looked at, before the mark is first written.
    """
    claims = claimed(definition.mark) - claimed(had)
    for pool_name in sorted({pool for pool, _ in claims}):
        pool = door.pool(pool_name)
        try:
            door.write(pool.refresh)
        except TransientError as error:
            # Most likely a volume of the pool is being filled: libvirt refreshes none meanwhile.
            raise TransientError(
                f"whether the volumes' names are free in {pool_name!r} cannot be seen now: {error}"
            ) from error
        for _, volume in sorted(claim for claim in claims if claim[0] == pool_name):
            if volume_in(pool, volume) is not None:
                raise StalledError(
                    f"{door.doing}: the volume {volume!r} is in {pool_name!r} already, and an "
                    "existing volume is never taken"
                )
