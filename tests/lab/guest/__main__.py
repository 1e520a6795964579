"""``python -m tests.lab.guest build``: make the guest's files, or find them made."""

import sys
import time

from tests.lab.guest.build import build_guest


def main() -> int:
    """Build the guest and say where it is."""
    if sys.argv[1:] != ["build"]:
        print("usage: python -m tests.lab.guest build", file=sys.stderr)
        return 2
    began = time.monotonic()
    files = build_guest()
    print(f"guest: {files.directory} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
