"""The commands that change something: apply, run, approve."""

import getpass
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from reconciler.cli import words
from reconciler.cli.commands_seeing import opened, outcome
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse, sentence
from reconciler.cli.options import FromFolder
from reconciler.cli.picture import Picture
from reconciler.cli.progress import Progress
from reconciler.cli.render_plan import next_acts, render_plan, summary
from reconciler.cli.session import Doors
from reconciler.cli.stopping import stopping_on
from reconciler.cli.terminal import terminal
from reconciler.model.names import PlanId
from reconciler.model.plan import PlannedStep
from reconciler.recording.log import LogForm


def apply(
    doors: Doors,
    from_folder: FromFolder = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Show the plan, ask, and carry it out until nothing moves any more.

    Steps of a pool in mode warn are let through: this is where they are asked for. No disruptive
    step begins that the plan did not show. Ctrl-C stops at the next safe point.
    """
    screen = terminal()
    with opened(doors, writing=True, from_folder=from_folder) as session:
        picture = session.look(enforce=True)
        screen.show(render_plan(picture, screen.page()))
        if not picture.steps:
            leave(outcome(picture))
        if not yes:
            _ask()
        with stopping_on(signal.SIGINT, signal.SIGTERM, says=_STOPPING) as stop:
            with Progress(screen, session.under_way) as progress:
                left = session.apply(permits=shown(picture), tell=progress.tell, stop=stop)
            if stop.is_set():
                begun = progress.begun()
                sentence(
                    f"stopped; still under way: {words.listed(begun)}."
                    if begun
                    else "stopped at a safe point; nothing is under way."
                )
                leave(ExitCode.INTERRUPTED)
    page = screen.page()
    screen.show([page.text(line) for line in [summary(left, page), *next_acts(left, page)]])
    leave(outcome(left))


_STOPPING = "stopping at the next safe point; a second Ctrl-C leaves at once."


def _ask() -> None:
    """Go on only if a person says yes."""
    if not sys.stdin.isatty():
        refuse("apply asks before it changes anything, and nobody is there; --yes answers.")
    if not typer.confirm("Carry this out?"):
        sentence("nothing was changed.")
        leave(ExitCode.DIFFERENCES)


def shown(picture: Picture) -> Callable[[PlannedStep], bool]:
    """Whether a step may begin after ``picture`` was shown: any but a disruptive surprise."""
    promised = {(one.step.guest, type(one.step)) for one in picture.steps if one.disruptive}

    def permits(planned: PlannedStep) -> bool:
        return not planned.disruptive or (planned.step.guest, type(planned.step)) in promised

    return permits


def run(
    doors: Doors,
    log_format: Annotated[
        LogForm | None,
        typer.Option(
            "--log-format", help="Log as text or as JSON; auto is text on a terminal only."
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="ADDRESS:PORT", help="Serve metrics and health here; see settings."
        ),
    ] = None,
) -> None:
    """Keep the hosts as the commits want them, until told to stop.

    Logs to standard error. SIGTERM and Ctrl-C let the steps under way come to a safe point.
    """
    own = {"log_format": log_format, "listen": listen}
    doors = replace(doors, where=replace(doors.where, more=own))
    with (
        opened(doors, writing=True) as session,
        stopping_on(signal.SIGINT, signal.SIGTERM) as stop,
    ):
        session.run(stop)


def approve(
    doors: Doors,
    plan_id: Annotated[str, typer.Argument(metavar="PLAN-ID", help="As the plan names it.")],
) -> None:
    """Let the held changes of one plan through; `domops plan` names its id.

    The same can be done in a later commit, with the trailer `Domops-Approve: PLAN-ID`. A commit
    that was not built on the one in force is let through in this way alone.
    """
    wanted = plan_id.strip().lower()
    with opened(doors) as session:
        release = session.release()
        if release == wanted:
            session.approve(PlanId(wanted))
            _tell_approval(wanted, "the newest commit is taken over, whatever it was built on")
            return
        held = session.look(ahead=False).plan.held
        chosen = [one for one in held if one.plan_id == wanted]
        if not chosen:
            ids = words.listed([*(one.plan_id for one in held), *([release] if release else [])])
            refuse(
                f"no held plan has the id {plan_id}; held now: {ids}."
                if ids
                else f"no held plan has the id {plan_id}: nothing is held now."
            )
        if chosen[0].protected:
            refuse(
                f"{chosen[0].message}. Protection is lifted by a commit alone: git commit "
                f'--allow-empty -m "Let it go" -m "Domops-Approve: {chosen[0].plan_id}".'
            )
        session.approve(PlanId(chosen[0].plan_id))
    _tell_approval(wanted, words.listed(chosen[0].guests, most=10))


def _tell_approval(plan_id: str, what: str) -> None:
    terminal().write(
        f"{getpass.getuser()} approved {plan_id}: {what}. "
        "A running domops takes it up at its next pass; otherwise domops apply does.\n"
    )
