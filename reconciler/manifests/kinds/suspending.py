"""``suspend``: a guest, a pool or everything is left alone for a while."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from reconciler.manifests.fields import ONE_LINE, Closed, Instant, refuse


def _said(value: str) -> str:
    if not value.strip():
        raise refuse("is empty, and nobody would know why", "say it in a few words")
    return value


Reason = Annotated[str, Field(pattern=ONE_LINE, max_length=200), AfterValidator(_said)]


class SuspendSpec(Closed):
    """No step begins for what this covers, not even one that heals, while it stands here."""

    reason: Reason = Field(
        description="Why; every plan and every status shows it.",
        examples=["its disks are being moved by hand"],
    )
    until: Instant | None = Field(
        None,
        description="When it ends by itself; without, it lasts until it is taken out.",
        examples=["2026-12-24T18:00+01:00"],
    )
