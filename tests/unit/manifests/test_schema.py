"""What an editor refuses and what domops refuses are one: both come out of the same models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from reconciler.manifests.compose import compose
from reconciler.manifests.construct import Constructor
from reconciler.manifests.grammar import fields_of
from reconciler.manifests.kinds import KINDS
from reconciler.manifests.reference import pages
from reconciler.manifests.schema import render, schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[3]
JsonSchema = bool | Mapping[str, object]
BAD = CHECKOUT / "tests" / "cases" / "bad"

REGISTRY: Registry[JsonSchema] = Registry().with_resources(
    [(name, DRAFT7.create_resource(schema)) for name, schema in schemas().items()]
)
VALIDATOR = jsonschema.Draft7Validator(schemas()["domops.schema.json"], registry=REGISTRY)


def documents(path: Path) -> Iterator[object]:
    """The documents of a file as an editor sees them: lists are lists."""
    nodes, faults = compose(path.read_bytes())
    assert faults == []
    for node in nodes:
        yield json.loads(json.dumps(Constructor().construct(node)))


def test_each_schema_is_a_schema() -> None:
    for schema in schemas().values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_the_schemas_that_are_committed_are_those_of_the_models() -> None:
    committed = {path.name: path.read_text() for path in (CHECKOUT / "schemas").iterdir()}
    assert committed == render(), "run `make schema` and commit what it writes"


def test_the_pages_that_are_committed_are_those_of_the_models() -> None:
    folder = CHECKOUT / "docs" / "reference" / "manifests"
    committed = {path.name: path.read_text().split("\n\n", 1)[1] for path in folder.iterdir()}
    assert committed == pages(), "run `make docs` and commit what it writes"


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "manifests").rglob("*.yaml")), ids=lambda path: path.name
)
def test_the_examples_fit_the_schema(path: Path) -> None:
    for document in documents(path):
        VALIDATOR.validate(document)


SEEN_BY_AN_EDITOR = (
    "heading-unknown-field",
    "heading-unknown-kind",
    "name-capital",
    "name-too-long",
    "label-is-a-number",
    "guest-unknown-field",
    "guest-unknown-field-in-disk",
    "guest-type-unknown",
    "guest-cpus-zero",
    "guest-cpus-quoted",
    "guest-memory-bare-number",
    "guest-memory-unknown-unit",
    "guest-kernel-dot-dot",
    "guest-disk-without-name",
    "guest-disk-target-odd",
    "guest-disk-image-path",
    "guest-disk-device-relative",
    "guest-mac-short",
    "guest-console-yes",
    "guest-snapshot-name-odd",
    "guest-loader-pvgrub",
    "host-no-uri",
    "host-drained-not-built",
    "host-ssh-not-built",
    "pool-budget-percent",
    "pool-window-unknown-act",
    "storage-lvm-not-built",
    "storage-shared-not-built",
    "repository-id-odd",
)


@pytest.mark.parametrize("name", SEEN_BY_AN_EDITOR)
def test_an_editor_underlines_what_domops_would_refuse(name: str) -> None:
    (document,) = documents(BAD / f"{name}.yaml")
    assert list(VALIDATOR.iter_errors(document))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described_and_says_what_it_takes(kind: str) -> None:
    for field in fields_of(kind):
        assert field.description.endswith("."), field.dotted
        assert field.takes, field.dotted


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_must_be_written_has_an_example(kind: str) -> None:
    """The hint of a missing field shows it; the heading is shown by every manifest."""
    for field in fields_of(kind):
        if field.required and len(field.path) > 1 and not field.not_built:
            assert field.example is not None, field.dotted


def grammar_of_the_design() -> set[str]:
    return {
        *("Host.spec.ssh.address", "Host.spec.migration.address", "Host.spec.reserve.memory"),
        *("Pool.spec.migrations.perHost", "Pool.spec.windows[].for", "Pool.spec.cpu.baseline"),
        *("Pool.spec.overcommit.memory", "Pool.spec.budget.restarts", "Pool.spec.trash.keep"),
        *("Storage.spec.locking", "Storage.spec.metadataHost", "Storage.spec.shared"),
        *("Network.spec.vlan", "Network.spec.hosts.NAME.bridge"),
        *("Guest.spec.cpus.pin", "Guest.spec.cpus.weight", "Guest.spec.cpus.cap"),
        *("Guest.spec.boot.loader", "Guest.spec.disks[].device", "Guest.spec.disks[].file"),
        *(
            "Guest.spec.disks[].adopt",
            "Guest.spec.cloudInit.userData",
            "Guest.spec.cloudInit.rerun",
        ),
        *("Guest.spec.placement.avoid", "Guest.spec.startAfter", "Guest.spec.migration.maxPause"),
        *("Guest.spec.snapshots", "Guest.spec.bootstrap", "Guest.spec.xml", "Guest.spec.graphics"),
        *("Guest.metadata.formerName", "Guest.metadata.uuid", "GuestClass.spec.cloudInit"),
    }


def test_the_whole_grammar_of_the_design_has_its_place() -> None:
    known = {f"{kind}.{field.dotted}" for kind in KINDS for field in fields_of(kind)}
    assert grammar_of_the_design() <= known


def test_an_example_of_a_field_is_taken_by_it() -> None:
    """Every built field's example, put into a document, fits the field's own schema."""
    for kind in KINDS:
        schema = schemas()[f"{kind.lower()}.schema.json"]
        for field in fields_of(kind):
            if field.example is None or field.not_built:
                continue
            found = _schema_at(schema, field.path)
            validator = jsonschema.Draft7Validator(
                {"definitions": schema.get("definitions", {}), "allOf": [found]}
            )
            example = yaml.safe_load(json.dumps(field.example))
            assert list(validator.iter_errors(example)) == [], f"{kind} {field.dotted}"


def _schema_at(root: Mapping[str, object], path: tuple[str, ...]) -> object:
    node: object = root
    for step in path:
        node = _into(_resolved(root, node), step)
    return node


def _resolved(root: Mapping[str, object], node: object) -> dict[str, object]:
    assert isinstance(node, dict)
    for option in (node, *node.get("allOf", ()), *node.get("anyOf", ())):
        if "$ref" in option:
            definitions = root["definitions"]
            assert isinstance(definitions, dict)
            found = definitions[option["$ref"].removeprefix("#/definitions/")]
            assert isinstance(found, dict)
            return found
    return node


def _into(node: dict[str, object], step: str) -> object:
    match step:
        case "[]":
            return node["items"]
        case "*":
            free = node["patternProperties"]
            assert isinstance(free, dict)
            (value,) = free.values()
            return value
        case _:
            properties = node["properties"]
            assert isinstance(properties, dict)
            return properties[step]
