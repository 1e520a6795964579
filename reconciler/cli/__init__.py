"""The command line: reads what a person wants, shows what domops knows, and decides nothing.

Every command ends in one of the exit codes of ``exits``; an expected error is one sentence on
standard error, never a traceback.
"""


def main() -> None:
    """Run one command and leave the process with its exit code; the script ``domops`` is this."""
    from reconciler.cli import app  # noqa: PLC0415 - a renderer must not bring all commands with it

    app.main()
