"""Judge hosts and repository before anything goes wrong: what is missing, and what to do.

A function of its arguments, like the planner's other stages. It looks at what the manifests will
ask of each host, not at what the host has beside that. What cannot be seen through libvirt is said
to be not checked, with the command by which a person can look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.checkup import Check, Finding, Judgement
from reconciler.model.definition import DomainType, GuestType, KernelBoot
from reconciler.model.desired import CdromDisk, HostState, PoolMode, VolumeDisk
from reconciler.model.observed import ObservedHost
from reconciler.planner import words
from reconciler.planner.match import index_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from reconciler.model.checkup import Inspection
    from reconciler.model.desired import DesiredGuest, DesiredHost, DesiredNetwork, DesiredWorld
    from reconciler.model.memory import Memory
    from reconciler.model.names import HostName, StorageName, VolumeName
    from reconciler.model.observed import ObservedWorld

OLDEST_LIBVIRT = (9, 0, 0)
"""What domops is tried on; what an older one does was never seen."""

_CLOCK_SLACK_S = 300
"""How far a commit may lie ahead of our clock before one of the two clocks must be wrong."""

_OK, _NOTICE = Judgement.OK, Judgement.NOTICE
_PROBLEM, _NOT_CHECKED = Judgement.PROBLEM, Judgement.NOT_CHECKED


def check_up(
    world: DesiredWorld,
    observed: ObservedWorld,
    *,
    inspections: Mapping[HostName, Inspection | str],
    memory: Memory,
    now: datetime,
) -> tuple[Finding, ...]:
    """Everything that can be said of ``world`` and of each of its hosts that is not retired.

    ``inspections`` has for each host that answered what it was asked for this, or why it did not
    say.
    """
    foreign = _foreign(world, observed, memory)
    findings: list[Finding] = [*_repository(world, memory, now)]
    for name, manifest in sorted(world.hosts.items()):
        if manifest.state is HostState.RETIRED:
            continue
        host = observed.hosts.get(name)
        if isinstance(host, ObservedHost):
            findings.extend(_host(world, manifest, host, inspections[name]))
            findings.append(foreign[name])
            if manifest.state is HostState.FENCED:
                findings.append(_answers_though_fenced(name))
        elif manifest.state is HostState.FENCED:
            findings.append(_fine(Check.FENCED, name, "does not answer, and is declared fenced"))
        else:
            why = host.why if host is not None else "it was not asked"
            findings.append(
                Finding(
                    check=Check.ANSWERS,
                    host=name,
                    judgement=_PROBLEM,
                    message=f"does not answer: {why}",
                    advice=f"try: virsh -c '{manifest.uri}' version; nothing else about it was"
                    " checked, and its guests are left alone",
                )
            )
    return tuple(findings)


def _answers_though_fenced(name: HostName) -> Finding:
    return Finding(
        check=Check.FENCED,
        host=name,
        judgement=_PROBLEM,
        message="answers, although it is declared fenced; nothing on it is touched",
        advice="write state: active to have it back, after a look at what runs there and elsewhere",
    )


def paths_of(world: DesiredWorld, manifest: DesiredHost) -> frozenset[str]:
    """The files that the host must have for the guests that it may get."""
    return frozenset(
        path
        for guest in _guests(world, manifest)
        if isinstance(guest.boot, KernelBoot)
        for path in (guest.boot.kernel, guest.boot.initrd)
        if path is not None
    )


def _guests(world: DesiredWorld, manifest: DesiredHost) -> tuple[DesiredGuest, ...]:
    """The guests that are pinned to the host, or that their pool may put there."""
    return tuple(
        guest
        for _, guest in sorted(world.guests.items())
        if guest.host == manifest.name or (guest.host is None and guest.pool == manifest.pool)
    )


# ------------------------------------------------------------------------------- the repository


def _repository(world: DesiredWorld, memory: Memory, now: datetime) -> Iterator[Finding]:
    warned = sorted(pool.name for pool in world.pools.values() if pool.mode is PoolMode.WARN)
    if warned:
        noun = "pool" if len(warned) == 1 else "pools"
        yield Finding(
            check=Check.MODES,
            host=None,
            judgement=_NOTICE,
            message=f"mode warn in {noun} {', '.join(warned)}: domops run shows plans and does"
            " nothing there",
            advice="write mode: enforce in the pool's manifest when the plans look right",
        )
    else:
        yield _fine(Check.MODES, None, "every pool is enforced")
    ahead = (world.commit.committed_at - now).total_seconds()
    if ahead > _CLOCK_SLACK_S:
        yield Finding(
            check=Check.CLOCK,
            host=None,
            judgement=_PROBLEM,
            message=f"the commit in force was made {words.span(ahead)} from now: this"
            " machine's clock or its author's is wrong",
            advice="compare both with chronyc tracking or timedatectl; budgets, backoff and the"
            " trash go by this machine's clock",
        )
    else:
        yield _fine(Check.CLOCK, None, "the commit in force lies in the past, as it should")
    yield _departed(memory)


def _departed(memory: Memory) -> Finding:
    if memory.departed is None:
        return Finding(
            check=Check.DEPARTED,
            host=None,
            judgement=_NOT_CHECKED,
            message="which hosts have left the repository is not known, so no guest counts as"
            " missing and none is made",
            advice="let domops read the repository's whole history: no shallow clone",
        )
    if memory.departed:
        names = ", ".join(sorted(host.name for host in memory.departed))
        return Finding(
            check=Check.DEPARTED,
            host=None,
            judgement=_PROBLEM,
            message=f"left the repository without state: retired: {names}; guests may still run"
            " there, so no guest that could be is made anywhere else",
            advice="bring the manifests back with state: retired, once nothing runs there",
        )
    return _fine(Check.DEPARTED, None, "no host left without state: retired")


# ------------------------------------------------------------------------------------ one host


def _host(
    world: DesiredWorld,
    manifest: DesiredHost,
    host: ObservedHost,
    inspection: Inspection | str,
) -> Iterator[Finding]:
    guests = _guests(world, manifest)
    yield _identity(manifest, host)
    yield from _inspected(world, host, guests, inspection)
    yield _guest_types(host, guests)
    yield _acceleration(host)
    yield _images(world, host, guests)
    yield _bridges_and_networks(world, host, guests, inspection)
    yield _locking(world, host, guests)
    yield _autostart(world, host)
    yield Finding(
        check=Check.SERVICES,
        host=host.name,
        judgement=_NOT_CHECKED,
        message="libvirt does not say whether libvirt-guests or xendomains start and save guests"
        " behind its back",
        advice="look on the host: systemctl is-enabled libvirt-guests xendomains; both should be"
        " disabled where domops starts guests",
    )
    yield Finding(
        check=Check.CLOCK,
        host=host.name,
        judgement=_NOT_CHECKED,
        message="libvirt does not tell a host's time",
        advice="look on the host: chronyc tracking, or timedatectl",
    )


def _identity(manifest: DesiredHost, host: ObservedHost) -> Finding:
    if manifest.uuid is None:
        return Finding(
            check=Check.ANSWERS,
            host=host.name,
            judgement=_NOTICE,
            message=f"answers as {host.uuid}, and its manifest does not say which machine it is",
            advice=f"write hostUUID: {host.uuid} into {manifest.origin.path}, so that it is known"
            " also when domops has lost its state",
        )
    return _fine(Check.ANSWERS, host.name, f"answers, as the machine {host.uuid}")


def _inspected(
    world: DesiredWorld,
    host: ObservedHost,
    guests: tuple[DesiredGuest, ...],
    inspection: Inspection | str,
) -> Iterator[Finding]:
    """What rests on the host's own word, given for a check-up alone."""
    yield _storage(world, host, guests, inspection)
    if isinstance(inspection, str):
        for check in (Check.VERSIONS, Check.BOOT_FILES, Check.DOM0_MEMORY):
            yield Finding(
                check=check,
                host=host.name,
                judgement=_NOT_CHECKED,
                message=f"the host did not say: {inspection}",
                advice="run domops doctor again",
            )
        return
    version = tuple(int(part) for part in inspection.libvirt.split("."))
    told = f"libvirt {inspection.libvirt}, {inspection.hypervisor}"
    if version < OLDEST_LIBVIRT:
        oldest = ".".join(map(str, OLDEST_LIBVIRT))
        yield Finding(
            check=Check.VERSIONS,
            host=host.name,
            judgement=_NOTICE,
            message=f"{told}: domops is tried on libvirt {oldest} and later",
            advice="upgrade libvirt on this host",
        )
    else:
        yield _fine(Check.VERSIONS, host.name, told)
    yield _boot_files(host, inspection)
    if inspection.dom0_memory_kib is not None:
        yield _dom0_memory(host, *inspection.dom0_memory_kib)


def _boot_files(host: ObservedHost, inspection: Inspection) -> Finding:
    missing = sorted(path for path, there in inspection.files.items() if there is False)
    unseen = sorted(path for path, there in inspection.files.items() if there is None)
    if missing:
        return Finding(
            check=Check.BOOT_FILES,
            host=host.name,
            judgement=_PROBLEM,
            message=f"has no file {', '.join(missing)}, which guests boot from",
            advice="copy it there; virsh pool-refresh shows libvirt a file that is new",
        )
    if unseen:
        return Finding(
            check=Check.BOOT_FILES,
            host=host.name,
            judgement=_NOT_CHECKED,
            message=f"libvirt does not say whether {', '.join(unseen)} is there: it lies in no"
            " storage pool",
            advice=f"look on the host: ls -l {' '.join(unseen)}",
        )
    if not inspection.files:
        return _fine(Check.BOOT_FILES, host.name, "no guest boots from a file of this host")
    return _fine(Check.BOOT_FILES, host.name, "every kernel and initrd of its guests is there")


def _dom0_memory(host: ObservedHost, now_kib: int, most_kib: int) -> Finding:
    if most_kib > now_kib:
        return Finding(
            check=Check.DOM0_MEMORY,
            host=host.name,
            judgement=_PROBLEM,
            message=f"dom0 has {words.memory(now_kib)} and may have more: what it gives to guests"
            " and takes back makes free memory a guess, and a busy dom0 can starve",
            advice=f"boot Xen with dom0_mem={now_kib // 1024}M,max:{now_kib // 1024}M and write"
            ' autoballoon="off" into /etc/xen/xl.conf',
        )
    return _fine(Check.DOM0_MEMORY, host.name, f"dom0 keeps its {words.memory(now_kib)}")


def _guest_types(host: ObservedHost, guests: Iterable[DesiredGuest]) -> Finding:
    default = GuestType.PVH if host.domain_type is DomainType.XEN else GuestType.HVM
    wanted = {(guest.type or default, guest.arch): guest.name for guest in guests}
    lacking = sorted(
        f"{kind} for {arch} (as {name})"
        for (kind, arch), name in wanted.items()
        if (kind, arch) not in host.guest_types
    )
    if lacking:
        return Finding(
            check=Check.GUEST_TYPES,
            host=host.name,
            judgement=_NOTICE,
            message=f"runs no guests of the type {', '.join(lacking)}",
            advice="such guests are placed on other hosts of the pool; if there are none, put the"
            " host into a pool of its own, or change the type",
        )
    return _fine(Check.GUEST_TYPES, host.name, "can run every type of guest that it may get")


def _acceleration(host: ObservedHost) -> Finding:
    if host.domain_type is DomainType.QEMU:
        return Finding(
            check=Check.ACCELERATION,
            host=host.name,
            judgement=_NOTICE,
            message="has no KVM: QEMU emulates the processor, ten times as slow",
            advice="switch virtualisation on in the machine's firmware, then modprobe kvm_intel"
            " or kvm_amd",
        )
    return _fine(Check.ACCELERATION, host.name, f"guests run on {host.domain_type}")


# ------------------------------------------------------------------------- storage and networks


def _storage(
    world: DesiredWorld,
    host: ObservedHost,
    guests: Iterable[DesiredGuest],
    inspection: Inspection | str,
) -> Finding:
    faults: list[str] = []
    idle: list[str] = []
    named = sorted(_storages(guests))
    for name in named:
        pool = world.storages[name].on(host.name)
        found = host.pools.get(pool)
        if found is None:
            faults.append(f"has no storage pool {pool} (Storage {name})")
        elif not found.active:
            faults.append(f"its storage pool {pool} (Storage {name}) is not active")
        elif not isinstance(inspection, str) and pool in inspection.idle_pools:
            idle.append(pool)
    if faults:
        return Finding(
            check=Check.STORAGE,
            host=host.name,
            judgement=_PROBLEM,
            message="; ".join(faults),
            advice="virsh pool-define-as NAME dir --target FOLDER, pool-build, pool-start,"
            " pool-autostart; domops never makes or starts a pool",
        )
    if idle:
        return Finding(
            check=Check.STORAGE,
            host=host.name,
            judgement=_PROBLEM,
            message=f"does not start its storage pool {', '.join(idle)} by itself: after a reboot"
            " no guest on it starts",
            advice=f"virsh pool-autostart {idle[0]}",
        )
    if isinstance(inspection, str) and named:
        return Finding(
            check=Check.STORAGE,
            host=host.name,
            judgement=_NOT_CHECKED,
            message="every pool is active; whether they start with the host it did not say",
            advice="run domops doctor again",
        )
    return _fine(Check.STORAGE, host.name, f"storage pools: {_counted(named)}")


def _storages(guests: Iterable[DesiredGuest]) -> Iterator[StorageName]:
    """Every Storage that the guests name, each once."""
    seen: set[StorageName] = set()
    for guest in guests:
        for disk in guest.disks:
            named: list[StorageName | None] = []
            if isinstance(disk, VolumeDisk):
                named = [disk.storage, disk.image.storage if disk.image else None]
            elif isinstance(disk, CdromDisk):
                named = [disk.storage]
            for one in named:
                if one is not None and one not in seen:
                    seen.add(one)
                    yield one


def _images(world: DesiredWorld, host: ObservedHost, guests: Iterable[DesiredGuest]) -> Finding:
    wanted: dict[tuple[StorageName, VolumeName], str] = {}
    for guest in guests:
        for disk in guest.disks:
            if isinstance(disk, VolumeDisk) and disk.image is not None:
                wanted.setdefault((disk.image.storage, disk.image.volume), guest.name)
            elif isinstance(disk, CdromDisk) and disk.storage and disk.volume:
                wanted.setdefault((disk.storage, disk.volume), guest.name)
    missing: list[str] = []
    for (storage, volume), guest_name in sorted(wanted.items()):
        pool = world.storages[storage].on(host.name)
        found = host.pools.get(pool)
        if found is not None and found.active and volume not in found.volumes:
            missing.append(f"{pool}/{volume} (for {guest_name})")
    if missing:
        return Finding(
            check=Check.IMAGES,
            host=host.name,
            judgement=_PROBLEM,
            message=f"has no {', '.join(missing)}",
            advice="copy the image there, then virsh pool-refresh POOL; a guest that was made"
            " already needs its image no more",
        )
    return _fine(Check.IMAGES, host.name, f"images and media: {_counted(wanted)}")


def _bridges_and_networks(
    world: DesiredWorld,
    host: ObservedHost,
    guests: Iterable[DesiredGuest],
    inspection: Inspection | str,
) -> Finding:
    named = sorted({nic.network for guest in guests for nic in guest.nics})
    faults = [fault for name in named if (fault := _network_fault(world.networks[name], host))]
    if faults:
        return Finding(
            check=Check.NETWORKS,
            host=host.name,
            judgement=_PROBLEM,
            message="; ".join(faults),
            advice="make the bridge with the host's own tools; for a network of libvirt's:"
            " virsh net-define, net-start, net-autostart",
        )
    idle_networks = frozenset() if isinstance(inspection, str) else inspection.idle_networks
    used = {
        network.hosts.get(host.name) or network.libvirt_network
        for network in (world.networks[name] for name in named)
        if network.bridge is None
    }
    idle = sorted(idle_networks & used)
    if idle:
        return Finding(
            check=Check.NETWORKS,
            host=host.name,
            judgement=_PROBLEM,
            message=f"does not start its network {', '.join(idle)} by itself: after a reboot no"
            " guest on it starts",
            advice=f"virsh net-autostart {idle[0]}",
        )
    bridges = sorted(
        network.hosts.get(host.name) or network.bridge
        for network in (world.networks[name] for name in named)
        if network.bridge is not None
    )
    if bridges and host.bridges is None:
        return Finding(
            check=Check.NETWORKS,
            host=host.name,
            judgement=_NOT_CHECKED,
            message=f"its libvirt does not say which bridges it has; needed: {', '.join(bridges)}",
            advice="look on the host: ip link show type bridge; with libvirt's interface driver"
            " installed domops sees them by itself",
        )
    return _fine(Check.NETWORKS, host.name, f"bridges and networks: {_counted(named)}")


def _network_fault(network: DesiredNetwork, host: ObservedHost) -> str | None:
    """What is wrong with the host's end of a network, as far as the host says."""
    own = network.hosts.get(host.name)
    if network.bridge is not None:
        bridge = own or network.bridge
        lacking = host.bridges is not None and bridge not in host.bridges
        return f"has no bridge {bridge} (Network {network.name})" if lacking else None
    there = own or network.libvirt_network or ""
    if there not in host.networks:
        return f"has no network {there} (Network {network.name})"
    if not host.networks[there]:
        return f"its network {there} (Network {network.name}) is not active"
    return None


# ------------------------------------------------------------------- what could start guests twice


def _locking(world: DesiredWorld, host: ObservedHost, guests: Iterable[DesiredGuest]) -> Finding:
    shared = sorted(name for name in _storages(guests) if world.storages[name].shared)
    if shared:
        return Finding(
            check=Check.LOCKING,
            host=host.name,
            judgement=_NOT_CHECKED,
            message=f"libvirt does not say whether a lock manager guards {', '.join(shared)}",
            advice="look on the host: lock_manager in /etc/libvirt/qemu.conf or libxl.conf, and"
            " systemctl is-active virtlockd",
        )
    return _fine(Check.LOCKING, host.name, "no guest of it is on shared storage")


def _autostart(world: DesiredWorld, host: ObservedHost) -> Finding:
    """Guests of ours that libvirt would start with this host though another may have them."""
    risky: list[str] = []
    for found in host.guests.values():
        mark = found.mark
        if mark is None or mark.owner != world.repository or not found.autostart:
            continue
        wanted = world.guests.get(mark.guest)
        if wanted is None or any(
            isinstance(disk, VolumeDisk) and world.storages[disk.storage].shared
            for disk in wanted.disks
        ):
            risky.append(found.name)
    if risky:
        return Finding(
            check=Check.AUTOSTART,
            host=host.name,
            judgement=_PROBLEM,
            message=f"starts {', '.join(sorted(risky))} when it boots, and another host could be"
            " running them by then",
            advice="let domops start them: autostart: off in the manifest; for a deleted guest,"
            " virsh autostart --disable",
        )
    return _fine(Check.AUTOSTART, host.name, "starts no guest by itself that could run elsewhere")


def _foreign(
    world: DesiredWorld, observed: ObservedWorld, memory: Memory
) -> Mapping[HostName, Finding]:
    """What is not ours on each host that answered, and whether any of it looks as if it were."""
    odd: dict[HostName, list[str]] = {}
    for one in index_of(world, observed, operations=(), memory=memory, parts={}).foreign:
        odd.setdefault(one.host, []).append(f"{one.name}: {one.message}")
    findings: dict[HostName, Finding] = {}
    for host in observed.answered():
        theirs = sum(
            1
            for guest in host.guests.values()
            if guest.mark is None or guest.mark.owner != world.repository
        )
        noun = "guest" if theirs == 1 else "guests"
        if host.name in odd:
            findings[host.name] = Finding(
                check=Check.FOREIGN,
                host=host.name,
                judgement=_PROBLEM,
                message="; ".join(sorted(odd[host.name])),
                advice="a clone made with virt-clone keeps the mark of its original: take it out"
                " with virsh metadata NAME urn:domops:mark:1 --remove",
            )
        elif theirs:
            findings[host.name] = Finding(
                check=Check.FOREIGN,
                host=host.name,
                judgement=_NOTICE,
                message=f"{theirs} {noun} that this repository does not own; left alone",
                advice="domops import takes them over, if that is wished",
            )
        else:
            findings[host.name] = _fine(Check.FOREIGN, host.name, "every guest on it is ours")
    return findings


def _fine(check: Check, host: HostName | None, message: str) -> Finding:
    return Finding(check=check, host=host, judgement=_OK, message=message)


def _counted(what: Iterable[object]) -> str:
    count = sum(1 for _ in what)
    return f"all {count} that its guests name are there" if count else "its guests name none"
