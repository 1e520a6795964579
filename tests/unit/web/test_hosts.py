"""``/sd`` and ``/metrics/host/NAME``, over libvirt's test driver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import libvirt
import pytest

from reconciler.cli.reference import pages
from reconciler.errors import StalledError
from reconciler.hypervisor.eventloop import run_event_loop
from reconciler.hypervisor.statistics import LibvirtStatistics
from reconciler.recording.metrics.domains import OF_HOSTS
from tests.unit.controller.stage import Stage, host_yaml
from tests.unit.web.scraping import everything_of_a_host, read, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from reconciler.hypervisor.statistics import StatisticsReader
    from reconciler.model.desired import DesiredHost

NODE = """
<node>
  <domain type='test'>
    <name>web</name><uuid>0d9c1f6e-5b7a-4f0e-8a57-2f3f4c1d9b21</uuid>
    <memory unit='MiB'>64</memory><vcpu>2</vcpu>
    <os><type arch='i686'>hvm</type></os>
    <devices>
      <disk type='file'><source file='/web.raw'/><target dev='vda' bus='virtio'/></disk>
      <interface type='network'><source network='lab'/><target dev='net0'/></interface>
    </devices>
  </domain>
  <network><name>lab</name><bridge name='virbr0'/></network>
</node>
"""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts; one has labels, and behind one there is a libvirt that has a guest."""
    run_event_loop()
    stage = Stage(root=tmp_path)
    stage.begin("a", "b")
    labelled = host_yaml("a").replace("{name: a}", '{name: a, labels: {rack: "1", a-b: x}}')
    stage.commit("Label it", hosts_a=labelled)
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    connection = libvirt.open(f"test://{node}")

    def reader_for(host: DesiredHost, clock: Callable[[], datetime]) -> StatisticsReader:
        uri = f"test://{node}" if host.name == "a" else "test:///nonexistent/node.xml"
        return LibvirtStatistics(
            name=host.name,
            uri=uri,
            clock=clock,
            open_connection=lambda uri: connection if str(node) in uri else libvirt.open(uri),
        )

    stage.reader_for = reader_for
    return stage


def test_the_hosts_are_found_with_their_labels(stage: Stage) -> None:
    """Each is a target at the very address under which we were asked."""
    with serving(stage) as served:
        assert json.loads(served.get("/sd")[1]) == []
        served.once()
        first, second = json.loads(served.get("/sd")[1])
        assert first == {
            "targets": [f"127.0.0.1:{served.showing.port}"],
            "labels": {
                "__metrics_path__": "/metrics/host/a",
                "__meta_domops_host": "a",
                "__meta_domops_label_a_b": "x",
                "__meta_domops_label_rack": "1",
                "instance": "a",
                "pool": "main",
            },
        }
        assert second["labels"]["instance"] == "b"


def test_a_host_tells_what_its_guests_use(stage: Stage) -> None:
    with serving(stage) as served:
        served.once()
        scrape = served.scrape("/metrics/host/a")
        assert scrape.value("libvirt_up", host="a") == 1
        own = {"host": "a", "domain": "web"}
        assert scrape.value("libvirt_domain_info_vstate", **own) == 1
        assert scrape.value("libvirt_domain_info_virtual_cpus", **own) == 2
        assert scrape.value("libvirt_domain_info_maximum_memory_bytes", **own) == 64 << 20
        disk = scrape.value(
            "libvirt_domain_block_stats_read_bytes_total", target_device="vda", **own
        )
        assert disk is not None
        card = scrape.value(
            "libvirt_domain_interface_stats_transmit_bytes_total", target_device="net0", **own
        )
        assert card is not None
        age = scrape.value("libvirt_domain_stats_age_seconds", **own)
        assert age is not None
        assert age >= 0


def test_a_host_that_does_not_answer_says_so_and_nothing_else(stage: Stage) -> None:
    with serving(stage) as served:
        served.once()
        scrape = served.scrape("/metrics/host/b")
        assert scrape.value("libvirt_up", host="b") == 0
        assert scrape.families == {"libvirt_up"}


def test_only_hosts_of_the_commit_in_force_can_be_asked_for(stage: Stage) -> None:
    with serving(stage) as served:
        assert served.get("/metrics/host/a")[0] == 404
        served.once()
        assert served.get("/metrics/host/a")[0] == 200
        assert served.get("/metrics/host/..%2f..%2fetc")[0] == 404
        stage.commit("Retire it", hosts_a=host_yaml("a", state="retired"))
        served.once()
        assert served.get("/metrics/host/a")[0] == 404
        assert [one["labels"]["instance"] for one in json.loads(served.get("/sd")[1])] == ["b"]


def test_a_host_that_moves_is_asked_at_its_new_address(stage: Stage) -> None:
    """And it is asked by a reader that knows nothing of the old one."""
    asked: list[str] = []
    inner = stage.reader_for
    assert inner is not None

    def reader_for(host: DesiredHost, clock: Callable[[], datetime]) -> StatisticsReader:
        asked.append(host.uri)
        return inner(host, clock)

    stage.reader_for = reader_for
    with serving(stage) as served:
        served.once()
        served.scrape("/metrics/host/a")
        served.scrape("/metrics/host/a")
        moved = host_yaml("a").replace("a.example.org", "a2.example.org")
        stage.commit("It moved", hosts_a=moved)
        served.once()
        served.scrape("/metrics/host/a")
    assert asked == ["qemu+tls://a.example.org/system", "qemu+tls://a2.example.org/system"]


def test_a_host_that_cannot_be_asked_says_why(stage: Stage) -> None:
    def refuses(host: DesiredHost, _clock: Callable[[], datetime]) -> StatisticsReader:
        message = f"{host.name} needs a person first"
        raise StalledError(message)

    stage.reader_for = refuses
    with serving(stage) as served:
        served.once()
        assert served.get("/metrics/host/a") == (503, "a needs a person first\n")


def test_every_metric_of_a_host_is_documented_and_given() -> None:
    """A guest of which everything is counted; a real one has what its hypervisor counts."""
    scrape = read(everything_of_a_host())
    assert scrape.families == {family.name for family in OF_HOSTS}
    assert len(scrape.families) == len(OF_HOSTS)
    for family in OF_HOSTS:
        assert pages()["metrics.md"].count(f"| `{family.name}` |") == 1
        assert family.means.endswith(".")
