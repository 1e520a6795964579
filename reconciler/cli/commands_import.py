"""The command that writes down what is on a host: import."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli import words
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse
from reconciler.cli.page import tame
from reconciler.cli.session import Doors
from reconciler.cli.terminal import terminal
from reconciler.cli.validating import read_folder
from reconciler.errors import RefusedError, StalledError
from reconciler.hypervisor.port import Surveyor
from reconciler.importing import (
    Imported,
    Layout,
    Place,
    Request,
    Sketch,
    choose,
    find_place,
    sketch_file,
    write_up,
)
from reconciler.manifests.surroundings import Allowed
from reconciler.model.desired import DesiredWorld
from reconciler.model.observed import ObservedHost
from reconciler.settings import load_settings

XEN_HERE = "xen:///system"
"""The Xen host that reads xl's files unless another is said: this machine, which has the files."""


def import_(
    doors: Doors,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST|URI [NAME]...",
            help="A host of the repository or a libvirt URI, and the domains; all if none is "
            "named. With --xl: files.",
        ),
    ],
    into: Annotated[
        Path,
        typer.Option(
            "--into", metavar="FOLDER", help="The folder of the manifests; this one unless set."
        ),
    ] = Path(),
    layout: Annotated[
        Layout, typer.Option("--one-file-per", help="What a file of guests holds.")
    ] = Layout.GUEST,
    pool: Annotated[
        str | None, typer.Option("--pool", help="The pool of a host that has no manifest yet.")
    ] = None,
    xl: Annotated[
        bool, typer.Option("--xl", help="Read configuration files of xl, not a host's domains.")
    ] = False,
    via: Annotated[
        str | None,
        typer.Option(
            "--via",
            metavar="HOST|URI",
            help=f"With --xl: the Xen host whose libvirt reads them; {XEN_HERE} unless set.",
        ),
    ] = None,
) -> None:
    """Write manifests for what is on a host, so that a commit of them adopts it.

    No file is overwritten, nothing is changed on the host, and no secret is written. What no
    manifest can say is left as it is and told in a comment. Exits 1 if a guest was left out.
    """
    if via is not None and not xl:
        refuse("--via is about --xl: it says which Xen host reads the files.")
    repository, resolved = read_folder(into)
    world = resolved.world
    if world is None:
        refuse(f"{into} does not validate, or is no repository yet: see domops validate {into}.")
    settings = load_settings(config=doors.where.config, overrides=doors.where.overrides())
    place = find_place(via or XEN_HERE if xl else what[0], world, pool)
    with _opened(doors, place) as surveyor:
        seen = surveyor.observe()
        sketches, left_out = (
            _from_files(surveyor, seen, world, what)
            if xl
            else _from_host(surveyor, seen, world, what[1:])
        )
    request = Request(
        repository=repository,
        world=world,
        host=seen,
        around=place.manifests(seen),
        layout=layout,
        allowed=Allowed(
            kernel_prefixes=settings.kernel_prefixes,
            device_prefixes=settings.device_prefixes,
            file_prefixes=settings.file_prefixes,
        ),
        now=datetime.now(UTC),
    )
    imported = write_up(request, sketches)
    left_out = {**left_out, **imported.unwritten}
    if imported.guests:
        _write(into, imported.files)
    _tell(into, imported, left_out)
    leave(ExitCode.DIFFERENCES if left_out else ExitCode.OK)


import_.__name__ = "import"  # as a user types it; Python keeps the word for itself


@contextmanager
def _opened(doors: Doors, place: Place) -> Iterator[Surveyor]:
    surveyor = doors.surveyor(place.name, place.uri)
    try:
        yield surveyor
    finally:
        surveyor.close()


def _from_host(
    surveyor: Surveyor, seen: ObservedHost, world: DesiredWorld, names: Sequence[str]
) -> tuple[Sequence[Sketch], Mapping[str, str]]:
    """The domains that are to be written, and those that are passed over with the reason."""
    choice = choose(seen, surveyor.outlines(), world, names=names)
    if choice.unknown:
        refuse(f"{seen.name} has no domain called {words.listed(choice.unknown)}.")
    return choice.sketches, choice.passed_over


def _from_files(
    surveyor: Surveyor, seen: ObservedHost, world: DesiredWorld, files: Sequence[str]
) -> tuple[Sequence[Sketch], Mapping[str, str]]:
    """The guests of xl's files; one that cannot be read ends the command, named with its reason."""
    sketches: list[Sketch] = []
    for file in files:
        try:
            config = Path(file).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            refuse(f"{file}: is no text in UTF-8.")
        except OSError as error:
            refuse(f"{file}: {error.strerror}.")
        try:
            native = surveyor.read_xl(config)
        except (RefusedError, StalledError) as error:
            refuse(f"{file}: {error}")
        sketches.append(sketch_file(native, seen, world, beside=sketches))
    return sketches, {}


def _write(into: Path, files: Mapping[str, str]) -> None:
    """Write every file, or none if one of them is there already."""
    there = [path for path in sorted(files) if (into / path).exists()]
    if there:
        listed = words.listed(str(into / path) for path in there)
        refuse(f"{listed}: there already, and import overwrites nothing.")
    try:
        for path, text in sorted(files.items()):
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            with (into / path).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        refuse(f"{error.filename or into}: {error.strerror}.")


def _tell(into: Path, imported: Imported, left_out: Mapping[str, str]) -> None:
    """What was written, what of it is left as it is, and what was passed over."""
    lines: list[str] = []
    if imported.guests:
        lines += [f"wrote {into / path}" for path in sorted(imported.files)]
    for sketch in imported.guests:
        if sketch.left_out:
            lines.append(f"{sketch.name}: left as it is: {words.listed(sketch.left_out)}")
    lines += [f"not written: {name}: {why}" for name, why in sorted(left_out.items())]
    number = len(imported.guests)
    lines += ["", f"{words.counted(number, 'guest')} written. Nothing was changed on the host."]
    if number:
        lines.append(
            f"Next: read them, domops plan --from {into}, commit. The plan shows what is adopted."
        )
    terminal().write("".join(f"{tame(line)}\n" for line in lines))
