"""``python -m bench``: measure everything, write ``bench/RESULTS.md`` and ``bench/passes.png``."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import libvirt

from bench import loading, observing, passing, peer
from bench.figures import Figure, draw, milliseconds, write_page

SIZES = (100, 1_000, 10_000)
_PEER_GUESTS = 100
_PEER_RATIO = 100.0


def main() -> int:
    """Measure, write, and say which targets are missed; missing one is no error of the run."""
    parser = argparse.ArgumentParser(description="Each target of the design, beside its floor.")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="GUESTS")
    parser.add_argument("--no-peer", action="store_true", help="leave Ansible out")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    notes: list[str] = []
    passes: list[tuple[int, float, float]] = []
    memory: list[tuple[int, float]] = []
    versions = [
        f"Python {platform.python_version()}",
        "libvirt {}.{}.{}".format(*_parts(libvirt.getVersion())),
    ]
    for guests in arguments.sizes:
        _say(f"{guests} guests: repository and passes")
        with tempfile.TemporaryDirectory(prefix="domops-bench-") as name:
            ground = passing.make(Path(name), guests)
            figures.append(loading.cold_load(ground.files, guests, datetime.now(UTC)))
            figure, warm_s, fresh_s = passing.quiet_pass(ground)
            figures.append(figure)
            passes.append((guests, warm_s, fresh_s))
            figures.append(passing.changed_manifest(ground))
            figures.append(passing.push_to_first_call(ground))
            figures.append(passing.event_to_look(ground))
        _say(f"{guests} guests: a real libvirtd")
        with observing.real_host() as host, tempfile.TemporaryDirectory(prefix="domops-b-") as name:
            folder = Path(name)
            observing.stopped_fleet(host, folder, guests)
            figures.extend(observing.look(host, guests))
            figures.append(observing.memory(folder, guests))
            memory.append((guests, figures[-1].value))
            if guests == _PEER_GUESTS and not arguments.no_peer:
                _say("the peer")
                figures.append(_against_the_peer(folder, notes, versions))
    draw(passes, memory)
    print(write_page(figures, notes, versions))
    return 0


def _against_the_peer(folder: Path, notes: list[str], versions: list[str]) -> Figure:
    """Nothing to do for 100 guests: the peer's play, our pass, our whole command."""
    pass_s = observing.quiet_fresh_pass(folder)
    command_s = observing.quiet_command(folder)
    peer_s, version = peer.nothing_to_do(folder, _PEER_GUESTS)
    versions.append(version)
    notes.append(
        f"The peer is {version} with community.libvirt: a loop over {_PEER_GUESTS} running guests"
        " of libvirt's test driver, which answers at once. It took"
        f" {milliseconds(peer_s)}; a pass of domops that asks a real libvirtd anew"
        f" {milliseconds(pass_s)} ({peer_s / pass_s:.0f} × faster), a whole `domops plan` from"
        f" shell to shell {milliseconds(command_s)} ({peer_s / command_s:.0f} ×)."
    )
    return Figure(
        work="nothing to do, every host asked, beside Ansible's community.libvirt",
        guests=_PEER_GUESTS,
        floor=f"Ansible {milliseconds(peer_s)}",
        ours=milliseconds(pass_s),
        value=pass_s / peer_s * _PEER_RATIO,
        unit="% of the peer",
        bound=1.0,
        target="≥ 100 × faster",
    )


def _parts(number: int) -> tuple[int, int, int]:
    return number // 10**6, number // 1000 % 1000, number % 1000


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
