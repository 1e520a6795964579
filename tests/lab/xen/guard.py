"""Keep a machine from outliving its owner.

Run as a program of its own: ``guard.py FOLDER COMMAND…`` starts the command in the folder and
waits. When the owner closes the guard's standard input, which the kernel does for an owner that
was killed, the machine ends and its folder goes. A machine that ended by itself leaves its folder
to the owner. The machine in turn gets a signal if the guard itself is killed, so that no order of
deaths leaves it running. It is a process and not a thread because that signal follows the thread
that asked for it.
"""

import os
import select
import shutil
import subprocess
import sys


def main() -> int:
    """Watch over one machine from its start to its end."""
    folder, *command = sys.argv[1:]
    machine = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command], cwd=folder, stdin=subprocess.DEVNULL
    )
    ended = os.pidfd_open(machine.pid)
    ready, _, _ = select.select([sys.stdin, ended], [], [])
    machine.kill()
    machine.wait()
    if sys.stdin in ready:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
