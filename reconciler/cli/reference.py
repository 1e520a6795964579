"""The generated pages of the reference: commands, exit codes, reasons, events, settings, metrics.

Each is made from what the code says about itself, so that none can fall behind it.
"""

from __future__ import annotations

import inspect
import json
from enum import Enum
from typing import TYPE_CHECKING, get_args

from typer.models import ArgumentInfo, OptionInfo

from reconciler.cli import conditions
from reconciler.cli.app import COMMANDS
from reconciler.cli.examples import EXAMPLES
from reconciler.cli.exits import MEANINGS as EXIT_CODES
from reconciler.cli.locating import LOCATING
from reconciler.cli.reasons import MEANINGS as REASONS
from reconciler.cli.render_findings import MEANINGS as CHECKS
from reconciler.journal.records import Outcome
from reconciler.recording.log import FIELDS
from reconciler.recording.log import MEANINGS as EVENTS
from reconciler.recording.metrics import families as metrics
from reconciler.recording.metrics.domains import OF_HOSTS
from reconciler.settings import ENVIRONMENT_PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.recording.metrics.text import Family


def pages() -> dict[str, str]:
    """Every page by its path below ``docs/reference/``."""
    return {
        "commands.md": _commands(),
        "exit-codes.md": _exit_codes(),
        "reasons.md": _reasons(),
        "events.md": _events(),
        "checks.md": _checks(),
        "settings.md": _settings(),
        "metrics.md": _metrics(),
    }


def _page(title: str, *lines: str) -> str:
    """A page as its file has it."""
    return "\n".join([f"# {title}", "", *lines]).rstrip() + "\n"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    """A table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines]


def _commands() -> str:
    """Every command with its arguments, options and examples."""
    lines = [
        "Every command says where to look with the options below, before or after its name. What",
        "is not said there comes from the environment, then from the configuration file; see",
        "[settings](settings.md). How a command ends is in [exit codes](exit-codes.md).",
        "",
        *_table(("option", "meaning"), _parameters(LOCATING)),
        "| `--version` | Show the version. |",
        "| `-h`, `--help` | Show what the command does, with examples. |",
        "",
    ]
    for command in COMMANDS:
        name = command.__name__
        lines += [f"## domops {name}", "", inspect.getdoc(command) or "", ""]
        own = {
            one.name: one.annotation
            for one in inspect.signature(command, eval_str=True).parameters.values()
        }
        rows = list(_parameters(own))
        if rows:
            lines += [*_table(("argument or option", "meaning"), iter(rows)), ""]
        lines += ["```sh"]
        lines += [f"{one.line}   # {one.says}" for one in EXAMPLES[name]]
        lines += ["```", ""]
    return _page("Commands", *lines)


def _parameters(annotations: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Each parameter as a user writes it, and what it means."""
    for name, annotation in annotations.items():
        if not get_args(annotation):
            continue
        kind, *facts = get_args(annotation)
        for fact in facts:
            if isinstance(fact, OptionInfo):
                # Inside Annotated, Typer keeps the first flag where a default would stand.
                flags = ", ".join(f"`{flag}`" for flag in (fact.default, *(fact.param_decls or ())))
                value = fact.metavar or _choices(kind)
                yield f"{flags} {f'`{value}`' if value else ''}".strip(), fact.help or ""
            elif isinstance(fact, ArgumentInfo):
                shown = fact.metavar or _choices(kind) or name.replace("_", "-").upper()
                yield f"`{shown}`", fact.help or ""


def _choices(kind: object) -> str:
    """The words that an enumeration takes; for a number, that it is one."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return "N" if kind is int else ""


def _exit_codes() -> str:
    """Every exit code and what it promises."""
    rows = ((str(int(code)), f"`{code.name}`", text) for code, text in EXIT_CODES.items())
    return _page("Exit codes", *_table(("code", "name", "meaning"), iter(rows)))


def _reasons() -> str:
    """Every reason that a plan or a condition can have."""
    lines = [
        "Whatever is not done has a reason, in `plan`, `get`, `describe` and in the conditions of",
        "a guest's status. A reason is a constant: it keeps its name and its meaning.",
        "",
        "## Reasons of changes",
        "",
    ]
    for reason, meaning in sorted(REASONS.items(), key=lambda item: item[0].value):
        lines += [f"### {reason.value}", "", meaning.means, "", f"What to do: {meaning.to_do}", ""]
    lines += [
        "## Reasons of conditions only",
        "",
        "A condition takes the reason of the change that most needs a person; where there is no",
        "change, one of these.",
        "",
        *_table(
            ("reason", "meaning", "what to do"),
            (
                (f"`{reason.value}`", means, to_do)
                for reason, (means, to_do) in conditions.MEANINGS.items()
            ),
        ),
        "",
        "Conditions: " + ", ".join(f"`{one.value}`" for one in conditions.ConditionType) + ".",
    ]
    return _page("Reasons", *lines)


def _checks() -> str:
    """Everything that the doctor looks at."""
    return _page(
        "Checks",
        "What `domops doctor` looks at. Each check comes out as `ok`, `notice` (worth knowing,",
        "breaks nothing), `problem` (what to do is said) or `not checked` (it cannot be seen from",
        "here; how a person can look is said).",
        "",
        *_table(("check", "about"), ((f"`{check.value}`", text) for check, text in CHECKS.items())),
    )


def _events() -> str:
    """Every kind of event, and the fields of a line of the log."""
    outcomes = inspect.cleandoc(Outcome.__doc__ or "").split("\n\n", 1)[1]
    return _page(
        "Events",
        "What `domops events` shows and `domops run` logs. The journal keeps them; it may be lost",
        "without harm to a guest.",
        "",
        *_table(("kind", "meaning"), ((f"`{kind.value}`", text) for kind, text in EVENTS.items())),
        "",
        "## The log",
        "",
        "`domops run` logs every event as a line on standard error, and nothing else: what a",
        "library warns of, and what a thread dies of, is an event of the kind `trouble`. The",
        "setting [log_format](settings.md) and `--log-format` say whether the line is text for",
        "people or a JSON object for programs. Kinds and fields keep their names and meanings.",
        "",
        *_table(("field", "meaning"), ((f"`{name}`", text) for name, text in FIELDS.items())),
        "",
        "## Outcomes",
        "",
        *_outcomes(outcomes),
    )


def _outcomes(told: str) -> list[str]:
    """The sentences of the docstring, by the value that each member of ``Outcome`` is shown as."""
    words = " ".join(told.split())
    for outcome in Outcome:
        words = words.replace(f"``{outcome.name}``", f"\n- **{outcome.value}**")
    return [line.strip() for line in words.splitlines() if line.strip()]


def _metrics() -> str:
    """Every metric that is ever given."""
    return _page(
        "Metrics",
        "What `domops run` gives to Prometheus where the setting [listen](settings.md) is set. A",
        "series is there as long as what it is about; what is not known has none.",
        "",
        "## /metrics",
        "",
        *_families(metrics.OF_PASSES + metrics.OF_INSTRUMENTS),
        "",
        "Besides these there are `process_*`: memory, processor time and open files of domops.",
        "",
        "## /metrics/host/NAME",
        "",
        "What the guests of one host use, asked of the host at every scrape. The names are those",
        "of the libvirt exporters. What a hypervisor does not count has no series.",
        "",
        *_families(OF_HOSTS),
    )


def _families(families: tuple[Family, ...]) -> list[str]:
    rows = (
        (
            f"`{one.name}`",
            one.kind.value,
            ", ".join(f"`{label}`" for label in one.labels),
            one.means,
        )
        for one in families
    )
    return _table(("metric", "type", "labels", "meaning"), rows)


def _settings() -> str:
    """Every setting of the controller, with its default and its reason."""
    lines = [
        "Settings belong to whoever operates domops, not to the repository. Each comes from its",
        "default, a TOML file (`--config`, or `DOMOPS_CONFIG`, or `/etc/domops/domops.toml` if it",
        "is there), the environment, or the command line; the later outdoes the earlier.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        default = "by who runs it, see above"
        if not field.is_required():
            default = f"`{json.dumps(field.default)}`"
        lines += [
            f"## {name}",
            "",
            field.description or "",
            "",
            f"Default: {default} · environment: `{ENVIRONMENT_PREFIX}{name.upper()}`",
            "",
        ]
    lines += [
        "## An example",
        "",
        "```toml",
        "# /etc/domops/domops.toml",
        'repository = "https://git.example.org/centre/guests.git"',
        'ref = "main"',
        'kernel_prefixes = ["/boot/guest"]',
        'host_devices = ["kvm-a/usb/046d:c52b"]',
        'listen = "127.0.0.1:9177"',
        "```",
    ]
    return _page("Settings", *lines)
