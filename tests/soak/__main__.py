"""``python -m tests.soak``: a controller in a storm; exit 1 if it did not converge or leaks."""

from __future__ import annotations

import argparse
import contextlib
import platform
import random
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import libvirt

from tests.demo.stage import AROUND, HOST, Stage
from tests.demo.telling import StoryBroken
from tests.lab.qemu import LabError
from tests.soak.samples import Growth, Sample, draw, growth, take
from tests.soak.storm import POOLS, Storm

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[2]
PICTURE, REPORT = CHECKOUT / "bench" / "soak.png", CHECKOUT / "bench" / "SOAK.md"
_EVERY_S = 2.0
_COMES_UP_S = 240.0
_CALMS_DOWN_S = 420.0
_SLACK_KIB = 1024


def main() -> int:
    """Run the storm and say how it ended."""
    parser = argparse.ArgumentParser(description="A controller under a storm of changes.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="repeat a storm")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % 1_000_000
    print(f"soak: {arguments.minutes:g} minutes, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="domops-soak-") as folder:
        stage = Stage(Path(folder))
        try:
            with stage:
                return _soak(stage, minutes=arguments.minutes, seed=seed)
        except (StoryBroken, LabError) as broken:
            log = stage.log.read_text().splitlines()[-40:] if stage.log.exists() else []
            print(f"soak: {broken}\nThe controller's last words:\n" + "\n".join(log))
            return 1


def _soak(stage: Stage, *, minutes: float, seed: int) -> int:
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    files = {"pools/main.yaml": POOLS, "around.yaml": AROUND}
    files["hosts/dom0-a.yaml"] = HOST.format(uri=stage.host.uri)
    stage.repository.commit("Begin", dict(files))
    storm = Storm(stage, random.Random(seed), clock)  # noqa: S311 - a storm, not a secret
    storm.begin()
    stage.start_controller()
    stage.until("every guest runs", lambda: not _amiss(stage, storm), _COMES_UP_S)
    samples: list[Sample] = []
    stop = threading.Event()
    watching = threading.Thread(target=_watch, args=(stage, samples, clock, stop), daemon=True)
    watching.start()
    try:
        storm.blow(clock() + minutes * 60, stop)
        storm.calm()
        took_s = stage.until(
            "the world is as the last commit wants it",
            lambda: not _amiss(stage, storm) and _nothing_planned(stage),
            _CALMS_DOWN_S,
        )
    except StoryBroken as broken:
        message = f"{broken}; amiss: {_amiss(stage, storm)}"
        raise StoryBroken(message) from broken
    finally:
        stop.set()
        watching.join()
    grown = growth(samples)
    draw(samples, storm.faults, PICTURE)
    told = _report(minutes, seed, storm, took_s, grown, len(samples))
    REPORT.write_text(told)
    print(told)
    return 1 if any(one.grew for one in grown) else 0


def _watch(
    stage: Stage, samples: list[Sample], clock: Callable[[], float], stop: threading.Event
) -> None:
    pid = stage.controller_pid
    while not stop.wait(_EVERY_S):
        sample = take(pid, clock())
        if sample is None:
            return  # `until` says that it is gone
        samples.append(sample)


def _amiss(stage: Stage, storm: Storm) -> list[str]:
    """What of the world is not as the last commit wants it, asked of libvirt and not of domops."""
    wrong: list[str] = []
    try:
        with contextlib.closing(stage.host.connect()) as connection:
            there = {one.name(): one for one in connection.listAllDomains()}
            wrong += [f"{name} is not there" for name in storm.wishes if name not in there]
            for name, wish in storm.wishes.items():
                if name not in there:
                    continue
                domain = there[name]
                state, most_kib, now_kib, cpus, _ = domain.info()
                if (state == libvirt.VIR_DOMAIN_RUNNING) is not wish.running:
                    wrong.append(f"{name} is in state {state}")
                elif wish.running:
                    size = domain.blockInfo("vda")[0]
                    seen = (cpus, size >> 20)
                    if seen != (wish.cpus, wish.disk):
                        wrong.append(f"{name} has {seen}, not {(wish.cpus, wish.disk)}")
                    if abs(now_kib - wish.memory * 1024) > _SLACK_KIB:
                        wrong.append(f"{name} has {now_kib >> 10} of {most_kib >> 10} MiB")
    except libvirt.libvirtError as error:
        wrong.append(str(error))
    return wrong


def _nothing_planned(stage: Stage) -> bool:
    document = cast("dict[str, list[object]]", stage.json("plan"))
    return not document["changes"] and not document["held"]


def _report(
    minutes: float,
    seed: int,
    storm: Storm,
    took_s: float,
    grown: tuple[Growth, ...],
    samples: int,
) -> str:
    with contextlib.closing(storm.stage.host.connect()) as connection:
        version = connection.getLibVersion()
    versions = (
        f"Python {platform.python_version()}, libvirt {version // 10**6}.{version // 1000 % 1000}.0"
    )
    acts = ", ".join(f"{what} {count}" for what, count in sorted(storm.counts.items()))
    return f"""\
# The last soak

Written by `make soak`: one controller, one real QEMU host (emulated), four guests; random commits,
random interference through libvirt, libvirtd hung and killed at random.

- when: {datetime.now(UTC):%Y-%m-%d}, {minutes:g} minutes, seed {seed}, {versions}
- converged {took_s:.0f} s after the storm: every guest as the last commit wants it, and nothing
  left in the plan
- acts: {acts}
- growth, medians of the second and of the last quarter of {samples} samples:
{"".join(f"  - {one}{chr(10)}" for one in grown)}
![memory, threads, descriptors and sockets over time](soak.png)
"""


if __name__ == "__main__":
    sys.exit(main())
