"""``kind: GuestClass``: defaults that guests share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.manifests.fields import Closed, Metadata
from reconciler.manifests.kinds.guest import GuestDefaults


class GuestClass(Closed):
    """Defaults that guests share by `spec.class`.

    What a guest says wins. Maps (`cpus`, `boot`, `shutdown` …) are filled in field by field; an
    entry of `disks` or `networks` is replaced whole by the guest's entry of the same name. A guest
    that names another way to boot, or `host` in place of `pool`, drops the class's.
    """

    api_version: Literal["domops/v1"] = Field(
        alias="apiVersion", description="The grammar's version."
    )
    kind: Literal["GuestClass"] = Field(description="What this manifest describes.")
    metadata: Metadata = Field(description="What the class is called.")
    spec: GuestDefaults = Field(description="Any field of a guest's spec but `class`.")
