"""The command line as a whole: its commands, its options up front, and its one way out."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli.commands_doctor import doctor
from reconciler.cli.commands_doing import apply, approve, run
from reconciler.cli.commands_files import init, schema, validate
from reconciler.cli.commands_holding import resume, suspend
from reconciler.cli.commands_import import import_
from reconciler.cli.commands_seeing import describe, diff, events, get, history, plan, why
from reconciler.cli.commands_trash import trash
from reconciler.cli.examples import epilog
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import guarded, leave
from reconciler.cli.locating import locating
from reconciler.cli.opening import open_session
from reconciler.cli.options import Config, InRepo, Ref, Repo, StateDir, Where
from reconciler.cli.rolling_back import rollback
from reconciler.cli.session import Doors
from reconciler.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="domops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Frames and colours are for people; a help text that is piped into a file has neither.
    rich_markup_mode="rich" if terminal().interactive else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="domops COMMAND --help has examples. Exit codes: 0 nothing left, 1 something, 2 error.",
)


def _version(wished: bool) -> None:
    """Show the version and leave."""
    if wished:
        terminal().write(f"domops {version('domops')}\n")
        leave(ExitCode.OK)


@app.callback()
def _domops(
    context: typer.Context,
    config: Config = None,
    state_dir: StateDir = None,
    repo: Repo = None,
    ref: Ref = None,
    path: InRepo = None,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """GitOps for virtual machines: a git repository says which guests exist, hosts are kept so."""
    del show_version
    where = Where(config=config, state_dir=state_dir, repo=repo, ref=ref, path=path)
    doors = context.obj if isinstance(context.obj, Doors) else Doors(opener=open_session)
    context.obj = replace(doors, where=where)


COMMANDS = (
    init,
    import_,
    validate,
    plan,
    apply,
    run,
    get,
    describe,
    diff,
    events,
    why,
    history,
    approve,
    rollback,
    suspend,
    resume,
    trash,
    doctor,
    schema,
)
"""In the order in which one meets them."""

for _command in COMMANDS:
    _name = _command.__name__
    app.command(_name, epilog=epilog(_name))(locating(_command))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(guarded(lambda: app(args=given, prog_name="domops")))
