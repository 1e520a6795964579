"""What becomes of an error: one sentence on standard error, and an exit code.

A traceback helps whoever mends domops and nobody else. It is put into a file, or shown when
``DOMOPS_DEBUG`` is set.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from reconciler.cli.exits import ExitCode
from reconciler.cli.page import tame
from reconciler.cli.terminal import ReaderGoneError
from reconciler.errors import DomopsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

DEBUG = "DOMOPS_DEBUG"


def sentence(text: str) -> None:
    """Put one sentence on standard error; or several, each on a line of its own."""
    for line in text.splitlines():
        typer.echo(f"domops: {tame(line)}", err=True)


def leave(code: ExitCode) -> NoReturn:
    """End the command with ``code``."""
    raise typer.Exit(int(code))


def refuse(text: str) -> NoReturn:
    """End the command because it cannot do what it was asked, and say why."""
    sentence(text)
    leave(ExitCode.ERROR)


class Interrupted(BaseException):
    """Ctrl-C. Not a ``KeyboardInterrupt``, which Typer would turn into exit code 1: "changes"."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C be an exit code of its own."""

    def heard(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def guarded(command: Callable[[], None]) -> int:
    """Run the whole command line and return its exit code; nothing that it raises gets out."""
    try:
        with _interruptible():
            command()
    except DomopsError as error:
        sentence(str(error))
        _shown_if_wished()
        return ExitCode.ERROR
    except (Interrupted, KeyboardInterrupt):
        sentence("interrupted; whatever had begun is in the journal.")
        return ExitCode.INTERRUPTED
    except ReaderGoneError:
        # What is left in the buffer has nowhere to go; without this the interpreter would
        # complain about it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ERROR
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else ExitCode.ERROR
    except Exception as error:  # noqa: BLE001 - the last door: nobody above could answer
        kind = type(error).__name__
        if os.environ.get(DEBUG):
            traceback.print_exc()
            sentence(f"this is a fault of domops ({kind}).")
        else:
            kept = _kept()
            sentence(
                f"this is a fault of domops ({kind}: {error}); "
                + (f"the traceback is in {kept}." if kept else f"{DEBUG}=1 shows the traceback.")
            )
        return ExitCode.ERROR
    return ExitCode.OK


def _shown_if_wished() -> None:
    """The traceback of an expected error, for whoever asked for it."""
    if os.environ.get(DEBUG):
        traceback.print_exc()


def _kept() -> Path | None:
    """Put the traceback into a file of its own, and say where; None if there is no room for it."""
    try:
        with tempfile.NamedTemporaryFile(
            mode="w", encoding="utf-8", prefix="domops-", suffix=".traceback", delete=False
        ) as kept:
            kept.write(traceback.format_exc())
    except OSError:
        return None
    return Path(kept.name)
