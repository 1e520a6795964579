"""How to go back to what was in force before: told, not done, since domops writes into no clone."""

import shlex
from typing import Annotated

import typer

from reconciler.cli.commands_seeing import opened
from reconciler.cli.failing import refuse
from reconciler.cli.page import tame
from reconciler.cli.session import Asked, Doors, History
from reconciler.cli.terminal import terminal
from reconciler.journal.records import EventKind
from reconciler.model.names import Sha

_LOOKED_BACK = 10_000
_FEW = 5


def rollback(
    doors: Doors,
    commit: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMIT",
            help="The commit to go back to; the one that was in force before, unless said.",
        ),
    ] = None,
) -> None:
    """Say how to go back to what was in force before.

    Going back is a commit like any other, made and pushed by you in a clone of the repository. It
    undoes all that came since, in the folder of the manifests alone. For a single commit
    `git revert` does as well.
    """
    with opened(doors) as session:
        past = session.history(Asked(limit=_LOOKED_BACK))
        folder = session.folder
    applied = [one.commit for one in past.events if one.kind is EventKind.COMMIT_APPLIED]
    newest_first = list(dict.fromkeys(sha for sha in reversed(applied) if sha is not None))
    if not newest_first:
        refuse("no commit is known to have been in force: domops has not run here yet.")
    now, earlier = newest_first[0], newest_first[1:]
    target = next((sha for sha in earlier if sha.startswith((commit or "").lower())), None)
    if target is None:
        known = "; ".join(_called(sha, past) for sha in earlier[:_FEW])
        wanted = f"{commit} was not in force before" if commit else "nothing was in force before"
        refuse(f"{wanted} {_called(now, past)}." + (f" There were: {known}." if known else ""))
    place = f":/{folder}" if folder else ":/"
    terminal().write(
        f"Now {_called(now, past)} is in force. To go back to {_called(target, past)},"
        " type in a clone of the repository:\n\n"
        f"  git restore --source={target} --staged --worktree -- {shlex.quote(place)}\n"
        f'  git commit -m "Go back to {target[:10]}"\n'
        "  git push\n\n"
        f"What that would do: domops plan --rev {target[:10]}\n"
    )


def _called(sha: Sha, past: History) -> str:
    """A commit as a person knows it: by the beginning of its name, and its subject."""
    info = past.commits.get(sha)
    return f'{sha[:10]} ("{tame(info.subject)}")' if info is not None else sha[:10]
