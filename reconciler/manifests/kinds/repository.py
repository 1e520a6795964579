"""``kind: Repository``: what ``domops.yaml`` at the root says about the repository itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifests.fields import Closed, Metadata, UuidText
from reconciler.manifests.kinds.suspending import SuspendSpec


class RepositorySpec(Closed):
    """Who this repository is."""

    id: UuidText = Field(
        description=(
            "The id by which hosts know the guests of this repository. Made once by `domops init`;"
            " another id would make every guest a stranger."
        ),
        examples=["6f1c4a52-8a0b-4c6e-9d2f-3f0f5c1b7a10"],
    )
    suspend: SuspendSpec | None = Field(
        None, description="Leave all guests alone while this stands here."
    )


class Repository(Closed):
    """The repository itself. There is exactly one, and it stands in `domops.yaml` at the root."""

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["Repository"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the repository is called.")
    spec: RepositorySpec = Field(description="Who this repository is.")
