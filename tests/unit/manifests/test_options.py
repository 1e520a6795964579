"""Options: what a manifest says of them, and which of them it mentions."""

from __future__ import annotations

import pytest

from reconciler.manifests.kinds.guest import GuestSpec
from reconciler.model.options import FIELDS, NO_OPTIONS, Options
from tests.unit.manifests.world import PLAIN, guest, guest_of


def test_a_guest_that_says_nothing_of_options_owns_none() -> None:
    plain = guest_of(PLAIN)
    assert plain.options == NO_OPTIONS
    assert plain.mentioned == ()


@pytest.mark.parametrize(
    ("said", "options"), [("rng: true", Options(rng=True)), ("rng: false", NO_OPTIONS)]
)
def test_what_is_written_is_mentioned_also_at_its_default(said: str, options: Options) -> None:
    """``rng: false`` means that there shall be none, which silence does not."""
    found = guest_of(f"{PLAIN}{said}")
    assert found.options == options
    assert found.mentioned == ("rng",)


def test_what_a_class_says_its_guests_mention() -> None:
    shared = guest("rng: true", name="small", kind="GuestClass")
    found = guest_of(f"{PLAIN}class: small", small=shared)
    assert found.options.rng
    assert found.mentioned == ("rng",)


def test_every_option_is_a_field_of_the_manifest() -> None:
    """A name in the table that no manifest can write would never be owned by anybody."""
    for field in FIELDS:
        model: object = GuestSpec
        for step in field.split("."):
            fields = {one.alias or name: one for name, one in model.model_fields.items()}  # type: ignore[attr-defined]  # a model of pydantic's
            assert step in fields, field
            model = next(
                (one for one in getattr(fields[step].annotation, "__args__", ()) if _model(one)),
                None,
            )


def _model(one: object) -> bool:
    return hasattr(one, "model_fields")
