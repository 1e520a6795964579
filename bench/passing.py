"""Passes of a whole controller over a fleet in memory: quiet ones, and what wakes it."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench import fleet
from bench.figures import Figure, best, milliseconds, percentile, spread, timed
from reconciler.bootstrap import open_controller
from reconciler.hypervisor.inmemory import InMemoryHost
from reconciler.manifests.parse import parse_file
from reconciler.model.names import HostName
from reconciler.model.policy import Policy
from reconciler.recording.metrics.passes import Meters, of_pass
from reconciler.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from reconciler.bootstrap import Opened
    from reconciler.hypervisor.port import Host
    from reconciler.model.desired import DesiredHost
    from reconciler.model.observed import ObservedHost
    from reconciler.model.steps import Step

_QUIET_PASS_S = 0.015
_CHANGE_S = 0.030
_EVENT_S = 0.050
_SAMPLES = 20
_EVENTS = 200
_PATIENCE_S = 120.0


class Watched(InMemoryHost):
    """A host in memory that notes when it was asked or told anything."""

    def __init__(self, host: ObservedHost, *, clock: Callable[[], datetime]) -> None:
        super().__init__(host, clock=clock)
        self.called = threading.Event()
        self.called_at = 0.0
        self.looks = 0

    def observe(self) -> ObservedHost:
        """Note it, and answer."""
        self.looks += 1
        self._note()
        return super().observe()

    def carry_out(self, step: Step) -> None:
        """Note it, and do it."""
        self._note()
        super().carry_out(step)

    def arm(self) -> None:
        """Note the next call."""
        self.called.clear()

    def _note(self) -> None:
        if not self.called.is_set():
            self.called_at = time.perf_counter()
            self.called.set()


@dataclass(kw_only=True)
class Fleet:
    """A repository, its hosts in memory, and what a controller on them is opened with."""

    folder: Path
    guests: int
    files: Mapping[str, str]
    observed: Mapping[HostName, ObservedHost]
    hosts: dict[HostName, Watched] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        """Where the manifests are committed."""
        return self.folder / "manifests"

    @contextlib.contextmanager
    def opened(self, *, remote: bool = False) -> Iterator[Opened]:
        """A controller that has looked at everything once and has nothing to do."""
        address = f"file://{self.repository}" if remote else str(self.repository)
        settings = Settings(
            repository=address,
            state_dir=self.folder / "state",
            poll_s=3600,
            patience_s=60,
            fetch_s=86400,
        )
        with open_controller(
            settings, writing=True, host_for=self._host, policy=Policy(steps_per_host=1000)
        ) as opened:
            quiet(opened)
            yield opened

    def looks(self) -> int:
        """How often hosts were asked, all together."""
        return sum(host.looks for host in self.hosts.values())

    def _host(self, host: DesiredHost, clock: Callable[[], datetime]) -> Host:
        made = Watched(self.observed[host.name], clock=clock)
        self.hosts[host.name] = made
        return made


def make(folder: Path, guests: int) -> Fleet:
    """A fleet that is in order, committed."""
    files = fleet.manifests(guests)
    first = fleet.commit(folder / "manifests", files, "A fleet")
    observed = fleet.in_order(fleet.desired(files, first))
    return Fleet(folder=folder, guests=guests, files=files, observed=observed)


def quiet(opened: Opened) -> None:
    """Make passes until nothing is left to do."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        result = opened.controller.pass_once(kept=True)
        assert result.plan is not None, result.problems
        if not result.plan.steps and not result.operations:
            return
        time.sleep(0.01)  # steps end on threads of their own, and tell nobody here
    message = "the fleet did not come to rest"
    raise RuntimeError(message)


def quiet_pass(ground: Fleet) -> tuple[Figure, float, float]:
    """A pass with nothing to do, cache warm; also the same with every host asked anew."""
    with ground.opened() as opened:

        def one() -> None:
            opened.controller.pass_once(kept=True)

        for _ in range(5):
            one()
        before = ground.looks()
        warm_s = statistics.median(timed(one) for _ in range(_SAMPLES))
        asked = ground.looks() - before
        fresh_s = best(opened.controller.look, 3)
    assert asked == 0, f"{asked} hosts were asked in quiet passes"
    figure = Figure(
        work="a pass with nothing to do, cache warm, no host asked",
        guests=ground.guests,
        floor="–",
        ours=milliseconds(warm_s),
        value=warm_s * 1000,
        unit="ms",
        bound=_QUIET_PASS_S * 1000,
        target="≤ 15 ms",
    )
    return figure, warm_s, fresh_s


def changed_manifest(ground: Fleet) -> Figure:
    """A commit that changes one manifest, to the step that is ready, over fetch and diff alone."""
    clone = ground.folder / "clone"
    if not clone.exists():
        subprocess.run(
            ["git", "clone", "--quiet", "--bare", f"file://{ground.repository}", str(clone)],
            check=True,
        )
    floors: list[float] = []
    ours: list[float] = []
    with ground.opened(remote=True) as opened:
        for turn in range(_SAMPLES):
            number = turn * (fleet.GUESTS_PER_HOST + 1) % ground.guests  # each on another host
            path = f"guests/{number // 100:03d}/{fleet.guest_name(number)}.yaml"
            text = fleet.guest(
                number, memory=513 + turn, per_host=min(fleet.GUESTS_PER_HOST, ground.guests)
            )
            fleet.commit(ground.repository, {path: text}, f"Change {number}")
            floors.append(timed(lambda: _fetch_and_diff(clone)))
            ready: list[float] = []
            began = time.perf_counter()
            opened.source.fetch()

            def note(_step: object, ready: list[float] = ready) -> bool:
                ready.append(time.perf_counter())
                return True

            opened.controller.pass_once(permits=note, kept=True)
            assert ready, "the commit gave no step"
            ours.append(ready[0] - began)
            quiet(opened)
    floor_s, ours_s = statistics.median(floors), statistics.median(ours)
    return Figure(
        work="commit that changes one manifest → steps ready",
        guests=ground.guests,
        floor=f"git fetch + git diff {milliseconds(floor_s)}",
        ours=milliseconds(ours_s),
        value=(ours_s - floor_s) * 1000,
        unit="ms more",
        bound=_CHANGE_S * 1000,
        target="≤ 30 ms more",
    )


def _fetch_and_diff(clone: Path) -> None:
    old = fleet.git(clone, "rev-parse", "main")
    fleet.git(clone, "fetch", "--quiet", "origin", "+main:main")
    fleet.git(clone, "diff", "--name-only", old, "main")


def push_to_first_call(ground: Fleet) -> Figure:
    """``git push`` to a watched repository, to the first call that a host gets for it."""
    told: list[float] = []
    number = 0
    with ground.opened() as opened, _running(opened):
        host = ground.hosts[HostName(fleet.host_name(0))]
        for turn in range(_SAMPLES):
            path = f"guests/000/{fleet.guest_name(number)}.yaml"
            text = fleet.guest(
                number, memory=600 + turn, per_host=min(fleet.GUESTS_PER_HOST, ground.guests)
            )
            _come_to_rest(ground)
            host.arm()
            fleet.commit(ground.repository, {path: text}, f"Push {turn}")
            pushed = time.perf_counter()
            assert host.called.wait(_PATIENCE_S), "no host was called"
            told.append(max(host.called_at - pushed, 0.0))
    return Figure(
        work="git push to a local repository → first call at the host",
        guests=ground.guests,
        floor="–",
        ours=spread(told),
        value=statistics.median(told) * 1000,
        unit="ms",
        bound=None,
        target="shown",
    )


def event_to_look(ground: Fleet) -> Figure:
    """A live event, to the fresh look at its host, while metrics are scraped and files parsed."""
    told: list[float] = []
    stop = threading.Event()
    with ground.opened() as opened, _running(opened):
        busy = [
            threading.Thread(target=_scrape, args=(opened, stop), daemon=True),
            threading.Thread(target=_parse, args=(ground.files, stop), daemon=True),
        ]
        _come_to_rest(ground)
        for thread in busy:
            thread.start()
        names = sorted(ground.hosts)
        for turn in range(_EVENTS):
            host = ground.hosts[names[turn % len(names)]]
            host.arm()
            began = time.perf_counter()
            host.stage(lambda seen: seen)
            assert host.called.wait(_PATIENCE_S), "the event was not heard"
            told.append(host.called_at - began)
            time.sleep(0.005)  # events apart: one that falls into another's look costs nothing
        stop.set()
        for thread in busy:
            thread.join()
    worst = percentile(told, 0.99)
    return Figure(
        work="live event → fresh observation asked for, during a scrape and a cold load",
        guests=ground.guests,
        floor="–",
        ours=spread(told),
        value=worst * 1000,
        unit="ms (p99)",
        bound=_EVENT_S * 1000,
        target="≤ 50 ms (p99)",
    )


@contextlib.contextmanager
def _running(opened: Opened) -> Iterator[None]:
    """The control loop in a thread, as ``domops run`` has it."""
    stop = threading.Event()
    loop = threading.Thread(target=opened.controller.run, args=(stop, lambda _: None), daemon=True)
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join()


def _come_to_rest(ground: Fleet) -> None:
    """Wait until no host is asked for a while."""
    seen = -1
    while seen != ground.looks():
        seen = ground.looks()
        time.sleep(0.5)  # that nothing happens can only be seen by waiting


def _scrape(opened: Opened, stop: threading.Event) -> None:
    while not stop.is_set():
        meters = Meters(operations=(), writes=opened.doors.writes(), depth=0, adds=0)
        text = "".join(of_pass(opened.latest.sight, meters))
        assert text


def _parse(files: Mapping[str, str], stop: threading.Event) -> None:
    while not stop.is_set():
        for text in files.values():
            parse_file(text.encode())
            if stop.is_set():
                return
