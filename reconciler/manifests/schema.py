"""Render the grammar as JSON Schema, for editors.

Draft 7, because that is what the YAML language server speaks best. ``domops.schema.json`` chooses
by ``kind``; beside it there is one schema a kind. What this version does not build is forbidden
with a note, so that an editor warns where domops would refuse. A schema checks one document on its
own: references, sums and duplicates are `domops validate`'s.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from reconciler.manifests.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import core_schema

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
ALL_KINDS: Final = "domops.schema.json"


def schemas() -> dict[str, dict[str, Json]]:
    """Every schema by the name of its file; the same on every machine and every day."""
    found: dict[str, dict[str, Json]] = {}
    for name, kind in KINDS.items():
        schema = kind.model_json_schema(by_alias=True, schema_generator=_Generator)
        found[file_of(name)] = {
            "$schema": DIALECT,
            "title": f"domops {name}",
            **{key: value for key, value in _plain(schema).items() if key != "title"},
        }
    found[ALL_KINDS] = _chooser()
    return found


def render() -> Mapping[str, str]:
    """The text of every schema by the name of its file."""
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }


def file_of(kind: str) -> str:
    """The name of the file with the schema of ``kind``."""
    return f"{kind.lower()}.schema.json"


def _chooser() -> dict[str, Json]:
    branches: list[Json] = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"$ref": file_of(name)},
        }
        for name in KINDS
    ]
    return {
        "$schema": DIALECT,
        "title": "domops manifest",
        "description": "A manifest of domops: one YAML document.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "domops/v1", "description": "The grammar's version."},
            "kind": {"enum": list(KINDS), "description": "What this manifest describes."},
        },
        "allOf": branches,
    }


class _Generator(GenerateJsonSchema):
    """pydantic's generator without what means nothing in a manifest: null, and titles."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """No value of a manifest is null; None only stands for a field that is not there."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default of None or of a whole map is no default that a person could write."""
        inner = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if isinstance(default, str | bool | int | float) and "not" not in inner:
            return {**inner, "default": default}
        return inner

    def field_title_should_be_set(self, schema: object) -> bool:
        """The field's name is title enough."""
        del schema
        return False


def _plain(schema: Mapping[str, object]) -> dict[str, Json]:
    found = _simplified(schema)
    assert isinstance(found, dict)  # noqa: S101 - a mapping simplifies to a dict
    return found


def _simplified(value: object) -> Json:
    """Draft 7 ignores what stands beside ``$ref``, so the reference is put into an ``allOf``."""
    if isinstance(value, dict):
        found: dict[str, Json] = {
            "definitions" if key == "$defs" else str(key): _simplified(inner)
            for key, inner in value.items()
            if not (key == "title" and isinstance(inner, str))
        }
        if "patternProperties" in found:
            found["additionalProperties"] = False  # a key that does not fit is refused
        reference = found.get("$ref")
        if isinstance(reference, str):
            found["$ref"] = reference.replace("#/$defs/", "#/definitions/")
            if len(found) > 1:
                found["allOf"] = [{"$ref": found.pop("$ref")}]
        return found
    if isinstance(value, list | tuple):
        return [_simplified(each) for each in value]
    return value if isinstance(value, str | int | float | bool) else None
