"""The command line: reads what a person wants, shows what domops knows, and decides nothing.

Every command ends in one of the exit codes of ``exits``; an expected error is one sentence on
standard error, never a traceback.
"""

from reconciler.cli.app import main

__all__ = ["main"]
