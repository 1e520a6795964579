"""The catalogue of ``domops_*``: every metric that is ever given, with what it means.

Names follow Prometheus: base units, ``_total`` for what only grows, ``_info`` for facts in labels,
instants as ``_timestamp_seconds``. A commit is never a label of anything that is counted.
"""

from __future__ import annotations

from reconciler.recording.metrics.text import Family, Kind

_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_GUEST = ("guest", "pool")

BUILD = Family(
    name="domops_build_info",
    kind=_GAUGE,
    means="Always 1; which domops runs, on which Python.",
    labels=("version", "python"),
)
COMMIT = Family(
    name="domops_commit_info",
    kind=_GAUGE,
    means="Always 1; the commit that is in force.",
    labels=("commit",),
)
COMMITTED = Family(
    name="domops_commit_timestamp_seconds",
    kind=_GAUGE,
    means="When the commit in force, the last good one, was committed.",
)
HEAD_REFUSED = Family(
    name="domops_head_refused",
    kind=_GAUGE,
    means="1 while the newest commit has problems, is not signed by anybody who may, or was not "
    "built on the one in force, so that an older one stays in force.",
)
SOURCE_UP = Family(
    name="domops_source_up",
    kind=_GAUGE,
    means="1 if the repository could be fetched and read in the last pass.",
)
SOURCE_READ = Family(
    name="domops_source_read_timestamp_seconds",
    kind=_GAUGE,
    means="When the newest commit was last known to be the newest: the last fetch that succeeded, "
    "or the last pass for a repository on this machine.",
)
LAST_PASS = Family(
    name="domops_last_pass_timestamp_seconds",
    kind=_GAUGE,
    means="When the last pass looked at the hosts; the loop stands still if this does.",
)
PROBLEMS = Family(
    name="domops_problems",
    kind=_GAUGE,
    means="How many problems the last pass told of: in commits, with git, with the journal.",
)
PASSES = Family(
    name="domops_passes_total",
    kind=_COUNTER,
    means="Passes made, by result: planned, or without a good commit to plan for.",
    labels=("result",),
)
PASS_DURATION = Family(
    name="domops_pass_duration_seconds",
    kind=_HISTOGRAM,
    means="How long passes took, from looking at git to the last step begun.",
)
POOL = Family(
    name="domops_pool_info",
    kind=_GAUGE,
    means="Always 1; a pool of the commit in force, and its mode.",
    labels=("pool", "mode"),
)

GUEST = Family(
    name="domops_guest_info",
    kind=_GAUGE,
    means="Always 1; a guest of the commit in force or in the trash, and how it stands.",
    labels=("guest", "pool", "host", "type", "state", "phase"),
)
GUEST_SYNCED = Family(
    name="domops_guest_synced",
    kind=_GAUGE,
    means="1 if that definition of the guest, the stored or the live one, is as its manifest "
    "wants it. No series while the guest is unknown.",
    labels=(*_GUEST, "definition"),
)
GUEST_HEALTHY = Family(
    name="domops_guest_healthy",
    kind=_GAUGE,
    means="1 if the guest runs, or is stopped, as its manifest wants it. No series while the "
    "guest is unknown.",
    labels=_GUEST,
)
GUEST_UNKNOWN = Family(
    name="domops_guest_unknown",
    kind=_GAUGE,
    means="1 while it is not known where or how the guest is, so that it is left alone.",
    labels=_GUEST,
)
OPERATION = Family(
    name="domops_guest_operation_start_timestamp_seconds",
    kind=_GAUGE,
    means="When the step began that is under way for the guest. No series where none is.",
    labels=("guest", "host", "step"),
)
OPERATION_DONE = Family(
    name="domops_guest_operation_done_bytes",
    kind=_GAUGE,
    means="How far the step has come that is under way for the guest, where that can be told.",
    labels=("guest", "host", "step"),
)
OPERATION_TOTAL = Family(
    name="domops_guest_operation_total_bytes",
    kind=_GAUGE,
    means="How far the step has to go that is under way for the guest, where that can be told.",
    labels=("guest", "host", "step"),
)
DRIFT = Family(
    name="domops_drift_fields",
    kind=_GAUGE,
    means="How many fields of guests are not as their manifests want them, by kind of field.",
    labels=("pool", "field"),
)
CHANGES = Family(
    name="domops_changes",
    kind=_GAUGE,
    means="How many changes are not made yet: being made now or running (no reason), waiting, "
    "held for a person's approval, or refused.",
    labels=("pool", "fate", "reason"),
)
HELD_PLANS = Family(
    name="domops_held_plans",
    kind=_GAUGE,
    means="How many plans of the pool wait for a person's approval, by the class of their acts.",
    labels=("pool", "class"),
)
SUSPENDED = Family(
    name="domops_suspended",
    kind=_GAUGE,
    means="1 for a guest for which no step begins, because it, its pool or all are suspended; "
    "`scope` says which.",
    labels=("guest", "pool", "scope"),
)
FOREIGN = Family(
    name="domops_foreign_domains",
    kind=_GAUGE,
    means="How many domains of the host look like ours and are not; they are left alone.",
    labels=("host",),
)

HOST = Family(
    name="domops_host_info",
    kind=_GAUGE,
    means="Always 1; a host of the commit in force.",
    labels=("host", "pool", "state", "role"),
)
HOST_UP = Family(
    name="domops_host_up",
    kind=_GAUGE,
    means="1 if the host answered in full in the last pass; else it and its guests are unknown.",
    labels=("host", "pool"),
)
HOST_ANSWER = Family(
    name="domops_host_last_answer_timestamp_seconds",
    kind=_GAUGE,
    means="When the host last answered in full.",
    labels=("host",),
)
HOST_CPUS = Family(
    name="domops_host_cpus",
    kind=_GAUGE,
    means="CPUs of the host.",
    labels=("host",),
)
HOST_VCPUS = Family(
    name="domops_host_guest_vcpus",
    kind=_GAUGE,
    means="Virtual CPUs of all guests that run on the host, ours or not.",
    labels=("host",),
)
HOST_MEMORY = Family(
    name="domops_host_memory_bytes",
    kind=_GAUGE,
    means="Memory of the host.",
    labels=("host",),
)
HOST_MEMORY_FREE = Family(
    name="domops_host_memory_free_bytes",
    kind=_GAUGE,
    means="Memory of the host that guests could have, the reserve included.",
    labels=("host",),
)
HOST_MEMORY_RESERVED = Family(
    name="domops_host_memory_reserved_bytes",
    kind=_GAUGE,
    means="Memory that the host's manifest keeps away from guests.",
    labels=("host",),
)
HOST_GUEST_MEMORY = Family(
    name="domops_host_guest_memory_bytes",
    kind=_GAUGE,
    means="Memory of all guests that run on the host, ours or not.",
    labels=("host",),
)
HOST_GUESTS = Family(
    name="domops_host_guests",
    kind=_GAUGE,
    means="Domains of the host, ours or not, by state.",
    labels=("host", "state"),
)
STORAGE_AVAILABLE = Family(
    name="domops_host_storage_available_bytes",
    kind=_GAUGE,
    means="Room that is left in the storage pool.",
    labels=("host", "storage_pool"),
)
TRASH_GUESTS = Family(
    name="domops_trash_guests",
    kind=_GAUGE,
    means="Deleted guests that the host still has, whole, until their time in the trash is over.",
    labels=("host",),
)
TRASH_BYTES = Family(
    name="domops_trash_bytes",
    kind=_GAUGE,
    means="What the volumes of those guests promise that go when their time is over.",
    labels=("host",),
)
TRASH_UNTIL = Family(
    name="domops_trash_next_removal_timestamp_seconds",
    kind=_GAUGE,
    means="The first date after which a guest may be removed from the host's trash for good. It "
    "must have been seen there on enough days, too. No series where the trash is empty.",
    labels=("host",),
)
STORAGE_ALLOCATED = Family(
    name="domops_host_storage_allocated_bytes",
    kind=_GAUGE,
    means="Room that the volumes of the storage pool take.",
    labels=("host", "storage_pool"),
)
STORAGE_PROMISED = Family(
    name="domops_host_storage_promised_bytes",
    kind=_GAUGE,
    means="Sum of the sizes of the pool's volumes: what they take when they are full.",
    labels=("host", "storage_pool"),
)
CONDEMNED = Family(
    name="domops_host_condemned_calls",
    kind=_GAUGE,
    means="Writing calls that were given up and have not come back: their guests are bound.",
    labels=("host",),
)
WRITES = Family(
    name="domops_host_writes_total",
    kind=_COUNTER,
    means="Writing calls made at the host's hypervisor.",
    labels=("host",),
)

QUEUE_DEPTH = Family(
    name="domops_queue_depth",
    kind=_GAUGE,
    means="Names that wait for the next pass: of guests, hosts or git, of which something is new.",
)
QUEUE_ADDS = Family(
    name="domops_queue_adds_total",
    kind=_COUNTER,
    means="Names put into the queue.",
)
QUEUE_WAIT = Family(
    name="domops_queue_wait_seconds",
    kind=_HISTOGRAM,
    means="How long names waited in the queue until a pass took them up.",
)
STEPS = Family(
    name="domops_steps_total",
    kind=_COUNTER,
    means="Steps that ended, by kind and by how.",
    labels=("step", "outcome"),
)
STEP_DURATION = Family(
    name="domops_step_duration_seconds",
    kind=_HISTOGRAM,
    means="How long steps took, from their intent to the end that was seen.",
    labels=("step",),
)
EVENTS = Family(
    name="domops_events_total",
    kind=_COUNTER,
    means="Events told, by kind.",
    labels=("kind",),
)

OF_PASSES = (
    BUILD,
    QUEUE_DEPTH,
    QUEUE_ADDS,
    COMMIT,
    COMMITTED,
    HEAD_REFUSED,
    SOURCE_UP,
    SOURCE_READ,
    LAST_PASS,
    PROBLEMS,
    POOL,
    GUEST,
    GUEST_SYNCED,
    GUEST_HEALTHY,
    GUEST_UNKNOWN,
    OPERATION,
    OPERATION_DONE,
    OPERATION_TOTAL,
    DRIFT,
    CHANGES,
    HELD_PLANS,
    SUSPENDED,
    FOREIGN,
    HOST,
    HOST_UP,
    HOST_ANSWER,
    HOST_CPUS,
    HOST_VCPUS,
    HOST_MEMORY,
    HOST_MEMORY_FREE,
    HOST_MEMORY_RESERVED,
    HOST_GUEST_MEMORY,
    HOST_GUESTS,
    TRASH_GUESTS,
    TRASH_BYTES,
    TRASH_UNTIL,
    STORAGE_AVAILABLE,
    STORAGE_ALLOCATED,
    STORAGE_PROMISED,
    CONDEMNED,
    WRITES,
)
"""Made from the last pass at every scrape."""

OF_INSTRUMENTS = (PASSES, PASS_DURATION, QUEUE_WAIT, STEPS, STEP_DURATION, EVENTS)
"""Counted since the process began to serve."""
