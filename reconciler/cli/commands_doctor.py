"""The command that looks for what will go wrong: doctor."""

from difflib import get_close_matches
from typing import Annotated

import typer

from reconciler.cli import documents
from reconciler.cli.commands_seeing import opened, show
from reconciler.cli.exits import ExitCode
from reconciler.cli.failing import leave, refuse
from reconciler.cli.options import FromFolder, PlanForm, TextForm
from reconciler.cli.page import tame
from reconciler.cli.render_findings import render_findings
from reconciler.cli.session import Doors
from reconciler.model.checkup import Judgement


def doctor(
    doors: Doors,
    hosts: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Only these hosts.")
    ] = None,
    from_folder: FromFolder = None,
    everything: Annotated[bool, typer.Option("--all", help="Show also what is in order.")] = False,
    form: PlanForm = TextForm.TEXT,
) -> None:
    """Examine repository, controller and hosts: what is missing, and what to do about it.

    Asks the hosts and changes nothing. What cannot be seen is "not checked", never "ok". Exits 0 if
    there is no problem, 1 if there are some.
    """
    with opened(doors, from_folder=from_folder) as session:
        findings = session.examine()
    if hosts:
        there = sorted({one.host for one in findings if one.host is not None})
        for name in hosts:
            if name not in there:
                near = get_close_matches(name, there, n=1)
                hint = f' Did you mean "{near[0]}"?' if near else " domops get hosts lists them."
                refuse(f'no host "{tame(name)}" is in the commit in force.{hint}')
        findings = tuple(one for one in findings if one.host in hosts)
    show(
        form,
        lambda: documents.of_findings(findings),
        lambda page: render_findings(findings, page, everything=everything),
    )
    sound = all(one.judgement is not Judgement.PROBLEM for one in findings)
    leave(ExitCode.OK if sound else ExitCode.DIFFERENCES)
