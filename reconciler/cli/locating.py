"""Give commands the options that say where to look, and what they need to look with."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import typer

from reconciler.cli.options import Config, InRepo, Ref, Repo, StateDir, Where
from reconciler.cli.session import Doors

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")

LOCATING = {"config": Config, "state_dir": StateDir, "repo": Repo, "ref": Ref, "path": InRepo}
"""The options, by the names of the fields of ``Where``."""


def locating(
    command: Callable[Concatenate[Doors, Parameters], None],
) -> Callable[Parameters, None]:
    """Give ``command`` the options that say where to look; its first argument are the doors.

    Typer reads a signature, so the signature is what is changed: five options and the context take
    the place of the doors. What is said after the command's name wins over what is said before it.
    """
    signature = inspect.signature(command, eval_str=True)
    _doors, *others = signature.parameters.values()

    @functools.wraps(command)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        context = kwargs.pop("context")
        here = Where(**{name: kwargs.pop(name) for name in LOCATING})  # type: ignore[arg-type]
        doors = getattr(context, "obj", None)
        if not isinstance(doors, Doors):
            raise TypeError("the command line was started without its doors")
        command(replace(doors, where=here.over(doors.where)), *args, **kwargs)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(other.replace(kind=keyword) for other in others),
        *(
            inspect.Parameter(name, keyword, default=None, annotation=kind)
            for name, kind in LOCATING.items()
        ),
    ]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called
