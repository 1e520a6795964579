"""Render the reference of the manifests: one page a kind, every field of the grammar on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reconciler.manifests.grammar import fields_of
from reconciler.manifests.kinds import KINDS

if TYPE_CHECKING:
    from reconciler.manifests.grammar import FieldOfGrammar


def pages() -> dict[str, str]:
    """Every page by the name of its file, the overview as ``README.md``."""
    found = {f"{kind.lower()}.md": _page(kind) for kind in KINDS}
    found["README.md"] = _overview()
    return found


def _overview() -> str:
    lines = [
        "# Manifests",
        "",
        "A manifest is one YAML document with four fields: `apiVersion: domops/v1`, `kind`,",
        "`metadata` and `spec`. A file may hold several, with a line of `---` between them. Every",
        "`*.yaml` and `*.yml` file of the repository's folder is read, wherever it lies; files and",
        "folders whose name begins with a dot are not.",
        "",
        "YAML is read by the rules of version 1.2: only `true` and `false` are truth values, and",
        "an unquoted `no`, `on` or `52:54:00:12:34:56` is text. A key said twice, a merge key, a",
        "tag, an empty value and an unknown field are mistakes. A file has at most 1 MiB.",
        "",
        "A commit counts as a whole: one mistake anywhere, and the one before stays in force.",
        "",
        "Sizes always have a unit: `KiB` `MiB` `GiB` `TiB` `PiB` count by 1024, `kB` `MB` `GB`",
        "`TB` `PB` by 1000. Times are written `60s`, `5m`, `2h`, `30d`, `4w`.",
        "",
        "An editor can complete and check all of this: see [how](../../how-to/editor.md).",
        "",
        "| kind | what it is |",
        "|---|---|",
    ]
    lines += [f"| [{kind}]({kind.lower()}.md) | {_first_line(kind)} |" for kind in KINDS]
    lines += [
        "",
        "The [examples](../../../manifests/) are a small computing centre; the tests read them.",
        "",
    ]
    return "\n".join(lines)


def _page(kind: str) -> str:
    fields = fields_of(kind)
    built = [field for field in fields if not field.not_built]
    missing = [field for field in fields if field.not_built]
    lines = [f"# {kind}", "", *_paragraphs(KINDS[kind].__doc__), ""]
    lines += ["| field | takes | default | |", "|---|---|---|---|"]
    lines += [_row(field) for field in built]
    if missing:
        lines += [
            "",
            "## Not built yet",
            "",
            "The grammar has a place for these; this version refuses them by name.",
            "",
            "| field | | until then |",
            "|---|---|---|",
        ]
        lines += [
            f"| `{field.dotted}` | {field.description} | {field.not_built} |" for field in missing
        ]
    return "\n".join([*lines, ""])


def _row(field: FieldOfGrammar) -> str:
    default = f"`{field.default}`" if field.default else "*required*" if field.required else ""
    example = f" For example `{_flow(field.example)}`." if field.example is not None else ""
    return f"| `{field.dotted}` | {field.takes} | {default} | {field.description}{example} |"


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value)


def _paragraphs(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").strip().splitlines()]


def _first_line(kind: str) -> str:
    return _paragraphs(KINDS[kind].__doc__)[0].removesuffix(".")
