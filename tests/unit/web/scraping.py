"""A controller on the stage with its pages served, and what a scrape of them says."""

from __future__ import annotations

import contextlib
import http.client
import time
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client.parser import text_string_to_metric_families

from reconciler import bootstrap
from reconciler.model.names import GuestName, HostName
from reconciler.model.observed import RunState
from reconciler.model.operation import Progress
from reconciler.model.statistics import (
    BlockStatistics,
    GuestStatistics,
    HostStatistics,
    InterfaceStatistics,
    MemoryStatistics,
    VcpuStatistics,
)
from reconciler.model.suspension import Covered, Scope
from reconciler.recording.metrics.domains import of_host
from reconciler.web.serving import Showing, shown
from tests.unit.controller.stage import guest_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.bootstrap import Opened
    from reconciler.controller.results import PassResult
    from reconciler.model.observed import ObservedHost
    from tests.unit.controller.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One answer, read back: the value of each series by name and labels."""

    text: str
    families: frozenset[str]
    series: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(repr=False)

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one series that has all of ``labels``, or None."""
        found = [
            value
            for (own, has), value in self.series.items()
            if own == name and labels.items() <= has
        ]
        assert len(found) <= 1, f"{name} {labels} is not one series"
        return found[0] if found else None

    def labels(self, name: str, label: str) -> set[str]:
        """The values that ``label`` has in the series of ``name``."""
        return {dict(has)[label] for own, has in self.series if own == name}


def read(text: str) -> Scrape:
    """Parse a scrape as Prometheus would."""
    found = list(text_string_to_metric_families(text))
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)), "a family is in two pieces"
    return Scrape(
        text=text,
        families=frozenset(names),
        series={
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in found
            for sample in family.samples
        },
    )


@dataclass(kw_only=True)
class Served:
    """A controller that is open, and the port at which its pages are."""

    opened: Opened
    showing: Showing

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask for a page."""
        assert self.showing.port is not None
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.showing.port, timeout=60)
        ) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def scrape(self, path: str = "/metrics") -> Scrape:
        """Scrape a page that must be there."""
        status, text = self.get(path)
        assert status == 200, text
        return read(text)

    def once(self) -> PassResult:
        """One pass, with its events told as the loop tells them."""
        told = self.opened.journal.numbered_events(1)
        last = told[-1][0] if told else 0
        result = self.opened.controller.pass_once()
        for event in self.opened.journal.events(limit=1000, after=last):
            self.showing.tell(event)
        return result

    def settle(self) -> PassResult:
        """Passes until nothing is begun and nothing is under way."""
        while True:
            result = self.once()
            if not result.started and not result.operations:
                return result
            assert self.opened.controller._rooms.executor.drain(60)


@contextlib.contextmanager
def serving(stage: Stage) -> Iterator[Served]:
    """Open a controller on the stage and serve its pages at a port of the system's choice."""
    settings = stage.settings().model_copy(update={"listen": "127.0.0.1:0"})
    with stage.open() as opened, shown(opened, settings) as showing:
        yield Served(opened=opened, showing=showing)


def _copied_guest(host: ObservedHost) -> ObservedHost:
    """A guest of ours copied by hand, mark and all."""
    [ours, *_] = host.guests.values()
    copy = replace(ours, name=GuestName("copy"), uuid=UUID(int=77), state=RunState.SHUT_OFF)
    return replace(host, guests={**host.guests, copy.uuid: copy})


def story(stage: Stage, served: Served) -> list[Scrape]:
    """Guests are made, copied, held back and under way; a scrape of each moment."""
    stage.commit("Two guests", guests_web=guest_yaml("web"), guests_dns=guest_yaml("dns"))
    served.settle()
    [home] = stage.where("web")
    stage.hosts[home].memory.stage(_copied_guest)
    served.once()
    moments = [served.scrape()]
    stage.commit("Both go", guests_web=None, guests_dns=None)
    served.once()
    moments.append(served.scrape())
    stage.commit("They stay", guests_web=guest_yaml("web"))
    served.settle()
    moments.append(_with_a_guest_suspended(stage, served))
    stage.commit("And grow", guests_web=guest_yaml("web", memory="1GiB"))
    for host in stage.hosts.values():
        host.operating.clear()
    served.once()
    moments.append(served.scrape())
    moments.append(_with_a_copy_under_way(stage, served))
    for host in stage.hosts.values():
        host.operating.set()
    return moments


def _with_a_guest_suspended(stage: Stage, served: Served) -> Scrape:
    """A guest is left alone for a moment."""
    web = Covered(scope=Scope.GUEST, name="web")
    with bootstrap.beside(stage.settings()) as beside:
        beside.suspend([web], who="a tester", why="a look", until=None)
    served.settle()
    scrape = served.scrape()
    with bootstrap.beside(stage.settings()) as beside:
        beside.resume([web], who="a tester")
    served.settle()
    return scrape


def _with_a_copy_under_way(stage: Stage, served: Served) -> Scrape:
    """A new guest's volume is being filled, and has come half the way."""
    for host in stage.hosts.values():
        host.operating.set()
        host.memory.stage_progress(GuestName("big"), Progress(done_bytes=512, total_bytes=1024))
    served.settle()
    stage.commit("A big one", guests_big=guest_yaml("big"))
    served.once()
    assert served.opened.controller._rooms.executor.drain(60)
    for host in stage.hosts.values():
        host.operating.clear()
    served.once()
    deadline = time.monotonic() + 60
    while (scrape := served.scrape()).value("domops_guest_operation_done_bytes") is None:
        assert time.monotonic() < deadline, "nobody looked how far the copy has come"
        time.sleep(0.05)
    return scrape


def everything_of_a_host() -> str:
    """The page of a host of whose one guest everything is counted that can be."""
    now = datetime.now(UTC)
    guest = GuestStatistics(
        name=GuestName("web"),
        uuid=UUID(int=7),
        at=now,
        state=RunState.RUNNING,
        cpu_ns=1,
        vcpu_count=1,
        memory=MemoryStatistics(**_all(MemoryStatistics)),
        vcpus=(VcpuStatistics(number=0, time_ns=1, wait_ns=1, delay_ns=1),),
        blocks=(BlockStatistics(target="vda", **_all(BlockStatistics)),),
        interfaces=(InterfaceStatistics(target="net0", **_all(InterfaceStatistics)),),
    )
    host = HostStatistics(host=HostName("a"), answered=now, why=None, guests=(guest,))
    return "".join(of_host(host, now))


def _all(kind: type[MemoryStatistics | BlockStatistics | InterfaceStatistics]) -> dict[str, int]:
    """Every figure that there is of a kind."""
    return {field.name: 1 for field in fields(kind) if field.name != "target"}
