"""What a plan is made under, beside the worlds: the operator's own choices and fixed numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.names import PlanId

RENDERER = 1
"""Version of the renderer. Intent digests are compared only under the same version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Knobs of the planner.

    ``enforce`` lets steps through in pools whose mode is ``warn``: set by ``domops apply``, which
    has asked a person. ``settle_*_s`` is how long a stop must have been seen before it is believed,
    because events and states come out of order. ``balloon_slack_kib`` is how far an achieved memory
    size may lie from the goal and still count as reached. ``crash_limit`` crashes within
    ``crash_window_s`` stall a guest. ``steps_per_host`` is how many operations may be under way on
    one host at once. ``probe_counts_s`` is how old what was seen of a port may be and still count.
    ``seed_after_s`` is how long a guest that was started with its seed must have been running
    before the seed is taken away: cloud-init reads it early in the boot.
    """

    approvals: frozenset[PlanId] = frozenset()
    enforce: bool = False
    settle_qemu_s: int = 2
    settle_xen_s: int = 10
    balloon_slack_kib: int = 1024
    crash_limit: int = 5
    crash_window_s: int = 600
    crash_backoff_s: int = 5
    seed_after_s: int = 300
    steps_per_host: int = 4
    probe_counts_s: int = 30
