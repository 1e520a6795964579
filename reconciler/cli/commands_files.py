"""The commands about files: init, validate, schema. They ask no host."""

import re
from pathlib import Path
from typing import Annotated, assert_never
from uuid import uuid4

import typer

from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse, sentence
from reconciler.cli.options import ProblemForm
from reconciler.cli.session import Doors
from reconciler.cli.starter import starter_files
from reconciler.cli.terminal import terminal
from reconciler.cli.validating import allowed_here, problems_of_folder, problems_of_revision
from reconciler.manifests import problems
from reconciler.manifests.schema import render

EVERYTHING = "domops.schema.json"
"""The schema that chooses by kind, for an editor that is given one file only."""


def init(
    doors: Doors,
    folder: Annotated[Path, typer.Argument(help="Where; made if it is not there.")] = Path(),
) -> None:
    """Begin a repository of manifests: its id, a first pool, and what to write next."""
    del doors  # a repository is begun before there is anything to look at
    target = folder.resolve()
    files = starter_files(uuid4(), name=_name_of(target))
    taken = [path for path in files if (target / path).exists()]
    if taken:
        refuse(f"{folder / taken[0]} is there already, and init overwrites nothing.")
    try:
        for path, text in files.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with (target / path).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        refuse(f"{error.filename or folder}: {error.strerror}.")
    terminal().write(
        "".join(f"wrote {folder / path}\n" for path in files)
        + "\nNext:\n"
        + f"  1. write a host and a guest: {folder / 'hosts/README.md'} and "
        + f"{folder / 'guests/README.md'} have the first ones\n"
        + f"  2. domops validate {folder}\n"
        + "  3. git init, git add, git commit\n"
        + f"  4. domops plan --repo {folder}\n"
        + "  5. domops apply, or domops run to keep it so\n"
    )


def _name_of(folder: Path) -> str:
    """A name for the repository that manifests allow, after its folder's."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:40].strip("-")
    return name if name[:1].isalpha() else "manifests"


def validate(
    doors: Doors,
    folder: Annotated[
        Path | None, typer.Argument(help="The folder to check; this one unless --rev is given.")
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--rev", metavar="REV", help="Check a commit, branch or tag of --repo."),
    ] = None,
    form: Annotated[
        ProblemForm, typer.Option("-o", "--output", help="How to write the problems.")
    ] = ProblemForm.TEXT,
) -> None:
    """Check manifests and show every problem at once, with its place and what to do.

    Exits 0 if there is none, 1 if there are some. A warning tells what something allowed costs,
    and is no problem. What only a controller's settings can allow (paths, overlays and devices of
    hosts) is checked where they are: by --config, or at their usual place.
    """
    if folder is not None and revision is not None:
        refuse("a folder and --rev exclude each other: --rev is about a repository, see --repo.")
    allowed = allowed_here(doors.where)
    if revision is None:
        found = problems_of_folder(folder or Path(), allowed)
    else:
        found = problems_of_revision(revision, doors.where, allowed)
    told = problems.in_order((*found.problems, *found.warnings))
    match form:
        case ProblemForm.TEXT:
            text = problems.render_text(told, files=found.files)
        case ProblemForm.JSON:
            text = problems.render_json(told, files=found.files)
        case ProblemForm.GITHUB:
            text = problems.render_github(told)
        case ProblemForm.GITLAB:
            text = problems.render_gitlab(told)
        case _:
            assert_never(form)
    terminal().write(text)
    if allowed is None and form is ProblemForm.TEXT:
        sentence(
            "not checked: whether the controller allows the paths, overlays and devices of hosts"
            " that manifests name. --config FILE takes its settings."
        )
    leave(ExitCode.DIFFERENCES if found.problems else ExitCode.OK)


def schema(
    doors: Doors,
    folder: Annotated[
        Path | None, typer.Argument(help="Write one file a kind here, instead of showing one.")
    ] = None,
) -> None:
    """Show the JSON Schema of the manifests, or write all of them into a folder."""
    del doors  # schemas come with the program
    made = render()
    if folder is None:
        terminal().write(made[EVERYTHING])
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        refuse(f"{error.filename or folder}: {error.strerror}.")
    terminal().write("".join(f"wrote {folder / name}\n" for name in made))
