"""The labs' tiny guest: a Debian kernel, a shell for an init, and a habit of saying how it is.

About once a second it prints one line on its console, ``SAYS`` and a JSON object, so that a test
can hold what domops did against what the guest itself sees.
"""

from tests.lab.guest.build import GuestFiles, build_guest

__all__ = ["GuestFiles", "build_guest"]
