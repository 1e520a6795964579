"""``kind: Pool``: hosts between which guests may move; the unit of placement and budgets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reconciler.manifests.fields import Closed, Duration, Metadata, NotBuilt
from reconciler.manifests.kinds.suspending import SuspendSpec
from reconciler.manifests.kinds.windows import PoolWindow


class PoolMigrations(Closed):
    """How many guests may be on the move at once."""

    per_host: int = Field(1, alias="perHost", description="To or from one host.")
    total: int = Field(2, description="In the whole pool.")


class PoolOvercommit(Closed):
    """How much more may be promised than there is."""

    cpus: float = Field(
        4,
        ge=0.1,
        le=64,
        description="Virtual CPUs for each processor of a host, the reserve taken off.",
        examples=[4],
    )
    memory: Annotated[float | None, NotBuilt("memory is never promised twice")] = Field(
        None, description="Memory promised for each byte there is; never above 1 on Xen."
    )


class PoolBudget(Closed):
    """How many counted steps may begin in a rolling 24 hours; more are held for a person.

    The smaller of number and percent wins; percent counts from ten guests up.
    """

    deletions: int = Field(
        1,
        ge=0,
        le=10_000,
        description=(
            "Guests that may go to the trash, disks that may be unplugged and snapshots that may be"
            " let go, together."
        ),
    )
    restarts: int = Field(
        3, ge=0, le=10_000, description="Guests that a change may restart; healing does not count."
    )
    migrations: Annotated[int | None, NotBuilt("guests stay where they are for now")] = Field(
        None, description="Guests that a change may move."
    )
    percent: int = Field(
        30, ge=1, le=100, description="The same as a part of the pool's guests, in percent."
    )


class PoolTrash(Closed):
    """What becomes of deleted guests."""

    keep: Duration = Field(
        30 * 86400,
        description="How long a deleted guest and its volumes are kept at least.",
        examples=["30d"],
        json_schema_extra={"default": "30d"},
    )


class PoolCpu(Closed):
    """Which processor the guests of the pool see."""

    baseline: str | None = Field(None, description="`auto`: what all hosts of the pool have.")


class PoolSpec(Closed):
    """What domops may do in a pool, and how much of it."""

    mode: Literal["off", "warn", "enforce"] = Field(
        "warn",
        description=(
            "`warn`: plans are shown and nothing is done. `enforce`: they are done. `off`: hosts"
            " are looked at, and nothing of their guests is compared, shown or done, whoever asks."
        ),
    )
    overcommit: PoolOvercommit = Field(
        default_factory=PoolOvercommit.model_construct,
        description="How much more may be promised than there is.",
    )
    budget: PoolBudget = Field(
        default_factory=PoolBudget.model_construct,
        description="How many counted steps may begin in a rolling 24 hours.",
    )
    trash: PoolTrash = Field(
        default_factory=PoolTrash.model_construct, description="What becomes of deleted guests."
    )
    migrations: Annotated[PoolMigrations | None, NotBuilt("guests stay where they are for now")] = (
        Field(None, description="How many guests may be on the move at once.")
    )
    windows: tuple[PoolWindow, ...] = Field(
        (),
        max_length=64,
        description=(
            "When acts of some classes may begin. An act that no `allow` names begins at any time,"
            " but a restart for `update.restart: window`, which without one never begins."
        ),
    )
    suspend: SuspendSpec | None = Field(
        None, description="Leave all guests of the pool alone while this stands here."
    )
    cpu: Annotated[PoolCpu | None, NotBuilt("guests see what their host offers")] = Field(
        None, description="Which processor the guests of the pool see."
    )


class Pool(Closed):
    """Hosts with the same networks and administrators, between which guests may move.

    A pool begins in mode `warn`: plans are shown; nothing is done until the pool says `enforce`.
    """

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Pool"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the pool is called.")
    spec: PoolSpec = Field(description="What domops may do in the pool, and how much of it.")
