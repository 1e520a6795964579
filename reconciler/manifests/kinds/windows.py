"""``windows``: when acts of a class may begin in a pool, and when they may not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from reconciler.manifests.fields import Closed, Duration, Zone, refuse

_HINT = 'write minute, hour, day, month and weekday, as in "0 2 * * *" for every night at two'
_FIVE = 5
_LONGEST = 100
_LONGEST_OPEN_S = 366 * 86400
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def _cron(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise refuse("must be a line of five cron fields", _HINT)
    fields = value.split()
    shown = " ".join(fields)[:60]
    if len(fields) != _FIVE:
        raise refuse(f'"{shown}" is no line of five cron fields', _HINT)
    try:
        came = next(CronSim(" ".join(fields), _SOME_DAY), None)
    except CronSimError as error:
        what = str(error).removeprefix("Bad ").lower()
        raise refuse(f'"{shown}" has no {what} that cron knows', _HINT) from None
    if came is None:
        raise refuse(f'"{shown}" never comes', _HINT)
    return " ".join(fields)


def _open_for(value: int) -> int:
    if not 0 < value <= _LONGEST_OPEN_S:
        raise refuse("must be more than nothing and at most a year", "write it as in 2h")
    return value


CronLine = Annotated[
    str,
    PlainValidator(_cron),
    WithJsonSchema({"type": "string", "maxLength": _LONGEST, "examples": ["0 2 * * *"]}),
]
OpenFor = Annotated[Duration, AfterValidator(_open_for)]


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise refuse("names no act", "write restart, delete or migrate")
    return value


Acts = Annotated[
    tuple[Literal["restart", "migrate", "delete"], ...],
    Field(max_length=3),
    AfterValidator(_some),
]


class PoolWindow(Closed):
    """A time at which acts of some classes may begin, or with `deny`, may not.

    It opens at each time that the line names on a wall of the zone, and stays open for so long.
    """

    allow: CronLine | None = Field(
        None,
        description=(
            "When it opens, as five cron fields: minute, hour, day, month, weekday. The acts may"
            " begin only while such a window is open."
        ),
        examples=["0 2 * * *"],
    )
    deny: CronLine | None = Field(
        None,
        description="In place of `allow`: when a time begins in which the acts may not begin.",
        examples=["0 0 20 12 *"],
    )
    open_for: OpenFor = Field(alias="for", description="How long it stays open.", examples=["2h"])
    zone: Zone = Field(
        ZoneInfo("UTC"),
        description="Whose clock the line means.",
        examples=["Europe/Rome"],
        json_schema_extra={"default": "UTC"},
    )
    acts: Acts = Field(
        description=(
            "What may begin then: `restart` of guests with `update.restart: window`, `delete` of"
            " guests. `migrate` is for when guests can be moved."
        ),
        examples=[["restart", "migrate"]],
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> PoolWindow:
        if (self.allow is None) == (self.deny is None):
            both = self.allow is not None
            raise refuse(
                "says both allow and deny" if both else "says neither allow nor deny",
                "keep one of them" if both else 'write when it opens, as in allow: "0 2 * * *"',
            )
        return self
