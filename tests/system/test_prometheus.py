"""What Prometheus itself says: of our metrics, of our alerts, and of the recipe in the how-to."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.recording.metrics.domains import OF_HOSTS
from reconciler.recording.metrics.families import OF_INSTRUMENTS, OF_PASSES
from reconciler.web.serving import shown
from tests.demo.stage import guest_manifest
from tests.lab import prometheus
from tests.lab.qemu import QemuLab
from tests.system.ground import begin
from tests.unit.controller.stage import Stage
from tests.unit.web.scraping import everything_of_a_host, serving, story

CHECKOUT = Path(__file__).resolve().parents[2]
CONTRIB = CHECKOUT / "contrib" / "prometheus"
HOW_TO = CHECKOUT / "docs" / "how-to"
SHAPE = ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def _alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((CONTRIB / "domops.rules.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:domops|libvirt)_\w+", expression))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts without guests."""
    stage = Stage(root=tmp_path)
    stage.begin("a", "b")
    return stage


def test_promtool_finds_nothing_to_say_about_the_metrics(stage: Stage) -> None:
    with serving(stage) as served:
        moments = story(stage, served)
    for text in (*(moment.text for moment in moments), everything_of_a_host()):
        said = prometheus.promtool("check", "metrics", text=text)
        assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_each_alert_fires_for_what_it_is_about_and_not_for_less() -> None:
    said = prometheus.promtool("test", "rules", CONTRIB / "domops.rules.test.yml")
    assert said.returncode == 0, said.stdout + said.stderr
    tests = yaml.safe_load((CONTRIB / "domops.rules.test.yml").read_text())["tests"]
    tried = {one["alertname"] for test in tests for one in test["alert_rule_test"]}
    assert tried == {alert["alert"] for alert in _alerts()}


def test_each_alert_has_its_section_in_the_runbook() -> None:
    page = (HOW_TO / "answer-alerts.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(sections) == {alert["alert"] for alert in _alerts()}
    for alert in _alerts():
        name = alert["alert"]
        assert re.findall(r"^\*\*(\w+)\.\*\*", sections[name], re.MULTILINE) == SHAPE
        assert alert["annotations"]["runbook"] == f"docs/how-to/answer-alerts.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


def test_no_alert_is_silent_because_its_series_is_missing(stage: Stage) -> None:
    """What is always there and alerted on is missed as well; nothing else is alerted on."""
    known = {family.name for family in (*OF_PASSES, *OF_INSTRUMENTS, *OF_HOSTS)}
    used = set().union(*(_metrics_in(alert["expr"]) for alert in _alerts()))
    assert used <= known
    with serving(stage) as served:
        served.once()
        always = {name for name, _ in served.scrape().series}
    # A stage has storage; a host may have none.
    may_be_missing = {name for name in always if "_storage_" in name}
    [absent] = [alert["expr"] for alert in _alerts() if alert["alert"] == "DomopsAbsent"]
    assert set(re.findall(r"absent\((\w+)\)", absent)) == (used & always) - may_be_missing


@pytest.mark.system
@pytest.mark.slow
def test_a_prometheus_set_up_as_the_how_to_says_sees_a_real_host(tmp_path: Path) -> None:
    """Domops keeps a guest on QEMU; Prometheus finds the host by itself and scrapes both pages."""
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("Add dns", {"guests/dns.yaml": guest_manifest("dns")})
        stop = threading.Event()
        with ground.controller() as opened:
            settings = ground.settings().model_copy(update={"listen": "127.0.0.1:0"})
            with shown(opened, settings) as showing:
                assert showing.port is not None
                loop = threading.Thread(target=opened.controller.run, args=(stop, showing.tell))
                loop.start()
                try:
                    config = _as_the_how_to_says(tmp_path, showing.port)
                    with prometheus.running(config, tmp_path / "data") as server:
                        _sees_the_guest(server)
                finally:
                    stop.set()
                    loop.join()


def _as_the_how_to_says(folder: Path, port: int) -> Path:
    """The how-to's own configuration, for another port and a more impatient reader."""
    page = (HOW_TO / "watch-with-prometheus.md").read_text()
    [recipe] = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    config = yaml.safe_load(recipe.replace("9177", str(port)))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = (CONTRIB / "domops.rules.yml").read_text()
    (folder / "domops.rules.yml").write_text(rules)
    said = prometheus.promtool("check", "config", folder / "prometheus.yml")
    assert said.returncode == 0, said.stdout + said.stderr
    return folder / "prometheus.yml"


def _sees_the_guest(server: prometheus.Prometheus) -> None:
    [(labels, value)] = server.wait_for('domops_guest_healthy{guest="dns"} == 1')
    assert labels["job"] == "domops"
    assert value == 1
    [(labels, value)] = server.wait_for('libvirt_domain_info_cpu_time_seconds_total{domain="dns"}')
    assert (labels["job"], labels["host"], labels["pool"]) == ("domops-hosts", "dom0-a", "main")
    assert value > 0
    server.wait_for('libvirt_domain_block_stats_read_bytes_total{domain="dns",target_device="vda"}')
    server.wait_for('libvirt_domain_interface_stats_transmit_bytes_total{domain="dns"}')
    server.wait_for('domops_steps_total{step="StartGuest",outcome="done"} == 1')
    [(_, value)] = server.wait_for("sum(up)")
    assert value == 2
    assert server.ask("ALERTS{severity='critical',alertstate='firing'}") == []
