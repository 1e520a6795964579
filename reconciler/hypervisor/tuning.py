"""How much of which processors a guest gets: what a host can do about it, what it does, and steps.

# Note [Shares]
Xen's scheduler is told of weight and cap while the guest runs; of a definition it takes the weight
alone. So the definition keeps both, as any other field, and what a running guest really has is
asked of the scheduler, for guests of which somebody has said something. A cap is then given anew
after each start. QEMU's guests get theirs from the kernel's control group for processors, at their
start; where that group is missing libvirt takes a weight without a word, and refuses to start a
guest with a cap. Whether it is there libvirt tells only of a guest that runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt

from reconciler.errors import StalledError
from reconciler.hypervisor.capabilities import TABLE, Driver
from reconciler.model.definition import GuestType
from reconciler.model.names import FieldName
from reconciler.model.observed import Denial

if TYPE_CHECKING:
    from reconciler.hypervisor.door import Door
    from reconciler.model.definition import GuestDefinition
    from reconciler.model.observed import Capabilities
    from reconciler.model.steps import PinVcpus, SetShares

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_ORDINARY_WEIGHT = 256
_SHARES = frozenset({FieldName("cpus.weight"), FieldName("cpus.cap")})
_NO_GROUP = Denial(
    why="the host gives libvirt no control group for processors, so nothing would weigh or cap it"
)


def pin_vcpus(door: Door, step: PinVcpus) -> None:
    """Move the virtual CPUs that run elsewhere."""
    door.require("pin_running")
    domain = door.running_domain(step.uuid, step.guest)
    _, live = door.live(domain)
    processors = int(door.connection.getInfo()[2])
    for pin in step.pin:
        if pin in live.options.pin:
            continue
        if pin.vcpu >= live.vcpus.count:
            raise StalledError(f"{door.doing}: vCPU {pin.vcpu} is not there")
        chosen = _members(pin.cpus)
        if max(chosen) >= processors:
            raise StalledError(f"{door.doing}: {door.host} has no processors for {pin}")
        allowed = tuple(cpu in chosen for cpu in range(processors))
        door.write(domain.pinVcpuFlags, pin.vcpu, allowed, _LIVE)


def set_shares(door: Door, step: SetShares) -> None:
    """Tell the scheduler of the running guest.

    libxl refuses to be told which definition is meant; of a running guest it can only be that one.
    """
    door.require("share_running")
    domain = door.running_domain(step.uuid, step.guest)
    wanted = {"weight": step.weight or _ORDINARY_WEIGHT, "cap": step.cap or 0}
    has = domain.schedulerParameters()
    if any(has.get(name) != value for name, value in wanted.items()):
        door.write(domain.setSchedulerParameters, wanted)


def with_shares(
    domain: libvirt.virDomain, driver: Driver, live: GuestDefinition, stored: GuestDefinition | None
) -> GuestDefinition:
    """The running definition with the shares that the guest has got; see Note [Shares]."""
    if driver is not Driver.XEN or not _said_of(live, stored):
        return live
    try:
        has = domain.schedulerParameters()
    except libvirt.libvirtError as error:
        # Not running any more: what its text says is as good as anything.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return live
        raise
    weight, cap = has.get("weight"), has.get("cap")
    options = replace(
        live.options, weight=None if weight == _ORDINARY_WEIGHT else weight, cap=cap or None
    )
    return replace(live, options=options)


def _said_of(live: GuestDefinition, stored: GuestDefinition | None) -> bool:
    """Whether anybody has said anything of the guest's shares."""
    for one in (live, stored):
        if one is None:
            continue
        marked = one.mark is not None and not _SHARES.isdisjoint(one.mark.fields)
        if marked or one.options.weight is not None or one.options.cap is not None:
            return True
    return False


def can_share(connection: libvirt.virConnect, driver: Driver) -> bool | None:
    """Whether guests can be given shares; None where no guest runs that could tell."""
    if driver is not Driver.QEMU:
        return True
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            domain.schedulerType()
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and domain.isActive():
                return False
        else:
            if domain.isActive():
                return True
    return None


def capabilities_of(driver: Driver, *, shares: bool | None) -> Capabilities:
    """The driver's row, as far as the host at hand lives up to it."""
    row = TABLE[driver].capabilities
    if shares is not False:
        return row
    denied = {(guest_type, field): _NO_GROUP for guest_type in GuestType for field in _SHARES}
    return replace(row, without={**row.without, **denied})


def _members(cpus: str) -> set[int]:
    members: set[int] = set()
    for part in cpus.split(","):
        first, _, last = part.partition("-")
        members.update(range(int(first), int(last or first) + 1))
    return members
