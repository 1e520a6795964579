"""``python -m tests.demo [--keep]``: tell the story; exit 1 if it did not come true."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.demo.stage import Stage
from tests.demo.story import Story
from tests.demo.telling import StoryBroken, Teller
from tests.lab.qemu import LabError


def main() -> int:
    """Tell the story and say how it ended."""
    parser = argparse.ArgumentParser(description="The main job of domops on real guests.")
    parser.add_argument("--keep", action="store_true", help="leave it running until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, _as_interrupt)
    teller = Teller(clock=time.monotonic, began=time.monotonic())
    with tempfile.TemporaryDirectory(prefix="domops-demo-") as folder:
        stage = Stage(Path(folder))
        try:
            with stage:
                Story(stage, teller).tell()
                teller.note(f"\nThe story came true: {teller.checks} checks in its own words.")
                teller.note("Next: README.md, manifests/ (a whole computing centre), docs/.")
                if keep:
                    _keep(stage, teller)
        except (StoryBroken, LabError) as broken:
            sys.stderr.write(f"\nThe story broke: {broken}\n")
            if stage.log.exists():
                log = stage.log.read_text().splitlines()[-40:]
                sys.stderr.write("The controller's last words:\n" + "\n".join(log) + "\n")
            return 1
        except KeyboardInterrupt:
            sys.stderr.write("\nStopped; nothing is left behind.\n")
            return 130
    return 0


def _keep(stage: Stage, teller: Teller) -> None:
    stage.start_controller()
    teller.note(f"It goes on: repository {stage.repository.folder}, libvirt {stage.host.uri}")
    teller.note(
        f"Try: domops --repo {stage.repository.folder} --state-dir {stage.state} get guests"
    )
    teller.note("Ctrl-C ends it and leaves nothing behind.")
    signal.pause()


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
